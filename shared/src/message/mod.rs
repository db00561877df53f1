//! What HTTP messages are made of, for whoever has to judge one: the edge, for requests as they come, and the business tier, for
//! requests that stand inside of others.
//!
//! - [`bytes`]: which bytes may stand where
//! - [`path`]: the one canonical path of a request
//! - [`forwarding`]: the headers by which proxies tell where a request came from

pub mod bytes;
pub mod path;
pub mod forwarding;
