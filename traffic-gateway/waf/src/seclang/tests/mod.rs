//! Tests of the language as a whole.

mod crs;

use super::ast::{ActionKind, DirectiveKind, Program};

