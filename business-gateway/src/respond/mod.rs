//! The answer: shaped, bounded, counted and written down.
//!
//! - [`shape`]: a service's answer as the edge gets it
//! - [`failure`]: an answer made here, the one mapping from causes to reasons
//! - [`body`]: the answer's body, which carries the record to its end
//! - [`shaping`]: everything an API may say of the shape of its answers
//! - [`fields`]: what of an answer its caller may see
//! - [`compress`]: answers as short as their callers take them
//! - [`cors`]: which pages of other origins may call, and read the answer
//! - [`entity`]: what header fields say of a body
//! - [`fixed`]: answers that stand in the catalog
//! - [`fallback`]: what is answered when a service fails
//! - [`transform`], [`step`]: another shape of bodies, other header fields
//! - [`template`]: what is rendered with what is known of a call
//! - [`record`]: what is known of a call, and its line in the access log
//! - [`timings`]: how long its steps took, for who may know it

pub mod body;
pub mod compress;
pub mod cors;
pub mod entity;
pub mod envelope;
pub mod failure;
pub mod fallback;
pub mod fields;
pub mod fixed;
pub mod record;
pub mod shape;
pub mod shaping;
pub mod step;
pub mod template;
pub mod transform;
pub mod timings;
