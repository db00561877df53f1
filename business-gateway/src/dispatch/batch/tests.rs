use gatehouse_shared::config::{SourceFile, parse};
use http::HeaderMap;

use super::*;
use crate::store::catalog::CatalogConfig;

fn compile(batch: &str, more: &str) -> Result<Batch, String> {
    let text = format!(
        "[[api]]\nname = \"batch\"\npath = \"/batch\"\nbatch = {{ {batch} }}\n{}\n{more}\n",
        if more.contains("methods") { "" } else { "methods = [\"POST\"]" }
    );
    let file = SourceFile { path: "catalog.toml".into(), text };
    let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
    let at = At { positions: &document.positions, path: "api[0]".to_owned() };
    let written = &document.value.api[0];
    Batch::compile(written.batch.as_ref().unwrap(), written, &at).map_err(|errors| errors.to_string())
}

#[test]
fn what_cannot_work_or_would_weaken_items_is_named_with_its_place() {
    let batch = compile("", "").unwrap();
    assert_eq!((batch.items_max, batch.concurrency, batch.text), (50, 50, false));
    assert_eq!((batch.body_max, batch.item_answer_max, batch.answers_max), (1 << 20, 1 << 20, 8 << 20));
    for (of_batch, more, expected) in [
        ("items_max = 0", "", "catalog.toml:4:23: not 1 to 1000 items"),
        ("items_max = 1001", "", "not 1 to 1000 items"),
        ("concurrency = 0", "", "no item would begin"),
        ("body_max = \"0B\"", "", "no batch would pass"),
        ("item_answer_max = \"0B\"", "", "no answer would fit"),
        ("answers_max = \"1KiB\"", "", "less than the answer to one item"),
        ("size = 1", "", "size"),
        ("", "methods = [\"POST\", \"GET\"]", "a body that is posted"),
        ("", "methods = []", "a body that is posted"),
        ("", "batchable = true", "a batch inside of a batch"),
        ("", "pass_credentials = true", "no service to pass them to"),
        ("", "raw_path = true", "a batch has no service"),
        ("", "pool = \"a\"", "a batch takes no slot"),
        ("", "concurrency = 1", "a batch takes no slot"),
        ("", "replay = \"off\"", "could be repeated"),
        ("", "replay = \"node\"", "could be repeated"),
        ("", "replay_on_store_failure = \"open\"", "could be repeated"),
    ] {
        let error = compile(of_batch, more).unwrap_err();
        assert!(error.contains(expected), "{of_batch} {more}: {error}");
    }
    assert!(compile("text = true", "replay = \"fleet\"").unwrap().text);
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn the_form_is_what_the_content_type_says() {
    let (plain, with_text) = (compile("", "").unwrap(), compile("text = true", "").unwrap());
    let form = |batch: &Batch, pairs: &[(&'static str, &'static str)]| {
        Form::of(&headers(pairs), batch).map_err(|failure| failure.reason.code)
    };
    assert_eq!(form(&plain, &[("content-type", "Application/JSON; charset=utf-8")]), Ok(Form::Json));
    assert_eq!(form(&plain, &[("content-type", "text/plain")]), Err("batch_type_unsupported"));
    assert_eq!(form(&plain, &[]), Err("batch_type_unsupported"));
    assert_eq!(form(&with_text, &[("content-type", "text/plain;charset=UTF-8")]), Ok(Form::Text(None)));
    assert_eq!(
        form(&with_text, &[("content-type", "application/x-www-form-urlencoded")]),
        Err("batch_type_unsupported")
    );
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(form(&with_text, &packed), Err("batch_type_unsupported"));
    let separated = |separator| form(&with_text, &[("content-type", "text/plain"), ("top-api-separator", separator)]);
    assert_eq!(separated("{;}"), Ok(Form::Text(Some("{;}".into()))));
    assert_eq!(separated("a&b"), Err("batch_invalid"));
    assert_eq!(separated(""), Err("batch_invalid"));
}

#[test]
fn lines_are_written_for_who_asks_for_them() {
    for (accept, expected) in [
        ("application/x-ndjson", true),
        ("application/json;q=0.5, Application/X-NDJSON ; q=1", true),
        ("application/x-ndjson;q=0", false),
        ("application/json, */*", false),
        ("", false),
    ] {
        assert_eq!(wants_lines(&headers(&[("accept", accept)])), expected, "{accept}");
    }
}
