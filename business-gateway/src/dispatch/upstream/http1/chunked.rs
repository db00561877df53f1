//! Bodies in chunks (RFC 9112 section 7.1). Lines end with CRLF and nothing else; extensions are read over.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::answer::{InvalidAnswer, trailers};
use super::take;

/// The longest line with the size of a chunk, with its extensions.
const LINE_MAX: usize = 4 * 1024;
/// The longest part with trailers, and most of them.
const TRAILERS_MAX: usize = 16 * 1024;
const TRAILERS: usize = 64;

/// Where in a body of chunks the reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the size of a chunk.
    Size,
    /// Inside of a chunk of which so many bytes are left; never 0.
    Data(u64),
    /// Before the end of the line after a chunk.
    DataEnd,
    /// After the last chunk.
    Trailers,
    /// After everything.
    Ended,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before more bytes are there.
    More,
    /// A piece of the body; never empty.
    Data(Bytes),
    /// The end, with fields.
    Trailers(HeaderMap),
    /// The end.
    End,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the beginning of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self(State::Size)
    }

    /// Takes what is next out of `inbound`.
    ///
    /// # Errors
    /// [`InvalidAnswer`] when that is not a body of chunks.
    pub fn next(&mut self, inbound: &mut BytesMut) -> Result<Step, InvalidAnswer> {
        loop {
            match self.0 {
                State::Size => {
                    let Some((length, size)) = size_line(inbound)? else { return Ok(Step::More) };
                    inbound.advance(length);
                    self.0 = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(left) => {
                    let piece = take(inbound, usize::try_from(left).unwrap_or(usize::MAX));
                    if piece.is_empty() {
                        return Ok(Step::More);
                    }
                    let left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                    self.0 = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Step::Data(piece));
                }
                State::DataEnd => match inbound.as_ref() {
                    [] | [b'\r'] => return Ok(Step::More),
                    [b'\r', b'\n', ..] => {
                        inbound.advance(2);
                        self.0 = State::Size;
                    }
                    _ => return Err(InvalidAnswer::Chunk),
                },
                State::Trailers => return self.trailers(inbound),
                State::Ended => return Ok(Step::End),
            }
        }
    }

    fn trailers(&mut self, inbound: &mut BytesMut) -> Result<Step, InvalidAnswer> {
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS];
        let (length, fields) = match httparse::parse_headers(inbound, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) if length <= TRAILERS_MAX => (length, trailers(fields)?),
            Ok(httparse::Status::Partial) if inbound.len() <= TRAILERS_MAX => return Ok(Step::More),
            Ok(_) | Err(_) => return Err(InvalidAnswer::Trailers),
        };
        inbound.advance(length);
        self.0 = State::Ended;
        Ok(if fields.is_empty() { Step::End } else { Step::Trailers(fields) })
    }

    /// Takes the usual end, without trailers, if it is there as a whole right behind the last piece.
    pub fn ends_here(&mut self, inbound: &mut BytesMut) -> bool {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        let ends = self.0 == State::DataEnd && inbound.starts_with(END);
        if ends {
            inbound.advance(END.len());
            self.0 = State::Ended;
        }
        ends
    }

    /// How much is left of the chunk that is being read, in bytes.
    #[must_use]
    pub fn left(&self) -> usize {
        match self.0 {
            State::Data(left) => usize::try_from(left).unwrap_or(usize::MAX),
            State::Size | State::DataEnd | State::Trailers | State::Ended => 0,
        }
    }
}

/// The length of the line with the size of a chunk, and the size; `None` when the line is not whole.
fn size_line(bytes: &[u8]) -> Result<Option<(usize, u64)>, InvalidAnswer> {
    let Some(end) = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_MAX { Ok(None) } else { Err(InvalidAnswer::Chunk) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(InvalidAnswer::Chunk)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    // Sixteen digits are the largest number of 64 bits.
    if digits.is_empty() || digits.len() > 16 {
        return Err(InvalidAnswer::Chunk);
    }
    let is_extension = rest.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    if !is_extension || rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(InvalidAnswer::Chunk);
    }
    let size = digits.iter().fold(0, |sum, digit| sum << 4 | u64::from(hex(*digit)));
    Ok(Some((end + 1, size)))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => digit.wrapping_sub(b'0'),
    }
}

#[cfg(test)]
mod tests;
