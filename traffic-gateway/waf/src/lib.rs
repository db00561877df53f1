//! The web application firewall of Gatehouse, as a library: rules in, requests in, verdicts out.
//!
//! The crate knows neither Pingora nor tokio, so that rules can be run against recorded traffic on any machine, and so
//! that a verdict never waits for anything. The edge holds one transaction for each request in its context and feeds it
//! head, body and answer as they pass.
//!
//! There are no rules yet: until they come, the edge admits requests without asking this crate.
