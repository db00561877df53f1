//! Consistent hashing by client and by authority.

use proptest::prelude::{any, proptest};

use super::*;

/// Clients asked about.
const KEYS: u32 = 5_000;

fn owners(pool: &Pool, now: Instant) -> Vec<SocketAddr> {
    (0..KEYS).map(|client| pool.choose(&from(client), &[], now).unwrap().address()).collect()
}

#[test]
fn when_one_leaves_only_its_keys_move_and_they_are_one_nth() {
    for count in 2..=10_usize {
        let (whole, now) = pool(Strategy::SourceHash, count);
        let before = owners(&whole, now);
        for leaver in 0..count {
            let mut rest = endpoints(count);
            rest.remove(leaver);
            let after = owners(&Pool::compile(&config(Strategy::SourceHash), &rest, None, now), now);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
            let (moved, others): (Vec<_>, Vec<_>) = moved.partition(|(before, _)| **before == address(leaver));
            assert!(others.is_empty(), "a key moved whose endpoint stayed");
            let share = moved.len() as f64 / f64::from(KEYS);
            let fair = 1.0 / count as f64;
            // Four standard deviations of so many draws.
            let chance = 4.0 * (fair * (1.0 - fair) / f64::from(KEYS)).sqrt();
            assert!(share <= fair + chance, "{share} of the keys moved when one of {count} left");
            for heir in (0..count).filter(|heir| *heir != leaver && count > 2) {
                let inherited = moved.iter().filter(|(_, after)| **after == address(heir)).count();
                let fair = moved.len() / (count - 1);
                assert!(inherited.abs_diff(fair) <= fair / 2 + 20, "{inherited} of {} went to one", moved.len());
            }
        }
    }
}

#[test]
fn who_is_out_is_missed_like_who_is_gone_and_gets_its_keys_back() {
    for strategy in [Strategy::SourceHash, Strategy::DestinationHash] {
        let (pool, now) = pool(strategy, 5);
        let calls: Vec<String> = (0..500).map(|number| format!("host-{number}.example")).collect();
        let ask = |pool: &Pool| -> Vec<SocketAddr> {
            let each = calls
                .iter()
                .enumerate()
                .map(|(client, authority)| Call { authority, ..from(u32::try_from(client).unwrap()) });
            each.map(|call| pool.choose(&call, &[], now).unwrap().address()).collect()
        };
        let before = ask(&pool);
        take_down(&pool, 3, now);
        let mut rest = endpoints(5);
        rest.remove(3);
        let without = Pool::compile(&config(strategy), &rest, None, now);
        assert_eq!(ask(&pool), ask(&without));
        bring_up(&pool, 3, now);
        assert_eq!(ask(&pool), before);
    }
}

#[test]
fn the_place_in_the_list_means_nothing() {
    let (pool, now) = pool(Strategy::SourceHash, 6);
    let mut reversed = endpoints(6);
    reversed.reverse();
    assert_eq!(owners(&pool, now), owners(&Pool::compile(&config(Strategy::SourceHash), &reversed, None, now), now));
}

#[test]
fn keys_spread_in_proportion_to_the_weights() {
    let (pool, now) = pool_of(Strategy::SourceHash, &weighted(&[1, 2, 5, 2]));
    let owners = owners(&pool, now);
    for (index, share) in [0.1, 0.2, 0.5, 0.2].into_iter().enumerate() {
        let owned = owners.iter().filter(|owner| **owner == address(index)).count();
        let expected = share * f64::from(KEYS);
        assert!((owned as f64 - expected).abs() < expected * 0.1, "{owned} instead of {expected}");
    }
}

#[test]
fn changing_one_weight_moves_keys_to_or_from_that_endpoint_only() {
    let (before, now) = pool_of(Strategy::SourceHash, &weighted(&[2, 2, 2]));
    let after = Pool::compile(&config(Strategy::SourceHash), &weighted(&[2, 3, 2]), None, now);
    let (before, after) = (owners(&before, now), owners(&after, now));
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(!moved.is_empty() && moved.iter().all(|(_, after)| **after == address(1)));
}

#[test]
fn a_client_keeps_its_endpoint_whatever_it_calls_and_an_authority_whoever_calls() {
    let (by_client, now) = pool(Strategy::SourceHash, 7);
    let (by_authority, _) = pool(Strategy::DestinationHash, 7);
    for number in 0..100 {
        let authority = format!("host-{number}");
        let of_client = by_client.choose(&call(&authority), &[], now).unwrap().index();
        assert_eq!(of_client, choose(&by_client, &[], now).index());
        let of_authority = by_authority.choose(&from(number), &[], now).unwrap().index();
        assert_eq!(of_authority, choose(&by_authority, &[], now).index());
    }
}

#[test]
fn an_authority_that_is_called_too_often_overflows_to_others() {
    let (pool, now) = pool(Strategy::DestinationHash, 4);
    let home = choose(&pool, &[], now).index();
    let held: Vec<Lease> = (0..100).map(|_| choose(&pool, &[], now)).collect();
    let in_flight: Vec<usize> = pool.status(now).iter().map(|endpoint| endpoint.in_flight).collect();
    assert_eq!(in_flight.iter().max(), Some(&in_flight[home]), "{in_flight:?}");
    // 1.25 times a quarter of 100.
    assert_eq!((held.len(), in_flight[home]), (100, 32));
}

proptest! {
    #[test]
    fn bounded_loads_never_exceed_the_bound(
        weights in proptest::collection::vec(1u32..6, 1..8),
        percent in 101u32..300,
        steps in proptest::collection::vec((0u8..6, any::<bool>(), any::<u8>()), 1..200),
    ) {
        let now = clock::now();
        let tuning = Tuning { load_bound_percent: percent, ..Tuning::default() };
        let config = PoolConfig { tuning, ..config(Strategy::DestinationHash) };
        let pool = Pool::compile(&config, &weighted(&weights), None, now);
        let all: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut held: Vec<Lease> = Vec::new();
        for (authority, releases, which) in steps {
            if releases && !held.is_empty() {
                drop(held.swap_remove(usize::from(which) % held.len()));
                continue;
            }
            held.push(pool.choose(&call(&format!("host-{authority}")), &[], now).unwrap());
            let chosen = held.last().unwrap().index();
            let in_flight = pool.status(now)[chosen].in_flight as u64;
            let bound = (u64::from(percent) * held.len() as u64 * u64::from(weights[chosen])).div_ceil(100 * all);
            assert!(in_flight <= bound, "{in_flight} in flight, {bound} allowed");
        }
    }
}
