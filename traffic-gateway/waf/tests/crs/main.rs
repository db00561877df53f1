//! The regression suite of the OWASP Core Rule Set. `make crs` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking, wherever it stands"
)]

mod yaml;
mod suite;
mod engine;
mod regression;
mod settings;
mod packaged;
mod modsecurity;
