use serde_json::Value;

use super::*;

fn one(text: &str) -> Asked<'_> {
    let mut items = read(text, 10).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn fault(text: &str) -> String {
    read(text, 3).unwrap_err().to_string()
}

#[test]
fn reads_an_item_with_everything() {
    let text = r#" [ { "id" : "a\u0062" , "method":"P\u004fST","path":"/a?b=c", "headers":{"X-A":"1","x-b":"\t"},
        "body" : {"n": 12345678901234567890.10, "n": 2} } ] "#;
    let item = one(text);
    assert_eq!(item.id.as_deref(), Some("\"ab\""));
    assert_eq!((&*item.method, &*item.target), ("POST", "/a?b=c"));
    assert_eq!(item.headers, [("X-A".into(), "1".into()), ("x-b".into(), "\t".into())]);
    assert_eq!(item.body, Content::Json(r#"{"n": 12345678901234567890.10, "n": 2}"#), "a body is not looked into");
    assert_eq!(one(r#"[{"method":"GET","path":"/","id":-7,"body":null}]"#).body, Content::Nothing);
    assert_eq!(one(r#"[{"method":"GET","path":"/","id":-7}]"#).id.as_deref(), Some("-7"));
    assert!(read("[]", 1).unwrap().is_empty());
}

#[test]
fn whatever_is_no_batch_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "a batch is an array"),
        ("{}", "a batch is an array"),
        ("[", "an item is an object"),
        ("[1]", "item 0, byte 1: an item is an object"),
        ("[{}]", "an item needs method and path"),
        (r#"[{"method":"GET"}]"#, "an item needs method and path"),
        (r#"[{"method":"GET","path":"/a","path":"/b"}]"#, "item 0, byte 36: a member that is there twice"),
        (r#"[{"method":"GET","p\u0061th":"/a","path":"/b"}]"#, "a member that is there twice"),
        (r#"[{"method":"GET","path":"/a","url":"/b"}]"#, "a member other than"),
        (r#"[{"Method":"GET","path":"/a"}]"#, "a member other than"),
        (r#"[{"method":1,"path":"/a"}]"#, "method is a string"),
        (r#"[{"method":"GET","path":["/a"]}]"#, "path is a string"),
        (r#"[{"method":"GET","path":"/a","headers":[]}]"#, "headers is an object"),
        (r#"[{"method":"GET","path":"/a","headers":{"a":1}}]"#, "the value of a header is a string"),
        (r#"[{"method":"GET","path":"/a","id":1.5}]"#, "id is a string"),
        (r#"[{"method":"GET","path":"/a","id":{}}]"#, "id is a string"),
        (r#"[{"method":"GET","path":"/a","id":true}]"#, "id is a string"),
        (r#"[{"method":"GET","path":"/a","id":1},{"method":"GET","path":"/b","id":1}]"#, "item 1, byte 72: an id that"),
        (r#"[{"method":"GET","path":"/a"}] x"#, "something stands behind"),
        (r#"[{"method":"GET","path":"/a"},]"#, "item 1, byte 30: an item is an object"),
        (r#"[{"method":"GET","path":"/a"} {}]"#, "a comma or the end"),
        ("[{\"method\":\"GET\",\"path\":\"/a\n\"}]", "a control character"),
        (r#"[{"method":"GET","path":"/a\x"}]"#, "an escape that JSON does not know"),
        (r#"[{"method":"GET","path":"/a\ud800"}]"#, "half of a surrogate pair"),
        (r#"[{"method":"GET","path":"/a","body":01}]"#, "a comma or the end"),
        (r#"[{"method":"GET","path":"/a","body":1.}]"#, "a number without digits"),
        (r#"[{"method":"GET","path":"/a","body":nul}]"#, "a value is missing"),
        (r#"[{"method":"GET","path":"/a","body":{"a":1,}}]"#, "the name of a member is missing"),
        (r#"[{"method":"GET","path":"/a","body":"#, "a value is missing"),
    ] {
        assert!(fault(text).contains(expected), "{text}: {}", fault(text));
    }
    let four = format!("[{}]", [r#"{"method":"GET","path":"/a"}"#; 4].join(","));
    assert_eq!(read(&four, 3).unwrap_err(), Fault::TooMany);
}

#[test]
fn depth_and_headers_are_bounded() {
    let body =
        |depth: usize| format!(r#"[{{"method":"GET","path":"/","body":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
    assert!(read(&body(DEPTH_MAX - 2), 1).is_ok());
    assert!(fault(&body(DEPTH_MAX - 1)).contains("64 brackets"));
    assert!(fault(&body(1_000_000)).contains("64 brackets"));
    let many: Vec<String> = (0..65).map(|number| format!("\"h{number}\":\"\"")).collect();
    let text = format!(r#"[{{"method":"GET","path":"/","headers":{{{}}}}}]"#, many.join(","));
    assert!(fault(&text).contains("more than 64 headers"));
}

#[test]
fn an_answer_fits_on_one_line_or_is_no_json() {
    let compacted = |text: &str| compact(text).map(Cow::into_owned);
    assert_eq!(
        compacted(" { \"a b\" :\n [ 1 , \"\\\" x\\\\\" , \" \" ] } ").as_deref(),
        Some(r#"{"a b":[1,"\" x\\"," "]}"#)
    );
    assert_eq!(compacted("12").as_deref(), Some("12"));
    for text in ["", "{", "1 2", "nothing", "{\"a\":1,}", "\"\n\""] {
        assert_eq!(compacted(text), None, "{text}");
    }
}

/// A value that `serde_json` writes, and what it may look like with more white space.
fn values() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn reads_whatever_serde_writes_and_keeps_it(body in values(), path in "[ -~]{0,20}", id in "\\PC{0,30}") {
        let item = serde_json::json!({ "id": id, "method": "POST", "path": path, "body": body });
        for text in [serde_json::to_string(&[&item]).unwrap(), serde_json::to_string_pretty(&[&item]).unwrap()] {
            let items = read(&text, 1).unwrap();
            proptest::prop_assert_eq!(&*items[0].target, path.as_str());
            proptest::prop_assert_eq!(items[0].id.clone().unwrap().into_string(), serde_json::to_string(&id).unwrap());
            match items[0].body {
                Content::Json(raw) => {
                    proptest::prop_assert_eq!(&serde_json::from_str::<Value>(raw).unwrap(), &body);
                    let line = compact(raw).unwrap();
                    proptest::prop_assert_eq!(&*line, serde_json::to_string(&serde_json::from_str::<Value>(raw).unwrap()).unwrap());
                }
                _ => proptest::prop_assert!(body.is_null()),
            }
        }
    }

    #[test]
    fn takes_nothing_that_serde_refuses(text in "[\\[\\]{}\",:0-9a-e\\\\. -]{0,40}") {
        if compact(&text).is_some() {
            proptest::prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
