//! XML.

use super::super::{BodyProcessor, Limits, Malformed, Outcome};
use super::{Seen, read_within};

fn read(body: &str) -> (Seen, Outcome) {
    super::read(BodyProcessor::Xml, "text/xml", body.as_bytes())
}

fn malformed(body: &str) -> Option<Malformed> {
    read(body).1.malformed
}

#[test]
fn hands_over_texts_and_attribute_values() {
    let body = r#"<?xml version="1.0" encoding="UTF-8"?>
        <order id="7" xmlns="urn:x" xmlns:s="urn:y"><item s:name='a &lt; b'>one</item> <item>two &amp; three</item>
        <item/><note><![CDATA[<script>]]>&#97;<!-- no -->&#x6C;ert<?pi no?>!</note></order>"#;
    let (seen, outcome) = read(body);
    assert_eq!(outcome.malformed, None);
    assert_eq!(seen.texts, ["one", "two & three", "<script>alert!"]);
    assert_eq!(seen.attributes, ["7", "a < b"]);
    assert_eq!(outcome.arguments, 5);
}

#[test]
fn reports_declarations_and_expands_no_entity() {
    let declaration = "x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]";
    let (seen, outcome) = read(&format!("<!DOCTYPE {declaration}><x a=\"&e;\">&e; &amp; more</x>"));
    assert_eq!(outcome.malformed, None);
    assert_eq!(seen.doctypes, [declaration.replace('"', "\\\"")]);
    assert_eq!((seen.texts, seen.attributes), (vec!["&e; & more".to_owned()], vec!["&e;".to_owned()]));
}

#[test]
fn says_what_is_not_well_formed() {
    for (body, expected) in [
        ("<a>&nbsp;</a>", Malformed::Entity),
        ("<a b='&nbsp;'/>", Malformed::Entity),
        ("<a b='1 & 2'/>", Malformed::Entity),
        ("<a></b>", Malformed::Xml),
        ("<a>", Malformed::Truncated),
        ("<a", Malformed::Xml),
        ("<a b></a>", Malformed::Xml),
        ("text", Malformed::Xml),
        ("  ", Malformed::Truncated),
        ("<a/><b/>", Malformed::TrailingData),
        ("<a/>text", Malformed::Xml),
        ("<a>1 & 2</a>", Malformed::Xml),
        ("<?xml version='1.0' encoding='utf-16'?><a/>", Malformed::Charset),
        ("<?xml version='1.0' encoding='IBM037'?><a/>", Malformed::Charset),
    ] {
        assert_eq!(malformed(body), Some(expected), "{body}");
    }
}

#[test]
fn refuses_wide_characters_and_notes_invalid_utf8() {
    for body in [&b"\xff\xfe<\0a\0/\0>\0"[..], b"\xfe\xff\0<\0a", b"<\0a\0/\0>\0", b"\0<\0a"] {
        let (seen, outcome) = super::read(BodyProcessor::Xml, "text/xml", body);
        assert_eq!((seen, outcome.malformed), (Seen::default(), Some(Malformed::Charset)));
    }
    let (seen, outcome) = super::read(BodyProcessor::Xml, "text/xml", b"<a>\xffx</a>");
    assert_eq!((seen.texts, outcome.malformed), (vec!["\\xffx".to_owned()], Some(Malformed::Utf8)));
    assert_eq!(malformed("\u{feff}<a/>"), None);
}

#[test]
fn shows_the_value_behind_a_fault() {
    let (seen, outcome) = read("<a>union select</b>");
    assert_eq!((seen.texts, outcome.malformed), (vec!["union select".to_owned()], Some(Malformed::Xml)));
}

#[test]
fn bounds_depth_values_and_length() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(malformed(&nested(64)), None);
    assert_eq!(malformed(&nested(65)), Some(Malformed::TooDeep));
    let attributes: String = (0..1001).map(|index| format!(" a{index}='x'")).collect();
    let (seen, outcome) = read(&format!("<a{attributes}/>"));
    assert_eq!((seen.attributes.len(), outcome.malformed), (1000, Some(Malformed::TooManyArguments)));
    let limits = Limits { body_bytes: 6, ..Limits::default() };
    let (seen, outcome) = read_within(&limits, BodyProcessor::Xml, "text/xml", b"<a>attack</a>");
    assert_eq!((seen.texts, outcome.malformed), (vec!["att".to_owned()], Some(Malformed::TooLong)));
}
