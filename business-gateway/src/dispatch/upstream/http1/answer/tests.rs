use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn parsed(head: &str) -> Result<AnswerHead, InvalidAnswer> {
    parse(head.as_bytes(), &Method::GET).map(|parsed| parsed.expect("a whole head").1)
}

#[test]
fn a_body_is_framed_as_the_fields_say() {
    let chunked = || Framing::Chunked(Decoder::new());
    for (head, framing, keeps) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Framing::Nothing, true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", chunked(), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.1 200 OK\r\n\r\n", Framing::ToTheEnd, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n", chunked(), false),
        ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Nothing, true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Framing::Nothing, true),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Framing::Nothing, false),
        // Chunks win over a length, and nothing else is read off that connection.
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", chunked(), false),
    ] {
        let parsed = parsed(head).unwrap();
        assert_eq!((parsed.framing, parsed.keeps), (framing, keeps), "{head}");
    }
    let both = parsed("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    assert!(!both.answer.headers().contains_key("content-length"));
    let of_head = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", &Method::HEAD).unwrap().unwrap().1;
    assert_eq!((of_head.framing, of_head.answer.headers()["content-length"].as_bytes()), (Framing::Nothing, &b"5"[..]));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for (fields, why) in [
        ("content-length: 5\r\ncontent-length: 6\r\n", InvalidAnswer::Length),
        ("content-length: 5, 6\r\n", InvalidAnswer::Length),
        ("content-length: +5\r\n", InvalidAnswer::Length),
        ("content-length: 5 5\r\n", InvalidAnswer::Length),
        ("content-length:\r\n", InvalidAnswer::Length),
        ("content-length: 0x5\r\n", InvalidAnswer::Length),
        ("content-length: 18446744073709551616\r\n", InvalidAnswer::Length),
        ("transfer-encoding: gzip\r\n", InvalidAnswer::Coding),
        ("transfer-encoding: gzip, chunked\r\n", InvalidAnswer::Coding),
        ("transfer-encoding: chunked, chunked\r\n", InvalidAnswer::Coding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", InvalidAnswer::Coding),
        ("transfer-encoding: xchunked\r\n", InvalidAnswer::Coding),
        ("a b: 1\r\n", InvalidAnswer::Head(httparse::Error::HeaderName)),
        ("a: 1\r\n folded\r\n", InvalidAnswer::Head(httparse::Error::HeaderName)),
        ("a : 1\r\n", InvalidAnswer::Head(httparse::Error::HeaderName)),
        ("a: \u{1}\r\n", InvalidAnswer::Head(httparse::Error::HeaderValue)),
    ] {
        assert_eq!(parsed(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap_err(), why, "{fields}");
    }
    for start in ["HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 Odd", "http/1.1 200 OK", "nonsense"] {
        assert!(parse(format!("{start}\r\n\r\n").as_bytes(), &Method::GET).is_err(), "{start}");
    }
    let many = "a: 1\r\n".repeat(FIELDS_MAX + 1);
    let refused = parse(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes(), &Method::GET).unwrap_err();
    assert_eq!(refused, InvalidAnswer::Head(httparse::Error::TooManyHeaders));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(HEAD_MAX));
    assert_eq!(parse(long.as_bytes(), &Method::GET).unwrap_err(), InvalidAnswer::HeadTooLong);
}

#[test]
fn every_value_is_there_in_its_order() {
    let head = "HTTP/1.1 207 Odd\r\nSet-Cookie: a=1\r\nX-Bytes:  \u{e4}\t \r\nset-cookie: b=2\r\nempty:\r\n\r\nbody";
    let (length, parsed) = parse(head.as_bytes(), &Method::GET).unwrap().unwrap();
    assert_eq!(head.split_at(length).1, "body");
    let headers = parsed.answer.headers();
    assert_eq!(parsed.answer.status(), 207);
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!((headers["x-bytes"].as_bytes(), headers["empty"].as_bytes()), ("\u{e4}".as_bytes(), &b""[..]));
}

#[test]
fn fields_that_decide_about_a_message_are_no_trailers() {
    let field = |name, value: &'static str| httparse::Header { name, value: value.as_bytes() };
    let all = [
        field("Grpc-Status", "0"),
        field("content-length", "5"),
        field("set-cookie", "a"),
        field("x-gatehouse-result", "v=1"),
    ];
    let kept = trailers(&all).unwrap();
    assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
}

proptest! {
    #[test]
    fn a_head_is_whole_at_its_end_and_never_before(
        fields in proptest::collection::vec(("[a-z]{1,8}", "[ -~]{0,12}"), 0..6),
        bare in any::<bool>(),
    ) {
        let end = if bare { "\n" } else { "\r\n" };
        let fields: String = fields.iter().map(|(name, value)| format!("x-{name}: {value}{end}")).collect();
        let head = format!("HTTP/1.1 200 OK{end}{fields}{end}");
        for cut in 0..head.len() {
            prop_assert!(matches!(parse(&head.as_bytes()[..cut], &Method::GET), Ok(None)), "{}", cut);
            // Whoever has seen so much looks again when the rest comes.
            prop_assert!(cut == 0 || may_end_after(head.as_bytes(), cut), "{}", cut);
        }
        let more = format!("{head}rest");
        prop_assert_eq!(parse(more.as_bytes(), &Method::GET).unwrap().unwrap().0, head.len());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend_from_slice(&bytes);
        head.extend_from_slice(b"\r\n\r\n");
        if let Ok(Some((length, _))) = parse(&head, &Method::GET) {
            prop_assert!(length <= head.len());
        }
    }
}

#[test]
fn what_the_gate_adds_needs_no_more_room() {
    for count in 0..FIELDS_MAX {
        let fields: String = (0..count).map(|number| format!("x-{number}: 1\r\n")).collect();
        let mut headers = parsed(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap().answer.into_parts().0.headers;
        let room = headers.capacity();
        for number in 0..ADDED {
            headers.insert(HeaderName::try_from(format!("y-{number}")).unwrap(), HeaderValue::from_static("1"));
        }
        assert_eq!((headers.len(), headers.capacity()), (count + ADDED, room));
    }
}
