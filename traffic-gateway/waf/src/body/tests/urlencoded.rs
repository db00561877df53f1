//! Forms and query strings.

use super::super::{BodyProcessor, Fault, Limits, Malformed, Outcome, query};
use super::{Seen, pairs, read_within};

const FORM: &str = "application/x-www-form-urlencoded";

fn read(body: &str) -> (Vec<(String, String)>, Outcome) {
    let (seen, outcome) = super::read(BodyProcessor::UrlEncoded, FORM, body.as_bytes());
    (seen.arguments, outcome)
}

#[test]
fn splits_pairs_and_decodes_them() {
    let (arguments, outcome) = read("name=J%C3%BCrgen+M&a%5B%5D=1&a[]=2&x=a%3Db=c");
    assert_eq!(arguments, pairs(&[("name", "J\\xc3\\xbcrgen M"), ("a[]", "1"), ("a[]", "2"), ("x", "a=b=c")]));
    assert_eq!((outcome.malformed, outcome.faults.is_empty(), outcome.arguments), (None, true, 4));
}

#[test]
fn keeps_pairs_without_name_value_or_both() {
    let (arguments, _) = read("flag&=value&=&empty=&&%00=%2b");
    assert_eq!(arguments, pairs(&[("flag", ""), ("", "value"), ("", ""), ("empty", ""), ("\\x00", "+")]));
}

#[test]
fn keeps_and_notes_invalid_escapes() {
    for (body, value) in
        [("a=100%", "100%"), ("a=%zz", "%zz"), ("a=%4", "%4"), ("a=%u0041%41", "%u0041A"), ("a=%%41", "%A")]
    {
        let (arguments, outcome) = read(body);
        assert_eq!(arguments, pairs(&[("a", value)]), "{body}");
        assert!(outcome.faults.contains(Fault::InvalidEscape), "{body}");
        assert_eq!((outcome.malformed, outcome.faults.strict_error()), (None, false), "{body}");
    }
}

#[test]
fn decodes_once_only() {
    assert_eq!(read("a=%2541").0, pairs(&[("a", "%41")]));
}

#[test]
fn does_not_drop_the_argument_behind_the_last_allowed_one_in_silence() {
    let body = format!("{}attack=1", "a=1&".repeat(1000));
    let (arguments, outcome) = read(&body);
    assert_eq!((arguments.len(), outcome.malformed), (1000, Some(Malformed::TooManyArguments)));
}

#[test]
fn stops_at_the_bound_of_the_body_and_hands_over_what_it_has() {
    let limits = Limits { body_bytes: 5, ..Limits::default() };
    let (seen, outcome) = read_within(&limits, BodyProcessor::UrlEncoded, FORM, b"a=1&b=2");
    assert_eq!(seen.arguments, pairs(&[("a", "1"), ("b", "")]));
    assert_eq!(outcome.malformed, Some(Malformed::TooLong));
}

#[test]
fn splits_at_the_configured_separator() {
    let limits = Limits { separator: b';', ..Limits::default() };
    let mut found = Vec::new();
    let outcome = query(b"a=1;b=2&3", &limits, |name, value| found.push((super::text(name), super::text(value))));
    assert_eq!((found, outcome.arguments), (pairs(&[("a", "1"), ("b", "2&3")]), 2));
}

#[test]
fn names_a_character_set_that_hides_ascii() {
    for (content_type, malformed) in [
        ("application/x-www-form-urlencoded; charset=IBM037", Some(Malformed::Charset)),
        ("application/x-www-form-urlencoded; charset=\"utf-7\"", Some(Malformed::Charset)),
        ("application/x-www-form-urlencoded; charset=UTF-8", None),
        ("application/x-www-form-urlencoded;charset=\"iso-8859-1\"", None),
    ] {
        let (seen, outcome) = super::read(BodyProcessor::UrlEncoded, content_type, b"a=1");
        assert_eq!((seen.arguments, outcome.malformed), (pairs(&[("a", "1")]), malformed), "{content_type}");
    }
}

#[test]
fn an_empty_body_is_well_formed() {
    for processor in [BodyProcessor::UrlEncoded, BodyProcessor::Json, BodyProcessor::Xml, BodyProcessor::Multipart] {
        let (seen, outcome) = super::read(processor, "", b"");
        assert_eq!((seen, outcome), (Seen::default(), Outcome::default()));
    }
}
