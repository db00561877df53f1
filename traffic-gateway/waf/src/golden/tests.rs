use super::{Case, Error, Expected, Ids, Mistake, read};

fn one(text: &str) -> Case {
    let mut cases = read(text).unwrap();
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

fn body(text: &str) -> Vec<u8> {
    one(&format!("# A case.\nPOST / HTTP/1.1\n\n{text}\n----\npass")).request.body
}

#[test]
fn reads_a_case() {
    let case = one(
        "# A customer.\n# In two lines.\nPOST /a?b=c d HTTP/1.1\nHost: shop.test\nX:  a: b \n\n1\n2\n----\ndeny\nmust: 10100, 942*\nmust-not: 1-9\n",
    );
    assert_eq!(case.name, "A customer. In two lines.");
    assert_eq!(case.expected, Expected::Deny);
    assert_eq!(case.must, [Ids::Range(10100..=10100), Ids::Prefix("942".into())]);
    assert_eq!(case.must_not, [Ids::Range(1..=9)]);
    let expected = "POST /a?b=c d HTTP/1.1\r\nHost: shop.test\r\nX: a: b\r\nContent-Length: 3\r\n\r\n1\n2";
    assert_eq!(String::from_utf8(case.request.to_bytes()).unwrap(), expected);
}

#[test]
fn reads_several_cases_and_their_lines() {
    let cases = read("# A.\nGET / HTTP/1.1\n\n----\npass\n====\n# B.\nGET /b HTTP/1.1\n\n----\ndeny\n").unwrap();
    let found: Vec<_> = cases.iter().map(|case| (case.name.as_str(), case.line)).collect();
    assert_eq!(found, [("A.", 1), ("B.", 7)]);
}

#[test]
fn a_case_replaces_fields_of_a_definition() {
    let case = one(
        "#! define a\nHost: shop.test\nAccept: */*\n====\n# A.\nGET / HTTP/1.1\n@a\naccept: text/html\nX: y\n\n----\npass",
    );
    let names: Vec<_> = case.request.fields.iter().map(|(name, _)| String::from_utf8(name.clone()).unwrap()).collect();
    assert_eq!(names, ["Host", "accept", "X"]);
}

#[test]
fn a_length_is_added_only_where_there_is_none() {
    let case = one("# A.\nPOST / HTTP/1.1\ncontent-length: 9\n\nab\n----\npass");
    assert_eq!(case.request.fields.len(), 1);
    let case = one("# A.\nPOST / HTTP/1.1\n\n----\npass");
    assert_eq!(case.request.fields.len(), 0);
}

#[test]
fn generates_text() {
    assert_eq!(body(r#"{{repeat:"a\"=1&":3}}x"#), br#"a"=1&a"=1&a"=1&x"#);
    assert_eq!(body(r#"{{base64:"a"}} {{base64:"ab"}} {{base64:"abc\xff\xff\xff"}}"#), b"YQ== YWI= YWJj////");
    assert_eq!(body(r#"{{base64url:"\xff\xfe"}}"#), b"__4");
    assert_eq!(body(r#"{{hex:"\x00\xaf"}}{{url:"a b~"}}{{url:url:"<"}}"#), b"00afa%20b~%253C");
    assert_eq!(body(r#"{{url:base64:"<?"}}{{{repeat:"a":2}}}"#), b"PD8%3D{aa}");
}

#[test]
fn leaves_other_text_in_braces_alone() {
    let text = r"{{7*7}} {{ user.name }} {{: {{repeat {{name:x}} {{{{ \x41";
    assert_eq!(body(text), text.as_bytes());
}

#[test]
fn reads_escapes_where_they_are_asked_for() {
    let case = one("# A.\n#! escapes\nPOST /\\x41 HTTP/1.1\nX: \\\\\n\n\\x00\\xff\n----\npass");
    assert_eq!((case.request.target.as_slice(), case.request.body.as_slice()), (&b"/A"[..], &b"\x00\xff"[..]));
    assert_eq!(case.request.fields[0].1, b"\\");
}

#[test]
fn ends_lines_of_a_body_with_both_bytes_where_asked_to() {
    let case = one("# A.\n#! crlf-body\n#! escapes\nPOST / HTTP/1.1\n\na\n\\x0a\n----\npass");
    assert_eq!(case.request.body, b"a\r\n\n");
}

#[test]
fn says_what_is_wrong_and_where() {
    let mistake = |text: &str| {
        let Error { line, mistake } = read(text).unwrap_err();
        (line, mistake)
    };
    let head = "# A.\nPOST / HTTP/1.1\n";
    assert_eq!(mistake("POST / HTTP/1.1\n\n----\npass"), (1, Mistake::NoComment));
    assert_eq!(mistake("# A.\n#! gzip\nPOST / HTTP/1.1\n\n----\npass"), (2, Mistake::UnknownWord("gzip".into())));
    assert_eq!(mistake("# A.\nPOST /\n\n----\npass"), (2, Mistake::RequestLine));
    assert_eq!(mistake(&format!("{head}X\n\n----\npass")), (3, Mistake::Field));
    assert_eq!(mistake(&format!("{head}@b\n\n----\npass")), (3, Mistake::UnknownDefinition("b".into())));
    assert_eq!(mistake(&format!("{head}\nx")), (2, Mistake::NoVerdict));
    assert_eq!(mistake(&format!("{head}\n----\n")), (5, Mistake::NoVerdict));
    assert_eq!(mistake(&format!("{head}\n----\nperhaps")), (5, Mistake::Expectation("perhaps".into())));
    assert_eq!(mistake(&format!("{head}\n----\ndeny\nmust: x")), (6, Mistake::Ids("x".into())));
    assert_eq!(mistake(&format!("{head}\n{{{{repeat:\"a\"}}}}\n----\npass")), (1, Mistake::Generated));
    assert_eq!(mistake(&format!("{head}\n{{{{hex:\"\\q\"}}}}\n----\npass")), (1, Mistake::Escape));
    assert_eq!(mistake(&format!("{head}\n{{{{repeat:\"aa\":99999999}}}}\n----\npass")), (1, Mistake::TooLong));
}

#[test]
fn rules_are_named_one_by_one_by_range_or_by_prefix() {
    let contains = |text: &str, id: u32| Ids::find(text).unwrap().contains(id);
    assert!(contains("941*", 941_100) && !contains("941*", 942_100));
    assert!(contains("10-12", 12) && !contains("10-12", 13) && contains("7", 7));
    assert_eq!(Ids::find("12-10"), None);
    assert_eq!(Ids::find("*"), None);
    for text in ["941*", "10-12", "7"] {
        assert_eq!(Ids::find(text).unwrap().to_string(), text);
    }
}
