//! The background task of limits: exchanges what limits of the fleet have counted, and gives memory back after a flood.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gatehouse_shared::{
    clock::Clock,
    live::{Generation, Live},
};
use pingora::{server::ShutdownWatch, services::background::BackgroundService};

use super::fleet::{Exchange, ExchangeError};
use crate::policy::Policy;

/// How often places of idle keys are given back.
const RECLAIM_EVERY: Duration = Duration::from_secs(5);
/// The longest that an exchange may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// The background task.
pub struct Keeper {
    live: Arc<Live<Policy>>,
    exchange: Option<Arc<dyn Exchange>>,
    clock: Clock,
}

/// Exchanges since the start.
#[derive(Debug, Default)]
pub struct ExchangeTotals {
    /// Those that worked.
    pub done: AtomicU64,
    /// Those that did not.
    pub failed: AtomicU64,
}

impl Keeper {
    /// A task that keeps the limits of the current generation, exchanging over `exchange` where there is one. Without it every
    /// node of the fleet keeps its share.
    #[must_use]
    pub fn new(live: Arc<Live<Policy>>, exchange: Option<Arc<dyn Exchange>>) -> Self {
        Self { live, exchange, clock: Clock::System }
    }

    /// One exchange, if there is anything to exchange.
    async fn exchange(&self, policy: &Generation<Policy>) {
        let totals = policy.value.admission.exchanges();
        let limits = policy.value.admission.limits().filter(|limits| limits.has_fleet());
        let (Some(exchange), Some(limits)) = (&self.exchange, limits) else { return };
        let told = limits.tell();
        let heard = match tokio::time::timeout(PATIENCE, exchange.exchange(&told)).await {
            Ok(Ok(heard)) if heard.others.len() == told.len() => Ok(heard),
            Ok(Ok(_)) => Err(ExchangeError("an answer of another length".into())),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(ExchangeError(elapsed.into())),
        };
        match heard {
            Ok(heard) => {
                limits.hear(&told, &heard, self.clock.unix_ms());
                totals.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                limits.put_back(&told);
                totals.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(error = &error as &dyn std::error::Error, "limits of the fleet not exchanged");
            }
        }
    }

    fn reclaim(&self, policy: &Policy) {
        let (now, unix_ms) = (self.clock.now(), self.clock.unix_ms());
        if let Some(limits) = policy.admission.limits() {
            limits.reclaim(now, unix_ms);
        }
        if let Some(rate) = &policy.accept.connection_rate {
            rate.reclaim(now);
        }
    }
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut reclaim_at = self.clock.now() + RECLAIM_EVERY;
        while !*shutdown.borrow() {
            let policy = self.live.current();
            tokio::time::sleep(policy.value.admission.exchange_every()).await;
            self.exchange(&policy).await;
            if self.clock.now() >= reclaim_at {
                self.reclaim(&policy.value);
                reclaim_at = self.clock.now() + RECLAIM_EVERY;
            }
        }
    }
}
