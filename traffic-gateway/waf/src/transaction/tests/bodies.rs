//! Bodies: processors, files, windows.

use super::super::{Mode, OVERLAP, Transaction, WINDOW};
use super::{Verdict, denied, feed, ids, rules, run, start};

const MULTIPART: &str = "POST / HTTP/1.1\ncontent-type: multipart/form-data; boundary=b\n\n\
--b\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
--b\r\ncontent-disposition: form-data; name=\"up\"; filename=\"a.php\"\r\ncontent-type: text/plain\r\n\r\nthe file\r\n--b--\r\n";

#[test]
fn parts_are_arguments_and_files() {
    for (target, operator) in [
        ("ARGS:note", "@streq hello"),
        ("ARGS_POST_NAMES", "@streq note"),
        ("FILES:up", "@streq a.php"),
        ("FILES_NAMES", "@streq up"),
        ("FILES_SIZES:up", "@eq 8"),
        ("FILES_COMBINED_SIZE", "@eq 8"),
        ("MULTIPART_FILENAME", "@streq a.php"),
        ("MULTIPART_NAME", "@streq up"),
        ("MULTIPART_PART_HEADERS:up", "@contains text/plain"),
        ("FILES_CONTENT:up", "@streq the file"),
        ("&FILES", "@eq 1"),
        ("&REQUEST_BODY", "@eq 0"),
        ("REQBODY_PROCESSOR", "@streq MULTIPART"),
        ("MULTIPART_STRICT_ERROR", "@eq 0"),
    ] {
        let text = format!("SecRule {target} \"{operator}\" \"id:1,phase:2,deny\"");
        assert_eq!(run(&text, MULTIPART).0, denied(1), "{target} {operator}");
    }
}

#[test]
fn a_body_may_be_kept_whoever_reads_it() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On\"\nSecRule REQUEST_BODY \"@contains the file\" \"id:2,phase:2,deny\"";
    assert_eq!(run(text, MULTIPART).0, denied(2));
}

#[test]
fn a_rule_may_choose_who_reads_the_body() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\nSecRule ARGS \"@rx evil\" \"id:2,phase:2,deny\"";
    assert_eq!(run(text, "POST / HTTP/1.1\ncontent-type: text/plain\n\n{\"a\":\"evil\"}").0, denied(2));
}

#[test]
fn a_malformed_body_is_for_a_rule_to_judge() {
    let text = r#"SecRule REQBODY_ERROR "!@eq 0" "id:1,phase:2,deny,status:400,msg:'%{REQBODY_ERROR_MSG}'""#;
    let verdict = run(text, "POST / HTTP/1.1\ncontent-type: multipart/form-data\n\nx").0;
    assert_eq!(verdict, Verdict::Deny { status: 400, by: 1 });
}

/// Uploads a file with something at an offset, and says whether a rule on its content found it.
fn found_in_file(size: usize, at: usize, what: &str, piece: usize) -> bool {
    let text = r#"SecRule FILES_CONTENT "@rx (?i)ev.l" "id:1,phase:2,deny,t:lowercase""#;
    let mut file = vec![b'x'; size];
    file[at..at + what.len()].copy_from_slice(what.as_bytes());
    let head = b"--b\r\ncontent-disposition: form-data; name=\"up\"; filename=\"a\"\r\n\r\n";
    let body = [&head[..], &file, b"\r\n--b--\r\n"].concat();
    let mut transaction = Transaction::new(rules(text), Mode::Block, start());
    transaction.request_line(b"POST", b"/", b"HTTP/1.1");
    transaction.request_header(b"content-type", b"multipart/form-data; boundary=b");
    assert_eq!(transaction.request_head_end(), Verdict::Pass);
    for piece in body.chunks(piece) {
        assert_eq!(transaction.request_body(piece), Verdict::Pass);
    }
    let verdict = transaction.request_end();
    assert_eq!(ids(&transaction.finish()).is_empty(), verdict == Verdict::Pass);
    verdict == denied(1)
}

#[test]
fn files_are_searched_across_every_seam() {
    let size = 5 * WINDOW;
    for at in [0, 1, WINDOW - 3, WINDOW, 2 * WINDOW - OVERLAP - 2, size - 4] {
        for piece in [1_000, 16_384, 100_000] {
            assert!(found_in_file(size, at, "eViL", piece), "{at} {piece}");
        }
    }
    assert!(!found_in_file(size, 0, "fine", 1_000));
}

#[test]
fn a_rule_on_files_can_be_excluded() {
    let text = r#"SecRule FILES_CONTENT|!FILES_CONTENT:up "@rx file" "id:1,phase:2,deny""#;
    assert_eq!(run(text, MULTIPART).0, Verdict::Pass);
    let text = "SecAction \"id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=1;FILES_CONTENT\"\nSecRule FILES_CONTENT \"@rx file\" \"id:1,phase:2,deny\"";
    assert_eq!(run(text, MULTIPART).0, Verdict::Pass);
}

#[test]
fn what_stands_before_xml_is_seen() {
    let text = r#"SecRule XML_DOCTYPE "@contains ENTITY" "id:1,phase:2,deny""#;
    let request =
        "POST / HTTP/1.1\ncontent-type: text/xml\n\n<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>1</a>";
    assert_eq!(run(text, request).0, denied(1));
}

#[test]
fn buffers_are_used_again() {
    let rules = rules(r#"SecRule ARGS|FILES "@rx evil" "id:1,phase:2,deny""#);
    let mut transaction = Transaction::new(rules.clone(), Mode::Block, start());
    assert_eq!(feed(&mut transaction, "GET /?a=evil"), denied(1));
    transaction.finish();
    transaction.renew(rules, Mode::Block, start());
    assert_eq!(feed(&mut transaction, MULTIPART), Verdict::Pass);
    assert_eq!(ids(&transaction.finish()), [0; 0]);
}
