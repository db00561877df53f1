//! `compressWhitespace`, `removeWhitespace`, `trim`, `trimLeft` and `trimRight`.
//!
//! White space is space, tab, line feed, vertical tab, form feed and carriage return. Inside a value the byte 0xA0, the
//! no-break space of Latin-1, is white space too; at its ends it may be the last byte of a UTF-8 letter and stays.

use super::Changed;

/// `a  \t b` → `a b`; a single tab becomes a space as well.
pub(super) fn compress(value: &[u8], out: &mut Vec<u8>) -> Changed {
    let mut previous = 0;
    let plain = value.iter().all(|byte| {
        let plain = !is_inner_space(*byte) || (*byte == b' ' && previous != b' ');
        previous = *byte;
        plain
    });
    if plain {
        return Changed::No;
    }
    out.reserve(value.len());
    let mut in_run = false;
    for byte in value {
        let space = is_inner_space(*byte);
        if !space {
            out.push(*byte);
        } else if !in_run {
            out.push(b' ');
        }
        in_run = space;
    }
    Changed::Yes
}

/// `a  \t b` → `ab`.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if !value.iter().any(|byte| is_inner_space(*byte)) {
        return Changed::No;
    }
    out.extend(value.iter().copied().filter(|byte| !is_inner_space(*byte)));
    Changed::Yes
}

/// ` a b ` → `a b`.
pub(super) fn trim(value: &[u8], out: &mut Vec<u8>) -> Changed {
    keep(without_end(without_beginning(value)), value, out)
}

/// ` a b ` → `a b `.
pub(super) fn trim_left(value: &[u8], out: &mut Vec<u8>) -> Changed {
    keep(without_beginning(value), value, out)
}

/// ` a b ` → ` a b`.
pub(super) fn trim_right(value: &[u8], out: &mut Vec<u8>) -> Changed {
    keep(without_end(value), value, out)
}

fn keep(part: &[u8], value: &[u8], out: &mut Vec<u8>) -> Changed {
    if part.len() == value.len() {
        return Changed::No;
    }
    out.extend_from_slice(part);
    Changed::Yes
}

fn without_beginning(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_space(*first)
    {
        value = rest;
    }
    value
}

fn without_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., last] = value
        && is_space(*last)
    {
        value = rest;
    }
    value
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

const fn is_inner_space(byte: u8) -> bool {
    is_space(byte) || byte == 0xa0
}
