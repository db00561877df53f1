//! An account in memory. It does exactly what the script does in Redis; the tests ask both the same.

use std::collections::HashMap;

use super::{Answer, Ask, Holding, Statement};

/// How long an account is kept after its window, in milliseconds: so long somebody may ask what was used.
pub(super) const KEPT_AFTER: u64 = 86_400_000;

/// An account in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What all holders may use together.
    leased: u64,
    holders: HashMap<Box<str>, Entry>,
    forgotten_at: u64,
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    leased: u64,
    number: u64,
    used: u64,
    told_unix_ms: u64,
}

impl Ledger {
    /// Answers a holder at `now`, Unix milliseconds.
    pub fn ask(&mut self, holder: &str, ask: &Ask, now: u64) -> Answer {
        let (begins, ends) = ask.span;
        let before = self.holders.get(holder).copied().unwrap_or_default();
        if ask.number <= before.number {
            return Answer::Stale;
        }
        if now < begins {
            return Answer::Early;
        }
        let had_lost = before.leased < ask.known;
        let held = before.leased.max(ask.known);
        let others = self.leased - before.leased;
        let total = others.saturating_add(held);
        let mut leased = held;
        if ask.target < held {
            leased = ask.target.max(ask.used);
        } else if now < ends {
            let free = ask.limit.saturating_sub(total);
            let share = free / (2 * u64::from(ask.nodes.max(1)));
            leased += (ask.target - held).min(share.max(ask.need).max(1)).min(free);
        }
        // The limit was lowered: what nobody has used is taken back.
        let excess = others.saturating_add(leased).saturating_sub(ask.limit);
        leased = leased.saturating_sub(excess).max(ask.used.min(leased));
        self.leased = others.saturating_add(leased);
        self.forgotten_at = ends.saturating_add(KEPT_AFTER);
        let entry = Entry { leased, number: ask.number, used: ask.used, told_unix_ms: now };
        self.holders.insert(holder.into(), entry);
        Answer::Leased { total: leased, free: ask.limit.saturating_sub(self.leased), had_lost }
    }

    /// What is known.
    #[must_use]
    pub fn statement(&self) -> Statement {
        let holding = |holder: &str, entry: &Entry| Holding {
            holder: holder.to_owned(),
            leased: entry.leased,
            used: entry.used,
            told_unix_ms: entry.told_unix_ms,
        };
        let holdings = self.holders.iter().map(|(holder, entry)| holding(holder, entry)).collect();
        Statement { leased: self.leased, holdings }
    }

    /// What all holders may use together.
    #[must_use]
    pub fn leased(&self) -> u64 {
        self.leased
    }

    /// Whether it may be forgotten.
    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.forgotten_at
    }
}
