//! The quick way past the limits, for requests that none of them refuses and whose clients are told nothing.

use gatehouse_shared::limit::{Key, Ticks, Turnstile};

use super::{
    config::Count,
    keys::{Keys, Parts},
    rule::Rule,
};

/// What most requests need of each limit, side by side in the order of looking.
#[derive(Debug)]
pub(super) struct Quick(Box<[Way]>);

/// What most requests need of one limit.
#[derive(Debug)]
pub(super) struct Way {
    /// The parts of its key, where it covers every request that has them, counts requests at once and tells nobody: then
    /// nothing else is asked of a request that passes its turnstile.
    pub(super) of_all: Option<Parts>,
    /// None where all nodes count together.
    turnstile: Option<Turnstile>,
}

impl Quick {
    /// The ways past these limits.
    pub(super) fn past(rules: &[Rule], keys: &Keys) -> Self {
        let way = |rule: &Rule| {
            let is_plain = rule.condition.is_always && rule.count == Count::Requests && !rule.is_told;
            Way { of_all: keys.kept(rule.spec).filter(|_| is_plain), turnstile: rule.counter.turnstile() }
        };
        Self(rules.iter().map(way).collect())
    }

    /// One for each limit.
    #[inline]
    pub(super) fn ways(&self) -> &[Way] {
        &self.0
    }
}

impl Way {
    /// Counts a request and lets it pass, unless there is more to be asked; then it is as if this had not been called.
    #[inline]
    pub(super) fn pass(&self, key: Key, now: Ticks) -> bool {
        self.turnstile.as_ref().is_some_and(|turnstile| turnstile.pass(key, 1, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty of them, a cache line and a bit each, are what a request reads in order.
    #[test]
    fn a_way_is_small() {
        assert!(size_of::<Way>() <= 72, "{}", size_of::<Way>());
    }
}
