//! What operators see of a request: the access log, the security log and the metrics, off the request path.

pub mod access_log;
pub mod security_log;
pub mod metrics;
mod blocklist_metrics;
pub mod verdicts;
mod limits;
mod waf_metrics;
mod observer;
mod refusals;

pub use observer::{Observer, Recorded};
