//! Variables that are neither members nor texts of the wire.

use super::{Verdict, denied, run};

/// Asks whether a variable compares as said.
fn says(target: &str, operator: &str, request: &str) -> bool {
    let rules = format!("SecRule {target} \"{operator}\" \"id:1,phase:2,deny\"");
    match run(&rules, request).0 {
        Verdict::Pass => false,
        verdict => verdict == denied(1),
    }
}

#[test]
fn facts_of_the_connection_and_the_clock_are_known() {
    for (target, operator) in [
        ("REMOTE_ADDR", "@streq 192.0.2.7"),
        ("REMOTE_HOST", "@streq 192.0.2.7"),
        ("REMOTE_PORT", "@eq 40000"),
        ("SERVER_ADDR", "@streq 198.51.100.1"),
        ("SERVER_PORT", "@eq 443"),
        ("SERVER_NAME", "@streq a.example"),
        ("UNIQUE_ID", "@streq req-1"),
        ("TIME", "@streq 12:34:56"),
        ("TIME_DAY", "@eq 29"),
        ("TIME_EPOCH", "@eq 1709210096"),
        ("TIME_HOUR", "@eq 12"),
        ("TIME_MIN", "@eq 34"),
        ("TIME_MON", "@eq 1"),
        ("TIME_SEC", "@eq 56"),
        ("TIME_WDAY", "@eq 4"),
        ("TIME_YEAR", "@eq 2024"),
        ("DURATION", "@eq 0"),
        ("HIGHEST_SEVERITY", "@eq 255"),
        ("REQBODY_ERROR", "@eq 0"),
        ("REQUEST_BODY_LENGTH", "@eq 0"),
        ("ARGS_COMBINED_SIZE", "@eq 6"),
        ("FILES_COMBINED_SIZE", "@eq 0"),
        ("MULTIPART_STRICT_ERROR", "@eq 0"),
        ("MULTIPART_UNMATCHED_BOUNDARY", "@eq 0"),
        ("URLENCODED_ERROR", "@eq 0"),
        ("INBOUND_DATA_ERROR", "@eq 0"),
        ("FULL_REQUEST_LENGTH", "@gt 20"),
        ("RULE:id", "@eq 1"),
        ("&REQUEST_METHOD", "@eq 1"),
        ("&REQUEST_BODY", "@eq 0"),
        ("&ARGS", "@eq 2"),
        ("&TX:1", "@eq 0"),
    ] {
        assert!(says(target, operator, "GET /?ab=c&d=ef HTTP/1.1\nhost: a.example:8080"), "{target} {operator}");
    }
}

#[test]
fn a_broken_escape_is_noted() {
    assert!(says("URLENCODED_ERROR", "@eq 1", "GET /?a=%zz"));
    assert!(says("ARGS:a", "@streq %zz", "GET /?a=%zz"));
}

#[test]
fn every_argument_is_looked_at() {
    let many: String = (0..900).map(|n| format!("a{n}=1&")).collect();
    assert!(says("ARGS", "@rx evil", &format!("GET /?{many}z=evil")));
    assert!(says("REQBODY_ERROR", "@eq 0", &format!("GET /?{many}z=evil")));
}

#[test]
fn too_many_arguments_are_for_a_rule_to_judge() {
    let many: String = (0..1100).map(|n| format!("a{n}=1&")).collect();
    assert!(says("REQBODY_ERROR", "@eq 1", &format!("GET /?{many}")));
    assert!(says("REQBODY_ERROR_MSG", "@contains too many arguments", &format!("GET /?{many}")));
    assert!(says("INBOUND_DATA_ERROR", "@eq 1", &format!("GET /?{many}")));
}

#[test]
fn selectors_see_names_as_they_come_and_compare_without_case() {
    assert!(says("REQUEST_HEADERS:X-A", "@streq 1", "GET / HTTP/1.1\nx-a: 1"));
    assert!(says("REQUEST_HEADERS_NAMES", "@streq X-a", "GET / HTTP/1.1\nX-a: 1"));
    assert!(says("ARGS_NAMES:a", "@streq A", "GET /?A=1"));
}
