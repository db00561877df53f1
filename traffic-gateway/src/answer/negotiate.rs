//! Page or problem document: what the client says it wants to read.
//!
//! RFC 9110, section 12.5.1: media ranges with weights, of which the most specific one that matches counts. HTML is chosen
//! only where the client wants it more than JSON, so that browsers get a page and everyone else, also who says `*/*` or
//! nothing, a problem document.

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `text/html`.
    Html,
    /// `application/problem+json`.
    Json,
}

/// Most media ranges that are looked at: browsers send fewer than ten, and a field may be as long as a whole head.
const RANGES_MAX: usize = 32;

/// A weight in thousandths; RFC 9110, section 12.4.2 allows three decimals.
type Weight = u16;

/// What to write to a client that sent these `Accept` fields.
pub fn preferred<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Media {
    let (mut html, mut problem, mut json) = (Best::default(), Best::default(), Best::default());
    let ranges = fields.into_iter().flat_map(|field| split(field, b',')).take(RANGES_MAX);
    for range in ranges.filter_map(Range::parse) {
        html.consider(&range, b"text", b"html");
        problem.consider(&range, b"application", b"problem+json");
        json.consider(&range, b"application", b"json");
    }
    // Who reads JSON reads a problem document as well.
    if html.weight > problem.weight.max(json.weight) { Media::Html } else { Media::Json }
}

/// The weight of one media type by the most specific range that matches it.
#[derive(Default)]
struct Best {
    precision: u8,
    weight: Weight,
}

impl Best {
    fn consider(&mut self, range: &Range<'_>, kind: &[u8], subtype: &[u8]) {
        let is = |text: &[u8], wanted: &[u8]| text.eq_ignore_ascii_case(wanted);
        let precision = match (range.kind, range.subtype) {
            (b"*", b"*") => 1,
            (own, b"*") if is(own, kind) => 2,
            (own, other) if is(own, kind) && is(other, subtype) => 3 + u8::from(range.names_charset),
            _ => return,
        };
        if precision > self.precision || (precision == self.precision && range.weight > self.weight) {
            *self = Self { precision, weight: range.weight };
        }
    }
}

/// One media range; a malformed one counts as if it were not there.
struct Range<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    names_charset: bool,
    weight: Weight,
}

impl<'a> Range<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = split(text, b';');
        let media = parts.next()?.trim_ascii();
        let slash = media.iter().position(|byte| *byte == b'/')?;
        let (kind, subtype) = (media.get(..slash)?, media.get(slash + 1..)?);
        if kind.is_empty() || subtype.is_empty() || (kind == b"*" && subtype != b"*") {
            return None;
        }
        let mut range = Self { kind, subtype, names_charset: false, weight: 1000 };
        for parameter in parts {
            let parameter = parameter.trim_ascii();
            if parameter.is_empty() {
                continue;
            }
            let equals = parameter.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (parameter.get(..equals)?.trim_ascii(), parameter.get(equals + 1..)?.trim_ascii());
            if name.eq_ignore_ascii_case(b"q") {
                range.weight = weight(value)?;
                // What follows a weight extends `Accept` itself and means nothing here.
                break;
            }
            // Our answers have this parameter and no other: a range that asks for another one does not match.
            if !name.eq_ignore_ascii_case(b"charset") || !is_utf8(value) {
                return None;
            }
            range.names_charset = true;
        }
        Some(range)
    }
}

fn is_utf8(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    value.eq_ignore_ascii_case(b"utf-8")
}

/// `0`, `1`, `0.xxx` or `1.000`.
fn weight(text: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match text.split_first()? {
        (whole @ (b'0' | b'1'), []) => (whole, [].as_slice()),
        (whole @ (b'0' | b'1'), [b'.', decimals @ ..]) if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = match decimals.get(place) {
            None => 0,
            Some(digit) => Weight::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?),
        };
        thousandths = thousandths * 10 + digit;
    }
    match (whole, thousandths) {
        (b'0', thousandths) => Some(thousandths),
        (_, 0) => Some(1000),
        _ => None,
    }
}

/// The parts of a field between separators that are not inside a quoted string.
fn split(field: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.iter().position(|byte| {
            let is_end = *byte == separator && !is_quoted;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = is_quoted,
                b'"' => is_quoted = !is_quoted,
                _ => {}
            }
            is_end
        });
        let (part, after) = match end {
            Some(end) => (text.get(..end)?, text.get(end + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn media(accept: &str) -> Media {
        preferred([accept.as_bytes()])
    }

    #[test]
    fn browsers_get_a_page() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html, */*; q=0.01",
            "text/html",
            "TEXT/HTML",
            "text/*",
            "text/html;charset=utf-8, application/json;q=0.9",
            "application/json;q=0.1, text/html;q=0.2",
            "*/*, application/json;q=0, application/problem+json;q=0",
        ] {
            assert_eq!(media(accept), Media::Html, "{accept}");
        }
    }

    #[test]
    fn everyone_else_gets_a_problem_document() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/problem+json, text/html",
            "application/json, text/plain, */*",
            "image/avif,image/webp,*/*;q=0.8",
            "image/png",
            "text/html;q=0",
            "text/html;q=0.5, application/json;q=0.5",
            "text/html;q=0.2, */*;q=0.3",
            "text/html;q=2",
            "text/html;q=0.1234",
            "text/html;level=1",
            "text/html;charset=iso-8859-1",
            "text/",
            "/html",
            "*/html",
            "application/*;q=0.9, text/html;q=0.8",
        ] {
            assert_eq!(media(accept), Media::Json, "{accept}");
        }
    }

    #[test]
    fn the_most_specific_range_counts_wherever_it_stands() {
        assert_eq!(media("text/html;q=0.1, */*;q=0.9, application/*;q=0"), Media::Html);
        assert_eq!(media("*/*;q=1, text/*;q=0.1, text/html;q=0.9, application/*;q=0.5"), Media::Html);
        assert_eq!(media("text/html;q=1, text/html;charset=utf-8;q=0.1, application/json;q=0.5"), Media::Json);
        assert_eq!(preferred([b"text/html;q=0.4".as_slice(), b"application/json;q=0.3"]), Media::Html);
    }

    #[test]
    fn a_field_without_end_is_not_read_to_its_end() {
        assert_eq!(media(&format!("{}text/html", "a/b,".repeat(RANGES_MAX - 1))), Media::Html);
        assert_eq!(media(&format!("{}text/html", "a/b,".repeat(RANGES_MAX))), Media::Json);
    }

    #[test]
    fn quoted_strings_hide_separators() {
        assert_eq!(media("image/png;a=\"text/html,\\\";\", application/json;q=0.1"), Media::Json);
        assert_eq!(media("text/plain;a=\",\", text/html"), Media::Html);
    }

    proptest! {
        #[test]
        fn never_fails_and_does_not_depend_on_order(ranges in proptest::collection::vec(
            ("(text|application|\\*)", "(html|json|problem\\+json|\\*)", 0_u16..=1000), 0..6)) {
            let text = |(kind, subtype, weight): &(String, String, u16)| {
                format!("{kind}/{subtype};q={}.{:03}", weight / 1000, weight % 1000)
            };
            let forward: Vec<String> = ranges.iter().map(text).collect();
            let backward: Vec<String> = ranges.iter().rev().map(text).collect();
            prop_assert_eq!(media(&forward.join(",")), media(&backward.join(" , ")));
        }

        #[test]
        fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            preferred([bytes.as_slice()]);
        }
    }
}
