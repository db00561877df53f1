//! What the content type says: who reads the body, and in which character set it is.

use super::outcome::{Fault, Faults};
use super::parameter::{self, Parameter};
use super::{BodyProcessor, Malformed};

/// Who reads a body of this content type; `None` for types nobody reads into values, and for none.
///
/// Types are compared without regard to case and parameters. What ends in `+json` or `+xml` is JSON or XML, whatever
/// stands before. GraphQL is read as JSON ([`BodyReader`](super::BodyReader)). `multipart` means `multipart/form-data`: other multipart
/// types carry no form.
///
/// `None` is not "harmless": frameworks read bodies of unknown type as forms or JSON when told to. A rule decides that
/// (`ctl:requestBodyProcessor`, or a list of allowed types).
#[must_use]
pub fn processor_for(content_type: &[u8]) -> Option<BodyProcessor> {
    let mut faults = Faults::default();
    let (essence, _) = parameter::split(content_type, &mut faults);
    if is_one_of(essence, &[b"application/x-www-form-urlencoded"]) {
        Some(BodyProcessor::UrlEncoded)
    } else if is_one_of(essence, &[b"multipart/form-data"]) {
        Some(BodyProcessor::Multipart)
    } else if is_one_of(essence, JSON)
        || is_graphql(content_type)
        || has_suffix(essence, b"+json")
        || is_sequence(essence)
    {
        Some(BodyProcessor::Json)
    } else if is_one_of(essence, XML) || has_suffix(essence, b"+xml") {
        Some(BodyProcessor::Xml)
    } else {
        None
    }
}

const JSON: &[&[u8]] =
    &[b"application/json", b"text/json", b"application/x-json", b"text/x-json", b"application/csp-report"];

const JSON_SEQUENCE: &[&[u8]] = &[
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
    b"application/json-seq",
];

const XML: &[&[u8]] = &[b"application/xml", b"text/xml", b"application/x-xml"];

/// Whether the content type allows several JSON documents.
pub(super) fn is_json_sequence(content_type: &[u8]) -> bool {
    let mut faults = Faults::default();
    is_sequence(parameter::split(content_type, &mut faults).0)
}

/// Whether the body is a GraphQL document.
pub(super) fn is_graphql(content_type: &[u8]) -> bool {
    let mut faults = Faults::default();
    is_one_of(parameter::split(content_type, &mut faults).0, &[b"application/graphql"])
}

/// Whether the declared character set keeps ASCII visible: none, and those that extend ASCII.
pub(super) fn is_readable(content_type: &[u8]) -> bool {
    let mut faults = Faults::default();
    let (_, mut parameters) = parameter::split(content_type, &mut faults);
    parameters.all(|parameter| {
        !parameter.name.eq_ignore_ascii_case(b"charset") || is_readable_charset(parameter.value.trim_ascii())
    })
}

/// Whether a character set keeps ASCII visible, so that what rules look for looks the same in it.
///
/// In the sets of East Asia the second byte of a character may be a letter, a digit or `\\`, `{`, `|`, `}`, never a quote, a bracket
/// or another sign: rules see more than the application, not less. Sets that shift or widen ASCII are not among them.
pub(super) fn is_readable_charset(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_numbered = |family: &[u8], numbers: std::ops::RangeInclusive<u16>| {
        let digits = lower.strip_prefix(family).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse().ok()).is_some_and(|number| numbers.contains(&number))
    };
    is_one_of(&lower, READABLE) || is_numbered(b"iso-8859-", 1..=16) || is_numbered(b"windows-", 1250..=1258)
}

const READABLE: &[&[u8]] = &[
    b"utf-8",
    b"utf8",
    b"us-ascii",
    b"ascii",
    b"latin1",
    b"koi8-r",
    b"koi8-u",
    b"windows-874",
    b"tis-620",
    b"gbk",
    b"gb2312",
    b"gb18030",
    b"big5",
    b"big5-hkscs",
    b"shift_jis",
    b"shift-jis",
    b"sjis",
    b"windows-31j",
    b"euc-jp",
    b"euc-kr",
    b"ks_c_5601-1987",
];

/// The boundary of a multipart body (RFC 2046: 1 to 70 bytes of a small alphabet, no space at the end).
///
/// One that a lenient parser would read differently is an error: two of them, an empty one, one that is too long.
pub(super) fn boundary(content_type: &[u8], faults: &mut Faults) -> Result<Vec<u8>, Malformed> {
    let (_, parameters) = parameter::split(content_type, faults);
    let mut found: Option<Parameter<'_>> = None;
    for parameter in parameters.filter(|parameter| parameter.name.to_ascii_lowercase().starts_with(b"boundary")) {
        if found.is_some() || parameter.name.len() != b"boundary".len() {
            return Err(Malformed::Boundary);
        }
        found = Some(parameter);
    }
    let found = found.filter(|parameter| !parameter.value.is_empty()).ok_or(Malformed::Boundary)?;
    if found.quoted {
        faults.insert(Fault::BoundaryQuoted);
    }
    if found.spaced {
        faults.insert(Fault::BoundaryWhitespace);
    }
    let valid = found.value.len() <= 70 && found.value.iter().all(|byte| is_boundary_byte(*byte));
    if !valid || found.value.last() == Some(&b' ') {
        return Err(Malformed::InvalidBoundary);
    }
    Ok(found.value.into_owned())
}

/// The alphabet of RFC 2046.
fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

fn is_sequence(essence: &[u8]) -> bool {
    is_one_of(essence, JSON_SEQUENCE) || has_suffix(essence, b"+json-seq")
}

fn is_one_of(essence: &[u8], types: &[&[u8]]) -> bool {
    types.iter().any(|one| one.eq_ignore_ascii_case(essence))
}

fn has_suffix(essence: &[u8], suffix: &[u8]) -> bool {
    let from = essence.len().checked_sub(suffix.len());
    from.and_then(|from| essence.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}
