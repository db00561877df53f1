//! What makes markup active: tags, attributes, schemes and comments that run script or fetch what does.

/// Tags that run script, fetch it, or change how the rest of a page is read. Upper case.
const TAGS: [&str; 20] = [
    "APPLET", "BASE", "COMMENT", "EMBED", "FRAME", "FRAMESET", "HANDLER", "IFRAME", "IMPORT", "ISINDEX", "LINK",
    "LISTENER", "META", "NOSCRIPT", "OBJECT", "SCRIPT", "STYLE", "VMLFRAME", "XML", "XSS",
];

/// Attributes with a meaning of their own. Upper case.
const ATTRIBUTES: [(&str, Attribute); 20] = [
    ("ACTION", Attribute::Url),
    ("ATTRIBUTENAME", Attribute::Name),
    ("BACKGROUND", Attribute::Url),
    ("BY", Attribute::Url),
    ("DATAFORMATAS", Attribute::Active),
    ("DATASRC", Attribute::Active),
    ("DYNSRC", Attribute::Url),
    ("FILTER", Attribute::Active),
    ("FOLDER", Attribute::Url),
    ("FORMACTION", Attribute::Url),
    ("FROM", Attribute::Url),
    ("HANDLER", Attribute::Url),
    ("HREF", Attribute::Url),
    ("LOWSRC", Attribute::Url),
    ("POSTER", Attribute::Url),
    ("SRC", Attribute::Url),
    ("STYLE", Attribute::Active),
    ("TO", Attribute::Url),
    ("VALUES", Attribute::Url),
    ("XLINK:HREF", Attribute::Url),
];

/// Beginnings of addresses that run script or carry a page of their own. `JAVA` stands for `javascript:` and `java:`.
const SCHEMES: [&str; 4] = ["DATA", "JAVA", "VBSCRIPT", "VIEW-SOURCE"];

/// What the value of an attribute can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// Nothing.
    Harmless,
    /// Harm, whatever it is: event handlers, styles.
    Active,
    /// It is an address.
    Url,
    /// It is the name of another attribute (SVG).
    Name,
}

impl Attribute {
    /// Whether this value of the attribute runs script.
    pub(super) fn is_active_value(self, value: &[u8]) -> bool {
        match self {
            Self::Harmless => false,
            Self::Active => true,
            Self::Url => is_active_url(value),
            Self::Name => attribute(value) != Self::Harmless,
        }
    }
}

/// Whether a tag of this name runs script by itself.
pub(super) fn is_active_tag(name: &[u8]) -> bool {
    let begins_graphic = |prefix: &[u8]| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    name.len() >= 3 && (TAGS.iter().any(|tag| equals(tag, name)) || begins_graphic(b"SVG") || begins_graphic(b"XSL"))
}

/// What the value of an attribute of this name can do. Every `on…` is taken for an event handler.
pub(super) fn attribute(name: &[u8]) -> Attribute {
    if name.len() < 2 {
        return Attribute::Harmless;
    }
    if let Some(start) = name.get(..5) {
        let is_handler = start.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"ON"));
        if is_handler || equals("XMLNS", start) || equals("XLINK", start) {
            return Attribute::Active;
        }
    }
    ATTRIBUTES.iter().find(|(known, _)| equals(known, name)).map_or(Attribute::Harmless, |(_, kind)| *kind)
}

/// Whether Internet Explorer runs what is in this comment, or a parser expands it.
pub(super) fn is_active_comment(text: &[u8]) -> bool {
    let begins = |prefix: &str| text.len() > prefix.len() && starts(text, prefix);
    memchr::memchr(b'`', text).is_some()
        || (text.len() > 3 && (starts(text, "[IF") || begins("XML")))
        || (text.len() > 5 && text.get(..6).is_some_and(|start| equals("IMPORT", start) || equals("ENTITY", start)))
}

fn starts(text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Whether `name` is `known`, in any case and with any NUL in between, which browsers used to leave out.
fn equals(known: &str, name: &[u8]) -> bool {
    if name.len() < known.len() {
        return false;
    }
    let letters = name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_uppercase);
    letters.eq(known.bytes())
}

/// Whether an address has a scheme that runs script. Leading white space, controls and all that is not ASCII are skipped.
fn is_active_url(url: &[u8]) -> bool {
    let start = url.iter().position(|byte| (b'!'..0x7f).contains(byte)).unwrap_or(url.len());
    let url = url.get(start..).unwrap_or_default();
    SCHEMES.iter().any(|scheme| begins_decoded(url, scheme))
}

/// Whether `url`, with its character references decoded, begins with `scheme`, which is upper case. Line ends, NUL and
/// white space in front do not count.
fn begins_decoded(url: &[u8], scheme: &str) -> bool {
    let mut rest = url;
    let mut expected = scheme.bytes().peekable();
    let mut leading = true;
    while let Some(&next) = expected.peek() {
        let Some((character, length)) = decode_reference(rest) else { return false };
        rest = rest.get(length..).unwrap_or_default();
        if leading && character <= 32 {
            continue;
        }
        leading = false;
        if character == 0 || character == 10 {
            continue;
        }
        let upper = match character {
            0x61..=0x7a => character - 0x20,
            other => other,
        };
        if upper != u32::from(next) {
            return false;
        }
        expected.next();
    }
    true
}

/// The first character, a numeric reference decoded, and the bytes it takes. Named references are left as they are.
fn decode_reference(text: &[u8]) -> Option<(u32, usize)> {
    let (radix, prefix) = match text {
        [b'&', b'#', b'x' | b'X', ..] => (16, 3),
        [b'&', b'#', ..] => (10, 2),
        [first, ..] => return Some((u32::from(*first), 1)),
        [] => return None,
    };
    let mut character = 0_u32;
    let mut length = prefix;
    let digit = |place: usize| text.get(place).and_then(|byte| char::from(*byte).to_digit(radix));
    while let Some(digit) = digit(length) {
        character = character * radix + digit;
        if character > 0x10_00ff {
            return Some((u32::from(b'&'), 1));
        }
        length += 1;
    }
    match text.get(length) {
        _ if length == prefix => Some((u32::from(b'&'), 1)),
        Some(b';') => Some((character, length + 1)),
        _ => Some((character, length)),
    }
}
