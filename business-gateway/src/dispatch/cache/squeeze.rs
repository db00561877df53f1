//! Bodies are compressed where that pays.

use std::io::Read;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use http::HeaderMap;
use http::header;

/// Shorter bodies are not worth it.
const SHORTEST: usize = 512;

/// Whether a body of this kind is text, which gets shorter.
#[must_use]
pub fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("json")
        || kind.ends_with("xml")
        || kind.ends_with("javascript")
        || kind == "application/x-www-form-urlencoded"
}

/// The body, compressed; `None` when that saves less than a quarter. Takes about ten milliseconds a megabyte.
#[must_use]
pub fn squeezed(body: &[u8]) -> Option<Bytes> {
    if body.len() < SHORTEST {
        return None;
    }
    let most = body.len() - body.len() / 4;
    let mut squeezed = Vec::with_capacity(most / 2);
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let encoder = DeflateEncoder::new(body, Compression::fast());
    // Reading from memory cannot fail.
    let length = encoder.take(most).read_to_end(&mut squeezed).ok()?;
    if u64::try_from(length).is_ok_and(|length| length >= most) {
        return None;
    }
    squeezed.shrink_to_fit();
    Some(Bytes::from(squeezed))
}

/// The body as it was, `length` bytes; `None` when it is something else.
#[must_use]
pub fn plain(squeezed: &[u8], length: usize) -> Option<Bytes> {
    let mut body = Vec::new();
    body.try_reserve_exact(length).ok()?;
    let most = u64::try_from(length).ok()?.checked_add(1)?;
    DeflateDecoder::new(squeezed).take(most).read_to_end(&mut body).ok()?;
    (body.len() == length).then(|| Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn only_what_gets_much_shorter_is_kept_that_way() {
        let text = "{\"number\": 1, \"name\": \"one\"}".repeat(100);
        let small = squeezed(text.as_bytes()).unwrap();
        assert!(small.len() < text.len() / 4);
        assert_eq!(plain(&small, text.len()).unwrap(), text);
        assert_eq!(plain(&small, text.len() - 1), None, "a bomb ends at the length that was promised");
        assert_eq!(plain(&small, text.len() + 1), None);
        assert_eq!(plain(b"\xff\xff\xff", 10), None);
        assert!(squeezed(b"short").is_none());
        let mut seed = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        })
        .take(4096)
        .collect();
        assert!(squeezed(&noise).is_none());
    }

    #[test]
    fn text_is_known_by_its_type() {
        let kind = |text: &str| is_text(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]));
        assert!(kind("text/html") && kind("application/json; charset=utf-8") && kind("Application/Problem+JSON"));
        assert!(!kind("image/png") && !kind("application/octet-stream") && !is_text(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn anything_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64), times in 1_usize..200) {
            let body = bytes.repeat(times);
            if let Some(small) = squeezed(&body) {
                prop_assert_eq!(plain(&small, body.len()).unwrap(), body);
            }
        }

        #[test]
        fn nothing_from_outside_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(plain(&bytes, 1024));
        }
    }
}
