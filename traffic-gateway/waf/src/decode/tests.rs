use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::{Layers, ROUNDS, Scratch, decode, parts, symbol, text, views};
use crate::classes::Classes;

fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if decode(value, &mut out).rounds == 0 { value.to_vec() } else { out }
}

/// Every form of a value, in the order in which it is judged.
fn forms(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    views(value.as_bytes(), &mut Scratch::default(), &mut |view| {
        forms.push(String::from_utf8_lossy(view.bytes).into_owned());
        false
    });
    forms
}

#[test]
fn undoes_encodings_character_by_character() {
    for (value, expected) in [
        ("%27", "'"),
        ("%2527", "'"),
        ("%252527", "'"),
        ("%u0027", "'"),
        ("%uff07", "'"),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x00000027", "'"),
        ("&#39", "'"),
        ("&apos;", "'"),
        ("&lt;b&gt;", "<b>"),
        ("&ltscript&gt", "<script>"),
        ("&amp;lt;", "<"),
        ("&colon;", ":"),
        ("\\u0027", "'"),
        ("\\x27", "'"),
        ("\\u{27}", "'"),
        ("\\047", "'"),
        ("<\\/script>", "</script>"),
        ("＜script＞", "<script>"),
        ("ʼ or 1=1", "' or 1=1"),
        ("java\u{200b}script", "javascript"),
        ("%26lt%3b", "<"),
        ("a%20or+b", "a or b"),
        ("1+1", "1+1"),
        ("%", "%"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("&", "&"),
        ("&foo;", "&foo;"),
        ("\\", "\\"),
        ("C:\\new", "C:\\new"),
        ("%%32%37", "'"),
        ("%25%32%37", "'"),
        ("&#37;27", "'"),
        ("①②⑦.⓪.⓪.①", "127.0.0.1"),
        ("Größe 5€", "Größe 5€"),
        ("你好，世界", "你好,世界"),
        ("ſcript", "script"),
        ("..∕..∕", "../../"),
    ] {
        assert_eq!(String::from_utf8_lossy(&decoded(value.as_bytes())), expected, "{value}");
    }
}

#[test]
fn undoes_overlong_characters() {
    for value in [
        b"..%c0%af".as_slice(),
        b"..\xc0\xaf",
        b"..%e0%80%af",
        b"..%f0%80%80%af",
        b"%c0%ae%c0%ae%c0%af",
        b"..%25c0%25af",
    ] {
        assert_eq!(decoded(value), b"../", "{}", value.escape_ascii());
    }
}

#[test]
fn writes_nothing_when_nothing_is_encoded() {
    let mut out = Vec::new();
    for value in ["hello world", "a+b", "1 & 2", "50%", "C:\\dir", "", "größer", "{\"a\":1}"] {
        assert_eq!(decode(value.as_bytes(), &mut out).layers, Layers::NONE, "{value}");
        assert_eq!(out.capacity(), 0, "{value}");
    }
}

#[test]
fn stops_after_the_last_round() {
    let mut value = b"'".to_vec();
    for _ in 0..20 {
        value = value.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect();
        if value.len() > 100_000 {
            break;
        }
    }
    let mut out = Vec::new();
    assert_eq!(decode(&value, &mut out).rounds, ROUNDS);
    assert!(out.len() < value.len());
}

#[test]
fn shows_whole_texts_behind_an_encoding() {
    for (value, expected) in [
        ("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "<script>alert(1)</script>"),
        ("JyBvciAxPTEtLSAt", "' or 1=1-- -"),
        ("3c7363726970743e616c6572742831293c2f7363726970743e", "<script>alert(1)</script>"),
        ("0x2720 6f7220313d31", "0x2720 6f7220313d31"),
        ("+ADw-script+AD4-", "<script>"),
        ("<\0s\0c\0r\0i\0p\0t\0>\0", "<script>"),
        ("{\"a\":\"it\\u0027s\"}", "it's"),
        ("{\"a\":\"{\\\"b\\\":\\\"' or 1=1\\\"}\"}", "' or 1=1"),
        ("a=1&b=%27+or+1%3D1", "' or 1=1"),
        ("/x?q=%3Cscript%3E", "<script>"),
        ("https://example.com/?u=%2e%2e%2fetc", "../etc"),
        ("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", "<script>alert(1)</script>"),
        ("data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "<script>alert(1)</script>"),
        ("Basic PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "<script>alert(1)</script>"),
        ("eyJhIjoiPHNjcmlwdD4ifQ.eyJiIjoiJyBvciAxPTEifQ.sig", "' or 1=1"),
        ("[\"<b>\"]", "<b>"),
        ("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg%3D%3D", "<script>alert(1)</script>"),
        ("\"<x>\"", "<x>"),
    ] {
        assert!(forms(value).iter().any(|form| form == expected), "{value}: {:?}", forms(value));
    }
}

#[test]
fn shows_nothing_more_of_ordinary_values() {
    for value in [
        "",
        "hello",
        "550e8400-e29b-41d4-a716-446655440000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "internationalization",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
        "Hello world, this is prose.",
        "12345678901234567890",
        "user@example.com",
    ] {
        assert_eq!(forms(value), [value], "{value}");
    }
}

#[test]
fn is_bounded_in_forms_and_bytes() {
    for value in [
        "{\"a'b\":".repeat(20_000),
        "a'=b'&".repeat(20_000),
        "%2525252525".repeat(10_000),
        "[\"{\\\"".repeat(20_000),
        "+ADw-".repeat(20_000),
        "&#x".repeat(20_000),
        "\\u{".repeat(20_000),
        "Jy".repeat(40_000),
    ] {
        let (mut count, mut bytes) = (0, 0);
        views(value.as_bytes(), &mut Scratch::default(), &mut |view| {
            count += 1;
            bytes += view.bytes.len();
            false
        });
        assert!(count <= 129 && bytes <= 9 * value.len() + 4096, "{count} forms, {bytes} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_panics_and_never_grows(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        assert!(decoded(&value).len() <= value.len());
        views(&value, &mut Scratch::default(), &mut |_| false);
    }

    #[test]
    fn what_is_decoded_is_a_fixed_point(value in "(%|&|#|x|u|25|27|lt|;|\\\\|\\{|[0-9a-f]|\\+|,|'){0,40}") {
        let mut out = Vec::new();
        let done = decode(value.as_bytes(), &mut out);
        if (1..ROUNDS).contains(&done.rounds) {
            assert_eq!(decode(&out.clone(), &mut Vec::new()).rounds, 0, "{value} → {}", String::from_utf8_lossy(&out));
        }
    }
}

/// Asserts that what is asked before decoding never keeps from decoding.
fn asks_exactly(value: &[u8]) {
    let classes = Classes::of(value);
    let mut out = Vec::new();
    assert!(text::may_be_base64(value, classes) || !text::base64(value, &mut out), "{}", value.escape_ascii());
    assert!(
        text::may_be_hexadecimal(value, classes) || !text::hexadecimal(value, &mut out),
        "{}",
        value.escape_ascii()
    );
    assert_eq!(parts::whole_among(value, classes), parts::whole(value), "{}", value.escape_ascii());
    assert!(classes.any(Classes::NUL) || !text::without_nuls(value, &mut out), "{}", value.escape_ascii());
    assert!(classes.any(Classes::PLUS) || !text::utf7(value, &mut out), "{}", value.escape_ascii());
    assert!(symbol::first(value).is_none() || decode(value, &mut out).rounds > 0, "{}", value.escape_ascii());
}

proptest! {
    #[test]
    fn what_is_asked_before_decoding_is_exact_for_bytes(value in prop::collection::vec(any::<u8>(), 0..60)) {
        asks_exactly(&value);
    }

    #[test]
    fn what_is_asked_before_decoding_is_exact_for_encoded_text(
        value in "( |0x|\\\\x)?([0-9a-f]{2}|%27|\\+ADw-|eyJ|[a-zA-Z+/]{4}|data:|base64,|Basic |[\\[{\"=&.?:/%+]|&lt;|\\\\u0027|\u{ff07}|\0){0,14}( |=)?"
    ) {
        asks_exactly(value.as_bytes());
    }
}
