//! All forms of a value that are worth judging.

use super::parts::{self, Whole};
use super::{Layers, decode_among, text};
use crate::classes::Classes;

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
    /// Which kinds of bytes it holds.
    pub classes: Classes,
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
    let classes = Classes::of(value);
    if judge(View { bytes: value, layers: Layers::NONE, classes }) {
        return true;
    }
    let mut judge = Judge { judge, forms: FORMS, bytes: value.len().saturating_mul(8).saturating_add(4096) };
    expand(value, classes, Layers::NONE, &mut scratch.levels, &mut judge)
}

/// Letters and digits.
const WORD: Classes = Classes::LETTER.or(Classes::DIGIT);

/// The judge with what it may still be shown.
struct Judge<'a> {
    judge: &'a mut dyn FnMut(View<'_>) -> bool,
    forms: usize,
    bytes: usize,
}

impl Judge<'_> {
    fn says_yes(&mut self, bytes: &[u8], classes: Classes, layers: Layers) -> bool {
        if self.forms == 0 || bytes.len() > self.bytes {
            return false;
        }
        self.forms -= 1;
        self.bytes -= bytes.len();
        (self.judge)(View { bytes, layers, classes })
    }
}

/// Shows the forms behind one that was judged already.
fn expand(value: &[u8], classes: Classes, layers: Layers, levels: &mut [Level], judge: &mut Judge<'_>) -> bool {
    let Some((level, deeper)) = levels.split_first_mut() else { return false };
    let is_plain = !classes.any(WORD.but());
    if is_plain && value.len() < text::SHORTEST {
        return false;
    }
    let (mut current, mut kinds, mut now) = (value, classes, layers);
    let decoded = decode_among(value, classes, &mut level.decoded);
    if decoded.rounds > 0 {
        current = &level.decoded;
        kinds = Classes::of(current);
        now = layers.with(decoded.layers);
        if judge.says_yes(current, kinds, now) {
            return true;
        }
    }
    let mut tells = |is_hidden: bool, text: &[u8], layer: Layers| {
        is_hidden && judge.says_yes(text, Classes::of(text), now.with(layer))
    };
    let is_wide = kinds.any(Classes::NUL) && text::without_nuls(current, &mut level.text);
    if tells(is_wide, &level.text, Layers::NUL) {
        return true;
    }
    let is_utf7 = kinds.any(Classes::PLUS) && text::utf7(current, &mut level.text);
    if tells(is_utf7, &level.text, Layers::UTF7) {
        return true;
    }
    if text::may_be_base64(current, kinds)
        && text::base64(current, &mut level.text)
        && shown(&level.text, now.with(Layers::BASE64), deeper, judge)
    {
        return true;
    }
    if text::may_be_hexadecimal(current, kinds)
        && text::hexadecimal(current, &mut level.text)
        && shown(&level.text, now.with(Layers::HEX), deeper, judge)
    {
        return true;
    }
    if is_plain {
        return false;
    }
    // A URL's parameters are split before they are decoded: an encoded `&` belongs to a value.
    let is_changed = decoded.rounds > 0;
    match parts::whole_among(value, classes)
        .map(|whole| (whole, value, layers))
        .or_else(|| is_changed.then(|| parts::whole_among(current, kinds)).flatten().map(|whole| (whole, current, now)))
    {
        Some((whole, bytes, layers)) => split(whole, bytes, layers.with(Layers::PART), &mut level.part, deeper, judge),
        None => false,
    }
}

/// Judges a form and what is behind it.
fn shown(bytes: &[u8], layers: Layers, deeper: &mut [Level], judge: &mut Judge<'_>) -> bool {
    let classes = Classes::of(bytes);
    judge.says_yes(bytes, classes, layers) || expand(bytes, classes, layers, deeper, judge)
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
