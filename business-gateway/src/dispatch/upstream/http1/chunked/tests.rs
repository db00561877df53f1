use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

/// The body, the trailers and what is left over; or why there is none, `None` when the connection ended early.
type Decoded = Result<(Vec<u8>, Option<HeaderMap>, Vec<u8>), Option<InvalidAnswer>>;

/// Lets a decoder read bytes that come in pieces.
fn decoded(pieces: &[&[u8]]) -> Decoded {
    let (mut decoder, mut inbound) = (Decoder::new(), BytesMut::new());
    let (mut body, mut pieces) = (Vec::new(), pieces.iter());
    loop {
        match decoder.next(&mut inbound).map_err(Some)? {
            Step::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
                if decoder.ends_here(&mut inbound) {
                    return Ok((body, None, inbound.to_vec()));
                }
            }
            Step::Trailers(trailers) => return Ok((body, Some(trailers), inbound.to_vec())),
            Step::End => return Ok((body, None, inbound.to_vec())),
            // The connection has ended.
            Step::More => inbound.extend_from_slice(pieces.next().ok_or(None)?),
        }
    }
}

fn whole(text: &str) -> Decoded {
    let at_once = decoded(&[text.as_bytes()]);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (one, other) = (
        format!("{at_once:?}"),
        format!("{:?}", decoded(&bytes).map(|(body, trailers, _)| (body, trailers, Vec::<u8>::new()))),
    );
    // Byte for byte the end is found before anything follows it.
    if at_once.as_ref().is_ok_and(|(_, _, rest)| rest.is_empty()) || at_once.is_err() {
        assert_eq!(one, other, "{text:?}");
    }
    at_once
}

#[test]
fn chunks_are_put_together() {
    for (text, body, rest) in [
        ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", ""),
        ("0\r\n\r\n", "", ""),
        ("A\r\n0123456789\r\n0000\r\n\r\nHTTP/1.1", "0123456789", "HTTP/1.1"),
        ("3;name=value;q=\"a b\"\r\nabc\r\n0 ; last\r\n\r\n", "abc", ""),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc", ""),
    ] {
        let (got, trailers, left) = whole(text).unwrap();
        assert_eq!((got.as_slice(), trailers, left.as_slice()), (body.as_bytes(), None, rest.as_bytes()), "{text:?}");
    }
    let (body, trailers, _) = whole("1\r\na\r\n0\r\nx-sum: 7\r\ncontent-length: 1\r\n\r\n").unwrap();
    let trailers = trailers.unwrap();
    assert_eq!((body, trailers.len(), &trailers["x-sum"]), (b"a".to_vec(), 1, &http::HeaderValue::from_static("7")));
}

#[test]
fn what_is_no_chunk_is_refused() {
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3 4\r\nabc\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "10000000000000000\r\n",
    ] {
        assert_eq!(whole(text).unwrap_err(), Some(InvalidAnswer::Chunk), "{text:?}");
    }
    assert_eq!(whole("0\r\na b\r\n\r\n").unwrap_err(), Some(InvalidAnswer::Trailers));
    let endless = format!("3;{}", "x".repeat(LINE_MAX));
    assert_eq!(decoded(&[endless.as_bytes()]).unwrap_err(), Some(InvalidAnswer::Chunk));
    let endless = format!("0\r\na: {}", "x".repeat(TRAILERS_MAX));
    assert_eq!(decoded(&[endless.as_bytes()]).unwrap_err(), Some(InvalidAnswer::Trailers));
    for cut_off in ["", "3", "3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "0\r\nx: 1\r\n"] {
        assert_eq!(whole(cut_off).unwrap_err(), None, "{cut_off:?}");
    }
}

proptest! {
    #[test]
    fn any_body_comes_through_however_it_is_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..6000), 0..5),
        cuts in proptest::collection::vec(1usize..5000, 1..8),
    ) {
        let mut text = Vec::new();
        for chunk in &chunks {
            text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        let (mut pieces, mut rest, mut cuts) = (Vec::new(), text.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieces.push(piece);
            rest = after;
        }
        let (body, trailers, left) = decoded(&pieces).unwrap();
        prop_assert_eq!((body, trailers, left), (chunks.concat(), None, Vec::new()));
    }
}
