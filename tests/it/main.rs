//! The gates as users meet them: every test starts the real binaries on free ports.
//!
//! One module per concern, in the order in which a request meets it. `cargo build --workspace --bins` comes first; `make
//! test` does both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, wherever it stands"
)]

mod harness;
mod architecture;
mod documents;
mod config;
mod store;
mod store_limits;
mod accept;
mod strict_http1;
mod strict_http2;
mod slow_clients;
mod tls;
mod client_address;
mod connections;
mod blocklist;
mod access_lists;
mod http2;
mod bodies;
mod limits;
mod limits_fleet;
mod waf;
mod waf_uploads;
mod waf_suites;
mod waf_detours;
mod crs;
mod rules_commands;
mod answer;
mod applications;
mod batch;
mod security_log;
mod hop;
mod edge_cache;
mod failover;
mod routes;
mod balance;
mod balance_services;
mod lifecycle;
mod admin;
mod observe;
mod local;

/// What a test returns: an error fails it where it arises, while its site still stands and can show its logs.
type Passed = Result<(), Failure>;

/// The error of a failed test; never returned, because making one panics.
#[derive(Debug)]
struct Failure;

impl<E: Into<anyhow::Error>> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        panic!("{:#}", error.into());
    }
}
