//! Pools as a whole: one file for each concern.

mod health;
mod ejection;
mod turns;
mod least;
mod hashing;
mod locality;
mod latency;
mod slow_start;
mod zones;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;
use crate::clock;
use crate::config::HumanDuration;

/// A call of no interest.
const CALL: Call<'static> = Call { client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), authority: "shop.example" };

fn call(authority: &str) -> Call<'_> {
    Call { authority, ..CALL }
}

fn from(client: u32) -> Call<'static> {
    Call { client: IpAddr::V4(Ipv4Addr::from_bits(client)), ..CALL }
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(9_000 + number).unwrap()))
}

fn endpoints(count: usize) -> Vec<EndpointSpec> {
    weighted(&vec![1; count])
}

fn weighted(weights: &[u32]) -> Vec<EndpointSpec> {
    let numbered = weights.iter().enumerate();
    numbered.map(|(number, weight)| EndpointSpec { weight: *weight, ..address(number).into() }).collect()
}

fn config(strategy: Strategy) -> PoolConfig {
    PoolConfig { strategy, probe: Some(ProbeThresholds { rise: 2, fall: 3 }), seed: 7, ..PoolConfig::default() }
}

fn pool(strategy: Strategy, count: usize) -> (Pool, Instant) {
    pool_of(strategy, &endpoints(count))
}

fn pool_of(strategy: Strategy, endpoints: &[EndpointSpec]) -> (Pool, Instant) {
    let now = clock::now();
    (Pool::compile(&config(strategy), endpoints, None, now), now)
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

fn choose(pool: &Pool, tried: &[usize], now: Instant) -> Lease {
    pool.choose(&CALL, tried, now).unwrap()
}

/// How often each endpoint is chosen in `requests` requests that end at once.
fn spread(pool: &Pool, requests: usize, now: Instant) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        *counts.entry(choose(pool, &[], now).index()).or_insert(0) += 1;
    }
    counts
}

/// The same as a list.
fn counts(pool: &Pool, requests: usize, now: Instant) -> Vec<usize> {
    let counts = spread(pool, requests, now);
    (0..pool.len()).map(|index| counts.get(&index).copied().unwrap_or(0)).collect()
}

/// One request to this endpoint ends so.
fn end(pool: &Pool, index: usize, outcome: Outcome, now: Instant) {
    let others: Vec<usize> = (0..pool.len()).filter(|other| *other != index).collect();
    let lease = choose(pool, &others, now);
    assert_eq!(lease.index(), index);
    lease.report(outcome, now);
}

fn state(pool: &Pool, index: usize, now: Instant) -> EndpointState {
    pool.status(now)[index].state
}

/// The probe takes the endpoint out.
fn take_down(pool: &Pool, index: usize, now: Instant) {
    for _ in 0..3 {
        pool.probed(index, false, now);
    }
}

/// The probe brings the endpoint back.
fn bring_up(pool: &Pool, index: usize, now: Instant) {
    for _ in 0..2 {
        pool.probed(index, true, now);
    }
}
