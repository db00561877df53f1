//! What the header fields of an answer or a request say of its body, and what they may say no more once the body is another.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What kind of body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Nobody says.
    None,
    /// JSON in UTF-8.
    Json,
    /// A JSON document in each line, in UTF-8.
    JsonLines,
    /// One of the two, in another charset.
    OtherCharset,
    /// Something else, or several things at once.
    Other,
}

const DIGESTS: [HeaderName; 5] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("signature-input"),
];

/// The one value of a field; `None` where there is none, or several.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The media type without its parameters, in lower case; empty for none or several.
#[must_use]
pub fn essence(headers: &HeaderMap) -> String {
    let text = single(headers, &header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What kind of body the header fields announce.
#[must_use]
pub fn media(headers: &HeaderMap) -> Media {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return Media::None;
    }
    let essence = essence(headers);
    let media = match essence.as_str() {
        "application/json" | "text/json" => Media::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Media::JsonLines
        }
        other if other.starts_with("application/") && other.ends_with("+json") => Media::Json,
        _ => return Media::Other,
    };
    let text = single(headers, &header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_utf_8 = |value: &str| {
        let value = value.trim().trim_matches('"');
        ["utf-8", "utf8", "us-ascii"].iter().any(|name| value.eq_ignore_ascii_case(name))
    };
    let mut parameters = text.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let is_fine = parameters.all(|(name, value)| !name.trim().eq_ignore_ascii_case("charset") || is_utf_8(value));
    if is_fine { media } else { Media::OtherCharset }
}

/// Whether the body is compressed, or encoded in another way.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The body is another one than the header fields speak of: its length, digests and parts are unknown, its tag is a weak one.
pub fn has_changed(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    headers.remove(header::TRAILER);
    for digest in &DIGESTS {
        headers.remove(digest);
    }
    headers.remove("signature");
    weaken(headers);
}

/// RFC 9110, section 8.8.1: a strong tag promises the same bytes.
pub fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    let mut weak = b"W/".to_vec();
    weak.extend_from_slice(tag.as_bytes());
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) => drop(headers.insert(header::ETAG, weak)),
        Err(_invalid) => drop(headers.remove(header::ETAG)),
    }
}

/// Adds a name to `Vary`, unless it is there.
pub fn vary(headers: &mut HeaderMap, name: &'static str) {
    let is_there = headers.get_all(header::VARY).iter().any(|value| {
        let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.into_iter().any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !is_there {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_media_type_says_whether_it_is_json() {
        for (value, expected) in [
            ("application/json", Media::Json),
            ("Application/JSON; Charset=\"UTF-8\"", Media::Json),
            ("application/problem+json;charset=utf8", Media::Json),
            ("application/x-ndjson", Media::JsonLines),
            ("application/json; charset=utf-16", Media::OtherCharset),
            ("application/json; x=1; charset=latin1", Media::OtherCharset),
            ("application/jsonp", Media::Other),
            ("text/plain", Media::Other),
            ("text/event-stream", Media::Other),
            ("", Media::Other),
        ] {
            assert_eq!(media(&headers(&[("content-type", value)])), expected, "{value}");
        }
        assert_eq!(media(&headers(&[])), Media::None);
        let two = headers(&[("content-type", "application/json"), ("content-type", "text/plain")]);
        assert_eq!(media(&two), Media::Other);
    }

    #[test]
    fn what_speaks_of_another_body_goes() {
        let mut fields = headers(&[
            ("content-length", "7"),
            ("content-digest", "sha-256=:x:"),
            ("etag", "\"a\""),
            ("accept-ranges", "bytes"),
            ("x-kept", "1"),
        ]);
        has_changed(&mut fields);
        assert_eq!(fields, headers(&[("etag", "W/\"a\""), ("x-kept", "1")]));
        has_changed(&mut fields);
        assert_eq!(fields["etag"], "W/\"a\"");
    }

    #[test]
    fn a_name_varies_once() {
        let mut fields = headers(&[("vary", "accept, Origin")]);
        vary(&mut fields, "origin");
        assert_eq!(fields.get_all("vary").iter().count(), 1);
        vary(&mut fields, "accept-encoding");
        assert_eq!(fields.get_all("vary").iter().count(), 2);
        assert!(is_encoded(&headers(&[("content-encoding", "gzip")])));
        assert!(!is_encoded(&headers(&[("content-encoding", "identity")])));
    }
}
