//! A distributed flood through the stage: 100,000 clients with one request each, 10,000 innocents at 80 % of the limit, 100
//! offenders at 4 times of it.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
};

use super::*;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    New,
    Innocent,
    Offender,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Innocent requests refused.
    refused: usize,
    /// Admitted of each offender in each 10 s.
    offenders: HashMap<u32, [u32; 3]>,
    most_keys: usize,
    most_bytes_a_key: usize,
}

/// All requests of 30 s in order: when (in milliseconds), of whom. Half of the innocents come evenly, half in bunches of five.
fn requests() -> Vec<(u64, Who, u32)> {
    let mut requests: Vec<_> = (0..100_000_u32).map(|n| (u64::from(n) * 30_000 / 100_000, Who::New, n)).collect();
    for n in 0..10_000 {
        let bunch = if n % 2 == 0 { 1 } else { 5 };
        let times = (0..30_000 / 250).map(|turn| u64::from(n) % 250 + turn / bunch * bunch * 250);
        requests.extend(times.map(|ms| (ms, Who::Innocent, n)));
    }
    for n in 0..100 {
        requests.extend((0..30_000 / 50).map(|turn| (u64::from(n) % 50 + turn * 50, Who::Offender, n)));
    }
    requests.sort_unstable();
    requests
}

fn client(who: Who, n: u32) -> SocketAddr {
    let network = match who {
        Who::New => 10 << 24,
        Who::Innocent => 11 << 24,
        Who::Offender => 12 << 24,
    };
    SocketAddr::from((Ipv4Addr::from_bits(network + n), 40_000))
}

fn survive(gate: &mut Gate) -> Outcome {
    let mut sample = Sample::get("/", &[]);
    let mut outcome = Outcome::default();
    for (ms, who, n) in requests() {
        (sample.client, sample.unix_ms) = (client(who, n), START + ms);
        let now = gate.at(ms).now();
        let passed = gate.limits.check(&sample.view(), now) == Verdict::Pass;
        match who {
            Who::Offender => {
                let window = usize::try_from((ms - u64::from(n) % 50) / 10_000).unwrap();
                outcome.offenders.entry(n).or_default()[window] += u32::from(passed);
            }
            Who::New | Who::Innocent => outcome.refused += usize::from(!passed),
        }
        if ms % 5_000 == 4_999 && who == Who::Offender {
            let usage = gate.limits.standings().next().unwrap().own;
            outcome.most_keys = outcome.most_keys.max(usage.keys);
            outcome.most_bytes_a_key = outcome.most_bytes_a_key.max(usage.bytes / usage.keys.max(1));
        }
    }
    outcome
}

fn limit(algorithm: &str) -> String {
    format!("[[limit]]\nname = \"a\"\nkey = [\"client\"]\nrate = \"50/10s\"\nalgorithm = \"{algorithm}\"\n")
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are worth knowing")]
fn a_distributed_flood_hurts_no_innocent_with_sliding_windows() {
    let outcome = survive(&mut Gate::new(&limit("sliding_window")));
    assert_eq!(outcome.refused, 0);
    assert_eq!(outcome.offenders.len(), 100);
    assert!(outcome.offenders.values().all(|admitted| *admitted == [50; 3]), "{:?}", outcome.offenders);
    println!("sliding windows: {} keys, {} bytes each", outcome.most_keys, outcome.most_bytes_a_key);
    assert!(outcome.most_keys >= 40_000 && outcome.most_bytes_a_key <= 100, "{}", outcome.most_bytes_a_key);
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are worth knowing")]
fn a_distributed_flood_hurts_no_innocent_with_token_buckets() {
    let outcome = survive(&mut Gate::new(&limit("token_bucket")));
    assert_eq!(outcome.refused, 0);
    // From its first request to its last an offender has 29.95 s: 50 + 29.95 × 5 = 199.75.
    let total = |admitted: &[u32; 3]| admitted.iter().sum::<u32>();
    assert!(outcome.offenders.len() == 100 && outcome.offenders.values().all(|admitted| total(admitted) == 199));
    println!("token buckets: {} keys, {} bytes each", outcome.most_keys, outcome.most_bytes_a_key);
    assert!(outcome.most_bytes_a_key <= 100, "{}", outcome.most_bytes_a_key);
}

#[test]
fn a_table_that_is_too_small_stays_within_its_bound_and_keeps_those_it_knows() {
    let mut gate = Gate::new(&format!("{}max_keys = 20000\n", limit("sliding_window")));
    let mut sample = Sample::get("/", &[]);
    let mut ask = |gate: &mut Gate, ms: u64, who, n| {
        (sample.client, sample.unix_ms) = (client(who, n), START + ms);
        let now = gate.at(ms).now();
        gate.limits.check(&sample.view(), now) == Verdict::Pass
    };
    assert!((0..10_000).all(|n| ask(&mut gate, 0, Who::Innocent, n)));
    for n in 0..100_000 {
        ask(&mut gate, 1, Who::New, n);
    }
    assert!((0..40).all(|turn| (0..10_000).all(|n| ask(&mut gate, 2 + turn, Who::Innocent, n))));
    let standing = gate.limits.standings().next().unwrap();
    assert_eq!((standing.own.keys, standing.own.full_total), (20_000, 90_000));
    // 90,000 newcomers of 352 networks, of which each may do 8 × 50.
    assert_eq!((standing.networks.keys, standing.networks.full_total), (352, 0));
    assert!(standing.own.bytes + standing.networks.bytes <= 20_352 * 100);
}
