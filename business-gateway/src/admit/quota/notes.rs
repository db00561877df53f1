//! What a call keeps of its quotas until it is over.

use std::sync::Arc;
use std::time::Instant;

use super::charge::{Charge, charge};
use super::fields::Fields;
use super::limit::Limit;
use super::of_api::OfApi;
use super::quotas::Quotas;
use super::subject::Subject;
use super::{Refusal, Settings};

/// What was charged, and what the caller is told of it.
#[derive(Debug, Default)]
pub struct Notes {
    /// Header fields for the answer, whatever that is.
    pub fields: Option<Fields>,
    /// The limit that refused the call.
    pub limit: Option<Arc<str>>,
    charge: Option<Charge>,
}

/// How much of a call there is, and when.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// How many calls it stands for.
    pub times: u64,
    /// The time.
    pub now: Instant,
}

impl Notes {
    /// Charges a call what its API says; `more` are the charges of rules.
    ///
    /// # Errors
    /// The first limit that has none left.
    pub async fn charge(
        &mut self,
        quotas: &Quotas,
        settings: &Settings,
        of_api: &OfApi,
        more: &[(Arc<Limit>, u64)],
        subject: &Subject<'_>,
        turn: Turn,
    ) -> Result<(), Refusal> {
        if of_api.limits().is_empty() && more.is_empty() {
            return Ok(());
        }
        let limits = of_api.limits().iter().map(|limit| (limit, limit.cost));
        let limits = limits.chain(more.iter().map(|(limit, cost)| (limit, *cost)));
        let limits = limits.map(|(limit, cost)| (limit, cost.saturating_mul(turn.times)));
        match charge(quotas, settings, limits, subject, turn.now).await {
            Ok(charge) => {
                self.fields = Fields::new(settings.headers, charge.standings(), of_api);
                self.charge = Some(charge);
                Ok(())
            }
            Err(refusal) => {
                self.fields = Fields::new(settings.headers, refusal.charge.standings(), of_api);
                self.limit = Some(Arc::clone(&refusal.limit));
                Err(refusal)
            }
        }
    }

    /// Something of the call was sent to a service, or may have been.
    pub fn keep(&mut self) {
        if let Some(mut charge) = self.charge.take() {
            charge.keep();
        }
    }

    /// Nothing of the call was sent to a service.
    pub fn give_back(&mut self) {
        self.charge = None;
    }
}
