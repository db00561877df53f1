//! What most requests need of a limit: to be counted if they may pass.

use super::key::Key;
use super::meter::{Epoch, Meter, Ticks};
use super::sliding_window::SlidingWindow;
use super::table::Shards;
use super::token_bucket::TokenBucket;

/// Counts what may pass a [`RateLimit`](super::RateLimit), and says no more than whether it did: all there is to know of most
/// requests whose clients are told nothing, at a fraction of what asking the limit costs.
///
/// It is as small as can be, so that many of them lie side by side and a request touches, besides the one it is at, the
/// cache line of a shard and those of a key. It belongs to one generation of its limit.
#[derive(Debug)]
pub struct Turnstile(pub(super) Passing);

#[derive(Debug)]
pub(super) enum Passing {
    TokenBucket(Passage<TokenBucket>),
    SlidingWindow(Passage<SlidingWindow>),
}

/// The counts of all keys, and what one generation says about them.
#[derive(Debug)]
pub(super) struct Passage<M: Meter> {
    pub(super) shards: Shards<M>,
    pub(super) epoch: Epoch,
    /// The number of the generation.
    pub(super) generation: u64,
    pub(super) rule: M::Rule,
}

impl Turnstile {
    /// Counts `cost` if it may pass and the key is in use already, and says whether it has. If it has not, nothing has
    /// changed, and [`RateLimit::admit`](super::RateLimit::admit) is to be asked; so it is, too, between a reload and the first
    /// time that a key beside this one is asked for.
    #[inline]
    #[must_use]
    pub fn pass(&self, key: Key, cost: u32, now: Ticks) -> bool {
        match &self.0 {
            Passing::TokenBucket(passage) => passage.pass(key, cost, now),
            Passing::SlidingWindow(passage) => passage.pass(key, cost, now),
        }
    }
}

impl<M: Meter> Passage<M> {
    #[inline]
    fn pass(&self, key: Key, cost: u32, now: Ticks) -> bool {
        let now = self.epoch.nanos(now);
        self.shards.pass(key, self.generation, |meter| meter.take(&self.rule, cost, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::clock;
    use crate::config::Positions;
    use crate::limit::{Algorithm, KeyHasher, RateLimit, RateLimitConfig};

    fn limit(algorithm: Algorithm, rate: &str, start: Instant) -> RateLimit {
        let config = RateLimitConfig {
            name: "a".into(),
            key: "client".into(),
            algorithm,
            rate: rate.parse().unwrap(),
            burst: None,
            ban: None,
            max_keys: 100,
        };
        RateLimit::compile(&config, None, "limit[0]", &Positions::default(), start).unwrap()
    }

    proptest! {
        #[test]
        fn who_meets_the_turnstile_first_is_admitted_like_who_does_not(
            is_bucket in any::<bool>(),
            requests in proptest::collection::vec((0..400_u64, 0..3_u64, 1..3_u32), 1..200),
        ) {
            let algorithm = if is_bucket { Algorithm::TokenBucket } else { Algorithm::SlidingWindow };
            let (mut now, mut admitted) = (clock::now(), Vec::new());
            let (quick, slow) = (limit(algorithm, "10/1s", now), limit(algorithm, "10/1s", now));
            let (turnstile, hasher) = (quick.turnstile(), KeyHasher::of_process());
            for (gap, client, cost) in requests {
                now += Duration::from_millis(gap);
                let key = hasher.key().bytes(&client.to_le_bytes()).finish();
                let is_slow = slow.admit(key, cost, now).unwrap().allowed;
                let is_quick = turnstile.pass(key, cost, now.into()) || quick.admit(key, cost, now).unwrap().allowed;
                prop_assert_eq!(is_quick, is_slow);
                prop_assert_eq!(quick.peek(key, 1, now).remaining, slow.peek(key, 1, now).remaining);
                if is_quick {
                    admitted.push((client, now, cost));
                }
            }
            // Never more than rate × t + burst; a sliding window has no burst beside the rate's count.
            for (index, (client, first, _)) in admitted.iter().enumerate() {
                let later = admitted.iter().skip(index).filter(|(other, ..)| other == client);
                let mut sum = 0;
                for (_, last, cost) in later {
                    sum += cost;
                    let most = 10.0 + (*last - *first).as_secs_f64() * 10.0;
                    prop_assert!(f64::from(sum) <= most + 1e-6 || !is_bucket);
                    prop_assert!(sum <= 10 || is_bucket || *last - *first >= Duration::from_secs(1));
                }
            }
        }
    }

    #[test]
    fn a_turnstile_is_small() {
        assert!(size_of::<Turnstile>() <= 72, "{}", size_of::<Turnstile>());
    }
}
