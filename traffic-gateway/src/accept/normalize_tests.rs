use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config as Runs;

use super::*;
use crate::accept::config::EncodedSlash;
use crate::accept::tests::bounds;

fn judge(head: &str) -> Result<Message, &'static str> {
    let local = SocketAddr::from(([127, 0, 0, 1], 8080));
    http1(head.as_bytes(), bounds_once(), local).map(|head| head.message).map_err(|reason| reason.code)
}

fn get(target: &str) -> Result<Message, &'static str> {
    judge(&format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"))
}

fn with(fields: &str) -> Result<Message, &'static str> {
    judge(&format!("POST / HTTP/1.1\r\n{fields}\r\n"))
}

#[test]
fn finds_the_one_canonical_path() {
    for (target, path) in [
        ("/", "/"),
        ("/a/b.c?x=/../y", "/a/b.c"),
        ("/%41%7e%2D%5f", "/A~-_"),
        ("/%c3%a9/%e2%82%ac", "/%C3%A9/%E2%82%AC"),
        ("/a/./b/../c/.", "/a/c/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..", "/"),
        ("//a///b//", "/a/b/"),
        ("/a;v=1/b;x=%20y;z", "/a/b"),
        ("/a/;x/b", "/a/b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a|b[c]^", "/a%7Cb%5Bc%5D%5E"),
        ("/100%25", "/100%25"),
        ("/a+b!$&'()*,=:@", "/a+b!$&'()*,=:@"),
        ("/%3B%3F%23", "/%3B%3F%23"),
    ] {
        let message = get(target).unwrap_or_else(|code| panic!("{target}: {code}"));
        assert_eq!(message.canonical_path(), path, "{target}");
        assert_eq!(message.raw_target(), target);
    }
}

#[test]
fn refuses_paths_without_one_meaning() {
    for (target, code) in [
        ("/%252e", "path_double_encoded"),
        ("/%25%32%65", "path_double_encoded"),
        ("/%2541", "path_double_encoded"),
        ("/a%2Fb", "path_encoded_slash"),
        ("/a%5cb", "path_encoded_slash"),
        ("/a\\b", "path_encoded_slash"),
        ("/%00", "path_nul"),
        ("/%0d%0aX", "path_nul"),
        ("/%", "path_encoding_invalid"),
        ("/%4", "path_encoding_invalid"),
        ("/%zz", "path_encoding_invalid"),
        ("/%u0041", "path_encoding_invalid"),
        ("/%c0%af", "path_encoding_invalid"),
        ("/%e0%80%af", "path_encoding_invalid"),
        ("/..", "path_above_root"),
        ("/a/../../b", "path_above_root"),
        ("/%2e%2e/etc", "path_above_root"),
        ("/a/..;x/b", "path_parameter_dot_segment"),
        ("/.;/b", "path_parameter_dot_segment"),
        ("/a#b", "target_invalid"),
        ("/?a#b", "target_invalid"),
        ("/a{b}", "target_invalid"),
        ("/a\"b", "target_invalid"),
        ("/é", "target_invalid"),
        ("/?é", "target_invalid"),
        ("/?<", "target_invalid"),
        ("a", "target_invalid"),
        ("?a", "target_invalid"),
        ("ftp://example.com/", "target_invalid"),
        ("http:/example.com/", "target_invalid"),
        ("http:///x", "host_invalid"),
        ("http://other/", "host_conflict"),
        ("http://user@example.com/", "host_invalid"),
        ("http://example.com:80/", "host_conflict"),
        ("http://exam\\ple.com/", "host_invalid"),
    ] {
        assert_eq!(get(target).unwrap_err(), code, "{target}");
    }
}

#[test]
fn encoded_slashes_are_kept_or_decoded_by_configuration() {
    let canonical = |slashes, raw: &str| {
        let mut out = Vec::new();
        canonicalise(raw.as_bytes(), slashes, &mut out)
            .map(|_| String::from_utf8(out).unwrap())
            .map_err(|reason| reason.code)
    };
    assert_eq!(canonical(EncodedSlash::Keep, "/a%2fb%5C/..").unwrap(), "/");
    assert_eq!(canonical(EncodedSlash::Keep, "/a%2f..%2Fb").unwrap(), "/a%2F..%2Fb");
    assert_eq!(canonical(EncodedSlash::Decode, "/a%2f..%2Fb").unwrap(), "/b");
    assert_eq!(canonical(EncodedSlash::Decode, "/a%5Cb").unwrap_err(), "path_encoded_slash");
}

#[test]
fn understands_absolute_and_asterisk_form() {
    let message = get("HTTP://example.com/a/%41?q").unwrap();
    assert_eq!((message.canonical_path(), message.query(), message.raw_path()), ("/a/A", Some("q"), "/a/%41"));
    let message = get("http://example.com?q").unwrap();
    assert_eq!((message.canonical_path(), message.query()), ("/", Some("q")));
    let message = judge("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!((message.raw_target(), message.canonical_path()), ("*", "*"));
}

#[test]
fn writes_hosts_in_one_way_and_keeps_the_authority() {
    for (authority, host) in
        [("example.com", "example.com"), ("Example.COM.:8080", "example.com"), ("[2001:DB8::1]:80", "[2001:db8::1]")]
    {
        let message = with(&format!("Host: {authority}\r\n")).unwrap();
        assert_eq!((message.authority(), message.host()), (authority, host));
    }
    for (fields, code) in [
        ("", "host_missing"),
        ("Host:\r\n", "host_invalid"),
        ("Host: a\r\nhost: a\r\n", "host_repeated"),
        ("Host: a b\r\n", "host_invalid"),
        ("Host: u@a\r\n", "host_invalid"),
    ] {
        assert_eq!(with(fields).unwrap_err(), code, "{fields:?}");
    }
}

#[test]
fn refuses_malformed_lines_and_fields() {
    for (head, code) in [
        ("GET  / HTTP/1.1\r\n\r\n", "request_line_invalid"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", "target_invalid"),
        ("GET / HTTP/1.1 \r\n\r\n", "request_line_invalid"),
        ("GET /\r\n\r\n", "request_line_invalid"),
        ("GET / HTTP/1.1x\r\n\r\n", "request_line_invalid"),
        ("GET / http/1.1\r\n\r\n", "request_line_invalid"),
        ("GET\t/ HTTP/1.1\r\n\r\n", "method_invalid"),
        ("G(T / HTTP/1.1\r\n\r\n", "method_invalid"),
        ("GET /\r HTTP/1.1\r\n\r\n", "line_ending_invalid"),
        ("GET / HTTP/1.1\n\r\n", "line_ending_invalid"),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "version_unsupported"),
        ("get / HTTP/1.1\r\nHost: x\r\n\r\n", "method_not_allowed"),
        ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "leading_empty_lines"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", "line_ending_invalid"),
        ("GET / HTTP/1.1\r\nHost: x", "line_ending_invalid"),
    ] {
        assert_eq!(judge(head).unwrap_err(), code, "{head:?}");
    }
    for (field, code) in [
        ("X: a\r\n b", "header_folded"),
        ("X : a", "header_invalid"),
        ("X\t: a", "header_invalid"),
        (": a", "header_name_invalid"),
        ("X", "header_name_invalid"),
        ("X(y): a", "header_name_invalid"),
        ("\u{e9}: a", "header_name_invalid"),
        ("X_y: a", "header_name_underscore"),
        ("X: a\0b", "control_byte"),
        ("X: a\x7fb", "control_byte"),
        ("X: a\rb", "line_ending_invalid"),
        ("X: a\r", "line_ending_invalid"),
        ("X: a\nY: b", "line_ending_invalid"),
        ("User-Agent: a\r\nuser-agent: b", "header_repeated"),
        ("Content-Type: a\r\nContent-Type: a", "header_repeated"),
        ("Authorization: a\r\nAuthorization: b", "header_repeated"),
        ("Connection: x-forwarded-for", "connection_option_invalid"),
        ("Expect: 200-ok", "expectation_unsupported"),
    ] {
        assert_eq!(with(&format!("Host: x\r\n{field}\r\n")).unwrap_err(), code, "{field:?}");
    }
    assert!(with("Host: x\r\nX: caf\u{e9} \t y\r\nCookie: a\r\nCookie: b\r\n").is_ok());
}

#[test]
fn knows_upgrades_and_expectations() {
    assert!(with("Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n").unwrap().upgrade);
    assert!(
        !with("Host: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 1\r\n")
            .unwrap()
            .upgrade
    );
    let message = with("Host: x\r\nExpect: 100-Continue\r\nContent-Length: 7\r\n").unwrap();
    assert_eq!((message.expects_continue, message.body), (true, Body::Length(7)));
    assert!(!with("Host: x\r\nExpect: 100-continue\r\n").unwrap().expects_continue);
    assert_eq!(with("Host: x\r\nTransfer-Encoding: Chunked\r\n").unwrap().body, Body::Chunked);
    assert_eq!(with("Host: x\r\nContent-Length: 0\r\n").unwrap().body, Body::None);
}

/// Paths made of what is interesting in paths.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just(";"),
        Just("%"),
        Just("%2e"),
        Just("%2F"),
        Just("%25"),
        Just("%32"),
        Just("%C3%A9"),
        Just("%00"),
        Just("a"),
        Just("B"),
        Just("2"),
        Just("5"),
        Just("|"),
        Just("~"),
        Just("%7E"),
        Just("%c0%af"),
        Just("\\"),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn slashes() -> impl Strategy<Value = EncodedSlash> {
    prop_oneof![Just(EncodedSlash::Refuse), Just(EncodedSlash::Keep), Just(EncodedSlash::Decode)]
}

/// Heads that are nearly right.
fn head() -> impl Strategy<Value = String> {
    let target = prop_oneof![path(), Just("http://h/x?y".to_owned()), Just("*".to_owned()), "[ -~]{0,12}"];
    let field = prop_oneof![
        Just("Host: h".to_owned()),
        Just("Content-Length: 3".to_owned()),
        Just("Transfer-Encoding: chunked".to_owned()),
        Just("Connection: close".to_owned()),
        "[A-Za-z-]{1,8}: [ -~]{0,12}",
        "[ -~\r\n\0]{0,12}",
    ];
    let version = prop_oneof![Just("HTTP/1.1"), Just("HTTP/1.0"), Just("HTTP/1.9")];
    (prop_oneof![Just("GET"), Just("POST"), Just("G T")], target, version, prop::collection::vec(field, 0..5)).prop_map(
        |(method, target, version, fields)| {
            let fields = fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
            format!("{method} {target} {version}\r\nHost: h\r\n{fields}\r\n")
        },
    )
}

/// What Pingora makes of a head.
async fn parsed(head: &[u8]) -> Option<HttpSession> {
    let (stream, _other_end) = tokio::io::duplex(64);
    let mut session = HttpSession::new(Box::new(stream));
    session.set_pipelined_prefix(bytes::BytesMut::from(head));
    session.read_request().await.ok()?.map(|_| session)
}

proptest! {
    #![proptest_config(Runs { cases: 2_000, ..Runs::default() })]

    #[test]
    fn the_canonical_path_of_a_canonical_path_is_itself(raw in path(), slashes in slashes()) {
        let mut first = Vec::new();
        if let Ok(is_changed) = canonicalise(raw.as_bytes(), slashes, &mut first) {
            if !is_changed {
                first = raw.clone().into_bytes();
            }
            let mut second = Vec::new();
            let is_changed = canonicalise(&first, slashes, &mut second).unwrap();
            let second = if is_changed { second } else { first.clone() };
            prop_assert_eq!(&first, &second);
            prop_assert!(first.starts_with(b"/") && !first.windows(2).any(|pair| pair == b"//"));
            let text = String::from_utf8(first).unwrap();
            prop_assert!(!text.split('/').any(|segment| segment == "." || segment == ".."), "{}", text);
        }
    }

    #[test]
    fn never_panics(bytes: Vec<u8>, head in head(), cut in any::<prop::sample::Index>()) {
        let (bounds, local) = (bounds_once(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let part = cut.index(head.len());
        for input in [bytes.as_slice(), head.as_bytes(), &head.as_bytes()[..part]] {
            if let Ok(judged) = http1(input, bounds, local) {
                prop_assert!(input.ends_with(b"\r\n\r\n"));
                prop_assert!(judged.message.canonical_path().starts_with('/') || judged.message.canonical_path() == "*");
            }
        }
    }

    #[test]
    fn pingora_reads_an_accepted_head_in_the_same_way(head in head()) {
        let Ok(judged) = http1(head.as_bytes(), bounds_once(), SocketAddr::from(([127, 0, 0, 1], 1))) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let session = runtime.block_on(parsed(head.as_bytes()));
        prop_assert!(session.is_some(), "Pingora refuses {:?}", head);
        let session = session.unwrap();
        let request = session.req_header();
        let message = &judged.message;
        prop_assert_eq!(request.raw_path(), message.raw_target().as_bytes());
        prop_assert_eq!(&request.method, &message.method);
        prop_assert_eq!(request.headers.get("host").unwrap().as_bytes(), message.authority().as_bytes());
        let is_chunked = request.headers.contains_key("transfer-encoding");
        let length = request.headers.get("content-length").map(|length| length.to_str().unwrap().parse::<u64>().unwrap());
        let body = match (is_chunked, length) {
            (true, None) => Body::Chunked,
            (false, Some(length)) if length > 0 => Body::Length(length),
            (false, _) => Body::None,
            (true, Some(_)) => unreachable!("both were accepted"),
        };
        prop_assert_eq!(body, message.body);
        let lines = head.split("\r\n").skip(1).filter(|line| !line.is_empty()).count();
        prop_assert_eq!(request.headers.len(), lines);
    }
}

fn bounds_once() -> &'static Bounds {
    static BOUNDS: std::sync::OnceLock<Bounds> = std::sync::OnceLock::new();
    BOUNDS.get_or_init(bounds)
}
