//! The `Cookie` header.

use super::Limits;
use super::outcome::{Outcome, Progress};
use super::urlencoded::split_once;

/// Splits a `Cookie` header into names and values (RFC 6265, section 5.4 read backwards): `;` separates, blanks around
/// names and values go, a value in double quotes is given without them, a cookie without `=` is a name. Nothing is
/// decoded: cookies have no encoding of their own. At most [`Limits::arguments`] cookies. Linear, without allocation.
pub fn cookies(header: &[u8], limits: &Limits, mut each: impl FnMut(&[u8], &[u8])) -> Outcome {
    let mut progress = Progress::default();
    for cookie in header.split(|byte| *byte == b';') {
        let cookie = cookie.trim_ascii();
        if cookie.is_empty() {
            continue;
        }
        if !progress.count(limits.arguments) {
            break;
        }
        let (name, value) = split_once(b'=', cookie).unwrap_or((cookie, &[]));
        let value = value.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        each(name.trim_ascii(), value);
    }
    progress.outcome
}
