//! HTTP/2 as frames: what is sent is exactly what the test says, what comes back is sorted by stream.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::raw::End;
use super::{Stream, Target};

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
/// Opens a stream.
pub const HEADERS: u8 = 1;
/// Obsolete.
pub const PRIORITY: u8 = 2;
/// Ends a stream with an error.
pub const RST_STREAM: u8 = 3;
/// Settings.
pub const SETTINGS: u8 = 4;
/// Only servers send it.
pub const PUSH_PROMISE: u8 = 5;
/// Is anybody there?
pub const PING: u8 = 6;
/// Ends a connection.
pub const GOAWAY: u8 = 7;
/// Gives way to more data.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a header block.
pub const CONTINUATION: u8 = 9;

/// Nothing follows on the stream.
pub const END_STREAM: u8 = 1;
/// The header block is whole.
pub const END_HEADERS: u8 = 4;

/// How long one read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes of a frame. At most 16 MiB of payload are written; more is a mistake of the test.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [_, high, middle, low] = length;
    [&[high, middle, low, kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}

/// An integer of HPACK with a prefix of `bits` bits under the pattern `first` (RFC 7541, section 5.1).
#[must_use]
pub fn integer(first: u8, bits: u8, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    let low = |value: usize| value.to_le_bytes().first().copied().unwrap_or_default();
    if value < most {
        return vec![first | low(value)];
    }
    let mut bytes = vec![first | low(most)];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(low(rest % 128) | 128);
        rest /= 128;
    }
    bytes.push(low(rest));
    bytes
}

/// A field as a literal that is not indexed, without Huffman coding: any bytes can be said.
#[must_use]
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let (name, value) = (name.as_ref(), value.as_ref());
    [&[0], integer(0, 7, name.len()).as_slice(), name, &integer(0, 7, value.len()), value].concat()
}

/// A header block of literals.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// HEADERS that open `stream` with these fields, whole.
#[must_use]
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// `method path` on `stream`, with further fields.
#[must_use]
pub fn request(stream: u32, flags: u8, method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "shop.test"), (":path", path)];
    headers(stream, flags, &[&pseudo, fields].concat())
}

/// A connection on which frames are sent.
pub struct Frames {
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    unread: Vec<u8>,
    /// What has come so far.
    pub seen: Seen,
}

/// What a server said.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The status by stream; 0 where it was said in a way this reader does not know (a dynamic index).
    pub statuses: BTreeMap<u32, u16>,
    /// Bodies by stream.
    pub bodies: BTreeMap<u32, Vec<u8>>,
    /// Streams that the server has ended in good order.
    pub ended: Vec<u32>,
    /// Error codes of resets by stream.
    pub resets: BTreeMap<u32, u32>,
    /// The error code of the last GOAWAY.
    pub goaway: Option<u32>,
    /// How the connection ended.
    pub end: Option<End>,
}

impl Seen {
    /// The `code` of a problem document on `stream`, empty when there is none.
    #[must_use]
    pub fn code(&self, stream: u32) -> String {
        let body = self.bodies.get(&stream).map(Vec::as_slice).unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        problem.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }

    /// Whether `stream` is over, one way or the other.
    #[must_use]
    pub fn is_over(&self, stream: u32) -> bool {
        self.end.is_some() || self.resets.contains_key(&stream) || self.ended.contains(&stream)
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let code = |at: usize| {
            payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes)
        };
        match kind {
            HEADERS => {
                self.statuses.entry(stream).or_insert_with(|| status(payload));
            }
            DATA => self.bodies.entry(stream).or_default().extend_from_slice(payload),
            RST_STREAM => {
                self.resets.insert(stream, code(0));
            }
            GOAWAY => self.goaway = Some(code(4)),
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.ended.push(stream);
        }
    }
}

impl Frames {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = target.connect().await.with_context(|| format!("cannot connect to {}", target.address))?;
        let (reader, writer) = split(stream);
        Ok(Self { reader, writer, unread: Vec::new(), seen: Seen::default() })
    }

    /// Connects and sends the preface with empty settings.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let mut frames = Self::connect(target).await?;
        frames.write(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await?;
        Ok(frames)
    }

    /// Sends `bytes`.
    ///
    /// # Errors
    /// The peer has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }

    /// Sends `bytes`, whatever becomes of them, and reads meanwhile and on until `is_enough` or the end.
    ///
    /// # Errors
    /// Nothing came for a minute.
    pub async fn exchange(&mut self, bytes: &[u8], is_enough: impl Fn(&Seen) -> bool) -> anyhow::Result<&Seen> {
        let Self { reader, writer, unread, seen } = self;
        let mut writing = std::pin::pin!(async {
            // The peer may stop reading, which is what the test is about.
            drop(writer.write_all(bytes).await);
            drop(writer.flush().await);
        });
        let mut is_written = false;
        while seen.end.is_none() && !is_enough(seen) {
            tokio::select! {
                biased;
                () = &mut writing, if !is_written => is_written = true,
                read = timeout(PATIENCE, read(reader, unread, seen)) => read.context("nothing came for a minute")?,
            }
        }
        Ok(&self.seen)
    }

    /// Reads until `is_enough` or the end.
    ///
    /// # Errors
    /// Nothing came for a minute.
    pub async fn read_until(&mut self, is_enough: impl Fn(&Seen) -> bool) -> anyhow::Result<&Seen> {
        self.exchange(b"", is_enough).await
    }
}

/// Reads once and sorts whole frames. Nothing is lost when it is cancelled.
async fn read(reader: &mut ReadHalf<Stream>, unread: &mut Vec<u8>, seen: &mut Seen) {
    match reader.read_buf(unread).await {
        Ok(0) => seen.end = Some(End::Closed),
        Ok(_) => {}
        Err(_) => seen.end = Some(End::Reset),
    }
    while let Some(&[high, middle, low, kind, flags, a, b, c, d]) = unread.first_chunk() {
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        let stream = u32::from_be_bytes([a, b, c, d]);
        let Some(payload) = unread.get(9..9 + length) else { return };
        seen.take(kind, flags, stream, payload);
        unread.drain(..9 + length);
    }
}

/// The status in a header block: its first field, unless that is an index into the dynamic table.
fn status(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or_default();
    match block.get(start..).unwrap_or_default() {
        [index @ 0x88..=0x8e, ..] => STATIC.get(usize::from(index - 0x88)).copied().unwrap_or_default(),
        [0x08 | 0x18 | 0x48, length, digits @ ..] if length & 0x80 == 0 => {
            let digits = digits.get(..usize::from(*length)).unwrap_or_default();
            digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit.wrapping_sub(b'0')))
        }
        [0x08 | 0x18 | 0x48, length, digits @ ..] => {
            huffman_digits(digits.get(..usize::from(length & 0x7f)).unwrap_or_default())
        }
        _ => 0,
    }
}

/// Three decimal digits in the Huffman code of HPACK: 0, 1 and 2 have five bits, the others six (RFC 7541, appendix B).
fn huffman_digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    (0..3).fold(0, |status, _digit| {
        let five = bits.by_ref().take(5).fold(0, |value, bit| value << 1 | bit);
        let digit = if five < 3 { five } else { (five << 1 | bits.next().unwrap_or_default()).wrapping_sub(0x16) };
        status * 10 + digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_however_it_is_said() {
        assert_eq!(status(&[0x8c]), 400);
        assert_eq!(status(&[0x3f, 0x8c]), 400);
        assert_eq!(status(&[0x48, 3, b'4', b'3', b'1']), 431);
        // 431 is 011010 011001 00001, padded with ones.
        assert_eq!(status(&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111]), 431);
        assert_eq!(status(&[0xbe]), 0);
    }

    #[test]
    fn writes_integers_as_rfc_7541_does() {
        assert_eq!(integer(0, 5, 10), [10]);
        assert_eq!(integer(0, 5, 1337), [31, 154, 10]);
        assert_eq!(integer(0x80, 7, 127), [0xff, 0]);
    }
}
