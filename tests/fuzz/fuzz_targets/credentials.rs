//! Credentials of calls: whatever the bytes, they are read in linear time or refused, and what was read of a signature is
//! written down as a signature that reads the same.

#![no_main]

use business_gateway::admit::app::digest::ContentDigest;
use business_gateway::admit::app::jwt::{self, Issuers};
use business_gateway::admit::app::platform::{self, Parameters};
use business_gateway::admit::app::presented;
use business_gateway::admit::app::signature::{Headers, Message};
use gatehouse_fuzz::{Input, linear};
use gatehouse_shared::hop::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (second, third) = (input.line(), input.line());
    let first = input.stretched();
    let length = first.len() + second.len() + third.len();
    let headers = headers(&[
        ("signature-input", &first),
        ("signature", second),
        ("content-digest", third),
        ("authorization", third),
    ]);
    linear(length, || {
        signature(&headers);
        let _digest =
            ContentDigest::of(&headers).is_ok_and(|digest| digest.is_some_and(|digest| digest.matches(&first)));
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        let _presented = presented::find(&request.into_parts().0, presented::Fields::of(&headers)).is_ok();
    });
    if let Ok(text) = std::str::from_utf8(&first) {
        linear(length, || parameters(text, second));
        assert!(jwt::verify(&Issuers::default(), text, 0).is_err());
    }
});

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn signature(headers: &HeaderMap) {
    let Ok(both) = Headers::of(headers) else { return };
    let Ok((input, _proof)) = both.parse() else { return };
    let uri = http::Uri::from_static("/a?b");
    let message = Message { method: "GET", scheme: Scheme::Http, authority: "a.example", uri: &uri, headers };
    let _base = input.base(&message).is_ok();
    let mut again = headers.clone();
    let written = format!("{}={}", input.label, input.parameters);
    again.insert("signature-input", HeaderValue::try_from(written).expect("what was read can be written"));
    let both = Headers::of(&again).expect("both are there");
    let (reread, _proof) = both.parse().expect("what was written can be read");
    assert_eq!(reread, input);
}

fn parameters(text: &str, body: &[u8]) {
    let mut parameters = Parameters::default();
    if parameters.add(text).is_ok() && parameters.sort().is_ok() {
        assert!(parameters.text(body).len() <= text.len() + body.len());
        let is_call = parameters.call(&TimeZone::UTC).is_ok();
        assert!(!is_call || platform::is_signed(text));
    }
    assert!(!platform::has_credentials(&platform::without_credentials(text)));
}
