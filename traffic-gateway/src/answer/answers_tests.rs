use std::fs;

use gatehouse_shared::config::{Document, parse};
use serde::Deserialize;

use super::*;

const ID: &str = "0193c1d2a8f07b6e5d4c3b2a19080706";

/// `[answer]` alone, for messages with the positions of a file.
#[derive(Deserialize)]
struct File {
    answer: Config,
}

/// Compiles `text` beside these files.
fn compile(text: &str, files: &[(&str, &str)]) -> Result<Answers, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("edge.toml"), text).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut sources = Sources::new(dir.path());
    let Document { value, positions } =
        parse::<File>(&sources.read("edge.toml").unwrap()).map_err(|e| e.to_string())?;
    Answers::compile(&value.answer, &mut sources, &positions).map_err(|errors| errors.to_string())
}

fn facts(reason: &'static Reason) -> Facts<'static> {
    Facts {
        reason,
        status: reason.status,
        detail: Some("say <please> & \"thank you\""),
        request_id: ID,
        client: [192, 0, 2, 1].into(),
        retry_after: Some(7),
        unix_ms: 1_795_169_880_042,
    }
}

fn written(answers: &Answers, media: Media, reason: &'static Reason) -> String {
    match answers.write(answers.action(reason, None, Some("/")), media, &facts(reason)) {
        Written::Page { content_type, body } => format!("{content_type}\n{}", String::from_utf8(body).unwrap()),
        Written::Redirect { status, location } => format!("{status} {location}"),
        Written::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_usual_answers() {
    let answers = compile("[answer]\n", &[]).unwrap();
    insta::assert_snapshot!("usual_html", written(&answers, Media::Html, &problem::ROUTE_NOT_FOUND));
    insta::assert_snapshot!("usual_json", written(&answers, Media::Json, &problem::ROUTE_NOT_FOUND));
}

#[test]
fn an_operator_gives_a_page_and_further_members() {
    let text = "[answer]\npage = \"denied.html\"\njson = { support = \"https://example.com/?id={{request_id}}\" }\n";
    let page =
        "<!doctype html><title>{{status}}</title><p>{{title}}: {{detail}}<p>{{client}} {{retry_after}} {{code}}\n";
    let answers = compile(text, &[("denied.html", page)]).unwrap();
    insta::assert_snapshot!("own_html", written(&answers, Media::Html, &problem::OVERLOADED));
    insta::assert_snapshot!("own_json", written(&answers, Media::Json, &problem::OVERLOADED));
}

#[test]
fn what_names_a_reason_more_exactly_goes_first() {
    let text = r#"
        [answer]
        page = "usual.html"
        [answer.redirect]
        location = "https://example.com/"
        [[answer.override]]
        codes = ["overloaded"]
        action = "redirect"
        [[answer.override]]
        statuses = ["503"]
        page = "busy.html"
        json = { try = "later" }
        [[answer.override]]
        statuses = ["5xx"]
        page = "failed.html"
        json = { status_page = "https://status.example.com" }
        [[answer.override]]
        codes = ["path_nul"]
        action = "drop"
    "#;
    let files = [("usual.html", "usual"), ("busy.html", "busy"), ("failed.html", "failed")];
    let answers = compile(text, &files).unwrap();
    let html = |reason| written(&answers, Media::Html, reason);
    assert_eq!(html(&problem::ROUTE_NOT_FOUND), "text/html; charset=utf-8\nusual");
    assert_eq!(html(&problem::UPSTREAM_RESET), "text/html; charset=utf-8\nfailed");
    assert_eq!(html(&problem::NO_HEALTHY_UPSTREAM), "text/html; charset=utf-8\nbusy");
    assert_eq!(html(&problem::OVERLOADED), "302 https://example.com/");
    assert_eq!(html(&problem::PATH_NUL), "nothing");
    let json = written(&answers, Media::Json, &problem::NO_HEALTHY_UPSTREAM);
    assert!(json.contains("\"try\":\"later\"") && !json.contains("status_page"), "{json}");
}

#[test]
fn the_action_of_a_rule_goes_before_that_of_a_reason() {
    let text = "[answer]\n[[answer.override]]\ncodes = [\"overloaded\"]\naction = \"drop\"\n";
    let answers = compile(text, &[]).unwrap();
    let action = |of_rule| answers.action(&problem::OVERLOADED, of_rule, None);
    assert_eq!([action(None), action(Some(Action::Page))], [Action::Drop, Action::Page]);
    assert_eq!(action(Some(Action::Redirect)), Action::Page, "it leads nowhere");
    assert!(!answers.can_redirect(&problem::OVERLOADED));
}

#[test]
fn a_redirect_never_leads_to_where_it_came_from() {
    let answers = compile("[answer.redirect]\nlocation = \"/sorry?a=b\"\n", &[]).unwrap();
    let action = |path| answers.action(&problem::OVERLOADED, Some(Action::Redirect), Some(path));
    assert_eq!([action("/"), action("/sorry")], [Action::Redirect, Action::Page]);
    assert!(answers.can_redirect(&problem::OVERLOADED));
}

#[test]
fn every_mistake_is_found_with_its_position() {
    let text = r#"[answer]
page = "bad.html"
json = { code = "x", help = "{{requestid}}" }

[answer.redirect]
location = "example.com"
status = 301
request_id = "a b"

[[answer.override]]
codes = ["route_not_fund", "overloaded"]
statuses = ["503", "2xx", "418"]
page = "missing.html"

[[answer.override]]
codes = ["overloaded"]

[[answer.override]]
action = "drop"
"#;
    let bad = "<p>\n  {{titel}}\n<a href=\"{{detail}}\"> {{code";
    insta::assert_snapshot!("mistakes", compile(text, &[("bad.html", bad)]).unwrap_err());
}

#[test]
fn a_redirect_needs_somewhere_to_lead_and_a_page_something_to_say() {
    let nowhere = "[[answer.override]]\nstatuses = [\"4xx\"]\naction = \"redirect\"\n";
    let error = compile(nowhere, &[]).unwrap_err();
    assert_eq!(error, "edge.toml:3:10: the redirect leads nowhere (set location in [answer.redirect])");
    let empty = compile("[answer]\npage = \"a.html\"\n", &[("a.html", " \n")]).unwrap_err();
    assert_eq!(empty, "edge.toml:2:8: the page \"a.html\" must have 1 byte to 256 KiB");
}
