//! Limits of the fleet: edges tell each other what they have admitted, several times a second and off the request path.
//!
//! What a node may admit between two exchanges is decided by [`gatehouse_shared::limit::FleetLimit`]; here it is told and
//! heard. How is the business of an [`Exchange`].

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use gatehouse_shared::limit::{Delta, FleetLimit};
pub use gatehouse_store::limit::{Heard, LimitCounts, Told};

use super::{Limits, rule::Rule};

/// Most keys told in one exchange, of all limits together; the others wait for the next, those first that have waited longest.
pub const TOLD_MAX: usize = 4_096;

/// Where edges meet.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Tells the others and hears what they have told. It must end by itself within about 100 ms, for nothing is told meanwhile.
    ///
    /// # Errors
    ///
    /// It did not work; the same is told again with the next one.
    async fn exchange(&self, told: &[Told]) -> Result<Heard, ExchangeError>;
}

/// Why an exchange did not work.
#[derive(Debug, thiserror::Error)]
#[error("the exchange of limits failed")]
pub struct ExchangeError(#[source] pub Box<dyn Error + Send + Sync>);

/// In Redis, with one round trip.
#[async_trait]
impl Exchange for LimitCounts {
    async fn exchange(&self, told: &[Told]) -> Result<Heard, ExchangeError> {
        LimitCounts::exchange(self, told).await.map_err(|error| ExchangeError(error.into()))
    }
}

impl Limits {
    /// Whether there are limits of the fleet.
    #[must_use]
    pub fn has_fleet(&self) -> bool {
        self.fleet().next().is_some()
    }

    /// Takes what is to be told: at most [`TOLD_MAX`] keys. It is to be given to [`Self::hear`] or [`Self::put_back`].
    #[must_use]
    pub fn tell(&self) -> Vec<Told> {
        let mut told = Vec::new();
        let mut left = self.fleet().count();
        for (rule, limit) in self.fleet() {
            // What one limit leaves is there for the next ones.
            let most = (TOLD_MAX - told.len()).checked_div(left).unwrap_or_default();
            left -= 1;
            told.extend(limit.take_deltas(most).into_iter().map(|delta| Told {
                limit: Arc::clone(&rule.name),
                window: delta.window,
                window_end_unix_ms: limit.window_end(delta.window),
                key: delta.key,
                total: delta.total,
            }));
        }
        told
    }

    /// Takes in what the others have told.
    pub fn hear(&self, told: &[Told], heard: &Heard, unix_ms: u64) {
        for (rule, limit) in self.fleet() {
            for (told, others) in told.iter().zip(&heard.others).filter(|(told, _)| told.limit == rule.name) {
                limit.merge(told.key, told.window, *others, unix_ms);
            }
            limit.exchanged(heard.live_nodes, unix_ms);
        }
    }

    /// The exchange did not work: the same is to be told with the next one.
    pub fn put_back(&self, told: &[Told]) {
        for (rule, limit) in self.fleet() {
            let of_limit = told.iter().filter(|told| told.limit == rule.name);
            let deltas: Vec<Delta> =
                of_limit.map(|told| Delta { key: told.key, window: told.window, total: told.total }).collect();
            limit.put_back(&deltas);
        }
    }

    fn fleet(&self) -> impl Iterator<Item = (&Rule, &FleetLimit)> {
        self.rules.iter().filter_map(|rule| Some((rule, rule.counter.fleet()?)))
    }
}
