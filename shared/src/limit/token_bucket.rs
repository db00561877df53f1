//! The token bucket, as the generic cell rate algorithm (ITU-T I.371): one time instead of a level.
//!
//! The state is the time at which the bucket will be full again. `count` tokens come every `per` nanoseconds, so times
//! are kept in units of 1/`count` of a nanosecond, of which a token takes exactly `per` to come back. Nothing is ever
//! rounded: **in any span of time `t` at most `burst + t × count ÷ per` are admitted, and a client that never asks for
//! more than that is never refused.**

use super::meter::{Ban, Meter, Mode, Reading, Wide};
use super::table::State;

/// A bucket can owe one hour at most, or one bucketful if that takes longer to fill: what is charged after the fact is
/// counted in full up to here, but nobody locks a client out for a year by reporting a huge cost.
const MOST_DEBT: u64 = 3_600_000_000_000;

/// The state of one key: 24 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenBucket {
    /// When the bucket is full, in units of 1/`count` of a nanosecond since the epoch.
    full_at: Wide,
    ban: Ban,
}

/// What the configuration says: `count` tokens come every `per` nanoseconds, and the bucket holds `burst`. None is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) count: u32,
    pub(super) per: u64,
    pub(super) burst: u32,
    /// How long a breach bans, in nanoseconds; 0 for not at all.
    pub(super) ban: u64,
}

impl Rule {
    /// Nanoseconds until an empty bucket is full.
    pub(super) fn time_to_fill(&self) -> u64 {
        self.nanos(self.tokens(self.burst))
    }

    /// A time of nanoseconds in units.
    #[inline]
    fn units(&self, nanos: u64) -> u128 {
        u128::from(nanos) * u128::from(self.count)
    }

    /// How long these tokens take to come back, in units.
    #[inline]
    fn tokens(&self, tokens: u32) -> u128 {
        u128::from(tokens) * u128::from(self.per)
    }

    /// Units in nanoseconds, rounded up.
    fn nanos(&self, units: u128) -> u64 {
        divide(units + u128::from(self.count) - 1, u64::from(self.count))
    }
}

impl State for TokenBucket {
    type Rule = Rule;

    fn is_idle(&self, rule: &Rule, now: u64) -> bool {
        self.full_at.number() <= rule.units(now) && self.ban.end(now).is_none()
    }

    /// Tokens that are missing stay missing, to the fraction of a token (rounded up to the next unit).
    fn convert(&mut self, from: &Rule, to: &Rule, now: u64) {
        let missing = self.full_at.number().saturating_sub(from.units(now));
        let (tokens, rest) = (missing / u128::from(from.per), missing % u128::from(from.per));
        let rest = (rest * u128::from(to.per)).div_ceil(u128::from(from.per));
        self.full_at = (to.units(now) + tokens * u128::from(to.per) + rest).into();
    }
}

impl Meter for TokenBucket {
    fn apply(&mut self, rule: &Rule, cost: u32, mode: Mode, now: u64) -> Reading {
        let now_units = rule.units(now);
        let before = self.full_at.number().max(now_units);
        let after = before + rule.tokens(cost);
        let brim = now_units + rule.tokens(rule.burst);
        let banned_until = self.ban.end(now);
        let is_allowed = after <= brim && banned_until.is_none();
        let full_at = match mode {
            Mode::Take if is_allowed => after,
            Mode::Charge => after.min(brim + rule.units(MOST_DEBT.max(rule.time_to_fill()))).max(before),
            Mode::Ask | Mode::Take => before,
        };
        if full_at > before {
            self.full_at = full_at.into();
        }
        if !is_allowed && mode != Mode::Ask && rule.ban > 0 && banned_until.is_none() {
            self.ban(now.saturating_add(rule.ban));
        }
        let banned_until = self.ban.end(now);
        let remaining = if banned_until.is_some() { 0 } else { brim.saturating_sub(full_at) };
        let is_enough = if is_allowed { now_units } else { full_at + rule.tokens(cost.min(rule.burst)) };
        let missing = is_enough.saturating_sub(brim);
        let until = |units: u128| now.saturating_add(rule.nanos(units)).max(banned_until.unwrap_or(0));
        Reading {
            is_allowed,
            remaining: divide(remaining, rule.per),
            full_at: until(full_at - now_units),
            retry_at: until(missing),
            banned_until,
        }
    }

    #[inline]
    fn take(&mut self, rule: &Rule, cost: u32, now: u64) -> bool {
        let now_units = rule.units(now);
        let after = self.full_at.number().max(now_units) + rule.tokens(cost);
        let is_allowed = after <= now_units + rule.tokens(rule.burst) && self.ban.end(now).is_none();
        if is_allowed {
            self.full_at = after.into();
        }
        is_allowed
    }

    fn give_back(&mut self, rule: &Rule, cost: u32) {
        self.full_at = self.full_at.number().saturating_sub(rule.tokens(cost)).into();
    }

    fn ban(&mut self, until: u64) {
        self.ban = self.ban.max(Ban::until(until));
    }
}

/// A quotient whose dividend nearly always fits in 64 bits, where dividing is several times faster.
fn divide(dividend: u128, divisor: u64) -> u64 {
    match u64::try_from(dividend) {
        Ok(dividend) => dividend.checked_div(divisor).unwrap_or(u64::MAX),
        Err(_larger) => {
            let quotient = dividend.checked_div(u128::from(divisor));
            quotient.and_then(|quotient| u64::try_from(quotient).ok()).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    const SECOND: u64 = 1_000_000_000;

    fn rule(count: u32, per: u64, burst: u32) -> Rule {
        Rule { count, per, burst, ban: 0 }
    }

    fn rules() -> impl Strategy<Value = Rule> {
        (1..2_000_u32, 1..100 * SECOND, 1..200_u32).prop_map(|(count, per, burst)| rule(count, per, burst))
    }

    /// Times that come close to the time a token takes, and costs.
    fn requests(rule: Rule) -> impl Strategy<Value = (Rule, Vec<(u64, u32)>)> {
        let token = rule.per / u64::from(rule.count) + 1;
        let gap = proptest::prop_oneof![0..=token, token - 1..=token + 1, 0..=token * 50];
        proptest::collection::vec((gap, 0..4_u32), 1..80).prop_map(move |requests| {
            let at = |now: &mut u64, (gap, cost): &(u64, u32)| {
                *now += gap;
                Some((*now, *cost))
            };
            (rule, requests.iter().scan(0, at).collect())
        })
    }

    proptest! {
        #[test]
        fn equals_a_bucket_with_a_level((rule, requests) in rules().proptest_flat_map()) {
            let full = rule.tokens(rule.burst);
            let (mut bucket, mut level, mut last) = (TokenBucket::default(), full, 0);
            for (now, cost) in requests {
                level = full.min(level + rule.units(now - last));
                last = now;
                let is_enough = level >= rule.tokens(cost);
                let mut untold = bucket;
                let reading = bucket.apply(&rule, cost, Mode::Take, now);
                prop_assert_eq!(untold.take(&rule, cost, now), reading.is_allowed);
                let full_at = |bucket: &TokenBucket| bucket.full_at.number().max(rule.units(now));
                prop_assert_eq!(full_at(&untold), full_at(&bucket));
                if is_enough {
                    level -= rule.tokens(cost);
                }
                prop_assert_eq!(reading.is_allowed, is_enough);
                prop_assert_eq!(u128::from(reading.remaining), level / u128::from(rule.per));
                prop_assert_eq!(bucket.is_idle(&rule, reading.full_at), true);
                prop_assert!(reading.full_at == now || !bucket.is_idle(&rule, reading.full_at - 1));
                if !is_enough && cost <= rule.burst {
                    let asked_at = |now| { let mut copy = bucket; copy.apply(&rule, cost, Mode::Ask, now).is_allowed };
                    prop_assert!(asked_at(reading.retry_at) && !asked_at(reading.retry_at - 1));
                }
            }
        }

        #[test]
        fn never_admits_more_than_rate_times_time_plus_burst((rule, requests) in rules().proptest_flat_map()) {
            let mut bucket = TokenBucket::default();
            let mut admitted = requests;
            admitted.retain(|(now, cost)| bucket.apply(&rule, *cost, Mode::Take, *now).is_allowed);
            for (index, (first, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (last, cost) in &admitted[index..] {
                    sum += cost;
                    prop_assert!(rule.tokens(sum) <= rule.tokens(rule.burst) + rule.units(last - first));
                }
            }
        }

        #[test]
        fn missing_tokens_stay_missing_under_another_rule(
            (from, requests) in rules().proptest_flat_map(),
            to in rules(),
        ) {
            let mut bucket = TokenBucket::default();
            let mut now = 0;
            for (at, cost) in requests {
                now = at;
                bucket.apply(&from, cost, Mode::Take, at);
            }
            let missing = |bucket: &TokenBucket, rule: &Rule| {
                bucket.full_at.number().saturating_sub(rule.units(now)) as f64 / rule.per as f64
            };
            let before = missing(&bucket, &from);
            bucket.convert(&from, &to, now);
            let after = missing(&bucket, &to);
            // Never fewer, and more by rounding only.
            prop_assert!((-1e-9..=1.0 / to.per as f64 + 1e-9).contains(&(after - before)), "{} {}", before, after);
        }
    }

    trait ProptestFlatMap {
        fn proptest_flat_map(self) -> impl Strategy<Value = (Rule, Vec<(u64, u32)>)>;
    }

    impl<S: Strategy<Value = Rule>> ProptestFlatMap for S {
        fn proptest_flat_map(self) -> impl Strategy<Value = (Rule, Vec<(u64, u32)>)> {
            self.prop_flat_map(requests)
        }
    }

    #[test]
    fn a_charge_goes_below_zero_but_not_endlessly() {
        let rule = rule(10, SECOND, 10);
        let mut bucket = TokenBucket::default();
        let within = bucket.apply(&rule, 10, Mode::Charge, 0);
        assert_eq!((within.is_allowed, within.remaining), (true, 0));
        let beyond = bucket.apply(&rule, 20, Mode::Charge, 0);
        assert_eq!((beyond.is_allowed, beyond.remaining, beyond.full_at), (false, 0, 3 * SECOND));
        assert!(!bucket.apply(&rule, 0, Mode::Take, 2 * SECOND - 1).is_allowed, "it owes");
        assert!(bucket.apply(&rule, 0, Mode::Take, 2 * SECOND).is_allowed);
        bucket.apply(&rule, u32::MAX, Mode::Charge, 2 * SECOND);
        let hour = bucket.apply(&rule, 1, Mode::Take, 2 * SECOND);
        assert_eq!(hour.full_at, 3_603 * SECOND);
    }

    #[test]
    fn what_never_fits_can_be_retried_when_the_bucket_is_full() {
        let rule = rule(1, SECOND, 5);
        let mut bucket = TokenBucket::default();
        assert!(bucket.apply(&rule, 3, Mode::Take, 0).is_allowed);
        let reading = bucket.apply(&rule, 6, Mode::Take, 0);
        assert_eq!((reading.is_allowed, reading.remaining, reading.retry_at), (false, 2, 3 * SECOND));
    }

    #[test]
    fn a_breach_bans_once() {
        let rule = Rule { ban: 60 * SECOND, ..rule(1, SECOND, 1) };
        let mut bucket = TokenBucket::default();
        assert!(bucket.apply(&rule, 1, Mode::Take, 0).is_allowed);
        assert_eq!(bucket.apply(&rule, 1, Mode::Ask, 0).banned_until, None);
        let breach = bucket.apply(&rule, 1, Mode::Take, 0);
        let end = breach.banned_until.unwrap();
        assert!((60 * SECOND..61 * SECOND).contains(&end));
        assert_eq!((breach.retry_at, breach.full_at, breach.remaining), (end, end, 0));
        let again = bucket.apply(&rule, 1, Mode::Take, 30 * SECOND);
        assert_eq!((again.is_allowed, again.banned_until), (false, Some(end)), "asking does not make it longer");
        assert!(!bucket.is_idle(&rule, end - 1) && bucket.is_idle(&rule, end));
        assert!(bucket.apply(&rule, 1, Mode::Take, end).is_allowed);
    }
}
