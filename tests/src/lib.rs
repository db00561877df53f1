//! What the tests of Gatehouse stand on: the sample service, and the harness that starts real binaries and talks to them.

pub mod sample;
