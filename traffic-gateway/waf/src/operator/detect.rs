//! The operators that judge a value with a grammar: `@detectSQLi`, `@detectXSS` and Gatehouse's own.

use super::Captures;
use crate::seclang::ast::OperatorKind;

/// Whether the grammar of `kind` finds an attack in `value`. `captures` is for the fingerprint of `@detectSQLi`.
pub(super) fn detect(kind: OperatorKind, value: &[u8], captures: &mut Captures) -> bool {
    // connected when sqli, xss and detect are merged
    let _: (OperatorKind, &[u8], &mut Captures) = (kind, value, captures);
    false
}
