//! Who returns comes up slowly.

use super::health::ALL;
use super::*;

/// How long slow start takes, in seconds.
const WARM: u64 = 100;

fn pool_with(strategy: Strategy, count: usize) -> (Pool, Instant) {
    let now = clock::now();
    let tuning = Tuning { slow_start: HumanDuration::from_secs(WARM), ..Tuning::default() };
    (Pool::compile(&PoolConfig { tuning, ..config(strategy) }, &endpoints(count), None, now), now)
}

/// How many of 4,000 requests, each by another client to another authority, endpoint 0 gets; at any time 12 are in flight.
fn requests_of_the_returned(pool: &Pool, now: Instant) -> usize {
    let mut under_way = std::collections::VecDeque::new();
    let mut count = 0;
    for number in 0..4_000 {
        let authority = format!("host-{number}-{:?}", now);
        let lease = pool.choose(&Call { authority: &authority, ..from(number) }, &[], now).unwrap();
        count += usize::from(lease.index() == 0);
        under_way.push_back(lease);
        if under_way.len() > 12 {
            under_way.pop_front();
        }
    }
    count
}

#[test]
fn the_share_of_a_returned_endpoint_ramps_up_with_every_strategy() {
    for strategy in ALL {
        let (pool, now) = pool_with(strategy, 4);
        take_down(&pool, 0, now);
        bring_up(&pool, 0, now);
        let mut before = 0;
        for (percent, most) in [(0, 170), (10, 170), (50, 650), (90, 1_080), (100, 1_300)] {
            let now = after(now, WARM * percent / 100);
            let count = requests_of_the_returned(&pool, now);
            assert_eq!(pool.status(now)[0].share_percent, percent.max(10));
            assert!(count <= most, "{strategy:?} at {percent} %: {count}");
            assert!(count + 60 >= before, "{strategy:?} at {percent} %: {count} after {before}");
            before = count;
        }
        assert!(before >= 850, "{strategy:?}: {before} of 4000 in the end");
    }
}

#[test]
fn slow_start_begins_with_the_end_of_an_ejection_too() {
    let (pool, now) = pool_with(Strategy::RoundRobin, 2);
    end(&pool, 0, Outcome::ConnectFailed, now);
    let now = after(now, 10);
    assert_eq!(pool.status(now)[0].share_percent, 100, "not yet");
    end(&pool, 0, Outcome::Ok, now);
    assert_eq!(pool.status(now)[0].share_percent, 10);
    let counts = counts(&pool, 1_000, now);
    assert!((20..=80).contains(&counts[0]), "{counts:?}");
    assert_eq!(pool.status(after(now, WARM))[0].share_percent, 100);
}

#[test]
fn an_endpoint_that_a_reload_adds_comes_up_slowly_and_those_of_the_start_do_not() {
    let (before, now) = pool_with(Strategy::WeightedRoundRobin, 2);
    assert!(before.status(now).iter().all(|endpoint| endpoint.share_percent == 100));
    let now = after(now, 5);
    let tuning = Tuning { slow_start: HumanDuration::from_secs(WARM), ..Tuning::default() };
    let config = PoolConfig { tuning, ..config(Strategy::WeightedRoundRobin) };
    let pool = Pool::compile(&config, &endpoints(3), Some(&before), now);
    let shares: Vec<u64> = pool.status(now).iter().map(|endpoint| endpoint.share_percent).collect();
    assert_eq!(shares, [100, 100, 10]);
    assert_eq!(counts(&pool, 210, now), [100, 100, 10], "smooth weights are exact");
    assert_eq!(counts(&pool, 300, after(now, WARM)), [100, 100, 100]);
}

#[test]
fn when_everybody_has_just_returned_nobody_is_spared() {
    for strategy in ALL {
        let (pool, now) = pool_with(strategy, 2);
        for index in 0..2 {
            take_down(&pool, index, now);
            bring_up(&pool, index, now);
        }
        for number in 0..200 {
            let authority = format!("host-{number}");
            assert!(pool.choose(&Call { authority: &authority, ..from(number) }, &[], now).is_some());
        }
        assert_eq!(pool.totals().panics, 0, "{strategy:?}");
        assert!(pool.status(now).iter().all(|endpoint| endpoint.requests_total > 50), "{strategy:?}");
    }
}

#[test]
fn a_client_comes_back_to_its_endpoint_once() {
    let (pool, now) = pool_with(Strategy::SourceHash, 3);
    let home = |client, now| pool.choose(&from(client), &[], now).unwrap().index();
    let before: Vec<usize> = (0..300).map(|client| home(client, now)).collect();
    take_down(&pool, 0, now);
    bring_up(&pool, 0, now);
    for client in (0..300).filter(|client| before[*client as usize] == 0) {
        let path: Vec<usize> = (0..=WARM).map(|second| home(client, after(now, second))).collect();
        let changes = path.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 1 && path.last() == Some(&0), "{path:?}");
    }
}
