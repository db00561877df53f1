//! The attacks, as data: what is sent behind the client's settings, and how that ends.

use std::fmt;

use gatehouse_tests::client::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, headers, integer, literal, request,
};

/// What must not reach tier two.
pub(super) const SECRET: &str = "kept-back-by-the-edge";

pub(super) const LISTENER: &str = "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n";

/// Error codes (RFC 9113, section 7).
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const CANCEL: u32 = 8;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// What happens to an attack on stream 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// An answer with this status.
    Answered(u16),
    /// The stream is reset with this code; the connection goes on.
    Reset(u32),
    /// GOAWAY with this code, and the connection ends.
    GoAway(u32),
    /// The connection ends without a word.
    Closed,
}

impl fmt::Debug for Ends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(formatter, "answered {status}"),
            Self::Reset(code) => write!(formatter, "reset with {code}"),
            Self::GoAway(code) => write!(formatter, "GOAWAY with {code}"),
            Self::Closed => write!(formatter, "closed"),
        }
    }
}

/// What is sent behind the client's settings, how that ends, and the code it is recorded with.
pub(super) type Attack = (&'static str, Vec<u8>, Ends, &'static str);

pub(super) fn get(fields: &[(&str, &str)]) -> Vec<u8> {
    request(1, END_STREAM, "GET", "/echo", fields)
}

/// A POST with `fields` whose body is `body`.
pub(super) fn post(fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    [request(1, 0, "POST", "/echo", fields), frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
}

/// A GET with these pseudo-headers.
pub(super) fn pseudo(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, fields)
}

/// A GET with one field of any bytes.
pub(super) fn odd(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let start = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", "/echo")];
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &[block(&start), literal(name, value)].concat())
}

/// `count` streams made by `each` from their number.
pub(super) fn streams(count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|index| each(index * 2 + 1)).collect()
}

/// A header block that puts a field of 4,000 bytes into the dynamic table and then names it `count` times.
pub(super) fn bomb(count: usize) -> Vec<u8> {
    let start = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", "/echo")];
    let value = "x".repeat(4_000);
    let inserted =
        [&[0x40], integer(0, 7, 3).as_slice(), b"x-a", &integer(0, 7, value.len()), value.as_bytes()].concat();
    [block(&start), inserted, vec![0xbe; count]].concat()
}

pub(super) fn malformed_fields() -> Vec<Attack> {
    let invalid = "http2_request_invalid";
    let reset = Ends::Reset(PROTOCOL_ERROR);
    vec![
        ("a name in upper case", get(&[("X-A", "b")]), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("a name with a space", get(&[("x a", "b")]), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("a name with a colon", get(&[("x:a", "b")]), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("an empty name", odd("", "b"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("a name with CR LF", odd("x\r\na", "b"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("a name with an underscore", get(&[("x_a", "b")]), Ends::Answered(400), "header_name_underscore"),
        ("CR LF in a value", odd("x-a", "b\r\nhost: inner"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("LF in a value", odd("x-a", "b\nc"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("NUL in a value", odd("x-a", "b\0c"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("DEL in a value", odd("x-a", "b\x7fc"), Ends::GoAway(PROTOCOL_ERROR), "http2_connection_invalid"),
        ("a value that begins with a space", odd("x-a", " b"), Ends::Answered(400), "header_value_padded"),
        ("a value that ends with a tab", odd("x-a", "b\t"), Ends::Answered(400), "header_value_padded"),
        ("Connection", get(&[("connection", "close")]), reset, invalid),
        ("Keep-Alive", get(&[("keep-alive", "timeout=5")]), reset, invalid),
        ("Proxy-Connection", get(&[("proxy-connection", "close")]), reset, invalid),
        ("Upgrade", get(&[("upgrade", "websocket")]), reset, invalid),
        ("TE other than trailers", get(&[("te", "gzip")]), reset, invalid),
        ("H2.TE", post(&[("transfer-encoding", "chunked")], SECRET), reset, invalid),
        (
            "H2.TE and a length",
            post(&[("transfer-encoding", "chunked"), ("content-length", "5")], SECRET),
            reset,
            invalid,
        ),
        ("H2.CL: a body longer than its length", post(&[("content-length", "5")], SECRET), reset, invalid),
        ("H2.CL: a body shorter than its length", post(&[("content-length", "500")], SECRET), reset, invalid),
        ("H2.CL: a length of 0 and a body", post(&[("content-length", "0")], SECRET), reset, invalid),
        ("a length and no body", get(&[("content-length", "5")]), reset, invalid),
        ("two lengths", post(&[("content-length", "5"), ("content-length", "6")], SECRET), reset, invalid),
        (
            "one length twice",
            post(&[("content-length", "21"), ("content-length", "21")], SECRET),
            Ends::Answered(400),
            "content_length_repeated",
        ),
        ("a length with a sign", post(&[("content-length", "+21")], SECRET), reset, invalid),
        ("a list of lengths", post(&[("content-length", "21, 21")], SECRET), reset, invalid),
        (
            "a length with a leading zero",
            post(&[("content-length", "021")], SECRET),
            Ends::Answered(400),
            "content_length_invalid",
        ),
        ("a length over the cap", post(&[("content-length", "1073741825")], ""), reset, invalid),
        (
            "a repeated field",
            get(&[("range", "bytes=0-1"), ("range", "bytes=1-2")]),
            Ends::Answered(400),
            "header_repeated",
        ),
        ("another expectation", post(&[("expect", "x")], SECRET), Ends::Answered(417), "expectation_unsupported"),
        ("101 fields", get(&[("x-a", "b"); 101]), Ends::Answered(431), "too_many_fields"),
        ("101 crumbs of a cookie", get(&[("cookie", "a=b"); 101]), Ends::Answered(431), "too_many_fields"),
    ]
}

pub(super) fn malformed_pseudo_headers() -> Vec<Attack> {
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (authority, path) = ((":authority", "shop.test"), (":path", "/echo"));
    let invalid = "http2_request_invalid";
    let reset = Ends::Reset(PROTOCOL_ERROR);
    let refused = Ends::Answered(400);
    vec![
        ("no :method", pseudo(&[scheme, authority, path]), reset, invalid),
        ("no :scheme", pseudo(&[method, authority, path]), reset, invalid),
        ("no :path", pseudo(&[method, scheme, authority]), reset, invalid),
        ("neither :authority nor Host", pseudo(&[method, scheme, path]), refused, invalid),
        ("an empty :path", pseudo(&[method, scheme, authority, (":path", "")]), reset, invalid),
        (
            "an empty :method",
            pseudo(&[(":method", ""), scheme, authority, path]),
            Ends::GoAway(PROTOCOL_ERROR),
            "http2_connection_invalid",
        ),
        ("two :path", pseudo(&[method, scheme, authority, path, (":path", "/inner")]), reset, invalid),
        ("two :method", pseudo(&[method, method, scheme, authority, path]), reset, invalid),
        ("two :authority", pseudo(&[method, scheme, authority, authority, path]), reset, invalid),
        (
            "an unknown pseudo-header",
            pseudo(&[method, scheme, authority, path, (":x", "y")]),
            Ends::GoAway(PROTOCOL_ERROR),
            "http2_connection_invalid",
        ),
        (":status in a request", pseudo(&[method, scheme, authority, path, (":status", "200")]), reset, invalid),
        (
            ":protocol without leave",
            pseudo(&[method, scheme, authority, path, (":protocol", "websocket")]),
            reset,
            invalid,
        ),
        ("a pseudo-header behind a field", pseudo(&[method, scheme, authority, ("x-a", "b"), path]), reset, invalid),
        ("a :path without a slash", pseudo(&[method, scheme, authority, (":path", "echo")]), reset, invalid),
        (
            "an absolute :path",
            pseudo(&[method, scheme, authority, (":path", "http://inner.test/echo")]),
            reset,
            invalid,
        ),
        ("a :path with a space", pseudo(&[method, scheme, authority, (":path", "/echo HTTP/1.1")]), reset, invalid),
        ("a :path with CR LF", pseudo(&[method, scheme, authority, (":path", "/echo\r\nX: y")]), reset, invalid),
        (
            "a :path that is encoded twice",
            pseudo(&[method, scheme, authority, (":path", "/%252e")]),
            Ends::Answered(400),
            "path_double_encoded",
        ),
        (
            "a :path above the root",
            pseudo(&[method, scheme, authority, (":path", "/../echo")]),
            Ends::Answered(400),
            "path_above_root",
        ),
        (
            "a :method with a request in it",
            pseudo(&[(":method", "GET / HTTP/1.1\r\nX: y"), scheme, authority, path]),
            Ends::GoAway(PROTOCOL_ERROR),
            "http2_connection_invalid",
        ),
        (
            "a :method nobody knows",
            pseudo(&[(":method", "BREW"), scheme, authority, path]),
            Ends::Answered(405),
            "method_not_allowed",
        ),
        (
            "CONNECT",
            pseudo(&[(":method", "CONNECT"), (":authority", "shop.test:443")]),
            Ends::Answered(405),
            "connect_unsupported",
        ),
        (
            "an :authority with user info",
            pseudo(&[method, scheme, (":authority", "admin@shop.test"), path]),
            refused,
            invalid,
        ),
        ("an :authority with a space", pseudo(&[method, scheme, (":authority", "shop test"), path]), reset, invalid),
        ("an empty :authority", pseudo(&[method, scheme, (":authority", ""), path]), reset, invalid),
        ("Host and :authority differ", get(&[("host", "inner.test")]), refused, invalid),
        ("Host twice", get(&[("host", "shop.test"), ("host", "shop.test")]), refused, invalid),
    ]
}

pub(super) fn misused_streams() -> Vec<Attack> {
    let (invalid, connection) = ("http2_request_invalid", "http2_connection_invalid");
    let protocol = Ends::GoAway(PROTOCOL_ERROR);
    let size = Ends::GoAway(FRAME_SIZE_ERROR);
    let open = request(1, 0, "POST", "/upload", &[]);
    let with = |more: &[u8]| [&open, more].concat();
    let trailers = |fields: &[(&str, &str)], flags: u8| {
        [&open, frame(DATA, 0, 1, b"x").as_slice(), &headers(1, flags, fields)].concat()
    };
    let connection_level = |name, bytes, ends| (name, bytes, ends, connection);
    vec![
        ("trailers that end nothing", trailers(&[("x-a", "b")], 0), Ends::Reset(PROTOCOL_ERROR), invalid),
        (
            "a window of a stream that overflows",
            with(&frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])),
            Ends::Reset(FLOW_CONTROL_ERROR),
            invalid,
        ),
        (
            "a stream that depends on itself",
            with(&frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])),
            Ends::Reset(PROTOCOL_ERROR),
            invalid,
        ),
        connection_level(
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Ends::GoAway(FLOW_CONTROL_ERROR),
        ),
        connection_level("a window update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        connection_level("a window update that is cut off", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), protocol),
        connection_level("a frame over the largest size", with(&frame(DATA, 0, 1, &[b'x'; 16_385])), size),
        connection_level("HEADERS on stream 0", headers(0, END_STREAM, &[(":method", "GET")]), protocol),
        connection_level("an even stream", request(2, END_STREAM, "GET", "/echo", &[]), protocol),
        connection_level(
            "a stream below an earlier one",
            [request(5, END_STREAM, "GET", "/echo", &[]), request(3, END_STREAM, "GET", "/echo", &[])].concat(),
            protocol,
        ),
        connection_level("DATA on stream 0", frame(DATA, 0, 0, b"x"), protocol),
        connection_level("DATA on an idle stream", frame(DATA, 0, 9, b"x"), protocol),
        connection_level("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), protocol),
        connection_level("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 9, &[0; 4]), protocol),
        connection_level("RST_STREAM that is cut off", with(&frame(RST_STREAM, 0, 1, &[0; 3])), protocol),
        connection_level("PING on a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        connection_level("PING that is cut off", frame(PING, 0, 0, &[0; 7]), protocol),
        connection_level("SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), protocol),
        connection_level("SETTINGS that are cut off", frame(SETTINGS, 0, 0, &[0; 5]), protocol),
        connection_level("an acknowledgement with settings", frame(SETTINGS, 1, 0, &[0; 6]), protocol),
        connection_level(
            "a window in SETTINGS that overflows",
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            protocol,
        ),
        connection_level("a frame size of 0 in SETTINGS", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0]), protocol),
        connection_level(
            "PUSH_PROMISE from a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            protocol,
        ),
        connection_level("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        connection_level("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, b""), protocol),
        connection_level(
            "another frame within a header block",
            [frame(HEADERS, END_STREAM, 1, b""), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        connection_level(
            "CONTINUATION of another stream",
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
            protocol,
        ),
        connection_level("more padding than payload", with(&frame(DATA, 8, 1, &[200, b'x'])), protocol),
        connection_level(
            "an index beyond the table",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0xff, 0x7f]),
            protocol,
        ),
        connection_level("index 0", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x80]), protocol),
        connection_level("an integer without end", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 40]), protocol),
        connection_level(
            "a table larger than allowed",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &integer(0x20, 5, 1 << 20)),
            protocol,
        ),
        connection_level(
            "Huffman code that ends in the middle",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0, 0x81, 0, 0x84, 0xff, 0xff, 0xff, 0xff]),
            protocol,
        ),
        connection_level(
            "a value longer than its block",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0, 1, b'a', 100, b'b']),
            protocol,
        ),
    ]
}

pub(super) fn floods() -> Vec<Attack> {
    let calm = Ends::GoAway(ENHANCE_YOUR_CALM);
    let (resets, frames) = ("too_many_stream_resets", "too_many_control_frames");
    let open = |stream: u32| request(stream, 0, "POST", "/upload", &[]);
    let malformed = "http2_too_many_malformed";
    vec![
        (
            "rapid reset",
            streams(2_000, |stream| {
                [request(stream, END_STREAM, "GET", "/slow", &[]), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            }),
            calm,
            resets,
        ),
        (
            "MadeYouReset by window overflow",
            streams(2_000, |stream| {
                [open(stream), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
            }),
            calm,
            malformed,
        ),
        (
            "MadeYouReset by priority",
            streams(2_000, |stream| {
                [open(stream), frame(PRIORITY, 0, stream, &[stream.to_be_bytes().as_slice(), &[0]].concat())].concat()
            }),
            calm,
            malformed,
        ),
        (
            "MadeYouReset by trailers",
            streams(60, |stream| [open(stream), headers(stream, 0, &[("x-a", "b")])].concat()),
            calm,
            malformed,
        ),
        (
            "malformed requests without end",
            streams(2_000, |stream| request(stream, END_STREAM, "GET", "/echo", &[("connection", "close")])),
            calm,
            malformed,
        ),
        (
            "refused requests without end",
            streams(2_000, |stream| request(stream, END_STREAM, "GET", "/%252e", &[])),
            calm,
            malformed,
        ),
        (
            "more streams than allowed without end",
            streams(5_000, |stream| request(stream, 0, "POST", "/upload", &[])),
            calm,
            "too_many_refused_streams",
        ),
        (
            "CONTINUATION without end",
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, 0, 1, &literal("x-a", "b")).repeat(10_000)]
                .concat(),
            calm,
            "head_too_large",
        ),
        (
            "empty CONTINUATION without end",
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, 0, 1, b"").repeat(10_000)].concat(),
            calm,
            "head_too_large",
        ),
        ("empty DATA without end", [open(1), frame(DATA, 0, 1, b"").repeat(10_000)].concat(), calm, frames),
        ("padding and no data without end", [open(1), frame(DATA, 8, 1, &[0]).repeat(10_000)].concat(), calm, frames),
        ("SETTINGS without end", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(10_000), calm, frames),
        ("PING without end", frame(PING, 0, 0, &[0; 8]).repeat(10_000), calm, frames),
        ("PRIORITY without end", frame(PRIORITY, 0, 3, &[0; 5]).repeat(10_000), calm, frames),
        ("window updates without end", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(10_000), calm, frames),
        ("unknown frames without end", frame(0xee, 0, 0, b"x").repeat(10_000), calm, frames),
        (
            "an HPACK bomb of 40 KB",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(10)),
            Ends::Answered(431),
            "head_too_large",
        ),
        ("an HPACK bomb of 400 KB", frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(100)), calm, "head_too_large"),
        ("an HPACK bomb of 40 MB", frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(10_000)), calm, "head_too_large"),
        (
            "HPACK bombs without end",
            [
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(10)),
                streams(2_000, |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream + 2, &[0xbe; 12])),
            ]
            .concat(),
            calm,
            malformed,
        ),
        (
            "a field of 60 KB",
            [
                frame(
                    HEADERS,
                    END_STREAM,
                    1,
                    &[literal("x-a", "").as_slice(), &[0, 3], b"x-b", &integer(0, 7, 60_000), &[b'x'; 10_000]].concat(),
                ),
                frame(CONTINUATION, 0, 1, &[b'x'; 16_000]).repeat(3),
                frame(CONTINUATION, END_HEADERS, 1, &[b'x'; 2_000]),
            ]
            .concat(),
            Ends::Answered(431),
            "head_too_large",
        ),
    ]
}
