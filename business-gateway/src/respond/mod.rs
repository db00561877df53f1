//! The answer: shaped, bounded, counted and written down.
//!
//! - [`shape`]: a service's answer as the edge gets it
//! - [`failure`]: an answer made here, the one mapping from causes to reasons
//! - [`body`]: the answer's body, which carries the record to its end
//! - [`record`]: what is known of a call, and its line in the access log
//! - [`timings`]: how long its steps took, for who may know it

pub mod body;
pub mod envelope;
pub mod failure;
pub mod record;
pub mod shape;
pub mod timings;
