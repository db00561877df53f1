//! The outer gate.
