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
        let totals = policy.value.admission.upkeep().exchanges();
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
            tokio::time::sleep(policy.value.admission.upkeep().exchange_every()).await;
            self.exchange(&policy).await;
            if self.clock.now() >= reclaim_at {
                self.reclaim(&policy.value);
                reclaim_at = self.clock.now() + RECLAIM_EVERY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::admit::{
        limit::fleet::{Heard, Told},
        view::sample::Sample,
    };

    /// Answers as it was told, and remembers what was said.
    struct Scripted(Mutex<Vec<Option<Heard>>>, Mutex<Vec<Vec<Told>>>);

    #[async_trait]
    impl Exchange for Scripted {
        async fn exchange(&self, told: &[Told]) -> Result<Heard, ExchangeError> {
            self.1.lock().unwrap().push(told.to_vec());
            self.0.lock().unwrap().remove(0).ok_or_else(|| ExchangeError("away".into()))
        }
    }

    fn start(limit: &str) -> (tempfile::TempDir, Arc<Live<Policy>>) {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "{limit}[process]\nstate_dir = \"state\"\n[[process.listener]]\naddress = \"127.0.0.1:0\"\n[hop]\n\
             keys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[[cluster]]\nname = \"business\"\n\
             nodes = [\"127.0.0.1:1\"]\n[[route]]\ncluster = \"business\"\n"
        );
        std::fs::write(dir.path().join("edge.toml"), text).unwrap();
        std::fs::write(dir.path().join("hop.key"), "k".repeat(32)).unwrap();
        let live = Live::start(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
        (dir, live)
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_with_the_next_exchange() {
        let (_dir, live) =
            start("[[limit]]\nname = \"all\"\nrate = \"10/300d\"\nscope = \"fleet\"\n[limits]\nnodes = 2\n");
        let heard = |others: &[u64]| Some(Heard { live_nodes: 2, others: others.to_vec() });
        let script = vec![None, heard(&[1, 2]), heard(&[9])];
        let exchange = Arc::new(Scripted(Mutex::new(script), Mutex::default()));
        let keeper = Keeper::new(Arc::clone(&live), Some(Arc::clone(&exchange) as Arc<dyn Exchange>));
        let policy = live.current();
        let limits = policy.value.admission.limits().unwrap();
        let mut sample = Sample::get("/", &[]);
        sample.unix_ms = keeper.clock.unix_ms();
        let mut ask = || {
            sample.unix_ms = keeper.clock.unix_ms();
            crate::admit::Stage::check(limits, &sample.view(), keeper.clock.now())
        };
        assert_eq!((ask(), ask()), (crate::admit::Verdict::Pass, crate::admit::Verdict::Pass));
        for _ in 0..3 {
            keeper.exchange(&policy).await;
        }
        let said = exchange.1.lock().unwrap();
        let totals: Vec<Vec<u32>> = said.iter().map(|told| told.iter().map(|told| told.total).collect()).collect();
        assert_eq!(totals, [[2], [2], [2]], "an answer of another length counts as none");
        let exchanges = policy.value.admission.upkeep().exchanges();
        assert_eq!((exchanges.done.load(Ordering::Relaxed), exchanges.failed.load(Ordering::Relaxed)), (1, 2));
        assert!(matches!(ask(), crate::admit::Verdict::Deny(_)), "the others have used up the rest");
    }

    #[tokio::test]
    async fn without_limits_of_the_fleet_nothing_is_exchanged() {
        let (_dir, live) = start("[[limit]]\nname = \"all\"\nrate = \"10/1h\"\n");
        let exchange = Arc::new(Scripted(Mutex::default(), Mutex::default()));
        let keeper = Keeper::new(Arc::clone(&live), Some(Arc::clone(&exchange) as Arc<dyn Exchange>));
        keeper.exchange(&live.current()).await;
        keeper.reclaim(&live.current().value);
        assert!(exchange.1.lock().unwrap().is_empty());
    }
}
