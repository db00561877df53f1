//! The inner gate.
