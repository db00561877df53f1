//! Rewriting compared with what it should be: the same paths walked through a `serde_json` value.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::automaton::Automaton;
use super::mask::Mask;
use super::path::{Step, parse};
use super::rewriter::{DocumentBounds, Form, Rewriter, Unfit};
use super::*;

const BOUNDS: DocumentBounds = DocumentBounds { depth: 24, name: 64 };

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef")
}

fn rewrite(rules: &[(&str, Mask)], pieces: &[&[u8]], form: Form, most: usize) -> (Vec<u8>, Result<(), Unfit>) {
    let steps: Vec<Vec<Step>> = rules.iter().map(|(path, _)| parse(path).unwrap()).collect();
    let automaton = Automaton::new(steps.iter().map(Vec::as_slice).zip(rules.iter().map(|(_, mask)| mask)));
    let mut rewriter = Rewriter::new(Arc::new(automaton), Some(key()), BOUNDS, form);
    let mut all = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let mut out = Vec::new();
            match rewriter.feed(rest, &mut out, most) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => {
                    all.extend(out);
                    return (all, Err(error));
                }
            }
            all.extend(out);
        }
    }
    let outcome = rewriter.finish(&mut all);
    (all, outcome)
}

fn whole(rules: &[(&str, Mask)], text: &str) -> String {
    let (out, outcome) = rewrite(rules, &[text.as_bytes()], Form::Document, usize::MAX);
    assert_eq!(outcome, Ok(()), "{text}");
    String::from_utf8(out).unwrap()
}

/// What every rule says, in the most literal way.
fn reference(rules: &[(Vec<Step>, Mask)], at: &mut Vec<String>, value: &Value) -> Option<Value> {
    let strictest = rules.iter().filter(|(steps, _)| fits(steps, at)).map(|(_, mask)| mask).max();
    if let Some(mask) = strictest.filter(|_| !at.is_empty()) {
        return masked(mask, value);
    }
    let mut inside = |name: String, value: &Value| {
        at.push(name);
        let value = reference(rules, at, value);
        at.pop();
        value
    };
    Some(match value {
        Value::Object(members) => {
            let members = members.iter().filter_map(|(name, value)| Some((name.clone(), inside(name.clone(), value)?)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.filter_map(|(index, value)| inside(index.to_string(), value)).collect()
        }
        value => value.clone(),
    })
}

fn fits(steps: &[Step], at: &[String]) -> bool {
    match (steps.split_first(), at.split_first()) {
        (None, None) => true,
        (Some((Step::Deep, rest)), _) => fits(rest, at) || at.split_first().is_some_and(|(_, at)| fits(steps, at)),
        (Some((Step::Any, rest)), Some((_, at))) => fits(rest, at),
        (Some((Step::Name(name), rest)), Some((first, at))) => **name == **first && fits(rest, at),
        _ => false,
    }
}

fn masked(mask: &Mask, value: &Value) -> Option<Value> {
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(match (mask, text) {
        (Mask::Remove, _) => return None,
        (Mask::Text(json), _) => serde_json::from_str(json).unwrap(),
        (Mask::Last4, Some(text)) => {
            let characters: Vec<char> = text.chars().collect();
            let shown = if characters.len() >= 8 { &characters[characters.len() - 4..] } else { &[] };
            format!("****{}", shown.iter().collect::<String>()).into()
        }
        (Mask::Email, Some(text)) => match text.rsplit_once('@') {
            Some((local, domain)) => format!("{}***@{domain}", local.chars().take(1).collect::<String>()).into(),
            None => "***".into(),
        },
        (Mask::Hash, Some(text)) => {
            let tag = hmac::sign(&key(), text.as_bytes());
            tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        _ => Value::Null,
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-d]", 1 => "[0-2]", 1 => Just("é\"\\\n".to_owned()), 1 => Just("𝄞".to_owned())]
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z]{0,12}", "[a-z]{1,4}@[a-z]{1,6}", "\\PC{0,12}", Just("\u{0}\"\\\u{7f}😀".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number)),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let step = prop_oneof![4 => "[a-d]", 1 => "[0-2]", 2 => Just("*".to_owned()), 2 => Just("**".to_owned())];
    prop::collection::vec(step, 1..5).prop_filter_map("no path", |steps| {
        let path = steps.join(".");
        parse(&path).is_ok().then_some(path)
    })
}

fn any_mask() -> impl Strategy<Value = Mask> {
    prop::sample::select(vec![
        Mask::Remove,
        Mask::Null,
        Mask::Last4,
        Mask::Email,
        Mask::Hash,
        Mask::Text("\"-\"".into()),
    ])
}

/// The same document with its names and texts in escapes, and with white space.
fn disguised(value: &Value, out: &mut String) {
    let text = |text: &str, out: &mut String| {
        out.push('"');
        for unit in text.encode_utf16() {
            out.push_str(&format!("\\u{unit:04X}"));
        }
        out.push('"');
    };
    match value {
        Value::Object(members) => {
            out.push_str(" {\r\n");
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { " , " } else { "" });
                text(name, out);
                out.push_str("\t: ");
                disguised(value, out);
            }
            out.push_str(" } ");
        }
        Value::Array(elements) => {
            out.push_str(" [ ");
            for (index, value) in elements.iter().enumerate() {
                out.push_str(if index > 0 { " ,\n" } else { "" });
                disguised(value, out);
            }
            out.push(']');
        }
        Value::String(string) => text(string, out),
        value => out.push_str(&value.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_outcome_is_that_of_a_walk_through_the_value_however_it_is_cut(
        value in any_value(),
        rules in prop::collection::vec((any_path(), any_mask()), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        most in prop::sample::select(vec![1, 7, usize::MAX]),
        is_disguised in any::<bool>(),
    ) {
        let mut text = value.to_string();
        if is_disguised {
            text.clear();
            disguised(&value, &mut text);
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        let compiled: Vec<(Vec<Step>, Mask)> =
            rules.iter().map(|(path, mask)| (parse(path).unwrap(), mask.clone())).collect();
        let expected = reference(&compiled, &mut Vec::new(), &value).unwrap();
        let named: Vec<(&str, Mask)> = rules.iter().map(|(path, mask)| (path.as_str(), mask.clone())).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
        let (out, outcome) = rewrite(&named, &pieces, Form::Document, most);
        prop_assert_eq!(outcome, Ok(()), "{}", text);
        let out: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(out, expected, "{}", text);
        // Byte by byte it is the same again.
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let whole = rewrite(&named, &[text.as_bytes()], Form::Document, usize::MAX);
        prop_assert_eq!(rewrite(&named, &bytes, Form::Document, usize::MAX), whole);
    }

    #[test]
    fn what_is_cut_off_or_spoilt_never_shows_a_hidden_text(
        value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let text = json!({ "b": value, "a": ["S3CRET", { "x": "S3CRET" }], "c": { "a": "S3CRET" } }).to_string();
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at); } else { bytes[at] = byte; }
        let (out, outcome) = rewrite(&[("**.*", Mask::Null)], &[&bytes], Form::Document, usize::MAX);
        prop_assert!(!String::from_utf8_lossy(&out).contains("S3CRET"));
        if cut && at > 0 {
            prop_assert_eq!(outcome, Err(Unfit::CutOff));
        }
    }
}

#[test]
fn everything_that_is_hidden_is_hidden_wherever_it_stands() {
    let card = [("orders.*.card", Mask::Last4), ("**.password", Mask::Remove)];
    for (text, expected) in [
        (
            r#"{"orders":[{"card":"4111111111111111","n":1},{"card":4111111111111112}]}"#,
            r#"{"orders":[{"card":"****1111","n":1},{"card":"****1112"}]}"#,
        ),
        (
            r#"{"password":1,"a":{"password":[1,{"password":2}],"b":[[{"password":"x","c":true}]]}}"#,
            r#"{"a":{"b":[[{"c":true}]]}}"#,
        ),
        (r#"{ "\u0070assword" : "x" , "PASSWORD": "y", "pass\u0077ord": "z" }"#, r#"{"PASSWORD":"y"}"#),
        (r#"{"password":"a","password":{"deep":["b"]},"b":1}"#, r#"{"b":1}"#),
        (
            r#"{"orders":{"x":{"card":true}},"orders":[{"card":{"n":"4111"}}]}"#,
            r#"{"orders":{"x":{"card":null}},"orders":[{"card":null}]}"#,
        ),
        ("[1.50, 1e400, -0, 123456789012345678901234567890]", "[1.50,1e400,-0,123456789012345678901234567890]"),
        (r#""password""#, r#""password""#),
    ] {
        assert_eq!(whole(&card, text), expected);
    }
    assert_eq!(whole(&[("*", Mask::Remove)], r#"{"a":1,"b":[2]}"#), "{}");
    assert_eq!(whole(&[("list.1", Mask::Remove)], r#"{"list":["a","b","c"]}"#), r#"{"list":["a","c"]}"#);
    assert_eq!(whole(&[("a", Mask::Last4), ("**.a", Mask::Null)], r#"{"a":"12345678"}"#), r#"{"a":null}"#);
}

#[test]
fn what_is_not_json_in_utf_8_is_refused() {
    let deep = "[".repeat(25);
    let long = format!("{{\"{}\":1}}", "n".repeat(65));
    for (text, expected) in [
        (&b"<html>"[..], Unfit::NotJson),
        (b"\xef\xbb\xbf{}", Unfit::NotJson),
        (b"\xff\xfe{\0}\0", Unfit::NotJson),
        (b"{\"a\":1}{", Unfit::NotJson),
        (b"[1,]", Unfit::NotJson),
        (b"[1 2]", Unfit::NotJson),
        (b"{\"a\" 1}", Unfit::NotJson),
        (b"{\"a\":1,}", Unfit::NotJson),
        (b"{a:1}", Unfit::NotJson),
        (b"[1}", Unfit::NotJson),
        (b"[01]", Unfit::NotJson),
        (b"[+1]", Unfit::NotJson),
        (b"[1.]", Unfit::NotJson),
        (b"[tru]", Unfit::NotJson),
        (b"['a']", Unfit::NotJson),
        (b"[\"\\x\"]", Unfit::NotJson),
        (b"[\"a\nb\"]", Unfit::NotJson),
        (b"[\"\\ud800\"]", Unfit::NotJson),
        (b"[\"\\ud800\\u0041\"]", Unfit::NotJson),
        (b"[\"\\udc00\"]", Unfit::NotJson),
        (b"[\"\xc0\xaf\"]", Unfit::NotJson),
        (b"[\"\xed\xa0\x80\"]", Unfit::NotJson),
        (b"[\"\xf4\x90\x80\x80\"]", Unfit::NotJson),
        (b"{\"\xff\":1}", Unfit::NotJson),
        (b"// a\n{}", Unfit::NotJson),
        (b"[NaN]", Unfit::NotJson),
        (b"[1", Unfit::CutOff),
        (b"-", Unfit::CutOff),
        (b"\"a", Unfit::CutOff),
        (b"{\"a\":", Unfit::CutOff),
        (deep.as_bytes(), Unfit::TooDeep),
        (long.as_bytes(), Unfit::NameTooLong),
    ] {
        let (_, outcome) = rewrite(&[("*", Mask::Null)], &[text], Form::Document, usize::MAX);
        assert_eq!(outcome, Err(expected), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn lines_are_documents_of_their_own() {
    let rules = [("a", Mask::Remove)];
    let lines = |text: &str| rewrite(&rules, &[text.as_bytes()], Form::Lines, usize::MAX);
    let expected = b"{\"b\":2}\n\n{}\n7".to_vec();
    assert_eq!(lines("{\"a\":1,\"b\":\n2}\r\n\n{\"a\":[]}\n7"), (expected, Ok(())));
    assert_eq!(lines("").1, Ok(()));
    assert_eq!(lines("{}\n").1, Ok(()));
    assert_eq!(lines("{} {}").1, Err(Unfit::NotJson));
    assert_eq!(lines("{}\n{").1, Err(Unfit::CutOff));
}

#[test]
fn what_is_written_at_a_time_is_bounded_whatever_the_masks_are() {
    let text = format!("[{}1]", "1,".repeat(4096));
    let long = Mask::Text(format!("\"{}\"", "x".repeat(254)).into());
    let automaton = Automaton::new([(parse("*").unwrap().as_slice(), &long)].into_iter());
    let mut rewriter = Rewriter::new(Arc::new(automaton), None, BOUNDS, Form::Document);
    let (mut rest, mut turns) = (text.as_bytes(), 0);
    while !rest.is_empty() {
        let mut out = Vec::new();
        let taken = rewriter.feed(rest, &mut out, 16 * 1024).unwrap();
        assert!(out.len() < 17 * 1024);
        rest = &rest[taken..];
        turns += 1;
    }
    assert_eq!(rewriter.masked(), 4097);
    assert!(turns >= 4097 * 257 / (17 * 1024));
}
