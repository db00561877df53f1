//! One's own zone first.

use super::health::ALL;
use super::*;

/// Four endpoints in zone a, two in zone b, two in none; this node is in a.
fn zoned() -> Vec<EndpointSpec> {
    let zones = [Some("a"), Some("a"), Some("a"), Some("a"), Some("b"), Some("b"), None, None];
    let numbered = endpoints(zones.len()).into_iter().zip(zones);
    numbered.map(|(endpoint, zone)| EndpointSpec { zone: zone.map(Into::into), ..endpoint }).collect()
}

fn pool_in(zone: Option<&str>, strategy: Strategy, tuning: Tuning) -> (Pool, Instant) {
    let now = clock::now();
    let config = PoolConfig { zone: zone.map(Into::into), tuning, ..config(strategy) };
    (Pool::compile(&config, &zoned(), None, now), now)
}

/// How many of 4,000 calls by different clients to different authorities stay in zone a.
fn stay(pool: &Pool, now: Instant) -> usize {
    let calls = (0..4_000).map(|number| (format!("host-{number}"), number));
    let stays = calls
        .filter(|(authority, number)| pool.choose(&Call { authority, ..from(*number) }, &[], now).unwrap().index() < 4);
    stays.count()
}

#[test]
fn everything_stays_in_the_own_zone_while_enough_are_left_there() {
    for strategy in ALL {
        let (pool, now) = pool_in(Some("a"), strategy, Tuning::default());
        assert_eq!(stay(&pool, now), 4_000, "{strategy:?}");
        take_down(&pool, 0, now);
        assert_eq!(
            stay(&pool, now),
            4_000,
            "{strategy:?}: three of four are 75 %, and 1.4 times that is more than all"
        );
        assert_eq!(pool.totals().zone_overflow, 0);
    }
}

#[test]
fn what_the_zone_cannot_carry_goes_to_all_others() {
    for strategy in ALL {
        let (pool, now) = pool_in(Some("a"), strategy, Tuning::default());
        for (out, percent) in [(0, 100), (1, 100), (2, 70), (3, 35), (4, 0)] {
            if out > 0 {
                take_down(&pool, out - 1, now);
            }
            let before = pool.totals().zone_overflow;
            let stays = stay(&pool, now);
            assert!(stays.abs_diff(percent * 40) <= 120, "{strategy:?}: {stays} of 4000 with {out} out");
            assert_eq!(pool.totals().zone_overflow - before, 4_000 - stays as u64);
        }
        let others: Vec<u64> = pool.status(now)[4..].iter().map(|endpoint| endpoint.requests_total).collect();
        let mean = others.iter().sum::<u64>() / 4;
        assert!(others.iter().all(|count| count.abs_diff(mean) < mean / 5), "{strategy:?}: {others:?}");
        assert_eq!(pool.totals().panics, 0, "{strategy:?}");
    }
}

#[test]
fn round_robin_is_even_within_the_zone() {
    let (pool, now) = pool_in(Some("b"), Strategy::RoundRobin, Tuning::default());
    assert_eq!(counts(&pool, 100, now), [0, 0, 0, 0, 50, 50, 0, 0]);
}

#[test]
fn a_key_does_not_go_back_and_forth() {
    for strategy in [Strategy::SourceHash, Strategy::DestinationHash, Strategy::Locality] {
        let (pool, now) = pool_in(Some("a"), strategy, Tuning::default());
        take_down(&pool, 0, now);
        take_down(&pool, 1, now);
        for number in 0..200 {
            let authority = format!("host-{number}");
            let homes: Vec<usize> = (0..5)
                .map(|_| pool.choose(&Call { authority: &authority, ..from(number) }, &[], now).unwrap().index())
                .collect();
            assert!(homes.iter().all(|home| *home == homes[0]), "{strategy:?}: {homes:?}");
        }
    }
}

#[test]
fn without_a_zone_or_a_preference_everybody_is_equal() {
    let off = Tuning { prefer_own_zone: false, ..Tuning::default() };
    for (zone, tuning) in [(None, Tuning::default()), (Some("c"), Tuning::default()), (Some("a"), off)] {
        let (pool, now) = pool_in(zone, Strategy::RoundRobin, tuning);
        assert_eq!(counts(&pool, 800, now), [100; 8], "{zone:?}");
        assert_eq!(pool.totals().zone_overflow, 0);
    }
}

#[test]
fn a_retry_leaves_the_zone_when_everybody_there_was_tried() {
    let (pool, now) = pool_in(Some("b"), Strategy::LeastConnections, Tuning::default());
    let lease = choose(&pool, &[4, 5], now);
    assert!(lease.index() < 4 || lease.index() > 5);
    assert_eq!(pool.totals().panics, 0);
}
