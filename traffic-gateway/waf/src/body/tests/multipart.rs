//! Multipart forms.

use super::super::{BodyProcessor, Fault, Limits, Malformed, Outcome};
use super::{Seen, pairs, read_within};

const TYPE: &str = "multipart/form-data; boundary=xyz";

/// Reads a body whose lines end with CRLF.
fn read(lines: &[&str]) -> (Seen, Outcome) {
    super::read(BodyProcessor::Multipart, TYPE, lines.join("\r\n").as_bytes())
}

/// Reads one field with these header lines.
fn read_part(headers: &str) -> (Seen, Outcome) {
    read(&["--xyz", headers, "", "value", "--xyz--", ""])
}

fn file(field: &str, filename: &str, bytes: u64) -> (String, String, u64) {
    (field.to_owned(), filename.to_owned(), bytes)
}

#[test]
fn reads_fields_and_files() {
    let (seen, outcome) = read(&[
        "--xyz",
        "Content-Disposition: form-data; name=\"title\"",
        "",
        "two\r\nlines",
        "--xyz",
        "content-disposition: FORM-DATA; Name=doc; FileName=\"a b.txt\"",
        "Content-Type: text/plain",
        "",
        "\r\n-- not a boundary --xyz\n",
        "--xyz",
        "Content-Disposition: form-data; name=\"none\"; filename=\"\"",
        "",
        "",
        "--xyz--",
        "",
    ]);
    assert_eq!(seen.arguments, pairs(&[("title", "two\\r\\nlines")]));
    assert_eq!(seen.files, [file("doc", "a b.txt", 26), file("none", "", 0)]);
    assert_eq!(seen.contents, ["\\r\\n-- not a boundary --xyz\\n", ""]);
    assert_eq!(seen.headers[2], ("doc".to_owned(), "Content-Type: text/plain".to_owned()));
    assert_eq!((outcome.malformed, outcome.faults.is_empty(), outcome.arguments), (None, true, 1));
}

#[test]
fn reads_empty_forms_and_empty_parts() {
    let (seen, outcome) = read(&["--xyz--", ""]);
    assert_eq!((seen, outcome), (Seen::default(), Outcome::default()));
    let (seen, outcome) = read(&["", "--xyz", "Content-Disposition: form-data; name=a", "", "--xyz--"]);
    assert_eq!((seen.arguments, outcome.malformed), (pairs(&[("a", "")]), None));
    assert!(outcome.faults.is_empty());
}

#[test]
fn notes_what_is_loose() {
    let header = "Content-Disposition: form-data; name=\"a\"";
    let odd: &[(&[&str], Fault)] = &[
        (&["preamble", "--xyz", header, "", "value", "--xyz--"], Fault::DataBefore),
        (&["--xyz", header, "", "value", "--xyz--", "more"], Fault::DataAfter),
        (&["--xyz \t", header, "", "value", "--xyz--"], Fault::BoundaryWhitespace),
        (&["--xyz", "Content-Disposition: form-data;", " name=\"a\"", "", "value", "--xyz--"], Fault::HeaderFolding),
        (&["--xyz", " x: y", header, "", "value", "--xyz--"], Fault::InvalidHeaderFolding),
        (&["--xyz", "no colon", header, "", "value", "--xyz--"], Fault::InvalidPart),
        (&["--xyz", "Content-Type : text/plain", header, "", "value", "--xyz--"], Fault::InvalidPart),
        (&["--xyz", "X: a\0b", header, "", "value", "--xyz--"], Fault::InvalidPart),
        (&["--xyz", "Content-Transfer-Encoding: 8bit", header, "", "value", "--xyz--"], Fault::TransferEncoding),
    ];
    for (lines, fault) in odd {
        let (seen, outcome) = read(lines);
        assert_eq!((seen.arguments, outcome.malformed), (pairs(&[("a", "value")]), None), "{fault:?}");
        assert!(outcome.faults.contains(*fault) && outcome.faults.strict_error(), "{fault:?}");
    }
}

#[test]
fn reads_lines_that_end_with_lf_and_notes_it() {
    let body = b"--xyz\nContent-Disposition: form-data; name=a\n\nvalue\n--xyz--\n";
    let (seen, outcome) = super::read(BodyProcessor::Multipart, TYPE, body);
    assert_eq!((seen.arguments, outcome.malformed), (pairs(&[("a", "value")]), None));
    assert!(outcome.faults.contains(Fault::LfLine));
}

#[test]
fn reads_parameters_in_every_spelling() {
    for (parameters, name, fault) in [
        ("name=\"a\"", "a", None),
        ("name=a;", "a", None),
        ("name=\"a\\\"; filename=\\\"b\"", "a\\\"; filename=\\\"b", Some(Fault::InvalidQuoting)),
        ("name=\"C:\\x\"", "C:\\\\x", None),
        ("name=\"a\\\\\"", "a\\\\", None),
        ("name='a'", "\\'a\\'", Some(Fault::InvalidQuoting)),
        ("name=\"a", "a", Some(Fault::InvalidQuoting)),
        ("name=\"a\" ; x=1", "a", Some(Fault::OddParameter)),
        ("name=\"a\" x", "a", Some(Fault::MissingSemicolon)),
    ] {
        let (seen, outcome) = read_part(&format!("Content-Disposition: form-data; {parameters}"));
        assert_eq!(seen.arguments, pairs(&[(name, "value")]), "{parameters}");
        assert_eq!(outcome.malformed, None, "{parameters}");
        assert_eq!(fault.is_none(), outcome.faults.is_empty(), "{parameters}");
        assert!(fault.is_none_or(|fault| outcome.faults.contains(fault)), "{parameters}");
    }
}

#[test]
fn shows_what_may_be_a_field_as_a_field_too() {
    for parameter in ["filename=\"\"", "filename*=UTF-8''a.txt"] {
        let (seen, outcome) = read_part(&format!("Content-Disposition: form-data; name=f; {parameter}"));
        assert_eq!(
            (seen.arguments, seen.files.len(), outcome.arguments),
            (pairs(&[("f", "value")]), 1, 1),
            "{parameter}"
        );
        assert_eq!(seen.contents.concat(), "value", "{parameter}");
    }
    let (seen, outcome) = read_part("Content-Disposition: form-data; name=f; filename=a.txt");
    assert_eq!((seen.arguments, seen.files.len(), outcome.arguments), (Vec::new(), 1, 0));
}

#[test]
fn shows_both_names_of_a_file() {
    let (seen, outcome) =
        read_part("Content-Disposition: form-data; name=f; filename=\"a.jpg\"; filename*=UTF-8''%e2%82%ac.php");
    assert_eq!(seen.files, [file("f", "a.jpg", 5), file("f", "\\xe2\\x82\\xac.php", 0)]);
    assert!(outcome.faults.contains(Fault::ExtendedFilename));
    let (seen, outcome) = read_part("Content-Disposition: form-data; name=f; filename=a.jpg; filename=b.php");
    assert_eq!(seen.files, [file("f", "a.jpg", 5), file("f", "b.php", 0)]);
    assert!(outcome.faults.contains(Fault::OddParameter));
    let (seen, _) = read_part("Content-Disposition: form-data; name=f; filename*0=\"she\"; filename*1=ll.php");
    assert_eq!(seen.files, [file("f", "she", 5), file("f", "ll.php", 0)]);
}

#[test]
fn reads_on_behind_parts_nobody_reads_alike() {
    for (headers, malformed) in [
        ("Content-Type: text/plain", Malformed::Disposition),
        ("Content-Disposition: attachment; name=a", Malformed::Disposition),
        ("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", Malformed::Disposition),
        ("Content-Disposition: form-data", Malformed::PartName),
        ("Content-Disposition: form-data; name=a; name=b", Malformed::PartName),
        (
            "Content-Disposition: form-data; name=a\r\nContent-Type: multipart/mixed; boundary=b",
            Malformed::NestedMultipart,
        ),
        ("Content-Disposition: form-data; name=a\r\nContent-Type: text/plain; charset=utf-7", Malformed::Charset),
        ("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", Malformed::TransferEncoding),
    ] {
        let (seen, outcome) = read_part(headers);
        assert_eq!(seen.arguments.first().map(|(_, value)| value.as_str()), Some("value"), "{headers}");
        assert_eq!(outcome.malformed, Some(malformed), "{headers}");
    }
}

#[test]
fn says_when_the_body_ends_too_early_and_shows_what_there_was() {
    let header = "Content-Disposition: form-data; name=\"a\"";
    for (lines, expected) in [
        (vec!["", ""], vec![]),
        (vec!["no boundary"], vec![]),
        (vec!["--xyz"], vec![]),
        (vec!["--xyz", header], vec![]),
        (vec!["--xyz", header, "", "val"], vec![("a", "val")]),
        (vec!["--xyz", header, "", "val", "--xy"], vec![("a", "val\\r\\n--xy")]),
        (vec!["--xyz", header, "", "val", "--xyz"], vec![("a", "val")]),
    ] {
        let (seen, outcome) = read(&lines);
        assert_eq!((seen.arguments, outcome.malformed), (pairs(&expected), Some(Malformed::Truncated)), "{lines:?}");
    }
    let (seen, _) = read(&["--xyz", "Content-Disposition: form-data; name=f; filename=x", "", "content", "-"]);
    assert_eq!((seen.files, seen.contents), (vec![file("f", "x", 10)], vec!["content\\r\\n-".to_owned()]));
}

#[test]
fn stops_at_a_boundary_line_that_goes_on() {
    let header = "Content-Disposition: form-data; name=\"a\"";
    for end in ["--xyzz", "--xyz-", "--xyz-x", "--xyz x"] {
        let (seen, outcome) = read(&["--xyz", header, "", "value", end, header, "", "hidden", "--xyz--"]);
        assert_eq!(
            (seen.arguments, outcome.malformed),
            (pairs(&[("a", "value")]), Some(Malformed::BoundaryLine)),
            "{end}"
        );
    }
}

#[test]
fn stops_without_a_usable_boundary() {
    let (seen, outcome) = super::read(BodyProcessor::Multipart, "multipart/form-data", b"--\r\n\r\n");
    assert_eq!((seen, outcome.malformed), (Seen::default(), Some(Malformed::Boundary)));
}

#[test]
fn sees_the_boundary_of_a_hidden_part() {
    let header = "Content-Disposition: form-data; name=\"a\"";
    for (value, unmatched) in [
        ("x\r\n--other\r\ncontent-Disposition: form-data; name=b\r\n\r\nhidden", true),
        ("--other\nContent-Type: text/html\n\nhidden", true),
        ("-----BEGIN CERTIFICATE-----\r\nMIIB\r\n-----END CERTIFICATE-----", false),
        ("-- \r\nContentment, a signature", false),
        ("a\n--\nb\n---\n", false),
        ("--long \u{2014} ".repeat(40).as_str(), false),
    ] {
        let (seen, outcome) = read(&["--xyz", header, "", value, "--xyz--"]);
        assert_eq!(seen.arguments, pairs(&[("a", &super::text(value.as_bytes()))]));
        assert_eq!(outcome.malformed, None, "{value}");
        assert_eq!(outcome.faults.contains(Fault::UnmatchedBoundary), unmatched, "{value}");
        assert!(!outcome.faults.strict_error());
    }
}

#[test]
fn bounds_parts_headers_arguments_and_fields_but_not_files() {
    let part = "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n";
    let read_all = |limits: Limits, body: String| read_within(&limits, BodyProcessor::Multipart, TYPE, body.as_bytes());
    let (seen, outcome) = read_all(Limits { parts: 100, ..Limits::default() }, part.repeat(101) + "--xyz--");
    assert_eq!((seen.arguments.len(), outcome.malformed), (100, Some(Malformed::TooManyParts)));
    let (seen, outcome) = read_all(Limits { arguments: 2, ..Limits::default() }, part.repeat(3) + "--xyz--");
    assert_eq!((seen.arguments.len(), outcome.malformed), (2, Some(Malformed::TooManyArguments)));

    let long = format!("--xyz\r\nX: {}", "y".repeat(9000));
    assert_eq!(read_all(Limits::default(), long).1.malformed, Some(Malformed::PartHeadersTooLong));
    let many = format!("--xyz\r\n{}", "X: y\r\n".repeat(2000));
    assert_eq!(read_all(Limits::default(), many).1.malformed, Some(Malformed::PartHeadersTooLong));

    let body = |parameters: &str| {
        let content = "x".repeat(200_000);
        format!("--xyz\r\nContent-Disposition: form-data; name=a{parameters}\r\n\r\n{content}\r\n--xyz--")
    };
    let (seen, outcome) = read_all(Limits::default(), body(""));
    assert_eq!(outcome.malformed, Some(Malformed::TooLong));
    assert_eq!(seen.arguments[0].1.len(), 128 * 1024 - 42);
    let (seen, outcome) = read_all(Limits::default(), body("; filename=f"));
    assert_eq!((seen.files, outcome.malformed), (vec![file("a", "f", 200_000)], None));
}
