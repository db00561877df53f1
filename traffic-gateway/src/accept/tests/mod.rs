//! The way in around a tiny proxy: real sockets, Pingora's own proxy, an upstream inside the test.

mod harness;
mod heads;
mod bodies;
mod connections;
mod secure;
mod streams;
mod memory;

pub(in crate::accept) use harness::{bounds, policy};
