//! All forms of a value that are worth judging.

use super::parts::{self, Whole};
use super::{Layers, decode, text};

/// How deep a value may be a value within a value.
const DEPTH: usize = 3;
/// How many forms of one value are judged.
const FORMS: usize = 128;

/// One form of a value.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What was undone to get there.
    pub layers: Layers,
}

/// Buffers for [`views`], to be kept from one value to the next.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    levels: [Level; DEPTH],
}

/// Buffers for the forms of one value within another.
#[derive(Clone, Debug, Default)]
struct Level {
    decoded: Vec<u8>,
    text: Vec<u8>,
    part: Vec<u8>,
}

/// Shows every form of a value to a judge until it says yes: the value itself, decoded character by character, without
/// NULs, out of base64, hexadecimal or UTF-7, and the parts it has as JSON, as a form or as a URL.
///
/// At most 128 forms are shown, and at most nine times the value's own bytes and 4 KiB. Nothing is allocated once the
/// buffers have grown to the size of the values.
pub fn views(value: &[u8], scratch: &mut Scratch, judge: &mut dyn FnMut(View<'_>) -> bool) -> bool {
    if judge(View { bytes: value, layers: Layers::NONE }) {
        return true;
    }
    let mut judge = Judge { judge, forms: FORMS, bytes: value.len().saturating_mul(8).saturating_add(4096) };
    expand(value, Layers::NONE, &mut scratch.levels, &mut judge)
}

/// The judge with what it may still be shown.
struct Judge<'a> {
    judge: &'a mut dyn FnMut(View<'_>) -> bool,
    forms: usize,
    bytes: usize,
}

impl Judge<'_> {
    fn says_yes(&mut self, bytes: &[u8], layers: Layers) -> bool {
        if self.forms == 0 || bytes.len() > self.bytes {
            return false;
        }
        self.forms -= 1;
        self.bytes -= bytes.len();
        (self.judge)(View { bytes, layers })
    }
}

/// Shows the forms behind one that was judged already.
fn expand(value: &[u8], layers: Layers, levels: &mut [Level], judge: &mut Judge<'_>) -> bool {
    let Some((level, deeper)) = levels.split_first_mut() else { return false };
    let is_plain = value.iter().all(u8::is_ascii_alphanumeric);
    if is_plain && value.len() < 12 {
        return false;
    }
    let mut current = value;
    let mut now = layers;
    if !is_plain {
        let decoded = decode(value, &mut level.decoded);
        if decoded.rounds > 0 {
            current = &level.decoded;
            now = layers.with(decoded.layers);
            if judge.says_yes(current, now) {
                return true;
            }
        }
        if (text::without_nuls(current, &mut level.text) && judge.says_yes(&level.text, now.with(Layers::NUL)))
            || (text::utf7(current, &mut level.text) && judge.says_yes(&level.text, now.with(Layers::UTF7)))
        {
            return true;
        }
    }
    for (is_hidden, layer) in
        [(text::base64 as fn(&[u8], &mut Vec<u8>) -> bool, Layers::BASE64), (text::hexadecimal, Layers::HEX)]
    {
        if is_hidden(current, &mut level.text) && shown(&level.text, now.with(layer), deeper, judge) {
            return true;
        }
    }
    if is_plain {
        return false;
    }
    // A URL's parameters are split before they are decoded: an encoded `&` belongs to a value.
    match parts::whole(value)
        .map(|whole| (whole, value, layers))
        .or_else(|| parts::whole(current).map(|whole| (whole, current, now)))
    {
        Some((whole, bytes, layers)) => split(whole, bytes, layers.with(Layers::PART), &mut level.part, deeper, judge),
        None => false,
    }
}

/// Judges a form and what is behind it.
fn shown(bytes: &[u8], layers: Layers, deeper: &mut [Level], judge: &mut Judge<'_>) -> bool {
    judge.says_yes(bytes, layers) || expand(bytes, layers, deeper, judge)
}

/// Judges the parts of a value.
fn split(
    whole: Whole,
    value: &[u8],
    layers: Layers,
    part: &mut Vec<u8>,
    deeper: &mut [Level],
    judge: &mut Judge<'_>,
) -> bool {
    match whole {
        Whole::Json => parts::json_strings(value, |string| {
            !is_dull(string) && {
                parts::unescape(string, part);
                shown(part, layers, deeper, judge)
            }
        }),
        Whole::Form(at) => parts::parameters(value.get(at..).unwrap_or_default(), |parameter| {
            !is_dull(parameter) && {
                part.clear();
                part.extend(parameter.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }));
                shown(part, layers, deeper, judge)
            }
        }),
        Whole::Token => value
            .split(|byte| *byte == b'.')
            .take(2)
            .any(|segment| text::base64(segment, part) && shown(part, layers.with(Layers::BASE64), deeper, judge)),
        Whole::Base64(at) => {
            text::base64(value.get(at..).unwrap_or_default(), part)
                && shown(part, layers.with(Layers::BASE64), deeper, judge)
        }
    }
}

/// Whether a part is a short text in which no grammar finds anything.
fn is_dull(part: &[u8]) -> bool {
    part.len() < 12
        && part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '))
        && memchr::memmem::find(part, b"__").is_none()
}
