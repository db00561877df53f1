//! Phases, the answer, retries.

use super::super::{Mode, Transaction};
use super::{Verdict, denied, feed, ids, rules, start};
use crate::rules::Options;

fn transaction(text: &str) -> Transaction {
    Transaction::new(rules(text), Mode::Block, start())
}

#[test]
fn the_head_of_an_answer_can_be_denied() {
    let mut transaction = transaction(
        r#"SecRule RESPONSE_STATUS "@rx ^5" "id:1,phase:3,pass"
SecRule RESPONSE_HEADERS:X-Leak "@rx secret" "id:2,phase:3,deny,status:502"
SecAction "id:3,phase:5,pass""#,
    );
    assert_eq!(feed(&mut transaction, "GET /"), Verdict::Pass);
    transaction.response_head(b"HTTP/1.1", 500, b"Error");
    transaction.response_header(b"x-leak", b"a secret");
    assert_eq!(transaction.response_head_end(), Verdict::Deny { status: 502, by: 2 });
    assert_eq!(ids(&transaction.finish()), [1, 2, 3]);
}

#[test]
fn the_body_of_an_answer_is_read_when_asked_for() {
    let text = r#"SecResponseBodyAccess On
SecRule RESPONSE_BODY "@rx sql error" "id:1,phase:4,deny""#;
    for (kind, verdict) in [("text/html; charset=utf-8", denied(1)), ("image/png", Verdict::Pass)] {
        let mut transaction = transaction(text);
        feed(&mut transaction, "GET /");
        transaction.response_head(b"HTTP/1.1", 200, b"");
        transaction.response_header(b"Content-Type", kind.as_bytes());
        assert_eq!(transaction.response_head_end(), Verdict::Pass);
        for piece in [&b"an sql"[..], b" error here"] {
            assert_eq!(transaction.response_body(piece), Verdict::Pass);
        }
        assert_eq!(transaction.response_end(), verdict, "{kind}");
    }
    let mut closed = transaction(&text.replace("On", "Off"));
    feed(&mut closed, "GET /");
    assert!(!closed.wants_response_body());
}

#[test]
fn what_is_beyond_the_limit_of_an_answer_is_not_seen() {
    let text = "SecResponseBodyAccess On\nSecResponseBodyLimit 8\nSecResponseBodyLimitAction ProcessPartial
SecRule RESPONSE_BODY \"@rx evil\" \"id:1,phase:4,deny\"
SecRule OUTBOUND_DATA_ERROR \"@eq 1\" \"id:2,phase:4,pass\"";
    let mut transaction = transaction(text);
    feed(&mut transaction, "GET /");
    transaction.response_header(b"Content-Type", b"text/plain");
    transaction.response_body(b"1234567 evil");
    assert_eq!(transaction.response_end(), Verdict::Pass);
    let report = transaction.finish();
    assert_eq!((ids(&report), report.truncated), (vec![2], true));
}

#[test]
fn a_denied_request_runs_only_phase_5() {
    let mut transaction = transaction(
        r#"SecAction "id:1,phase:1,deny"
SecAction "id:2,phase:2,pass"
SecAction "id:3,phase:3,pass"
SecAction "id:5,phase:5,deny""#,
    );
    assert_eq!(feed(&mut transaction, "GET /"), denied(1));
    assert_eq!(transaction.request_end(), denied(1));
    assert!(!transaction.wants_request_body());
    let report = transaction.finish();
    assert_eq!((ids(&report), report.decision), (vec![1, 5], Some(denied(1))));
}

#[test]
fn a_body_that_comes_again_is_read_again() {
    let text = r#"SecRule &ARGS_POST "@gt 1" "id:1,phase:2,pass"
SecRule ARGS_POST "@rx evil" "id:2,phase:2,deny""#;
    let mut transaction = transaction(text);
    transaction.request_line(b"POST", b"/?q=1", b"HTTP/1.1");
    transaction.request_header(b"content-type", b"application/x-www-form-urlencoded");
    transaction.request_head_end();
    for _ in 0..3 {
        transaction.restart_request_body();
        assert_eq!(transaction.request_body(b"a=fi"), Verdict::Pass);
    }
    transaction.restart_request_body();
    transaction.request_body(b"a=ev");
    transaction.request_body(b"il");
    assert_eq!(transaction.request_end(), denied(2));
    assert_eq!(ids(&transaction.finish()), [2]);
}

#[test]
fn a_phase_runs_once() {
    let mut transaction = transaction(
        r#"SecRule ARGS_POST "@rx x" "id:1,phase:2,pass,setvar:tx.n=+1"
SecRule TX:n "@gt 1" "id:2,phase:2,deny""#,
    );
    let request = "POST / HTTP/1.1\ncontent-type: application/x-www-form-urlencoded\n\na=x";
    assert_eq!(feed(&mut transaction, request), Verdict::Pass);
    transaction.restart_request_body();
    assert_eq!(transaction.request_body(b"a=x"), Verdict::Pass);
    assert_eq!(transaction.request_end(), Verdict::Pass);
    assert_eq!(ids(&transaction.finish()), [1]);
}

#[test]
fn a_body_over_its_limit_is_refused_or_cut() {
    let reject = "SecRequestBodyLimit 4\nSecRequestBodyLimitAction Reject\nSecAction \"id:1,phase:2,pass\"";
    let mut refused = transaction(reject);
    refused.request_line(b"POST", b"/", b"HTTP/1.1");
    refused.request_head_end();
    assert_eq!(refused.request_body(b"1234"), Verdict::Pass);
    assert_eq!(refused.request_body(b"5"), Verdict::Deny { status: 413, by: 0 });
    let mut detected = Transaction::new(rules(reject), Mode::Detect, start());
    assert_eq!(feed(&mut detected, "POST /\n\n12345"), Verdict::Pass);
    assert_eq!(detected.finish().decision, Some(Verdict::Deny { status: 413, by: 0 }));
    let partial = "SecRequestBodyLimit 4\nSecRequestBodyLimitAction ProcessPartial
SecRule REQUEST_BODY \"@streq 1234\" \"id:1,phase:2,pass\"\nSecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:2,phase:2,pass\"";
    let mut cut = transaction(partial);
    assert_eq!(feed(&mut cut, "POST /\n\n12345"), Verdict::Pass);
    assert_eq!(ids(&cut.finish()), [1, 2]);
}

#[test]
fn bodies_are_not_wanted_when_no_rule_looks_at_them() {
    let mut none = transaction(r#"SecAction "id:1,phase:1,pass""#);
    feed(&mut none, "POST /");
    assert!(!none.wants_request_body());
    let options = Options { request_body_access: false, ..Options::default() };
    let closed = super::rules_with(r#"SecAction "id:1,phase:2,pass""#, &options);
    assert!(!Transaction::new(closed, Mode::Block, start()).wants_request_body());
    let mut opened = transaction(
        "SecRequestBodyAccess Off\nSecAction \"id:1,phase:1,pass,ctl:requestBodyAccess=On\"\nSecAction \"id:2,phase:2,pass\"",
    );
    opened.request_line(b"POST", b"/", b"HTTP/1.1");
    opened.request_head_end();
    assert!(opened.wants_request_body());
}
