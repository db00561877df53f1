//! The web application firewall of Gatehouse, as a library: rules in, requests in, verdicts out.
//!
//! The crate knows neither Pingora nor tokio, so that rules can be run against recorded traffic on any machine, and so
//! that a verdict never waits for anything. The edge holds one transaction for each request in its context and feeds it
//! head, body and answer as they pass.
//!
//! In reading order:
//!
//! 1. [`seclang`] and [`list`] read rules as people write them.
//! 2. [`rules`] compiles them.
//! 3. [`body`] reads request bodies into named values.
//! 4. [`transaction`] runs the rules over a request: [`transform`] prepares a value, [`operator`] judges it, with the
//!    help of [`sqli`], [`xss`], [`decode`] and [`detect`].

pub mod seclang;
pub mod list;
pub mod rules;
pub mod body;
pub mod transaction;
pub mod transform;
pub mod operator;
pub mod sqli;
pub mod xss;
mod classes;
pub mod decode;
pub mod detect;
pub mod golden;
#[cfg(test)]
mod cpu_time;

pub use rules::RuleSet;
