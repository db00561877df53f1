//! The power of two choices by latency.

use proptest::prelude::proptest;

use super::*;

/// Endpoints that take this many milliseconds for each of `requests` requests, one of which begins every `every`; how many each got.
fn simulate(latencies: &[u64], requests: usize, every: u64) -> Vec<usize> {
    let (pool, start) = pool(Strategy::P2cEwma, latencies.len());
    let mut under_way: Vec<(u64, Lease)> = Vec::new();
    let mut counts = vec![0; latencies.len()];
    for request in 0..u64::try_from(requests).unwrap() {
        let ms = request * every;
        let at = |ms| start + Duration::from_millis(ms);
        for (done, lease) in under_way.extract_if(.., |(done, _)| *done <= ms) {
            lease.report(Outcome::Ok, at(done));
        }
        let lease = choose(&pool, &[], at(ms));
        counts[lease.index()] += 1;
        under_way.push((ms + latencies[lease.index()], lease));
    }
    counts
}

#[test]
fn prefers_the_faster() {
    let counts = simulate(&[10, 100], 1_000, 5);
    assert!(counts[0] > 850, "{counts:?}");
    let counts = simulate(&[10, 10, 10, 300], 4_000, 2);
    assert!(counts[3] < 200, "{counts:?}");
    assert!(counts[..3].iter().all(|count| *count > 1_000), "{counts:?}");
}

#[test]
fn spreads_over_equals() {
    for (every, requests) in [(1, 4_000), (100, 4_000)] {
        let counts = simulate(&[20, 20, 20, 20], requests, every);
        assert!(counts.iter().all(|count| (800..=1_200).contains(count)), "{counts:?}");
    }
}

#[test]
fn an_endpoint_without_an_answer_yet_is_not_flooded() {
    let (pool, now) = pool(Strategy::P2cEwma, 4);
    let held: Vec<Lease> = (0..80).map(|_| choose(&pool, &[], now)).collect();
    let in_flight: Vec<usize> = pool.status(now).iter().map(|endpoint| endpoint.in_flight).collect();
    assert!(in_flight.iter().all(|count| (17..=23).contains(count)), "{in_flight:?} of {}", held.len());
}

#[test]
fn a_slow_endpoint_is_tried_again_and_believed_when_it_is_fast() {
    let (pool, now) = pool(Strategy::P2cEwma, 2);
    for (index, ms) in [(0, 10), (1, 1_000)] {
        let mut lease = choose(&pool, &[1 - index], now);
        lease.sent(now);
        lease.report(Outcome::Ok, now + Duration::from_millis(ms));
    }
    let at = |request: u64| now + Duration::from_millis(1_000 + request * 100);
    let chosen: Vec<usize> = (0..2_000)
        .map(|request| {
            let lease = choose(&pool, &[], at(request));
            lease.report(Outcome::Ok, at(request) + Duration::from_millis(10));
            lease.index()
        })
        .collect();
    // A thousand milliseconds decay to ten in 46 seconds.
    let tried = chosen.iter().position(|index| *index == 1).unwrap();
    assert!((400..600).contains(&tried), "tried again at request {tried}");
    let recent = chosen[1_500..].iter().sum::<usize>();
    assert!((100..400).contains(&recent), "{recent} of the last 500");
}

#[test]
fn failing_fast_attracts_nobody() {
    let (pool, now) = pool(Strategy::P2cEwma, 2);
    let at = |ms| now + Duration::from_millis(ms);
    for index in 0..2 {
        choose(&pool, &[1 - index], now).report(Outcome::Ok, at(20));
    }
    let mut failed = 0;
    for request in 0..200 {
        let ms = 20 + request * 10;
        let lease = choose(&pool, &[], at(ms));
        match lease.index() {
            0 => lease.report(Outcome::Ok, at(ms + 20)),
            _ => {
                failed += 1;
                lease.report(Outcome::ServerError, at(ms + 1));
            }
        }
    }
    assert!(failed <= 110, "{failed} of 200 went to the one that fails");
}

#[test]
fn latency_counts_from_the_end_of_an_upload() {
    let (pool, now) = pool(Strategy::P2cEwma, 1);
    let mut lease = choose(&pool, &[], now);
    lease.sent(after(now, 30));
    lease.report(Outcome::Ok, after(now, 31));
    assert_eq!(pool.status(after(now, 31))[0].latency_us, Some(1_000_000));
}

#[test]
fn a_weight_of_two_is_worth_half_the_cost() {
    let (pool, now) = pool_of(Strategy::P2cEwma, &weighted(&[2, 1]));
    let held: Vec<Lease> = (0..90).map(|_| choose(&pool, &[], now)).collect();
    let first = held.iter().filter(|lease| lease.index() == 0).count();
    assert!((58..=62).contains(&first), "{first} of 90");
}

proptest! {
    #[test]
    fn of_two_the_one_with_the_lower_cost_is_chosen(
        latencies in proptest::array::uniform2(1u64..1_000),
        in_flight in proptest::array::uniform2(0usize..10),
    ) {
        let (pool, now) = pool(Strategy::P2cEwma, 2);
        let mut held = Vec::new();
        for index in 0..2 {
            choose(&pool, &[1 - index], now).report(Outcome::Ok, now + Duration::from_millis(latencies[index]));
            held.extend((0..in_flight[index]).map(|_| choose(&pool, &[1 - index], now)));
        }
        let cost = |index: usize| latencies[index] * (in_flight[index] as u64 + 1);
        let now = now + Duration::from_secs(1);
        let chosen = choose(&pool, &[], now).index();
        // The two averages are not of the same moment, and floating point is not exact.
        assert!(cost(chosen) as f64 <= cost(1 - chosen) as f64 * 1.11, "{latencies:?}, {in_flight:?}, chose {chosen}");
    }
}
