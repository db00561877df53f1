//! Choosing who serves: strategies, health, ejection and retry budgets, used by both tiers.
//!
//! A [`Pool`] knows the endpoints of one cluster or service. [`Pool::choose`] gives a [`Lease`], which counts as one request
//! in flight until it is dropped and takes the [`Outcome`]. Who is *out*:
//!
//! - *down*: the active probe failed `fall` times in a row, until it succeeds `rise` times in a row;
//! - *ejected*: connections were refused, or several requests in a row failed, or too large a share of them; for a time that
//!   doubles each time it happens again soon, or until probes that have seen the trouble see it no more;
//! - *returning*: the ejection has ended; one request at a time is let through until one succeeds.
//!
//! Ejection never takes out more than its share of a pool (the floor), and when nobody is left everyone is tried (panic
//! mode): a gateway that guesses wrong about health must not be the outage. Who is back comes up slowly, if configured.
//!
//! - `written`: endpoints as written in configuration files
//! - `config`, `ejection`: strategies and limits as written
//! - `pool`, `lease`: the choice, and a request on its way
//! - `strategy`: one file for each family of strategies
//! - `zone`: one's own zone first
//! - `endpoint`, `window`, `latency`: what is known of one endpoint; all of it outlives reloads
//! - `retry`: how much may be repeated
//! - `hash`: hashes on which a whole fleet agrees

mod written;
mod config;
mod ejection;
mod status;
mod pool;
mod lease;
mod strategy;
mod zone;
mod endpoint;
mod window;
mod latency;
mod retry;
mod hash;

use std::net::IpAddr;

pub use config::{PoolConfig, ProbeThresholds, Strategy, Tuning};
pub use ejection::Ejection;
pub use lease::Lease;
pub use pool::Pool;
pub use retry::RetryBudget;
pub use status::{EndpointState, EndpointStatus, PoolTotals, ProbeChange};
pub use window::{FailureWindow, Recent};
pub use written::{EndpointConfig, EndpointSpec, ZONE_FORM, compile_endpoints, is_zone};

/// What strategies may want to know of a request. They compute the hashes they need themselves.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub client: IpAddr,
    /// What the client called: host name, and port where it named one.
    pub authority: &'a str,
}

/// How a request ended, as far as the endpoint is to blame for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Ok,
    /// It answered with an error of its own (5xx). Counts for the share of failures, not for failures in a row, and proves
    /// nothing about an endpoint that is tried again.
    ServerError,
    /// No connection could be made: refused or unreachable. A pooled connection that turns out dead says nothing about the
    /// endpoint and is not reported.
    ConnectFailed,
    /// No connection was made in time. It counts like any other failure: a burst that overflows the backlog of a healthy
    /// endpoint looks the same.
    ConnectTimedOut,
    /// The connection died before or during the answer, or the answer was not valid HTTP, or took too long.
    TransportFailed,
    /// The endpoint is a gateway that answered 502, 503 or 504 about itself.
    GatewayFailed,
}

/// A number by which the draws of this process differ from those of others, for [`PoolConfig::seed`].
#[must_use]
pub fn random_seed() -> u64 {
    fastrand::u64(..)
}

#[cfg(test)]
mod tests;
