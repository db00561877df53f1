//! `cmdLine`: the tricks by which a command looks different to a rule and the same to a shell.

use super::Changed;

/// `C^OMMAND,/C  "Dir"` → `command/c dir`.
///
/// Quotes, backslashes and carets go; commas, semicolons and white space become a space, runs of them one; a space
/// before `/` and `(` goes; letters become small.
pub(super) fn cmd_line(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if is_plain(value) {
        return Changed::No;
    }
    out.reserve(value.len());
    for byte in value {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            b'/' | b'(' => {
                if out.last() == Some(&b' ') {
                    out.pop();
                }
                out.push(*byte);
            }
            _ => out.push(byte.to_ascii_lowercase()),
        }
    }
    Changed::Yes
}

/// Whether the value is its own result.
fn is_plain(value: &[u8]) -> bool {
    let mut previous = 0;
    value.iter().all(|byte| {
        let plain = match byte {
            b'"' | b'\'' | b'\\' | b'^' | b',' | b';' | b'\t' | b'\r' | b'\n' | b'A'..=b'Z' => false,
            b' ' | b'/' | b'(' => previous != b' ',
            _ => true,
        };
        previous = *byte;
        plain
    })
}
