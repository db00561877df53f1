//! What the tests of Gatehouse stand on: the sample service, and the harness that starts real binaries and talks to them.
//!
//! A test builds a [`site::Site`], sends requests with [`client`], puts load on it with [`load`], and afterwards compares
//! what was sent, answered and executed with [`tally`]. Nothing here waits for a fixed time: [`until`] polls a condition.

pub mod sample;
pub mod until;
pub mod turn;
pub mod binaries;
pub mod process;
pub mod redis;
pub mod settings;
pub mod certificate;
pub mod site;
pub mod metrics;
pub mod golden;
pub mod recorder;
pub mod client;
pub mod load;
pub mod tally;
