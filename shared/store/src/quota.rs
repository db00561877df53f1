//! Tokens of quotas, leased to the nodes of a fleet: in Redis, or in the memory of a node that works from files.
//!
//! For each limit, subject and window there is one account: how many tokens were leased in all, and for each holder (a process,
//! usually) how many of them it holds. A process never tells differences: it says up to which total it would like to go ([`Ask::target`]) and is
//! told up to which total it may ([`Answer::Leased`]). What it asks for carries a number that only grows; a request that
//! arrives after a later one, because it was stuck somewhere, changes nothing. So everything may be sent again after any
//! error, and an answer that got lost costs nothing.
//!
//! The account is also where a store that has lost writes is healed: a process says what it holds ([`Ask::known`]), and an
//! account that knows of less believes it.
//!
//! The store's own clock decides whether a window is still open. After its end an account takes reports of what was used, and
//! gives nothing.

mod ledger;
mod redis;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gatehouse_shared::clock::Clock;

use crate::limit::Told;
use crate::redis::{Redis, StoreError};

pub use ledger::Ledger;
use redis::RedisAccounts;

/// Most accounts in memory, when there is no Redis: 200 to 300 bytes each.
pub const ACCOUNTS_MAX: usize = 2_000_000;

/// Whose tokens: a limit, a subject and a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// The name of the limit.
    pub limit: Arc<str>,
    /// Who or what is counted.
    pub subject: Arc<str>,
    /// The number of the window.
    pub window: u64,
}

/// What a process asks of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which one.
    pub account: Account,
    /// When the window begins and when it ends, Unix milliseconds.
    pub span: (u64, u64),
    /// Tells apart what a process counted for one account at different times, having forgotten it in between.
    pub holder: u64,
    /// Grows with everything that the holder asks.
    pub number: u64,
    /// What the process may use in all, as far as it knows.
    pub known: u64,
    /// What it would like to be able to use in all; less than `known` gives tokens back.
    pub target: u64,
    /// What it has used.
    pub used: u64,
    /// How many tokens somebody is waiting for; less is of no use to them.
    pub need: u64,
    /// How many there are for everybody.
    pub limit: u64,
    /// Nodes that are alive, this one included.
    pub nodes: u32,
}

/// What an account answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The process may use so many in all.
    Leased {
        /// In all, with what it has used; never more than asked for, unless it held more.
        total: u64,
        /// What is left for everybody.
        free: u64,
        /// Whether the store knew less than the process: it has lost what it had acknowledged.
        had_lost: bool,
    },
    /// A later request of this process was here first.
    Stale,
    /// The window has not begun by the store's clock.
    Early,
}

/// What a round trip brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The answer to each [`Ask`], in order.
    pub answers: Vec<Answer>,
    /// What all others together have admitted, for each [`Told`] in order.
    pub others: Vec<u64>,
    /// The store's clock, Unix milliseconds; `None` when nothing was asked that says it.
    pub unix_ms: Option<u64>,
}

/// What is known of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Tokens that processes hold or have used.
    pub leased: u64,
    /// Everybody who holds some.
    pub holdings: Vec<Holding>,
}

/// What one holder has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The node, a number of the process and one of the holder: `NODE.PROCESS.HOLDER`.
    pub holder: String,
    /// What it may use in all.
    pub leased: u64,
    /// What it had used when it last told.
    pub used: u64,
    /// When that was, Unix milliseconds by the store's clock.
    pub told_unix_ms: u64,
}

/// The accounts of a fleet as one process sees them. Cheap to share.
#[derive(Clone, Debug)]
pub struct Accounts {
    process: Box<str>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Redis(RedisAccounts),
    /// Locked for one request of a background task or of the admin API at a time.
    Memory(Arc<Mutex<HashMap<Account, Ledger>>>, Clock),
}

impl Accounts {
    /// Those in Redis, for a new process of the node of this name.
    #[must_use]
    pub fn in_redis(redis: Arc<Redis>, node: &str) -> Self {
        Self { process: process(node), place: Place::Redis(RedisAccounts::new(redis)) }
    }

    /// Accounts in memory, which end with the process.
    #[must_use]
    pub fn in_memory(node: &str, clock: Clock) -> Self {
        Self { process: process(node), place: Place::Memory(Arc::default(), clock) }
    }

    /// The same accounts for another process: what tests of a fleet in one process need.
    #[must_use]
    pub fn of_another(&self, node: &str) -> Self {
        Self { process: process(node), place: self.place.clone() }
    }

    /// The name of this process in accounts.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Whether they end with the process.
    #[must_use]
    pub fn are_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(..))
    }

    /// Asks and tells everything in one round trip. May be repeated after any error with larger numbers.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn round(&self, asks: &[Ask], told: &[Told]) -> Result<Heard, StoreError> {
        match &self.place {
            Place::Redis(accounts) => accounts.round(&self.process, asks, told).await,
            Place::Memory(ledgers, clock) => {
                let now = clock.unix_ms();
                let mut ledgers = ledgers.lock().unwrap_or_else(PoisonError::into_inner);
                let answers = asks.iter().map(|ask| self.ask_memory(&mut ledgers, ask, now));
                let answers = answers.collect::<Result<_, _>>()?;
                Ok(Heard { answers, others: vec![0; told.len()], unix_ms: Some(now) })
            }
        }
    }

    /// What is known of an account; `None` when nothing is.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn statement(&self, account: &Account) -> Result<Option<Statement>, StoreError> {
        match &self.place {
            Place::Redis(accounts) => accounts.statement(account).await,
            Place::Memory(ledgers, _) => {
                let ledgers = ledgers.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(ledgers.get(account).map(Ledger::statement))
            }
        }
    }

    fn ask_memory(&self, ledgers: &mut HashMap<Account, Ledger>, ask: &Ask, now: u64) -> Result<Answer, StoreError> {
        if !ledgers.contains_key(&ask.account) && ledgers.len() >= ACCOUNTS_MAX {
            ledgers.retain(|_, ledger| !ledger.is_over(now));
            if ledgers.len() >= ACCOUNTS_MAX {
                return Err(StoreError::Refused("there are too many accounts in memory".into()));
            }
        }
        Ok(ledgers.entry(ask.account.clone()).or_default().ask(&ask.holder_of(&self.process), ask, now))
    }
}

impl Ask {
    /// The name of the holder in an account.
    fn holder_of(&self, process: &str) -> String {
        format!("{process}.{}", self.holder)
    }
}

/// Two processes of one node have accounts of their own.
fn process(node: &str) -> Box<str> {
    format!("{node}.{:08x}", fastrand::u32(..)).into()
}

#[cfg(test)]
mod tests;
