//! Batches of both forms: whatever the bytes, they are read in linear time or refused, and what an item becomes is a request to
//! the same host, with a canonical path and without a header that only the gates may write.

#![no_main]

use std::borrow::Cow;

use business_gateway::dispatch::batch::asked::{Asked, Content};
use business_gateway::dispatch::batch::item::prepare;
use business_gateway::dispatch::batch::{json, text};
use gatehouse_fuzz::{Input, linear};
use gatehouse_shared::hop;
use gatehouse_shared::message::forwarding::is_forwarding;
use gatehouse_shared::message::path::is_canonical;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

/// Items of a batch.
const MOST: usize = 1_000;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let is_separated = input.choice() % 2 == 1;
    let separator = if is_separated { input.line() } else { b"" };
    let stretched = input.stretched();
    let (Ok(separator), Ok(written)) = (std::str::from_utf8(separator), std::str::from_utf8(&stretched)) else {
        return;
    };
    let separator = Some(separator).filter(|separator| !separator.is_empty());
    linear(written.len(), || {
        of_json(written);
        of_text(written, separator);
    });
});

fn of_json(written: &str) {
    let source = bytes::Bytes::from(written.to_owned());
    let Ok(same) = std::str::from_utf8(&source) else { return };
    if let Some(line) = json::compact(same) {
        assert!(!line.contains(['\n', '\r']) && line.len() <= same.len());
        assert_eq!(json::compact(&line).as_deref(), Some(&*line), "on one line already");
    }
    let Ok(items) = json::read(same, MOST) else { return };
    assert!(items.len() <= MOST);
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(same).is_ok(), "what is read is JSON");
    for item in &items {
        request(item, &source);
    }
}

fn of_text(written: &str, separator: Option<&str>) {
    let Ok(lines) = text::read(written, separator, MOST) else { return };
    assert!(lines.len() <= MOST);
    for line in lines {
        let asked = Asked {
            method: Cow::Borrowed("GET"),
            target: Cow::Owned(format!("/a?{}", line.parameters)),
            body: Content::Nothing,
            ..Asked::default()
        };
        request(&asked, &bytes::Bytes::new());
        let asked = Asked {
            method: Cow::Borrowed("POST"),
            target: Cow::Borrowed("/a"),
            body: Content::Form(line.parameters),
            ..asked
        };
        request(&asked, &bytes::Bytes::new());
    }
}

fn request(asked: &Asked<'_>, source: &bytes::Bytes) {
    let host = HeaderValue::from_static("shop.example");
    let Ok(request) = prepare(asked, &host, source) else { return };
    assert!(is_canonical(request.uri().path()), "{}", request.uri());
    assert!(request.uri().authority().is_none());
    assert_eq!(request.headers().get_all("host").iter().collect::<Vec<_>>(), [&host]);
    for name in request.headers().keys().map(http::HeaderName::as_str) {
        assert!(!hop::is_internal(name) && !is_forwarding(name), "{name}");
        assert!(!["authorization", "x-api-key", "cookie", "connection", "transfer-encoding"].contains(&name), "{name}");
    }
}
