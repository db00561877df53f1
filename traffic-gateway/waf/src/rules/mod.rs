//! Compiled rules.

/// Everything compiled from a [`Program`](crate::seclang::ast::Program).
#[derive(Debug)]
pub struct RuleSet {}
