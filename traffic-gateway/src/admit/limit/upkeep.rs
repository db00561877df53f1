//! What limits need beside requests: bans to be handed on, and how they are exchanged. There even where no limit is configured.

use std::{sync::Arc, time::Duration};

use super::{
    ban::{Ban, Bans},
    config::Settings,
    keeper::ExchangeTotals,
};

/// What outlives a reload, and how it is to be kept by this generation.
#[derive(Debug)]
pub struct Upkeep {
    bans: Arc<Bans>,
    bans_per_second: u32,
    exchanges: Arc<ExchangeTotals>,
    exchange_every: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self::new(&Settings::default(), None)
    }
}

impl Upkeep {
    /// By these settings; bans and counts are those of `before`.
    #[must_use]
    pub fn new(settings: &Settings, before: Option<&Self>) -> Self {
        Self {
            bans: before.map(|before| Arc::clone(&before.bans)).unwrap_or_default(),
            bans_per_second: settings.bans_per_second,
            exchanges: before.map(|before| Arc::clone(&before.exchanges)).unwrap_or_default(),
            exchange_every: settings.exchange_every.get(),
        }
    }

    /// Whom limits have banned; the same from the start of the process to its end.
    #[must_use]
    pub fn bans(&self) -> &Arc<Bans> {
        &self.bans
    }

    /// Takes the bans that may be handed on to the fleet now; see [`Bans::drain`].
    #[must_use]
    pub fn drain_bans(&self, unix_ms: u64) -> Vec<Ban> {
        self.bans.drain(usize::try_from(self.bans_per_second).unwrap_or(usize::MAX), unix_ms)
    }

    /// Exchanges of limits of the fleet; the same from the start of the process to its end.
    #[must_use]
    pub fn exchanges(&self) -> &ExchangeTotals {
        &self.exchanges
    }

    /// How often limits of the fleet are exchanged.
    #[must_use]
    pub fn exchange_every(&self) -> Duration {
        self.exchange_every
    }
}
