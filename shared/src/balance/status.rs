//! What operators see of a pool.

use std::net::SocketAddr;

use serde::Serialize;

/// The health of an endpoint at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Takes requests.
    Up,
    /// The probe says it does not work.
    Down,
    /// Left alone because requests to it failed.
    Ejected,
    /// The ejection has ended; one request at a time tries it.
    Returning,
}

/// An endpoint as shown at `/policy` and in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Its weight.
    pub weight: u32,
    /// Its zone.
    pub zone: Option<Box<str>>,
    /// Its health.
    pub state: EndpointState,
    /// How much of its share of the requests it gets, in percent: less than 100 during its slow start.
    pub share_percent: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// The moving average of its latency in microseconds; only where the strategy asks for it.
    pub latency_us: Option<u64>,
    /// Requests sent to it since it was first configured.
    pub requests_total: u64,
    /// Those that failed by its fault.
    pub failures_total: u64,
    /// How often it was ejected.
    pub ejections_total: u64,
    /// How often good probes ended an ejection before its time.
    pub early_returns_total: u64,
}

/// How often the rules of a pool had to bend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolTotals {
    /// Requests sent although nobody was healthy.
    pub panics: u64,
    /// Ejections that the floor prevented.
    pub floor: u64,
    /// Requests sent to another zone although there are endpoints in one's own.
    pub zone_overflow: u64,
}

/// A probe changed something about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeChange {
    /// The endpoint.
    pub address: SocketAddr,
    /// Whether the probe says that it works.
    pub is_healthy: bool,
    /// Whether the probe ended an ejection.
    pub ended_ejection: bool,
}
