//! Least connections, plain and by weight.

use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn least_connections_takes_the_idlest() {
    let (pool, now) = pool(Strategy::LeastConnections, 3);
    let first = choose(&pool, &[], now);
    let second = choose(&pool, &[], now);
    let third = choose(&pool, &[], now);
    let freed = second.index();
    drop(second);
    let again = choose(&pool, &[], now);
    assert_eq!(again.index(), freed);
    drop((first, third, again));
    assert!(pool.status(now).iter().all(|endpoint| endpoint.in_flight == 0));
    assert_eq!(counts(&pool, 300, now), [100, 100, 100], "among equals one after the other");
}

#[test]
fn an_idle_pool_is_used_in_proportion_to_the_weights() {
    let (pool, now) = pool_of(Strategy::WeightedLeastConnections, &weighted(&[3, 1, 2]));
    assert_eq!(counts(&pool, 600, now), [300, 100, 200]);
}

#[test]
fn the_idle_ones_of_a_pool_are_used_in_proportion_to_their_weights() {
    let (pool, now) = pool_of(Strategy::WeightedLeastConnections, &weighted(&[3, 1, 1]));
    let _busy: Vec<Lease> = (0..2).map(|_| choose(&pool, &[0, 1], now)).collect();
    assert_eq!(counts(&pool, 400, now), [300, 100, 0]);
}

#[test]
fn a_busy_pool_is_filled_in_proportion_to_the_weights() {
    let (pool, now) = pool_of(Strategy::WeightedLeastConnections, &weighted(&[3, 1, 2]));
    let held: Vec<Lease> = (0..60).map(|_| choose(&pool, &[], now)).collect();
    let in_flight: Vec<usize> = pool.status(now).iter().map(|endpoint| endpoint.in_flight).collect();
    assert_eq!((held.len(), in_flight), (60, vec![30, 10, 20]));
}

proptest! {
    #[test]
    fn least_connections_never_differ_by_more_than_one_without_releases(count in 1usize..12, requests in 0usize..100) {
        let (pool, now) = pool(Strategy::LeastConnections, count);
        let held: Vec<Lease> = (0..requests).map(|_| choose(&pool, &[], now)).collect();
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
            let lease = choose(&pool, &[], now);
            assert_eq!(pool.status(now)[lease.index()].in_flight, fewest + 1);
            held.push(lease);
        }
    }

    #[test]
    fn the_chosen_had_the_fewest_in_flight_for_its_weight(
        weights in proptest::collection::vec(1u32..10, 2..6),
        steps in proptest::collection::vec(any::<(bool, u8)>(), 0..80),
    ) {
        let (pool, now) = pool_of(Strategy::WeightedLeastConnections, &weighted(&weights));
        let mut held: Vec<Lease> = Vec::new();
        for (release, which) in steps {
            if release && !held.is_empty() {
                drop(held.swap_remove(usize::from(which) % held.len()));
                continue;
            }
            let status = pool.status(now);
            let chosen = choose(&pool, &[], now);
            let load = |index: usize| (status[index].in_flight as u64, u64::from(weights[index]));
            let (mine, weight) = load(chosen.index());
            for index in 0..weights.len() {
                let (other, other_weight) = load(index);
                assert!(mine * other_weight <= other * weight, "{status:?}, chose {}", chosen.index());
            }
            held.push(chosen);
        }
    }
}
