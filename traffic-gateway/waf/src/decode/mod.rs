//! Decoding of a value to a fixed point.
