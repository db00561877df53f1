use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::{any, proptest};

use super::*;
use crate::clock;

fn addresses(count: u16) -> Vec<SocketAddr> {
    (0..count).map(|n| SocketAddr::from(([127, 0, 0, 1], 9_000 + n))).collect()
}

fn config(strategy: Strategy) -> PoolConfig {
    PoolConfig { strategy, ejection: Ejection::default(), probe: Some(ProbeThresholds { rise: 2, fall: 3 }) }
}

fn pool(strategy: Strategy, count: u16) -> (Pool, Instant) {
    let now = clock::now();
    (Pool::compile(&config(strategy), &addresses(count), None, now), now)
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

/// How often each endpoint is chosen in `requests` requests that end at once.
fn spread(pool: &Pool, requests: usize, now: Instant) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        *counts.entry(pool.choose(&[], now).unwrap().index()).or_insert(0) += 1;
    }
    counts
}

fn fail(pool: &Pool, index: usize, outcome: Outcome, now: Instant) {
    let others: Vec<usize> = (0..pool.len()).filter(|other| *other != index).collect();
    let lease = pool.choose(&others, now).unwrap();
    assert_eq!(lease.index(), index);
    lease.report(outcome, now);
}

fn state(pool: &Pool, index: usize, now: Instant) -> EndpointState {
    pool.status(now)[index].state
}

#[test]
fn round_robin_is_even() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    assert_eq!(spread(&pool, 300, now), HashMap::from([(0, 100), (1, 100), (2, 100)]));
}

#[test]
fn round_robin_stays_even_when_one_is_out() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    fail(&pool, 1, Outcome::ConnectFailed, now);
    let counts = spread(&pool, 300, now);
    assert_eq!(counts, HashMap::from([(0, 100), (2, 100), (3, 100)]), "the neighbour does not get its share too");
}

#[test]
fn least_connections_takes_the_idlest() {
    let (pool, now) = pool(Strategy::LeastConnections, 3);
    let first = pool.choose(&[], now).unwrap();
    let second = pool.choose(&[], now).unwrap();
    let third = pool.choose(&[], now).unwrap();
    let freed = second.index();
    drop(second);
    let again = pool.choose(&[], now).unwrap();
    assert_eq!(again.index(), freed);
    drop((first, third, again));
    assert!(pool.status(now).iter().all(|endpoint| endpoint.in_flight == 0));
    assert_eq!(spread(&pool, 300, now).into_values().max(), Some(100), "among equals one after the other");
}

#[test]
fn does_not_choose_what_was_tried() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    for _ in 0..10 {
        assert_eq!(pool.choose(&[0, 2], now).unwrap().index(), 1);
    }
    assert!(pool.choose(&[0, 1, 2], now).is_none());
    let (empty, now) = self::pool(Strategy::RoundRobin, 0);
    assert!(empty.choose(&[], now).is_none() && empty.is_empty());
}

#[test]
fn a_refused_connection_ejects_at_once_and_failures_after_three() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    fail(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Ejected);
    fail(&pool, 1, Outcome::TransportFailed, now);
    fail(&pool, 1, Outcome::GatewayFailed, now);
    fail(&pool, 1, Outcome::Ok, now);
    fail(&pool, 1, Outcome::ConnectTimedOut, now);
    fail(&pool, 1, Outcome::TransportFailed, now);
    assert_eq!(state(&pool, 1, now), EndpointState::Up, "an answer ends a run of failures");
    fail(&pool, 1, Outcome::TransportFailed, now);
    assert_eq!(state(&pool, 1, now), EndpointState::Ejected);
}

#[test]
fn a_returning_endpoint_is_tried_by_one_request() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    fail(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(spread(&pool, 10, after(now, 9)), HashMap::from([(1, 10)]));
    let now = after(now, 10);
    assert_eq!(state(&pool, 0, now), EndpointState::Returning);
    let mut held: Vec<Lease> = (0..10).map(|_| pool.choose(&[], now).unwrap()).collect();
    let trial = held.iter().position(|lease| lease.index() == 0).unwrap();
    assert_eq!(held.iter().filter(|lease| lease.index() == 0).count(), 1);
    let trial = held.remove(trial);
    drop(trial);
    let mut held: Vec<Lease> = (0..10).map(|_| pool.choose(&[], now).unwrap()).collect();
    assert_eq!(held.iter().filter(|lease| lease.index() == 0).count(), 1, "a trial without outcome frees the place");
    held.iter().find(|lease| lease.index() == 0).unwrap().report(Outcome::Ok, now);
    held.clear();
    assert_eq!(spread(&pool, 10, now), HashMap::from([(0, 5), (1, 5)]));
}

#[test]
fn the_time_of_an_ejection_doubles_up_to_its_maximum_and_starts_again_after_good_times() {
    let (pool, mut now) = pool(Strategy::RoundRobin, 2);
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        fail(&pool, 0, Outcome::ConnectFailed, now);
        assert_eq!(state(&pool, 0, after(now, expected - 1)), EndpointState::Ejected, "{expected}");
        now = after(now, expected);
        assert_eq!(state(&pool, 0, now), EndpointState::Returning, "{expected}");
    }
    now = after(now, 301);
    fail(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, after(now, 10)), EndpointState::Returning);
}

#[test]
fn never_ejects_more_than_the_floor_allows() {
    let (pool, now) = pool(Strategy::RoundRobin, 5);
    for index in 0..5 {
        fail(&pool, index, Outcome::ConnectFailed, now);
    }
    assert_eq!(pool.usable(now), 3);
    assert_eq!(pool.totals().floor, 3);
    let (single, now) = self::pool(Strategy::RoundRobin, 1);
    fail(&single, 0, Outcome::ConnectFailed, now);
    assert_eq!(single.usable(now), 1, "the only one is never ejected");
}

#[test]
fn when_nobody_is_healthy_everybody_is_tried() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    for index in 0..2 {
        for _ in 0..3 {
            pool.probed(index, false);
        }
    }
    assert_eq!(pool.usable(now), 0);
    assert_eq!(spread(&pool, 10, now), HashMap::from([(0, 5), (1, 5)]));
    assert_eq!(pool.totals().panics, 10);
}

#[test]
fn probes_fall_and_rise() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    assert_eq!(pool.probed(0, false), None);
    assert_eq!(pool.probed(0, false), None);
    assert_eq!(pool.probed(0, true), None);
    assert_eq!(pool.probed(0, false), None, "a success in between starts the count again");
    assert_eq!(pool.probed(0, false), None);
    let address = addresses(1)[0];
    assert_eq!(pool.probed(0, false), Some(ProbeChange { address, is_healthy: false }));
    assert_eq!(state(&pool, 0, now), EndpointState::Down);
    assert_eq!(spread(&pool, 10, now), HashMap::from([(1, 5), (2, 5)]));
    assert_eq!(pool.probed(0, true), None);
    assert_eq!(pool.probed(0, true), Some(ProbeChange { address, is_healthy: true }));
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
    assert_eq!(pool.probed(9, true), None);
}

#[test]
fn a_probe_that_rises_ends_an_ejection() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    fail(&pool, 0, Outcome::ConnectFailed, now);
    for healthy in [false, false, false, true, true] {
        pool.probed(0, healthy);
    }
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
}

#[test]
fn a_reload_keeps_health_and_what_is_in_flight() {
    let (before, now) = pool(Strategy::RoundRobin, 3);
    fail(&before, 0, Outcome::ConnectFailed, now);
    let lease = before.choose(&[0, 1], now).unwrap();
    let mut fewer = addresses(4);
    fewer.remove(1);
    let pool = Pool::compile(&config(Strategy::LeastConnections), &fewer, Some(&before), now);
    drop(before);
    let status = pool.status(now);
    assert_eq!(status[0].state, EndpointState::Ejected);
    assert_eq!((status[1].address, status[1].in_flight), (lease.address(), 1));
    assert_eq!((status[2].state, status[2].requests_total), (EndpointState::Up, 0));
    drop(lease);
    assert_eq!(pool.status(now)[1].in_flight, 0);
    let unprobed = PoolConfig { probe: None, ..config(Strategy::RoundRobin) };
    for _ in 0..3 {
        pool.probed(1, false);
    }
    let unprobed = Pool::compile(&unprobed, &fewer, Some(&pool), now);
    assert_eq!(state(&unprobed, 1, now), EndpointState::Up, "without probes nobody is down");
    assert_eq!(unprobed.usable(now), 2);
    assert_eq!(state(&pool, 1, now), EndpointState::Down, "compiling changes nothing of the pool before");
}

#[test]
fn choosing_from_many_threads_is_even() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| drop(pool.choose(&[], now))));
        }
    });
    assert!(pool.status(now).iter().all(|endpoint| endpoint.requests_total == 1_000 && endpoint.in_flight == 0));
}

proptest! {
    #[test]
    fn round_robin_is_fair_whatever_is_down(down in proptest::collection::vec(any::<bool>(), 1..12), rounds in 1usize..20) {
        let count = u16::try_from(down.len()).unwrap();
        let (pool, now) = pool(Strategy::RoundRobin, count);
        for (index, _) in down.iter().enumerate().filter(|(_, down)| **down) {
            for _ in 0..3 {
                pool.probed(index, false);
            }
        }
        let up = down.iter().filter(|down| !**down).count();
        let expected = if up == 0 { down.len() } else { up };
        let counts = spread(&pool, rounds * expected, now);
        assert_eq!(counts.len(), expected);
        assert!(counts.values().all(|count| *count == rounds));
    }

    #[test]
    fn least_connections_never_differ_by_more_than_one_without_releases(count in 1u16..12, requests in 0usize..100) {
        let (pool, now) = pool(Strategy::LeastConnections, count);
        let held: Vec<Lease> = (0..requests).filter_map(|_| pool.choose(&[], now)).collect();
        let in_flight: Vec<usize> = pool.status(now).iter().map(|endpoint| endpoint.in_flight).collect();
        assert_eq!(in_flight.iter().sum::<usize>(), held.len());
        assert!(in_flight.iter().max().unwrap() - in_flight.iter().min().unwrap() <= 1);
    }

    #[test]
    fn the_chosen_had_the_fewest_in_flight(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..80)) {
        let (pool, now) = pool(Strategy::LeastConnections, 5);
        let mut held: Vec<Lease> = Vec::new();
        for (release, which) in steps {
            if release && !held.is_empty() {
                drop(held.swap_remove(usize::from(which) % held.len()));
                continue;
            }
            let fewest = pool.status(now).iter().map(|endpoint| endpoint.in_flight).min().unwrap();
            let lease = pool.choose(&[], now).unwrap();
            assert_eq!(pool.status(now)[lease.index()].in_flight, fewest + 1);
            held.push(lease);
        }
    }

    #[test]
    fn the_floor_holds_whatever_fails(
        count in 1u16..12,
        percent in 0u8..=100,
        failures in proptest::collection::vec((any::<u16>(), 0u64..30), 0..100),
    ) {
        let now = clock::now();
        let ejection = Ejection { max_percent: percent, ..Ejection::default() };
        let config = PoolConfig { ejection, ..PoolConfig::default() };
        let pool = Pool::compile(&config, &addresses(count), None, now);
        let mut now = now;
        for (which, pause) in failures {
            now = after(now, pause);
            fail(&pool, usize::from(which % count), Outcome::ConnectFailed, now);
            let out = pool.status(now).iter().filter(|endpoint| endpoint.state != EndpointState::Up).count();
            assert!(out * 100 <= usize::from(count) * usize::from(percent), "{out} of {count} at {percent} %");
        }
    }
}
