//! `removeComments`, `removeCommentsChar` and `replaceComments`: comments of C, SQL, HTML and shells.

use memchr::{memchr2, memmem};

use super::Changed;
use super::escape::{self, Meaning};

/// `a/* b */c` → `ac`.
///
/// `/* … */` and `<!-- … -->` go, and either end closes either of them, so that less is hidden. `--` and `#` take the
/// rest of the value along. One that is not closed leaves a space, one that is closed by the last byte a NUL: both are
/// what the vectors of the field expect.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(value, out, find_mark, |input| {
        let body = match input {
            [b'/', b'*', body @ ..] | [b'<', b'!', b'-', b'-', body @ ..] => body,
            [b'-', b'-', ..] | [b'#', ..] => return Some((input.len(), Meaning::Nothing)),
            _ => return None,
        };
        Some(match after_end(body) {
            None => (input.len(), Meaning::Byte(b' ')),
            Some([]) => (input.len(), Meaning::Byte(0)),
            Some(after) => (input.len() - after.len(), Meaning::Nothing),
        })
    })
}

/// `a/*b*/c` → `abc`: only the marks go.
pub(super) fn remove_marks(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(value, out, find_mark, |input| {
        let length = match input {
            [b'<', b'!', b'-', b'-', ..] => 4,
            [b'-', b'-', b'>', ..] => 3,
            [b'/', b'*', ..] | [b'*', b'/', ..] | [b'-', b'-', ..] => 2,
            [b'#', ..] => 1,
            _ => return None,
        };
        Some((length, Meaning::Nothing))
    })
}

/// `a/* b */c` → `a c`. Only `/* … */`; one that is not closed reaches to the end.
pub(super) fn replace(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memmem::find(input, b"/*"),
        |input| {
            let end = input.get(2..).and_then(|body| memmem::find(body, b"*/"));
            Some((end.map_or(input.len(), |end| end + 4), Meaning::Byte(b' ')))
        },
    )
}

fn find_mark(input: &[u8]) -> Option<usize> {
    input.iter().position(|byte| matches!(byte, b'/' | b'*' | b'<' | b'-' | b'#'))
}

/// What follows the end of a comment. Both ends are looked for in one pass: two would be quadratic over many comments.
fn after_end(mut body: &[u8]) -> Option<&[u8]> {
    loop {
        body = body.get(memchr2(b'*', b'-', body)?..)?;
        match body {
            [b'*', b'/', after @ ..] | [b'-', b'-', b'>', after @ ..] => return Some(after),
            [_, after @ ..] => body = after,
            [] => return None,
        }
    }
}
