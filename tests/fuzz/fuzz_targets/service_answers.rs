//! Answers of services over HTTP/1.1: whatever the bytes, they are read in linear time or refused, and the same comes out
//! however they are cut.

#![no_main]

use business_gateway::dispatch::upstream::http1::answer::{self, Framing, HEAD_MAX};
use business_gateway::dispatch::upstream::http1::chunked::{Decoder, Step};
use bytes::BytesMut;
use gatehouse_fuzz::{Input, linear};
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let method = if input.choice() % 4 == 0 { Method::HEAD } else { Method::GET };
    let cut = usize::from(input.choice()) + 1;
    let answer = input.stretched();
    linear(answer.len(), || {
        let Ok(Some((length, head))) = answer::parse(&answer, &method) else { return };
        assert!(length <= answer.len().min(HEAD_MAX));
        assert!(method != Method::HEAD || head.framing == Framing::Nothing);
        let headers = head.answer.headers();
        if let Framing::Length(length) = head.framing {
            assert!(length > 0 && !headers.contains_key("transfer-encoding"));
        }
        if matches!(head.framing, Framing::Chunked(_)) {
            assert!(!headers.contains_key("content-length"), "one framing only");
        }
        // Before its last byte it is no head, and who has seen all before that looks again.
        assert!(matches!(answer::parse(&answer[..length - 1], &method), Ok(None)));
        assert!(answer::may_end_after(&answer[..length], length - 1));
    });
    let head = answer::parse(&answer, &method).ok().flatten().map_or(0, |(length, _)| length);
    let (_, rest) = answer.split_at(head);
    let whole = body(rest, rest.len().max(1));
    linear(rest.len(), || assert_eq!(body(rest, cut), whole, "cut every {cut} bytes"));
});

/// What comes out of a body of chunks that arrives so many bytes at a time: the body, its trailers, and how it ended.
fn body(bytes: &[u8], cut: usize) -> (Vec<u8>, Option<HeaderMap>, bool) {
    let (mut decoder, mut inbound) = (Decoder::new(), BytesMut::new());
    let (mut body, mut pieces) = (Vec::new(), bytes.chunks(cut));
    loop {
        match decoder.next(&mut inbound) {
            Ok(Step::Data(data)) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
                if decoder.ends_here(&mut inbound) {
                    return (body, None, true);
                }
            }
            Ok(Step::Trailers(trailers)) => return (body, Some(trailers), true),
            Ok(Step::End) => return (body, None, true),
            Ok(Step::More) => match pieces.next() {
                Some(piece) => inbound.extend_from_slice(piece),
                None => return (body, None, false),
            },
            Err(_) => return (body, None, false),
        }
    }
}
