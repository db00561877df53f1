//! SecLang, the language of rules.

pub mod ast;
