//! Authorities at home, with and without replication.

use std::collections::HashSet;

use super::*;

/// An endpoint of weight 1 is overloaded with more than four in flight, idle with less than two.
fn pool_with(strategy: Strategy, count: usize) -> (Pool, Instant) {
    let now = clock::now();
    let tuning = Tuning { requests_per_weight: 4, ..Tuning::default() };
    (Pool::compile(&PoolConfig { tuning, ..config(strategy) }, &endpoints(count), None, now), now)
}

fn home(pool: &Pool, authority: &str, now: Instant) -> Lease {
    pool.choose(&call(authority), &[], now).unwrap()
}

#[test]
fn an_authority_stays_at_home_and_homes_are_spread() {
    for strategy in [Strategy::Locality, Strategy::LocalityReplicated] {
        let (pool, now) = pool_with(strategy, 4);
        let names: Vec<String> = (0..40).map(|number| format!("host-{number}")).collect();
        let homes: Vec<usize> = names.iter().map(|name| home(&pool, name, now).index()).collect();
        for index in 0..4 {
            assert_eq!(homes.iter().filter(|home| **home == index).count(), 10, "{strategy:?}");
        }
        for round in 0..3 {
            let now = after(now, round * 100);
            let again: Vec<usize> = names.iter().map(|name| home(&pool, name, now).index()).collect();
            assert_eq!(again, homes, "{strategy:?}");
        }
    }
}

#[test]
fn homes_follow_the_weights() {
    let (pool, now) = pool_of(Strategy::Locality, &weighted(&[3, 1]));
    for number in 0..400 {
        drop(home(&pool, &format!("host-{number}"), now));
    }
    let requests: Vec<u64> = pool.status(now).iter().map(|endpoint| endpoint.requests_total).collect();
    assert_eq!(requests, [300, 100]);
}

#[test]
fn an_authority_moves_when_its_home_is_overloaded_and_somebody_is_idle() {
    let (pool, now) = pool_with(Strategy::Locality, 2);
    let mut held: Vec<Lease> = (0..5).map(|_| home(&pool, "hot", now)).collect();
    let first = held[0].index();
    assert!(held.iter().all(|lease| lease.index() == first), "up to its capacity it stays");
    held.push(home(&pool, "hot", now));
    let second = held[5].index();
    assert_ne!(second, first, "five are more than four, and the other one has none");
    held.clear();
    assert_eq!(home(&pool, "hot", now).index(), second, "it has moved for good");
}

#[test]
fn nobody_moves_when_everybody_is_busy() {
    let (pool, now) = pool_with(Strategy::Locality, 2);
    let first = home(&pool, "hot", now).index();
    let other = 1 - first;
    let _busy: Vec<Lease> = (0..2).map(|_| choose(&pool, &[first], now)).collect();
    let held: Vec<Lease> = (0..20).map(|_| home(&pool, "hot", now)).collect();
    assert!(held.iter().all(|lease| lease.index() == first), "{other} has half of its capacity in flight");
}

#[test]
fn an_authority_moves_when_its_home_is_out() {
    for strategy in [Strategy::Locality, Strategy::LocalityReplicated] {
        let (pool, now) = pool_with(strategy, 3);
        let first = home(&pool, "shop", now).index();
        take_down(&pool, first, now);
        let second = home(&pool, "shop", now).index();
        assert_ne!(second, first);
        assert_eq!(home(&pool, "shop", now).index(), second);
        assert_eq!(pool.totals().panics, 0);
    }
}

#[test]
fn a_set_of_homes_grows_under_load_and_shrinks_after_it() {
    let (pool, now) = pool_with(Strategy::LocalityReplicated, 4);
    let held: Vec<Lease> = (0..12).map(|_| home(&pool, "hot", now)).collect();
    let homes: HashSet<usize> = held.iter().map(Lease::index).collect();
    assert_eq!(homes.len(), 3, "five, five and two more");
    let most = held[0].index();
    // Of idle homes the first one is taken; so this one is loaded a little.
    let kept: Vec<Lease> = held.into_iter().filter(|lease| lease.index() == most).take(3).collect();
    let asked = |now: Instant| (0..9).map(|_| home(&pool, "hot", now).index()).collect::<HashSet<usize>>();
    assert!(asked(after(now, 60)).is_subset(&homes));
    drop(kept);
    for (seconds, at_most) in [(61, 2), (122, 1)] {
        let now = after(now, seconds);
        drop(home(&pool, "hot", now));
        let held: Vec<Lease> = (0..4).map(|_| home(&pool, "hot", now)).collect();
        let homes: HashSet<usize> = held.iter().map(Lease::index).collect();
        assert_eq!(homes.len(), at_most, "after {seconds} s");
    }
}

#[test]
fn a_set_has_eight_homes_at_most() {
    let (pool, now) = pool_with(Strategy::LocalityReplicated, 20);
    let held: Vec<Lease> = (0..200).map(|_| home(&pool, "hot", now)).collect();
    assert!(held.iter().map(Lease::index).collect::<HashSet<usize>>().len() > 8, "a flood goes on to others");
    drop(held);
    let asked: HashSet<usize> =
        (0..100).map(|_| home(&pool, "hot", now)).collect::<Vec<_>>().iter().map(Lease::index).collect();
    assert!(asked.len() >= 2);
}

#[test]
fn homes_outlive_a_reload() {
    let (before, now) = pool_with(Strategy::Locality, 4);
    let names: Vec<String> = (0..40).map(|number| format!("host-{number}")).collect();
    let homes: Vec<SocketAddr> = names.iter().map(|name| home(&before, name, now).address()).collect();
    let mut others = endpoints(6);
    others.remove(2);
    others.reverse();
    let pool = Pool::compile(&config(Strategy::LocalityReplicated), &others, Some(&before), now);
    for (name, was) in names.iter().zip(&homes) {
        let is = home(&pool, name, now).address();
        assert_eq!(is == *was, *was != address(2), "{name}");
    }
}

#[test]
fn the_table_is_bounded_and_keeps_who_is_called() {
    let (pool, now) = pool_with(Strategy::Locality, 4);
    let kept = home(&pool, "kept", now).index();
    for number in 0..20_000_u64 {
        let now = now + Duration::from_millis(number);
        drop(home(&pool, &format!("host-{number}"), now));
        assert_eq!(home(&pool, "kept", now).index(), kept);
    }
    let known = pool.authorities_at_home();
    assert!((2_000..=4_096).contains(&known), "{known}");
}
