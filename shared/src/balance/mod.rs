//! Choosing who serves: strategies, health and ejection, used by both tiers.
//!
//! A [`Pool`] knows the endpoints of one cluster or service. [`Pool::choose`] takes no lock and allocates nothing; it
//! gives a [`Lease`], which counts as one request in flight until it is dropped and takes the [`Outcome`]. Who is *out*:
//!
//! - *down*: the active probe failed `fall` times in a row, until it succeeds `rise` times in a row;
//! - *ejected*: a connection was refused, or several requests in a row failed; for a time that doubles each time it
//!   happens again soon;
//! - *returning*: the ejection has ended; one request at a time is let through until one succeeds.
//!
//! Ejection never takes out more than its share of a pool (the floor), and when nobody is left everyone is tried (panic
//! mode): a gateway that guesses wrong about health must not be the outage.

mod config;
mod endpoint;
mod pool;

pub use config::{Ejection, PoolConfig, ProbeThresholds, Strategy};
pub use endpoint::{EndpointState, EndpointStatus};
pub use pool::{Lease, Pool, PoolTotals, ProbeChange};

/// How a request ended, as far as the endpoint is to blame for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Ok,
    /// No connection could be made: refused or unreachable. Ejects at once. A pooled connection that turns out dead says
    /// nothing about the endpoint and is not reported.
    ConnectFailed,
    /// No connection was made in time. It counts like any other failure: a burst that overflows the backlog of a healthy
    /// endpoint looks the same.
    ConnectTimedOut,
    /// The connection died before or during the answer, or the answer was not valid HTTP, or took too long.
    TransportFailed,
    /// The endpoint is a gateway that answered 502, 503 or 504 about itself.
    GatewayFailed,
}

#[cfg(test)]
mod tests;
