//! Transactions that wait to be used again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::rules::RuleSet;

use super::{Mode, Start, Transaction};

/// Keeps the buffers of finished transactions. The lock is held for one push or pop.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<Transaction>>,
    capacity: usize,
}

impl Pool {
    /// A pool that keeps so many transactions at most. As many as there are requests at the same time, on one thread
    /// each, are enough; each holds the buffers of the larger requests it has seen, up to a few MiB.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { idle: Mutex::new(Vec::with_capacity(capacity)), capacity }
    }

    /// Begins a transaction, in used buffers if there are any.
    #[must_use]
    pub fn begin(&self, rules: Arc<RuleSet>, mode: Mode, start: Start<'_>) -> Transaction {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(mut transaction) => {
                transaction.renew(rules, mode, start);
                transaction
            }
            None => Transaction::new(rules, mode, start),
        }
    }

    /// Takes a finished transaction back.
    pub fn give_back(&self, transaction: Transaction) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.capacity {
            idle.push(transaction);
        }
    }
}
