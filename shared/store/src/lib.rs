//! The only crate that knows Redis.
