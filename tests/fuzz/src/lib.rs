//! What the fuzz targets share. A target is one file of `fuzz_targets/`; what it asserts stands in its first lines.
//!
//! An assertion that fails is a defect of Gatehouse, never of the input: nothing here expects an input to be valid.

mod input;
mod work;
pub mod body;
pub mod exchange;
pub mod program;

pub use input::{CHOICES, Input, LONG};
pub use work::linear;
