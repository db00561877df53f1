//! The inner gate: it knows every API and every application, and decides who may call what.
//!
//! # Life of a request
//!
//! A request comes from the edge over a long-lived connection and passes the folders of this crate in alphabetical order;
//! [`pipeline`] lists the steps on one page.
//!
//! 1. [`accept`]: the connection is within its times, the signed hop says that the request came through the edge, its body is
//!    bounded. Without a valid hop nothing else of it is looked at.
//! 2. [`admit`]: host, canonical path and method say which API is called, credentials say by whom; packages, rules, quotas and
//!    traffic groups say whether it may be called now.
//! 3. [`dispatch`]: an endpoint of the API's service is chosen, the request is sent over a pooled connection, and sent again
//!    where that is safe; the answer streams back.
//! 4. [`respond`]: hop-by-hop headers go, the result for the edge is added, and a line is logged when the last byte is gone.
//!
//! [`store`] holds what the gateway knows; [`policy`] is all of it, compiled, one generation at a time.

pub mod command;
pub mod config;
pub mod policy;
pub mod gateway;
pub mod pipeline;
pub mod server;
pub mod admin;
pub mod metrics;
pub mod accept;
pub mod admit;
pub mod dispatch;
pub mod respond;
pub mod store;
