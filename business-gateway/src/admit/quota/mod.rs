//! How often: limits on calls by API, application, user, client or an expression, in windows from a second to a month.
//!
//! A call is charged before anything of it goes to a service ([`charge()`]): all its limits are asked, then all are charged, from
//! what this node has in memory. What is charged comes back when nothing was sent ([`Charge`]).
//!
//! - [`config`], [`rate`]: as written
//! - [`limit`]: as compiled
//! - [`subject`]: what has a counter of its own
//! - [`window`]: which window a moment belongs to
//! - `lease`: what a node holds of one counter, pure book-keeping
//! - `table`: where that is kept
//! - [`quotas`]: what all limits of a process share
//! - [`charge`](mod@charge): a call is charged
//! - [`refill`]: the store is asked, off the request path
//! - [`of_api`]: what the calls of an API are charged
//! - [`fields`]: what callers are told
//! - [`notes`]: what a call keeps of its quotas until it is over
//! - [`show`]: how much was used
//! - [`counters`], `metrics`: what is counted
//!
//! Windows of 10 s and more are kept exactly, by leases: a node takes tokens from the store before it uses them, so the limit holds
//! as long as the store keeps what it acknowledged. Shorter windows are kept to about 3 % by
//! [`FleetLimit`](gatehouse_shared::limit::FleetLimit): nodes tell each other what they have admitted. See docs/QUOTAS.md.

pub mod config;
pub mod rate;
pub mod window;
pub mod subject;
mod lease;
mod table;
pub mod counters;
pub mod limit;
pub mod quotas;
pub mod charge;
pub mod refill;
pub mod fields;
pub mod notes;
pub mod of_api;
pub mod show;
pub mod usage;
pub(crate) mod metrics;

use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, Positions, SecretSource, Sources};
use gatehouse_shared::hop::HopKeyConfig;
use gatehouse_shared::limit::KeyHasher;
use ring::digest::{Context, SHA256};

pub use charge::{Charge, Refusal, Standing, charge};
pub use config::{Config, Headers, LimitConfig, PlanConfig};
pub use fields::Fields;
pub use limit::{Limit, Limits};
pub use notes::{Notes, Turn};
pub use of_api::OfApi;
pub use quotas::Quotas;
pub use subject::{Expression, Subject};
pub use usage::Usage;

/// `[quota]`, as compiled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How callers are told where they stand.
    pub headers: Headers,
    /// Longest wait for tokens.
    pub refill_wait: Duration,
    /// Longest wait for the first answer about somebody.
    pub first_wait: Duration,
    /// Nodes to assume until the store was heard.
    pub nodes: u32,
    /// Makes the keys that nodes exchange.
    pub fleet: KeyHasher,
}

impl Settings {
    /// Checks `[quota]`. The keys of counters that nodes exchange come from the keys of the hop, which all nodes have.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn compile(
        config: &Config,
        hop: &[HopKeyConfig],
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(positions.error(&format!("quota.{key}"), message, Some(remedy.to_owned())));
            }
        };
        let (refill_wait, first_wait) = (config.refill_wait.get(), config.first_wait.get());
        check(refill_wait <= Duration::from_secs(1), "refill_wait", "more than a second", "write \"0ms\" to \"1s\"");
        let is_fine = !first_wait.is_zero() && first_wait <= Duration::from_secs(5);
        check(is_fine, "first_wait", "nothing, or more than five seconds", "write \"1ms\" to \"5s\"");
        check((1..=1_000).contains(&config.nodes), "nodes", "not a number of nodes", "write 1 to 1000");
        let fleet = fleet_hasher(hop, sources);
        let settings = Self { headers: config.headers, refill_wait, first_wait, nodes: config.nodes, fleet };
        errors.into_result(settings)
    }
}

/// Of two live keys the one with the smaller id counts: during a rotation it changes once, when the old key is removed.
fn fleet_hasher(hop: &[HopKeyConfig], sources: &mut Sources) -> KeyHasher {
    let first = hop.iter().min_by_key(|key| &key.id);
    let secret = first.and_then(|key| read(&key.secret, sources));
    let mut digest = Context::new(&SHA256);
    digest.update(b"gatehouse keys of quotas\0");
    digest.update(secret.as_deref().unwrap_or_default());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    KeyHasher::of_fleet(bytes)
}

fn read(secret: &SecretSource, sources: &mut Sources) -> Option<Vec<u8>> {
    // One that cannot be read has its error elsewhere.
    sources.secret(secret).ok().map(|secret| secret.expose().to_vec())
}

#[cfg(test)]
mod tests;
