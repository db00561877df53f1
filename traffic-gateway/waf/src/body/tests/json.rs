//! JSON.

use super::super::{BodyProcessor, Limits, Malformed, Outcome};
use super::{pairs, read_within};

fn read(body: &str) -> (Vec<(String, String)>, Outcome) {
    read_bytes("application/json", body.as_bytes())
}

fn read_bytes(content_type: &str, body: &[u8]) -> (Vec<(String, String)>, Outcome) {
    let (seen, outcome) = super::read(BodyProcessor::Json, content_type, body);
    (seen.arguments, outcome)
}

/// Reads a well-formed body.
fn values(body: &str) -> Vec<(String, String)> {
    let (arguments, outcome) = read(body);
    assert_eq!(outcome.malformed, None, "{body}");
    arguments
}

/// Reads a malformed body.
fn fault(body: &str) -> (Vec<(String, String)>, Malformed) {
    let (arguments, outcome) = read(body);
    (arguments, outcome.malformed.unwrap_or_else(|| panic!("{body} is well-formed")))
}

#[test]
fn names_leaves_by_their_place() {
    let body = r#" {"user" : {"name":"a", "tags":["x","y",{"z":[1,[2]]}]}, "n":null,"t":true,"f":false } "#;
    let expected = [
        ("json.user.name", "a"),
        ("json.user.tags.array_0", "x"),
        ("json.user.tags.array_1", "y"),
        ("json.user.tags.array_2.z.array_0", "1"),
        ("json.user.tags.array_2.z.array_1.array_0", "2"),
        ("json.n", "null"),
        ("json.t", "true"),
        ("json.f", "false"),
    ];
    assert_eq!(values(body), pairs(&expected));
    assert_eq!(values("[1,2]"), pairs(&[("json.array_0", "1"), ("json.array_1", "2")]));
    assert_eq!(values("\"lone\""), pairs(&[("json", "lone")]));
    assert_eq!(values("-1.5e+3"), pairs(&[("json", "-1.5e+3")]));
}

#[test]
fn counts_elements_past_one_digit() {
    let body = format!("[{}0]", "0,".repeat(120));
    assert_eq!(values(&body).last().unwrap().0, "json.array_120");
}

#[test]
fn shows_keys_of_empty_values() {
    let body = r#"{"a":{},"b":[],"":"e","c":[{},[]],"d":""}"#;
    let expected = [
        ("json.a", ""),
        ("json.b", ""),
        ("json.", "e"),
        ("json.c.array_0", ""),
        ("json.c.array_1", ""),
        ("json.d", ""),
    ];
    assert_eq!(values(body), pairs(&expected));
    assert_eq!(values("{}"), pairs(&[("json", "")]));
}

#[test]
fn hands_over_every_one_of_several_equal_keys() {
    assert_eq!(
        values(r#"{"a":1,"a":"attack","a":2}"#),
        pairs(&[("json.a", "1"), ("json.a", "attack"), ("json.a", "2")])
    );
}

#[test]
fn resolves_escapes_in_keys_and_values() {
    let body = r#"{"\u003cscript\u003e":"\"\\\/\b\f\n\r\t\u0027\u00e9\u20AC\ud83d\uDE00"}"#;
    let value = "\"\\/\u{8}\u{c}\n\r\t'\u{e9}\u{20ac}\u{1f600}".as_bytes().escape_ascii().to_string();
    assert_eq!(values(body), pairs(&[("json.<script>", &value)]));
}

#[test]
fn lone_surrogates_hide_nothing() {
    for body in [r#"["\ud800 or 1=1"]"#, r#"["\ude00 or 1=1"]"#] {
        assert_eq!(fault(body), (pairs(&[("json.array_0", "\\xef\\xbf\\xbd or 1=1")]), Malformed::LoneSurrogate));
    }
    let twice = "\\xef\\xbf\\xbd\\xef\\xbf\\xbd";
    assert_eq!(fault(r#""\ud800\ud800""#), (pairs(&[("json", twice)]), Malformed::LoneSurrogate));
    assert_eq!(fault(r#""\ud800\n""#), (pairs(&[("json", "\\xef\\xbf\\xbd\\n")]), Malformed::LoneSurrogate));
    let pair = "\\xef\\xbf\\xbd\\xf0\\x9f\\x98\\x80";
    assert_eq!(fault(r#""\ud800\ud83d\ude00""#), (pairs(&[("json", pair)]), Malformed::LoneSurrogate));
}

#[test]
fn invalid_utf8_hides_nothing() {
    let (arguments, outcome) = read_bytes("application/json", b"{\"a\":\"\xff<script>\",\"b\":2}");
    assert_eq!(arguments, pairs(&[("json.a", "\\xff<script>"), ("json.b", "2")]));
    assert_eq!(outcome.malformed, Some(Malformed::Utf8));
}

#[test]
fn reads_on_behind_faults_that_leave_one_meaning() {
    let rest = ("json.b", "2");
    for (body, first, malformed) in [
        ("{\"a\":\"x\ny\",\"b\":2}", ("json.a", "x\\ny"), Malformed::ControlCharacter),
        (r#"{"a":"\x41","b":2}"#, ("json.a", "\\\\x41"), Malformed::Escape),
        (r#"{"a":"\u00zz","b":2}"#, ("json.a", "\\\\u00zz"), Malformed::Escape),
        (r#"{"a":NaN,"b":2}"#, ("json.a", "NaN"), Malformed::Literal),
        (r#"{"a":True,"b":2}"#, ("json.a", "True"), Malformed::Literal),
        (r#"{"a":01,"b":2}"#, ("json.a", "01"), Malformed::Number),
        (r#"{"a":1.,"b":2}"#, ("json.a", "1."), Malformed::Number),
        (r#"{"a":+1,"b":2}"#, ("json.a", ""), Malformed::Unexpected),
        (r#"{"a":-,"b":2}"#, ("json.a", "-"), Malformed::Number),
        (r#"{"a":1e,"b":2}"#, ("json.a", "1e"), Malformed::Number),
    ] {
        let expected = if malformed.ends_reading() { pairs(&[first]) } else { pairs(&[first, rest]) };
        assert_eq!(fault(body), (expected, malformed), "{body}");
    }
    assert_eq!(fault("\u{feff}{\"a\":1}"), (pairs(&[("json.a", "1")]), Malformed::ByteOrderMark));
    assert_eq!(fault("{\"a\":1} {\"b\":2}"), (pairs(&[("json.a", "1"), rest]), Malformed::TrailingData));
}

#[test]
fn stops_where_the_grammar_ends_and_shows_the_key_at_hand() {
    for (body, expected) in [
        ("{'a':1}", vec![]),
        (r#"{"a":'x'}"#, vec![("json.a", "")]),
        (r#"{"a":1,}"#, vec![("json.a", "1")]),
        ("[1,]", vec![("json.array_0", "1")]),
        ("[,1]", vec![]),
        ("[1 2]", vec![("json.array_0", "1")]),
        ("[1}", vec![("json.array_0", "1")]),
        (r#"{"a":1]"#, vec![("json.a", "1")]),
        (r#"{"a" 1}"#, vec![("json.a", "")]),
        (r#"{"a":1 /* c */}"#, vec![("json.a", "1")]),
        ("// c\n{}", vec![]),
        ("{\"a\":1}\u{1e}", vec![("json.a", "1")]),
        ("]", vec![]),
        ("\u{feff}\u{feff}1", vec![]),
    ] {
        let (arguments, outcome) = read(body);
        assert_eq!(arguments, pairs(&expected), "{body}");
        let first = outcome.malformed.unwrap();
        assert!(matches!(first, Malformed::Unexpected | Malformed::TrailingData | Malformed::ByteOrderMark), "{body}");
    }
}

#[test]
fn says_when_a_document_ends_too_early_and_shows_what_there_was() {
    for (body, expected) in [
        (" ", vec![]),
        ("{", vec![]),
        (r#"{"attack"#, vec![("json.attack", "")]),
        (r#"{"a""#, vec![("json.a", "")]),
        (r#"{"a":"att"#, vec![("json.a", "att")]),
        (r#"{"a":"att\u00"#, vec![("json.a", "att")]),
        (r#"{"a":12"#, vec![("json.a", "12")]),
        ("[[1]", vec![("json.array_0.array_0", "1")]),
    ] {
        assert_eq!(fault(body), (pairs(&expected), Malformed::Truncated), "{body}");
    }
}

#[test]
fn reads_several_documents_where_they_are_allowed() {
    let expected = pairs(&[("json.a", "1"), ("json.a", "2"), ("json", "3")]);
    for content_type in ["application/x-ndjson", "application/json-seq; x=y", "application/geo+json-seq"] {
        let (arguments, outcome) = read_bytes(content_type, b"\x1e{\"a\":1}\n\x1e{\"a\":2}\n3\n");
        assert_eq!((&arguments, outcome.malformed), (&expected, None), "{content_type}");
    }
    assert_eq!(read("{\"a\":1}\n{\"a\":2}").1.malformed, Some(Malformed::TrailingData));
}

#[test]
fn bounds_depth_names_and_arguments() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(values(&nested(64)).len(), 1);
    assert_eq!(fault(&nested(65)), (vec![], Malformed::TooDeep));
    assert_eq!(fault(&r#"{"a":"#.repeat(65)).1, Malformed::TooDeep);

    let key = "k".repeat(2000);
    let (arguments, malformed) = fault(&format!("{{\"{key}\":1}}"));
    assert_eq!((arguments.len(), arguments[0].0.len(), malformed), (1, 1024, Malformed::NameTooLong));

    let body = format!("[{}\"attack\"]", "0,".repeat(1000));
    let (arguments, malformed) = fault(&body);
    assert_eq!((arguments.len(), malformed), (1000, Malformed::TooManyArguments));
}

#[test]
fn stops_at_the_bound_of_the_body_and_hands_over_what_it_has() {
    let limits = Limits { body_bytes: 9, ..Limits::default() };
    let (seen, outcome) = read_within(&limits, BodyProcessor::Json, "application/json", br#"{"a":"attack"}"#);
    assert_eq!((seen.arguments, outcome.malformed), (pairs(&[("json.a", "att")]), Some(Malformed::TooLong)));
}

#[test]
fn a_graphql_document_is_one_argument() {
    let (arguments, outcome) = read_bytes("application/graphql; charset=utf-8", b"{ user(id: 1) { name } }");
    assert_eq!((arguments, outcome.malformed), (pairs(&[("json.query", "{ user(id: 1) { name } }")]), None));
}

#[test]
fn reads_what_serde_json_reads() {
    for body in ["{}", "[0]", "[-0]", "[1.5]", "[1E9]", "[\"\\u0000\"]", " null ", "[\"\u{7f}\"]"] {
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
        values(body);
    }
    for body in
        ["[00]", "[-]", "[.5]", "[1.]", "[\"\t\"]", "nul", "[\"\\'\"]", "{1:2}", "{\"a\"}", "[1]]", "\"", "tru e"]
    {
        assert!(serde_json::from_str::<serde_json::Value>(body).is_err(), "{body}");
        fault(body);
    }
}
