use gatehouse_shared::clock;
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::*;

fn config() -> Config {
    Config { requests_min: 10, probes: 2, ..Config::default() }
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

fn call(breaker: &Breaker, verdict: Verdict, now: Instant) -> bool {
    breaker.enter(now).map(|pass| pass.report(verdict, now)).is_ok()
}

fn opened(start: Instant) -> Breaker {
    let breaker = Breaker::new(config(), start);
    for _ in 0..10 {
        assert!(call(&breaker, Verdict::Ill, start));
    }
    assert_eq!(breaker.state(start), State::Open);
    breaker
}

#[test]
fn opens_at_its_share_of_enough_calls_and_not_before() {
    let start = clock::now();
    let breaker = Breaker::new(config(), start);
    for _ in 0..9 {
        assert!(call(&breaker, Verdict::Ill, start));
    }
    assert_eq!(breaker.state(start), State::Closed, "nine calls say nothing");
    assert!(call(&breaker, Verdict::Ill, start));
    let open = breaker.enter(at(start, 500)).unwrap_err();
    assert_eq!(open.retry_after, Duration::from_millis(1_500));
    assert_eq!((breaker.opened(), breaker.refused()), (1, 1));

    let breaker = Breaker::new(config(), start);
    for number in 0..1_000 {
        let verdict = if number % 20 < 9 { Verdict::Ill } else { Verdict::Well };
        // The good ones come last in each round, so the share is the highest in the middle of it.
        if number >= 20 || verdict == Verdict::Well {
            assert!(call(&breaker, verdict, start), "{number}");
        }
    }
    assert_eq!(breaker.state(start), State::Closed, "45 percent is below the share");
}

#[test]
fn calls_that_say_nothing_do_not_count() {
    let start = clock::now();
    let breaker = Breaker::new(config(), start);
    for _ in 0..100 {
        assert!(call(&breaker, Verdict::Unknown, start));
        drop(breaker.enter(start).unwrap());
    }
    assert_eq!(breaker.state(start), State::Closed);
}

#[test]
fn a_bounded_number_of_probes_decides() {
    let start = clock::now();
    let breaker = opened(start);
    let later = at(start, 2_000);
    assert_eq!(breaker.state(later), State::HalfOpen);
    let (first, second) = (breaker.enter(later).unwrap(), breaker.enter(later).unwrap());
    assert!(breaker.enter(later).is_err(), "two at a time");
    assert!(breaker.peek(later).is_err());
    drop(first);
    assert!(breaker.peek(later).is_ok(), "a probe that says nothing gives its place up");
    second.report(Verdict::Well, later);
    assert_eq!(breaker.state(later), State::HalfOpen, "one of two");
    assert!(call(&breaker, Verdict::Well, later));
    assert_eq!(breaker.state(later), State::Closed);
    // The failures from before are forgotten.
    for _ in 0..9 {
        assert!(call(&breaker, Verdict::Ill, later));
    }
    assert_eq!(breaker.state(later), State::Closed);
}

#[test]
fn a_failed_probe_opens_it_for_twice_as_long_up_to_a_bound() {
    let start = clock::now();
    let breaker = opened(start);
    let (mut now, mut open) = (2_000, 2_000);
    for _ in 0..10 {
        let probe = breaker.enter(at(start, now)).unwrap();
        let other = breaker.enter(at(start, now)).unwrap();
        probe.report(Verdict::Ill, at(start, now));
        // The one that began before the failure says nothing any more.
        other.report(Verdict::Well, at(start, now));
        open = (open * 2).min(30_000);
        assert!(breaker.enter(at(start, now + open - 1)).is_err());
        assert_eq!(breaker.state(at(start, now + open)), State::HalfOpen);
        now += open;
    }
    assert_eq!(breaker.opened(), 11);
    assert!(call(&breaker, Verdict::Well, at(start, now)) && call(&breaker, Verdict::Well, at(start, now)));
    assert_eq!(breaker.state(at(start, now)), State::Closed);
}

#[test]
fn what_began_before_it_opened_does_not_close_it() {
    let start = clock::now();
    let breaker = Breaker::new(config(), start);
    let early: Vec<_> = (0..20).map(|_| breaker.enter(start).unwrap()).collect();
    for _ in 0..10 {
        assert!(call(&breaker, Verdict::Ill, start));
    }
    let later = at(start, 2_000);
    for pass in early {
        pass.report(Verdict::Well, later);
    }
    assert_eq!(breaker.state(later), State::HalfOpen);
    assert!(breaker.enter(later).is_ok());
}

/// What may happen to a breaker.
#[derive(Debug, Clone, Copy)]
enum Step {
    Enter,
    /// The oldest or the newest call under way ends.
    End {
        newest: bool,
        verdict: Verdict,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        3 => proptest::prelude::Just(Verdict::Ill),
        2 => proptest::prelude::Just(Verdict::Well),
        1 => proptest::prelude::Just(Verdict::Unknown)
    ];
    prop_oneof![
        4 => proptest::prelude::Just(Step::Enter),
        4 => (any::<bool>(), verdict).prop_map(|(newest, verdict)| Step::End { newest, verdict }),
        1 => (0_u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_probes_are_bounded_and_it_can_always_recover(steps in prop::collection::vec(step(), 0..400)) {
        let start = clock::now();
        let breaker = Breaker::new(config(), start);
        let mut under_way: Vec<(State, u64, Pass<'_>)> = Vec::new();
        let mut ms = 0;
        for step in steps {
            let now = at(start, ms);
            match step {
                Step::Wait(more) => ms += more,
                Step::Enter => {
                    let state = breaker.state(now);
                    let probes = under_way.iter().filter(|(of, era, _)| {
                        *of == State::HalfOpen && *era == breaker.opened()
                    }).count();
                    match breaker.enter(now) {
                        Ok(pass) => {
                            assert_ne!(state, State::Open);
                            assert!(state == State::Closed || probes < 2, "{probes} probes already");
                            under_way.push((state, breaker.opened(), pass));
                        }
                        Err(open) => {
                            assert_ne!(state, State::Closed);
                            assert!(open.retry_after <= Duration::from_secs(30));
                        }
                    }
                }
                Step::End { newest, verdict } => {
                    if !under_way.is_empty() {
                        let index = if newest { under_way.len() - 1 } else { 0 };
                        under_way.remove(index).2.report(verdict, now);
                    }
                }
            }
        }
        // The service is well again and everybody goes home: it closes by itself.
        under_way.clear();
        let later = at(start, ms + 30_001);
        for _ in 0..2 {
            assert!(call(&breaker, Verdict::Well, later));
        }
        assert_eq!(breaker.state(later), State::Closed);
    }
}
