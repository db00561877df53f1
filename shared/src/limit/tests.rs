use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::clock;
use crate::config::{HumanDuration, Positions};

fn config(algorithm: Algorithm, rate: &str) -> RateLimitConfig {
    RateLimitConfig {
        name: "client".into(),
        key: "client".into(),
        algorithm,
        rate: rate.parse().unwrap(),
        burst: None,
        ban: None,
        max_keys: 1_000_000,
    }
}

fn compile(config: &RateLimitConfig, before: Option<&RateLimit>) -> RateLimit {
    RateLimit::compile(config, before, "limit[0]", &Positions::default(), clock::now()).unwrap()
}

fn key(name: &str, n: u32) -> Key {
    KeyHasher::of_process().key().bytes(name.as_bytes()).bytes(&n.to_le_bytes()).finish()
}

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn reports_every_mistake_at_once() {
    let wrong = RateLimitConfig {
        name: "a b".into(),
        burst: Some(0),
        ban: Some(HumanDuration::from_millis(0)),
        max_keys: usize::MAX,
        ..config(Algorithm::SlidingWindow, "0/400d")
    };
    let errors = RateLimit::compile(&wrong, None, "limit[0]", &Positions::default(), clock::now()).unwrap_err();
    insta::assert_snapshot!(errors.to_string(), @r#"
    :1:1: "limit[0].ban" must be longer than 0s and at most 366d
    :1:1: "limit[0].burst" belongs to a token_bucket: a sliding_window admits the rate's count and no more
    :1:1: "limit[0].burst" must be 1 to 4294967295
    :1:1: "limit[0].max_keys" must be 1 to 100000000
    :1:1: "limit[0].name" must be 1 to 64 letters, digits, dots, dashes and underscores
    :1:1: "limit[0].rate" must have a count of 1 to 4294967295
    :1:1: "limit[0].rate" must have a time of 1ms to 366d
    "#);
    let slow = RateLimitConfig { burst: Some(100), ..config(Algorithm::TokenBucket, "1/300d") };
    let errors = RateLimit::compile(&slow, None, "limit[0]", &Positions::default(), clock::now()).unwrap_err();
    assert_eq!(errors.to_string(), ":1:1: \"limit[0].burst\" must come back at the rate within 366d");
}

#[test]
fn tells_clients_where_they_stand() {
    let limit = compile(&RateLimitConfig { burst: Some(20), ..config(Algorithm::TokenBucket, "100/60") }, None);
    let now = clock::now();
    let decision = limit.admit(key("a", 1), 20, now).unwrap();
    assert!(decision.allowed);
    assert_eq!(limit.policy_field(), "\"client\";q=100;w=60");
    assert_eq!(decision.field(limit.name()), "\"client\";r=0;t=12");
    assert_eq!(decision.retry_after_seconds(), None);
    let decision = limit.admit(key("a", 1), 3, now).unwrap();
    assert_eq!((decision.allowed, decision.retry_after), (false, Some(Duration::from_millis(1_800))));
    assert_eq!(decision.retry_after_seconds(), Some(2));
    assert!(limit.admit(key("a", 2), 3, now).unwrap().allowed, "each key has a counter of its own");
}

#[test]
fn peeking_counts_nothing() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let limit = compile(&config(algorithm, "3/10s"), None);
        let now = clock::now();
        for _ in 0..5 {
            assert_eq!(limit.peek(key("a", 1), 3, now).remaining, 3);
        }
        assert_eq!(limit.usage().keys, 0);
        assert_eq!(limit.charge(key("a", 1), 4, now).map(|decision| decision.allowed), Ok(false));
        let decision = limit.peek(key("a", 1), 0, now);
        assert_eq!((decision.allowed, decision.remaining), (false, 0), "{algorithm:?}");
        limit.pardon(key("a", 1));
        assert!(limit.peek(key("a", 1), 3, now).allowed);
    }
}

#[test]
fn what_just_passes_counts_like_what_is_admitted() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let limit =
            compile(&RateLimitConfig { ban: Some(HumanDuration::from_secs(9)), ..config(algorithm, "3/10s") }, None);
        let (now, turnstile) = (clock::now(), limit.turnstile());
        let pass = |key, cost, now: Instant| turnstile.pass(key, cost, now.into());
        assert!(!pass(key("a", 1), 1, now), "nothing is known of the key");
        assert_eq!(limit.usage().keys, 0);
        assert_eq!(limit.admit(key("a", 1), 1, now).unwrap().remaining, 2);
        assert!(pass(key("a", 1), 1, now) && pass(key("a", 1), 1, now) && !pass(key("a", 1), 1, now));
        assert_eq!(limit.peek(key("a", 1), 1, now).banned_until, None, "that nothing passes is no breach");
        assert!(limit.admit(key("a", 1), 1, now).unwrap().banned_until.is_some());
        assert!(pass(key("a", 1), 1, after(now, 30_000)), "{algorithm:?}");
        assert_eq!(limit.peek(key("a", 1), 1, after(now, 30_000)).remaining, 2);
        assert_eq!(limit.passed(), 3);
    }
}

#[test]
fn a_turnstile_passes_nothing_by_the_rule_of_another_generation() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let now = clock::now();
        let (total, before) = (Arc::default(), compile(&config(algorithm, "10/10s"), None));
        before.tell_passed(&total);
        assert_eq!(before.admit(key("a", 1), 1, now).unwrap().remaining, 9);
        let after = compile(&config(algorithm, "5/10s"), Some(&before));
        after.tell_passed(&total);
        let (old, new) = (before.turnstile(), after.turnstile());
        assert!(old.pass(key("a", 1), 1, now.into()) && !new.pass(key("a", 1), 1, now.into()));
        assert_eq!(after.admit(key("a", 1), 1, now).unwrap().remaining, 2);
        assert!(!old.pass(key("a", 1), 1, now.into()) && new.pass(key("a", 1), 1, now.into()));
        assert_eq!((before.passed(), after.passed(), total.load(Ordering::Relaxed)), (2, 2, 0));
        drop((before, old));
        assert_eq!(total.load(Ordering::Relaxed), 0, "the other generation has the counts");
        drop(after);
        assert_eq!(total.load(Ordering::Relaxed), 2, "{algorithm:?}");
    }
}

#[test]
fn what_is_given_back_can_be_had_again() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let limit = compile(&config(algorithm, "3/10s"), None);
        let now = clock::now();
        limit.give_back(key("a", 1), 2, now);
        assert!((0..3).all(|_| limit.admit(key("a", 1), 1, now).unwrap().allowed));
        assert!(!limit.admit(key("a", 1), 1, now).unwrap().allowed);
        limit.give_back(key("a", 1), 2, now);
        assert!((0..2).all(|_| limit.admit(key("a", 1), 1, now).unwrap().allowed), "{algorithm:?}");
        assert!(!limit.admit(key("a", 1), 1, now).unwrap().allowed, "no more than was given back");
        limit.give_back(key("a", 2), 2, now);
        assert_eq!(limit.usage().keys, 1, "a key that was never seen takes no place");
    }
}

#[test]
fn bans_end_and_can_be_ended() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let minute = Some(HumanDuration::from_secs(60));
        let limit = compile(&RateLimitConfig { ban: minute, ..config(algorithm, "2/s") }, None);
        let start = clock::now();
        let admit = |client, ms| limit.admit(key("a", client), 1, after(start, ms)).unwrap();
        assert!(admit(1, 0).allowed && admit(1, 0).allowed);
        let breach = admit(1, 0);
        assert!((60_000..60_100).contains(&u64::try_from((breach.banned_until.unwrap() - start).as_millis()).unwrap()));
        assert!(!admit(1, 59_999).allowed);
        assert!(admit(1, 60_100).allowed && admit(1, 60_100).banned_until.is_none());
        limit.ban(key("a", 2), Duration::from_secs(3_600), start).unwrap();
        assert!(!admit(2, 3_599_000).allowed);
        limit.pardon(key("a", 2));
        assert!(admit(2, 3_599_000).allowed);
    }
}

/// Who asks, when (in milliseconds), of a distributed flood that lasts 30 s: 100,000 clients with one request each,
/// 10,000 innocents at 80 % of 50 in 10 s, half of them evenly and half in bunches of 5, and 100 offenders at 4 times that.
fn distributed_flood() -> Vec<(u64, &'static str, u32)> {
    let mut requests = Vec::new();
    for n in 0..100_000 {
        requests.push((u64::from(n) * 30_000 / 100_000, "new", n));
    }
    for n in 0..10_000 {
        let bunch = if n % 2 == 0 { 1 } else { 5 };
        for turn in 0..30_000 / 250 {
            requests.push((u64::from(n) % 250 + turn / bunch * bunch * 250, "innocent", n));
        }
    }
    for n in 0..100 {
        requests.extend((0..30_000 / 50).map(|turn| (u64::from(n) % 50 + turn * 50, "offender", n)));
    }
    requests.sort_unstable();
    requests
}

/// Lets the flood at a limit; what each offender was admitted in each 10 s, and what it occupies.
fn survive(limit: &RateLimit, start: Instant) -> (HashMap<u32, [u64; 3]>, Usage) {
    let mut offenders: HashMap<u32, [u64; 3]> = HashMap::new();
    let mut most = Usage::default();
    for (ms, who, n) in distributed_flood() {
        let decision = limit.admit(key(who, n), 1, after(start, ms)).unwrap();
        assert!(decision.allowed || who == "offender", "{who} {n} refused at {ms} ms: {decision:?}");
        if who == "offender" && decision.allowed {
            offenders.entry(n).or_default()[usize::try_from((ms - u64::from(n) % 50) / 10_000).unwrap()] += 1;
        }
        if ms % 5_000 == 4_999 {
            let usage = limit.usage();
            assert!(usage.keys < 1_000 || usage.bytes <= usage.keys * 100, "{usage:?}");
            most = if usage.keys > most.keys { usage } else { most };
        }
    }
    (offenders, most)
}

#[test]
fn a_distributed_flood_hurts_no_innocent_with_sliding_windows() {
    let start = clock::now();
    let limit = compile(&config(Algorithm::SlidingWindow, "50/10s"), None);
    let (offenders, most) = survive(&limit, start);
    assert_eq!(offenders.len(), 100);
    assert!(offenders.values().all(|admitted| *admitted == [50; 3]), "exactly the limit: {offenders:?}");
    assert!((45_000..=110_100).contains(&most.keys), "{most:?}");
}

#[test]
fn a_distributed_flood_hurts_no_innocent_with_token_buckets() {
    let start = clock::now();
    let limit = compile(&config(Algorithm::TokenBucket, "50/10s"), None);
    let (offenders, _) = survive(&limit, start);
    // From its first request to its last an offender has 29.95 s: 50 + 29.95 × 5 = 199.75.
    let total = |admitted: &[u64; 3]| admitted.iter().sum::<u64>();
    assert!(offenders.len() == 100 && offenders.values().all(|admitted| total(admitted) == 199), "{offenders:?}");
}

#[test]
fn a_full_table_keeps_those_it_knows() {
    let start = clock::now();
    let limit = compile(&RateLimitConfig { max_keys: 20_000, ..config(Algorithm::SlidingWindow, "50/10s") }, None);
    let mut refused = 0;
    for n in 0..10_000 {
        assert!(limit.admit(key("innocent", n), 1, start).unwrap().allowed);
    }
    for turn in 1..40 {
        let now = after(start, turn * 250);
        for n in 0..2_500 {
            let newcomer = u32::try_from(turn).unwrap() * 2_500 + n;
            refused += u64::from(limit.admit(key("new", newcomer), 1, now) == Err(Full));
        }
        assert!((0..10_000).all(|n| limit.admit(key("innocent", n), 1, now).unwrap().allowed));
    }
    let usage = limit.usage();
    assert_eq!((usage.keys, usage.full_total, refused), (20_000, 87_500, 87_500));
    assert!(usage.bytes <= 20_000 * 100, "{usage:?}");
    // A window later the newcomers are idle, and others take their places.
    let later = after(start, 20_500);
    assert!((0..10_000).all(|n| limit.admit(key("later", n), 1, later).is_ok()));
}

#[test]
fn threads_together_admit_no_more_than_one() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let limit = compile(&config(algorithm, "1000/10s"), None);
        let (start, clock, admitted) = (clock::now(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        // Each request takes 1/4 ms, so that all of them ask for 4 times the rate for 9 s.
                        let turn = clock.fetch_add(1, Ordering::Relaxed);
                        if turn >= 36_000 {
                            return;
                        }
                        let now = start + Duration::from_micros(turn * 250);
                        admitted
                            .fetch_add(limit.admit(key("all", 0), 1, now).unwrap().allowed.into(), Ordering::Relaxed);
                    }
                });
            }
        });
        let expected = if algorithm == Algorithm::TokenBucket { 1_000 + 899 } else { 1_000 };
        assert_eq!(admitted.into_inner(), expected, "{algorithm:?}");
    }
}

#[test]
fn counts_survive_a_reload_that_changes_numbers() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let now = clock::now();
        let before = compile(&config(algorithm, "10/10s"), None);
        assert_eq!(before.admit(key("a", 1), 6, now).unwrap().remaining, 4);
        let same = compile(&config(algorithm, "10/10s"), Some(&before));
        assert_eq!(same.peek(key("a", 1), 1, now).remaining, 4);
        let changed = RateLimitConfig { max_keys: 5, ..config(algorithm, "1000/20s") };
        let discarded = compile(&changed, Some(&before));
        drop(discarded);
        assert_eq!(before.peek(key("a", 1), 1, now).remaining, 4, "a load that fails leaves no trace");
        let after = compile(&changed, Some(&before));
        assert_eq!(after.peek(key("a", 1), 1, now).remaining, 994, "{algorithm:?}");
        assert_eq!(
            before.admit(key("a", 1), 4, now).unwrap().remaining,
            990,
            "requests under way count, by the new rate"
        );
        assert_eq!(after.usage().keys, 1);
        let lower = compile(&config(algorithm, "5/20s"), Some(&after));
        assert!(!lower.peek(key("a", 1), 1, now).allowed);
    }
}

#[test]
fn counts_begin_anew_when_they_would_mean_something_else() {
    let now = clock::now();
    let original = config(Algorithm::TokenBucket, "10/10s");
    let before = compile(&original, None);
    assert_eq!(before.admit(key("a", 1), 6, now).unwrap().remaining, 4);
    for changed in [
        RateLimitConfig { name: "other".into(), ..original.clone() },
        RateLimitConfig { key: "client, path".into(), ..original.clone() },
        RateLimitConfig { algorithm: Algorithm::SlidingWindow, ..original.clone() },
    ] {
        assert_eq!(compile(&changed, Some(&before)).peek(key("a", 1), 1, now).remaining, 10);
    }
}
