//! Requests among recorded bytes: how many heads there are, and how much of bodies.

use std::iter::Sum;
use std::ops::Sub;

use crate::client::frames::{DATA, HEADERS, PREFACE};

/// What an edge has handed on. It is read as the edge writes it, which is well formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandedOn {
    /// Heads of requests, probes left out.
    pub heads: usize,
    /// Bytes of bodies, without what frames them.
    pub body_bytes: usize,
}

impl HandedOn {
    /// What came on one connection, from its beginning.
    #[must_use]
    pub fn of_connection(bytes: &[u8]) -> Self {
        match bytes.strip_prefix(PREFACE) {
            Some(frames) => Self::of_frames(frames),
            None => Self::of_messages(bytes),
        }
    }

    fn of_frames(mut rest: &[u8]) -> Self {
        let mut seen = Self::default();
        while let Some((&[high, middle, low, kind, _flags, ..], payload)) = rest.split_first_chunk::<9>() {
            let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
            let (payload, next) = payload.split_at_checked(length).unwrap_or((payload, &[]));
            match kind {
                HEADERS => seen.heads += 1,
                DATA => seen.body_bytes += payload.len(),
                _ => {}
            }
            rest = next;
        }
        seen
    }

    fn of_messages(mut rest: &[u8]) -> Self {
        let mut seen = Self::default();
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let (head, body) = rest.split_at(end + 4);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            seen.heads += usize::from(!head.contains(" /.gatehouse/"));
            let field = |name: &str| {
                head.lines().find_map(|line| Some(line.split_once(':')?.1.trim()).filter(|_| line.starts_with(name)))
            };
            let (length, next) = if field("transfer-encoding:").is_some() {
                chunks(body)
            } else {
                let length = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
                let (body, next) = body.split_at_checked(length).unwrap_or((body, &[]));
                (body.len(), next)
            };
            seen.body_bytes += length;
            rest = next;
        }
        seen
    }
}

/// Bytes in chunks, and what follows the last one.
fn chunks(mut rest: &[u8]) -> (usize, &[u8]) {
    let mut bytes = 0;
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let (line, chunk) = rest.split_at(end + 2);
        let size = String::from_utf8_lossy(line);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let (data, next) = chunk.split_at_checked(size).unwrap_or((chunk, &[]));
        bytes += data.len();
        // Behind a chunk as behind the last one an empty line: the edge writes no trailers.
        rest = next.strip_prefix(b"\r\n").unwrap_or(next);
        if size == 0 {
            break;
        }
    }
    (bytes, rest)
}

impl Sum for HandedOn {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            heads: sum.heads + one.heads,
            body_bytes: sum.body_bytes + one.body_bytes,
        })
    }
}

impl Sub for HandedOn {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { heads: self.heads - before.heads, body_bytes: self.body_bytes - before.body_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::HandedOn;
    use crate::client::frames::{DATA, END_STREAM, PREFACE, SETTINGS, frame, request};

    #[test]
    fn counts_messages_however_they_are_framed() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc\
            PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n\
            GET /.gatehouse/ready HTTP/1.1\r\nhost: a\r\n\r\n\
            POST /d HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf";
        assert_eq!(HandedOn::of_connection(bytes), HandedOn { heads: 4, body_bytes: 3 + 12 + 4 });
        let begun = b"POST /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
        assert_eq!(HandedOn::of_connection(begun), HandedOn { heads: 1, body_bytes: 2 });
        assert_eq!(HandedOn::of_connection(b"POST /f HTTP/1.1\r\n"), HandedOn::default());
    }

    #[test]
    fn counts_frames() {
        let bytes = [
            PREFACE,
            &frame(SETTINGS, 0, 0, b""),
            &request(1, END_STREAM, "GET", "/a", &[]),
            &request(3, 0, "POST", "/b", &[]),
            &frame(DATA, 0, 3, b"abc"),
            &frame(DATA, END_STREAM, 3, b"defg")[..11],
        ]
        .concat();
        assert_eq!(HandedOn::of_connection(&bytes), HandedOn { heads: 2, body_bytes: 3 + 2 });
    }
}
