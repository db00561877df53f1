//! When an endpoint is ejected, for how long, and when not.

use proptest::prelude::proptest;

use super::*;

fn pool_with(ejection: Ejection, count: usize) -> (Pool, Instant) {
    let now = clock::now();
    (Pool::compile(&PoolConfig { ejection, ..config(Strategy::RoundRobin) }, &endpoints(count), None, now), now)
}

#[test]
fn a_refused_connection_ejects_at_once_and_failures_after_three() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    end(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Ejected);
    end(&pool, 1, Outcome::TransportFailed, now);
    end(&pool, 1, Outcome::GatewayFailed, now);
    end(&pool, 1, Outcome::Ok, now);
    end(&pool, 1, Outcome::ConnectTimedOut, now);
    end(&pool, 1, Outcome::TransportFailed, now);
    assert_eq!(state(&pool, 1, now), EndpointState::Up, "an answer ends a run of failures");
    end(&pool, 1, Outcome::TransportFailed, now);
    assert_eq!(state(&pool, 1, now), EndpointState::Ejected);
}

#[test]
fn refused_connections_have_a_count_of_their_own() {
    let ejection = Ejection { consecutive_connect_failures: 2, consecutive_failures: 100, ..Ejection::default() };
    let (pool, now) = pool_with(ejection, 2);
    end(&pool, 0, Outcome::ConnectFailed, now);
    end(&pool, 0, Outcome::TransportFailed, now);
    end(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Up, "there was a connection in between");
    end(&pool, 0, Outcome::ConnectTimedOut, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Up, "a timeout is no refusal");
    end(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, now), EndpointState::Ejected);
}

#[test]
fn too_large_a_share_of_failures_ejects_without_a_run_of_them() {
    for outcome in [Outcome::GatewayFailed, Outcome::ServerError, Outcome::TransportFailed] {
        let (pool, now) = pool(Strategy::RoundRobin, 2);
        for request in 0..18 {
            end(&pool, 0, if request % 2 == 0 { outcome } else { Outcome::Ok }, now);
        }
        end(&pool, 0, Outcome::Ok, now);
        assert_eq!(state(&pool, 0, now), EndpointState::Up, "{outcome:?}: 9 of 19");
        end(&pool, 0, outcome, now);
        assert_eq!(state(&pool, 0, now), EndpointState::Ejected, "{outcome:?}: 10 of 20");
    }
}

#[test]
fn failures_that_are_long_past_are_forgotten() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    (0..100).for_each(|_| end(&pool, 0, Outcome::ServerError, now));
    assert_eq!(state(&pool, 0, now), EndpointState::Ejected);
    let (pool, now) = self::pool(Strategy::RoundRobin, 2);
    (0..19).for_each(|_| end(&pool, 0, Outcome::ServerError, now));
    (0..19).for_each(|_| end(&pool, 0, Outcome::ServerError, after(now, 11)));
    assert_eq!(state(&pool, 0, after(now, 11)), EndpointState::Up);
}

#[test]
fn one_that_answers_nothing_but_errors_is_out_soon_however_well_it_did_before() {
    // A hundred a second for a minute, so that the window is full of good ones.
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    let at = |request: u64| now + Duration::from_millis(request * 10);
    (0..6_000).for_each(|request| end(&pool, 0, Outcome::Ok, at(request)));
    for request in 6_000..6_019 {
        end(&pool, 0, Outcome::ServerError, at(request));
    }
    assert_eq!(state(&pool, 0, at(6_019)), EndpointState::Up, "19 in a row say nothing yet");
    end(&pool, 0, Outcome::ServerError, at(6_019));
    assert_eq!(state(&pool, 0, at(6_019)), EndpointState::Ejected, "a fifth of a second, and not half of the window");
    // A good one in between, and the share of the window decides.
    (0..6_000).for_each(|request| end(&pool, 1, Outcome::Ok, at(request)));
    for request in 6_000..6_100 {
        end(&pool, 1, if request % 10 == 9 { Outcome::Ok } else { Outcome::ServerError }, at(request));
    }
    assert_eq!(state(&pool, 1, at(6_100)), EndpointState::Up, "90 of more than 500");
}

#[test]
fn errors_of_its_own_never_eject_by_their_number_in_a_row_where_their_share_does_not() {
    let (pool, now) = pool_with(Ejection { failure_percent: 0, ..Ejection::default() }, 2);
    (0..1_000).for_each(|_| end(&pool, 0, Outcome::ServerError, now));
    assert_eq!(state(&pool, 0, now), EndpointState::Up);
    assert_eq!(pool.status(now)[0].failures_total, 1_000);
}

#[test]
fn the_time_of_an_ejection_doubles_up_to_its_maximum_and_starts_again_after_good_times() {
    let (pool, mut now) = pool(Strategy::RoundRobin, 2);
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        end(&pool, 0, Outcome::ConnectFailed, now);
        assert_eq!(state(&pool, 0, after(now, expected - 1)), EndpointState::Ejected, "{expected}");
        now = after(now, expected);
        assert_eq!(state(&pool, 0, now), EndpointState::Returning, "{expected}");
    }
    now = after(now, 301);
    end(&pool, 0, Outcome::ConnectFailed, now);
    assert_eq!(state(&pool, 0, after(now, 10)), EndpointState::Returning);
}

#[test]
fn never_ejects_more_than_the_floor_allows() {
    let (pool, now) = pool(Strategy::RoundRobin, 5);
    for index in 0..5 {
        end(&pool, index, Outcome::ConnectFailed, now);
    }
    assert_eq!(pool.usable(now), 3);
    assert_eq!(pool.totals().floor, 3);
    let (single, now) = self::pool(Strategy::RoundRobin, 1);
    end(&single, 0, Outcome::ConnectFailed, now);
    assert_eq!(single.usable(now), 1, "the only one is never ejected");
}

#[test]
fn the_floor_holds_when_everybody_fails_at_once() {
    for round in 0..50 {
        let (pool, now) = pool(Strategy::RoundRobin, 10);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for request in 0..200_usize {
                        let index = (request * 7 + thread * 3 + round) % 10;
                        let others: Vec<usize> = (0..10).filter(|other| *other != index).collect();
                        let now = now + Duration::from_millis(u64::try_from(request).unwrap());
                        let outcome = if request % 5 == 0 { Outcome::TransportFailed } else { Outcome::ConnectFailed };
                        choose(pool, &others, now).report(outcome, now);
                        let out = pool.status(now).iter().filter(|one| one.state == EndpointState::Ejected).count();
                        assert!(out <= 5, "{out} of 10 were out");
                    }
                });
            }
        });
        assert!(pool.totals().floor > 0);
    }
}

proptest! {
    #[test]
    fn the_floor_holds_whatever_fails(
        count in 1usize..12,
        percent in 0u8..=100,
        failures in proptest::collection::vec((0usize..12, 0u64..30), 0..100),
    ) {
        let (pool, mut now) = pool_with(Ejection { max_percent: percent, ..Ejection::default() }, count);
        for (which, pause) in failures {
            now = after(now, pause);
            end(&pool, which % count, Outcome::ConnectFailed, now);
            let out = pool.status(now).iter().filter(|endpoint| endpoint.state != EndpointState::Up).count();
            assert!(out * 100 <= count * usize::from(percent), "{out} of {count} at {percent} %");
        }
    }
}
