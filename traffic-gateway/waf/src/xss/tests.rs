use std::fs;

use proptest::prelude::*;

use super::*;
use crate::sqli::tests::{adversarial, assert_vectors, is_linear, print_costs, test_data};

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::DataText => "DATA_TEXT",
        Kind::TagNameOpen => "TAG_NAME_OPEN",
        Kind::TagNameClose => "TAG_NAME_CLOSE",
        Kind::TagNameSelfClose => "TAG_NAME_SELFCLOSE",
        Kind::TagClose => "TAG_CLOSE",
        Kind::AttributeName => "ATTR_NAME",
        Kind::AttributeValue => "ATTR_VALUE",
        Kind::TagComment => "TAG_COMMENT",
        Kind::Doctype => "DOCTYPE",
    }
}

#[test]
fn tokens_equal_the_vectors() {
    assert_vectors("test-html5-", 63, |input| {
        let mut tokenizer = Tokenizer::new(input, Context::Data);
        let mut out = Vec::new();
        while let Some(token) = tokenizer.next_token() {
            out.extend(format!("{},{},", name(token.kind), token.text.len()).bytes());
            out.extend(token.text);
            out.push(b'\n');
        }
        out
    });
}

#[test]
fn verdicts_equal_those_of_the_operator() {
    let Some(path) = test_data("waf-vectors/operators/detectXSS.json") else { return };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 3);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        assert_eq!(detect(input.as_bytes()), case["ret"] == 1, "{input}");
    }
}

#[test]
fn finds_script_in_every_context() {
    for value in [
        "<script>alert(1)</script>",
        "<ScRiPt src=//x>",
        "<sc\0ript>",
        "<img src=x onerror=alert(1)>",
        "<img src=x onerror\t=alert(1)>",
        "<img src=x onerror\x0b=alert(1)>",
        "<img/src='x'/onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<svg/onload=alert(1)",
        "<iframe src=javascript:alert(1)>",
        "<a href=\"javascript:alert(1)\">",
        "<a href='java\nscript:alert(1)'>",
        "<a href=' \x01javascript:alert(1)'>",
        "<a href=&#106;avascript:alert(1)>",
        "<a href=&#x6a;&#x61;vascript:alert(1)>",
        "<a href='vbscript:x'>",
        "<a href='data:text/html,x'>",
        "<form action=javascript:alert(1)>",
        "<button formaction=javascript:alert(1)>",
        "<div style=width:expression(alert(1))>",
        "<x xmlns:y=z>",
        "<!--[if IE]>x<![endif]-->",
        "<!doctype html>",
        "<!entity x>",
        "<?import x>",
        "<?xml x?>",
        "<!-- ` -->",
        "<animate attributename=href to=javascript:alert(1)>",
        "onload=alert(1)",
        "x onload=alert(1)",
        "' onload='alert(1)",
        "\" onload=\"alert(1)",
        "` onload=`alert(1)",
        "\"><script>alert(1)</script>",
        "'><svg>",
    ] {
        assert!(detect(value.as_bytes()), "{value:?}");
    }
}

#[test]
fn byte_255_is_not_the_end() {
    assert!(detect(b"x onload=\xffalert(1)"));
}

#[test]
fn lets_ordinary_values_pass() {
    for value in [
        "",
        "hello",
        "a < b and b > a",
        "if (a<b) return c>d;",
        "1 < 2 > 1",
        "<b>bold</b> and <i>italic</i>",
        "<p class=\"lead\">text</p>",
        "<a href=\"https://example.org/?a=1\">link</a>",
        "<img src=\"/images/a.png\" alt=\"a\">",
        "I <3 you",
        "x=1 y=2",
        "on = 5",
        "O'Neil said \"hi\"",
        "Vec<u8>",
        "std::vector<int> v;",
        "List<Map<String, Integer>> list",
        "<!-- a comment -->",
        "user@example.org",
        "https://example.org/a?b=c&d=e",
        "{\"a\": \"b\"}",
        "日本語のテキスト",
    ] {
        assert!(!detect(value.as_bytes()), "{value:?}");
    }
}

#[test]
fn states_gone_through_are_few() {
    for value in adversarial(1 << 16) {
        for context in Context::ALL {
            let mut tokenizer = Tokenizer::new(&value, context);
            while tokenizer.next_token().is_some() {}
            assert!(tokenizer.steps <= 3 * value.len() + 3, "{context:?} {:?}", &value[..8]);
        }
    }
}

#[test]
fn time_is_linear_in_the_length_of_the_worst_values() {
    is_linear(|value| {
        std::hint::black_box(detect(value));
    });
}

/// Pieces that meet in interesting ways, and any bytes between them.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "<",
        ">",
        "/",
        "</",
        "/>",
        "<!",
        "<!--",
        "-->",
        "--!>",
        "-",
        "<%",
        "%>",
        "<?",
        "<![CDATA[",
        "]]>",
        "]",
        "<!doctype",
        "=",
        "'",
        "\"",
        "`",
        " ",
        "\0",
        "a",
        "script",
        "onload",
        "href",
        "style",
        "javascript:",
        "&#",
        "&#x",
        ";",
        "6a",
        "106",
    ]);
    let piece = prop_oneof![4 => pieces.prop_map(|piece| piece.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_the_end(value in values()) {
        for context in Context::ALL {
            let mut tokenizer = Tokenizer::new(&value, context);
            let mut bytes = 0;
            while let Some(token) = tokenizer.next_token() {
                bytes += token.text.len();
            }
            prop_assert!(bytes <= value.len());
            prop_assert!(tokenizer.steps <= 3 * value.len() + 3);
        }
        std::hint::black_box(detect(&value));
    }

    #[test]
    fn case_of_letters_does_not_matter(value in "[ a-z0-9<>/='!&#;:-]{0,40}") {
        prop_assert_eq!(detect(value.as_bytes()), detect(value.to_ascii_uppercase().as_bytes()));
    }
}

#[test]
#[ignore = "prints figures; run it with --release --nocapture"]
fn prints_what_it_costs() {
    print_costs(|value| {
        std::hint::black_box(detect(value));
    });
}
