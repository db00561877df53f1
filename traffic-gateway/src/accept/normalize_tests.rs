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
        ("/%c0%af", "path_overlong_encoding"),
        ("/%e0%80%af", "path_overlong_encoding"),
        ("/..", "path_above_root"),
        ("/a/../../b", "path_above_root"),
        ("/%2e%2e/etc", "path_above_root"),
        ("/a/..;x/b", "path_parameter_dot_segment"),
        ("/.;/b", "path_parameter_dot_segment"),
        ("/a#b", "target_fragment"),
        ("/?a#b", "target_fragment"),
        ("/a{b}", "target_invalid"),
        ("/a\"b", "target_invalid"),
        ("/é", "target_invalid"),
        ("/?é", "target_invalid"),
        ("/?<", "target_invalid"),
        ("a", "target_form_invalid"),
        ("?a", "target_form_invalid"),
        ("ftp://example.com/", "target_form_invalid"),
        ("http:/example.com/", "target_form_invalid"),
        ("http:///x", "host_empty"),
        ("http://other/", "host_conflict"),
        ("http://user@example.com/", "host_user_info"),
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
        ("Host:\r\n", "host_empty"),
        ("Host: a\r\nhost: a\r\n", "host_repeated"),
        ("Host: a b\r\n", "host_invalid"),
        ("Host: u@a\r\n", "host_user_info"),
    ] {
        assert_eq!(with(fields).unwrap_err(), code, "{fields:?}");
    }
}

#[test]
fn refuses_malformed_lines_and_fields() {
    for (head, code) in [
        ("GET  / HTTP/1.1\r\n\r\n", "request_line_invalid"),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", "target_form_invalid"),
        ("GET / HTTP/1.1 \r\n\r\n", "request_line_invalid"),
        ("GET /\r\n\r\n", "request_line_invalid"),
        ("GET / HTTP/1.1x\r\n\r\n", "version_invalid"),
        ("GET / http/1.1\r\n\r\n", "version_invalid"),
        ("GET\t/ HTTP/1.1\r\n\r\n", "method_invalid"),
        ("G(T / HTTP/1.1\r\n\r\n", "method_invalid"),
        ("GET /\r HTTP/1.1\r\n\r\n", "bare_carriage_return"),
        ("GET / HTTP/1.1\n\r\n", "bare_line_feed"),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "version_unsupported"),
        ("get / HTTP/1.1\r\nHost: x\r\n\r\n", "method_not_allowed"),
        ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "leading_empty_lines"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", "header_invalid"),
        ("GET / HTTP/1.1\r\nHost: x", "header_invalid"),
    ] {
        assert_eq!(judge(head).unwrap_err(), code, "{head:?}");
    }
    for (field, code) in [
        ("X: a\r\n b", "header_folded"),
        ("X : a", "header_space_before_colon"),
        ("X\t: a", "header_space_before_colon"),
        ("X y: a", "header_name_invalid"),
        (": a", "header_name_invalid"),
        ("X", "header_colon_missing"),
        ("X(y): a", "header_name_invalid"),
        ("\u{e9}: a", "header_name_invalid"),
        ("X_y: a", "header_name_underscore"),
        ("X: a\0b", "control_byte"),
        ("X: a\x7fb", "control_byte"),
        ("X: a\rb", "bare_carriage_return"),
        ("X: a\r", "bare_carriage_return"),
        ("X: a\nY: b", "bare_line_feed"),
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

/// One path in its canonical form, and another spelling of it.
fn spellings() -> impl Strategy<Value = (String, String)> {
    let segment = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4), 1..6).prop_map(|letters| {
        const LETTERS: [&str; 10] = ["a", "B", "7", "-", "_", "~", "%C3%A9", "%20", "+", "@"];
        let mut segment = (String::new(), String::new());
        for (letter, spelling) in letters {
            let letter = LETTERS[letter.index(LETTERS.len())];
            segment.0 += letter;
            segment.1 += &match (letter.len(), spelling) {
                // Only unreserved characters mean the same when they are encoded.
                (1, 0) if !"+@".contains(letter) => format!("%{:02X}", letter.as_bytes()[0]),
                (1, 1) if !"+@".contains(letter) => format!("%{:02x}", letter.as_bytes()[0]),
                (1, _) => letter.to_owned(),
                (_, 0 | 1) => letter.to_ascii_lowercase(),
                _ => letter.to_owned(),
            };
        }
        segment
    });
    let detour = prop_oneof![
        Just("/"),
        Just("/./"),
        Just("/%2e/"),
        Just("/x/../"),
        Just("/y/%2E%2e/"),
        Just("//"),
        Just("/;v=1/"),
        Just("/./x/y/../../")
    ];
    let parameter = prop_oneof![Just(""), Just(";"), Just(";v=1"), Just(";a=%20b;c")];
    let end = prop_oneof![
        Just(("", "")),
        Just(("/", "/")),
        Just(("/", "/.")),
        Just(("/", "//")),
        Just(("/", "/x/..")),
        Just(("/", "/;a"))
    ];
    (prop::collection::vec((segment, detour, parameter), 1..6), end).prop_map(|(segments, (plain_end, other_end))| {
        let (mut plain, mut other) = (String::new(), String::new());
        for ((segment, spelling), detour, parameter) in segments {
            plain += &format!("/{segment}");
            other += &format!("{detour}{spelling}{parameter}");
        }
        (plain + plain_end, other + other_end)
    })
}

/// The messages of the table, each cut to its head.
fn golden_heads() -> &'static [Vec<u8>] {
    static HEADS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    HEADS.get_or_init(|| {
        let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/http1");
        let files = ["accepted", "refused"].into_iter().flat_map(|kind| std::fs::read_dir(table.join(kind)).unwrap());
        let heads = files.map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let (_, message) = text.split_once("\n--\n").unwrap();
            let plain = message.replace('\n', "").replace("{id}", "id").replace("\\r", "\r").replace("\\n", "\n");
            let plain = plain.replace("\\t", "\t").replace("\\0", "\0").replace("\\x", "\u{e9}");
            let end = plain.find("\r\n\r\n").map_or(plain.len(), |end| end + 4);
            plain.as_bytes()[..end].to_vec()
        });
        heads.collect()
    })
}

/// A head of the table with a few bytes changed, taken out or put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \t:;,#%/\\_\0@[]".to_vec()),];
    let change = (any::<prop::sample::Index>(), byte, 0_u8..4);
    (any::<prop::sample::Index>(), prop::collection::vec(change, 0..4)).prop_map(|(head, changes)| {
        let heads = golden_heads();
        let mut bytes = heads[head.index(heads.len())].clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if !bytes.is_empty() => drop(bytes.remove(at.min(bytes.len() - 1))),
                1 if !bytes.is_empty() => bytes[at] = byte,
                2 => bytes.insert(at, byte),
                _ => {
                    let line = b"\r\nX: y";
                    bytes.splice(at..at, line.iter().copied());
                }
            }
        }
        bytes
    })
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
    fn equivalent_spellings_have_one_canonical_path((plain, other) in spellings()) {
        let canonical = |path: &str| get(path).map(|message| message.canonical_path().to_owned());
        prop_assert_eq!(canonical(&plain), Ok(plain.clone()));
        prop_assert_eq!(canonical(&other), Ok(plain), "{}", other);
    }

    #[test]
    fn pingora_reads_an_accepted_head_in_the_same_way(head in head()) {
        agrees_with_pingora(head.as_bytes())?;
    }

    #[test]
    fn pingora_reads_an_accepted_variant_of_the_table_in_the_same_way(head in mutated()) {
        agrees_with_pingora(&head)?;
    }
}

/// What is accepted means the same to Pingora's parser as to ours, field by field.
fn agrees_with_pingora(head: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
    let local = SocketAddr::from(([127, 0, 0, 1], 1));
    let Ok(judged) = http1(head, bounds_once(), local) else { return Ok(()) };
    let mut given = head.to_vec();
    if judged.lacks_host {
        given.truncate(given.len() - 2);
        given.extend_from_slice(format!("host: {local}\r\n\r\n").as_bytes());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = runtime.block_on(parsed(&given));
    prop_assert!(session.is_some(), "Pingora refuses {:?}", String::from_utf8_lossy(&given));
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
    let ours = fields_of(&given);
    prop_assert_eq!(request.headers.len(), ours.len());
    for (name, value) in ours {
        let theirs = request.headers.get_all(&name).iter().any(|other| other.as_bytes() == value);
        prop_assert!(theirs, "{}: {:?}", name, String::from_utf8_lossy(&value));
    }
    Ok(())
}

/// The fields of an accepted head as our parser splits them.
fn fields_of(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut lines = Lines { rest: head };
    lines.next().unwrap();
    let fields = std::iter::from_fn(|| lines.next().ok().filter(|line| !line.is_empty()));
    fields
        .map(|line| field_line(line, false).unwrap())
        .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()))
        .collect()
}

fn bounds_once() -> &'static Bounds {
    static BOUNDS: std::sync::OnceLock<Bounds> = std::sync::OnceLock::new();
    BOUNDS.get_or_init(bounds)
}
