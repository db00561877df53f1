//! Who is out, and who is tried again.

use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn does_not_choose_what_was_tried() {
    for strategy in [Strategy::RoundRobin, Strategy::SourceHash, Strategy::DestinationHash, Strategy::P2cEwma] {
        let (pool, now) = pool(strategy, 3);
        for _ in 0..10 {
            assert_eq!(choose(&pool, &[0, 2], now).index(), 1);
        }
        assert!(pool.choose(&CALL, &[0, 1, 2], now).is_none());
        let (empty, now) = self::pool(strategy, 0);
        assert!(empty.choose(&CALL, &[], now).is_none() && empty.is_empty());
    }
}

#[test]
fn a_returning_endpoint_is_tried_by_one_request() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    end(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(counts(&pool, 10, after(now, 9)), [0, 10]);
    let now = after(now, 10);
    assert_eq!(state(&pool, 0, now), EndpointState::Returning);
    let mut held: Vec<Lease> = (0..10).map(|_| choose(&pool, &[], now)).collect();
    let trial = held.iter().position(|lease| lease.index() == 0).unwrap();
    assert_eq!(held.iter().filter(|lease| lease.index() == 0).count(), 1);
    let trial = held.remove(trial);
    drop(trial);
    let mut held: Vec<Lease> = (0..10).map(|_| choose(&pool, &[], now)).collect();
    assert_eq!(held.iter().filter(|lease| lease.index() == 0).count(), 1, "a trial without outcome frees the place");
    held.iter().find(|lease| lease.index() == 0).unwrap().report(Outcome::Ok, now);
    held.clear();
    assert_eq!(counts(&pool, 10, now), [5, 5]);
}

#[test]
fn an_error_of_its_own_does_not_prove_a_returning_endpoint() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    end(&pool, 0, Outcome::ConnectFailed, now);
    let now = after(now, 10);
    end(&pool, 0, Outcome::ServerError, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Returning, "neither in nor ejected");
    end(&pool, 0, Outcome::Ok, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
}

#[test]
fn what_can_stay_where_it_is_goes_to_healthy_endpoints_only() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    take_down(&pool, 2, now);
    assert!(pool.has_others(&[], 0, now) && pool.has_others(&[2], 0, now));
    assert_eq!(pool.choose_healthy(&CALL, &[0], now).unwrap().index(), 1);
    assert!(!pool.has_others(&[1], 0, now), "only the one that is down is left");
    assert!(pool.choose_healthy(&CALL, &[0, 1], now).is_none());
    assert_eq!(choose(&pool, &[0, 1], now).index(), 2, "what has nowhere to stay is sent even there");
    assert_eq!(pool.totals().panics, 1);
}

#[test]
fn when_nobody_is_healthy_everybody_is_tried() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    for index in 0..2 {
        take_down(&pool, index, now);
    }
    assert_eq!(pool.usable(now), 0);
    assert_eq!(counts(&pool, 10, now), [5, 5]);
    assert_eq!(pool.totals().panics, 10);
}

#[test]
fn probes_fall_and_rise() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    let probed = |is_healthy| pool.probed(0, is_healthy, now);
    assert_eq!(probed(false), None);
    assert_eq!(probed(false), None);
    assert_eq!(probed(true), None);
    assert_eq!(probed(false), None, "a success in between starts the count again");
    assert_eq!(probed(false), None);
    let change = ProbeChange { address: address(0), is_healthy: false, ended_ejection: false };
    assert_eq!(probed(false), Some(change));
    assert_eq!(state(&pool, 0, now), EndpointState::Down);
    assert_eq!(counts(&pool, 10, now), [0, 5, 5]);
    assert_eq!(probed(true), None);
    assert_eq!(probed(true), Some(ProbeChange { is_healthy: true, ..change }));
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
    assert_eq!(pool.probed(9, true, now), None);
}

#[test]
fn good_probes_end_the_ejection_of_an_endpoint_that_could_not_be_connected_to() {
    for outcome in [Outcome::ConnectFailed, Outcome::ConnectTimedOut] {
        let (pool, now) = pool(Strategy::RoundRobin, 2);
        (0..3).for_each(|_| end(&pool, 0, outcome, now));
        assert_eq!(state(&pool, 0, now), EndpointState::Ejected);
        assert_eq!(pool.probed(0, true, now), None);
        assert_eq!(pool.probed(0, true, now), None, "sent before the ejection, so they say nothing about it");
        assert_eq!(pool.probed(0, true, after(now, 1)), None);
        assert_eq!(pool.probed(0, false, after(now, 2)), None, "the count starts again");
        assert_eq!(pool.probed(0, true, after(now, 3)), None);
        assert_eq!(state(&pool, 0, after(now, 3)), EndpointState::Ejected);
        let change = ProbeChange { address: address(0), is_healthy: true, ended_ejection: true };
        assert_eq!(pool.probed(0, true, after(now, 4)), Some(change));
        assert_eq!(state(&pool, 0, after(now, 4)), EndpointState::Up);
        assert_eq!(pool.status(now)[0].early_returns_total, 1);
        assert_eq!(counts(&pool, 10, after(now, 4)), [5, 5]);
    }
}

#[test]
fn where_requests_fail_and_probes_do_not_an_ejection_takes_its_time() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    (0..3).for_each(|_| end(&pool, 0, Outcome::TransportFailed, now));
    for second in 1..=9 {
        assert_eq!(pool.probed(0, true, after(now, second)), None);
    }
    assert_eq!(state(&pool, 0, after(now, 9)), EndpointState::Ejected);
}

#[test]
fn probes_that_were_bad_and_are_good_again_end_any_ejection() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    (0..3).for_each(|_| end(&pool, 0, Outcome::GatewayFailed, now));
    for (second, is_healthy) in [(1, true), (2, true), (3, false), (4, true)] {
        assert_eq!(pool.probed(0, is_healthy, after(now, second)), None);
    }
    assert!(pool.probed(0, true, after(now, 5)).unwrap().ended_ejection);
    assert_eq!(state(&pool, 0, after(now, 5)), EndpointState::Up);
}

#[test]
fn an_early_return_that_was_too_early_makes_the_next_ejection_longer() {
    let (pool, mut now) = pool(Strategy::RoundRobin, 2);
    for expected in [10, 20, 40] {
        end(&pool, 0, Outcome::ConnectFailed, now);
        assert_eq!(state(&pool, 0, after(now, expected - 1)), EndpointState::Ejected, "{expected}");
        assert_eq!(state(&pool, 0, after(now, expected)), EndpointState::Returning, "{expected}");
        // Out for five seconds each time, and working for less.
        now = after(now, 5);
        bring_up(&pool, 0, now);
        assert_eq!(state(&pool, 0, now), EndpointState::Up);
        now = after(now, 1);
    }
}

#[test]
fn a_probe_that_rises_ends_an_ejection() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    end(&pool, 0, Outcome::ConnectFailed, now);
    for healthy in [false, false, false, true, true] {
        pool.probed(0, healthy, now);
    }
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
}

#[test]
fn a_reload_keeps_health_and_what_is_in_flight() {
    let (before, now) = pool(Strategy::RoundRobin, 3);
    end(&before, 0, Outcome::ConnectFailed, now);
    let lease = choose(&before, &[0, 1], now);
    let mut fewer = endpoints(4);
    fewer.remove(1);
    let pool = Pool::compile(&config(Strategy::LeastConnections), &fewer, Some(&before), now);
    drop(before);
    let status = pool.status(now);
    assert_eq!(status[0].state, EndpointState::Ejected);
    assert_eq!((status[1].address, status[1].in_flight), (lease.address(), 1));
    assert_eq!((status[2].state, status[2].requests_total), (EndpointState::Up, 0));
    drop(lease);
    assert_eq!(pool.status(now)[1].in_flight, 0);
    take_down(&pool, 1, now);
    let unprobed = PoolConfig { probe: None, ..config(Strategy::RoundRobin) };
    let unprobed = Pool::compile(&unprobed, &fewer, Some(&pool), now);
    assert_eq!(state(&unprobed, 1, now), EndpointState::Up, "without probes nobody is down");
    assert_eq!(unprobed.usable(now), 2);
    assert_eq!(state(&pool, 1, now), EndpointState::Down, "compiling changes nothing of the pool before");
}

proptest! {
    #[test]
    fn whoever_is_chosen_was_not_tried_and_is_up_if_anybody_is(
        strategy in 0usize..9,
        down in proptest::collection::vec(any::<bool>(), 1..8),
        tried in proptest::collection::vec(0usize..8, 0..4),
        client in any::<u32>(),
    ) {
        let strategy = ALL[strategy];
        let (pool, now) = pool(strategy, down.len());
        for (index, _) in down.iter().enumerate().filter(|(_, down)| **down) {
            take_down(&pool, index, now);
        }
        let left: Vec<usize> = (0..down.len()).filter(|index| !tried.contains(index)).collect();
        let is_anybody_up = left.iter().any(|index| !down[*index]);
        match pool.choose(&from(client), &tried, now) {
            None => assert!(left.is_empty()),
            Some(lease) => {
                assert!(left.contains(&lease.index()));
                assert_eq!(down[lease.index()], !is_anybody_up);
            }
        }
    }
}

/// Every strategy.
pub(super) const ALL: [Strategy; 9] = [
    Strategy::RoundRobin,
    Strategy::WeightedRoundRobin,
    Strategy::LeastConnections,
    Strategy::WeightedLeastConnections,
    Strategy::Locality,
    Strategy::LocalityReplicated,
    Strategy::SourceHash,
    Strategy::DestinationHash,
    Strategy::P2cEwma,
];
