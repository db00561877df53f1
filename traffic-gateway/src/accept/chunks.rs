//! The chunked coding, checked as it passes (RFC 9112, section 7.1).
//!
//! The grammar is taken literally: a size of 1 to 16 hexadecimal digits, extensions without white space, CR LF and nothing
//! else as line end. Size lines and data pass as they are; the trailer section is read, judged and dropped, because
//! Pingora would drop it unseen.

use gatehouse_shared::message::bytes::{hex_value, is_token, is_value};
use gatehouse_shared::problem::{self, Reason};

use super::field::known;
use super::normalize::field_line;

/// Longest extension text of one chunk, and of all chunks of a body together.
const EXTENSION_MAX: usize = 256;
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Largest trailer section.
const TRAILERS_MAX: usize = 8 * 1024;

/// Where in the grammar the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    ExtensionName { is_empty: bool },
    ExtensionValue { is_empty: bool },
    Quoted,
    QuotedPair,
    AfterQuoted,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailer,
    End,
}

impl State {
    /// Whether an extension may end here.
    fn ends_extension(self) -> bool {
        matches!(
            self,
            Self::ExtensionName { is_empty: false } | Self::ExtensionValue { is_empty: false } | Self::AfterQuoted
        )
    }
}

/// A chunked body on its way.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    size: u64,
    digits: u8,
    extension: usize,
    extensions: usize,
    data: u64,
    data_max: u64,
    trailers: Vec<u8>,
    line_start: usize,
    trailers_allow_underscores: bool,
}

/// What a look at some bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes from the beginning that pass as they are.
    pub(super) pass: usize,
    /// Bytes from the beginning that belong to this message; more than `pass` in the trailer section.
    pub(super) consumed: usize,
    /// Whether the message ends here; the empty line that ends it (CR LF) is still to be delivered.
    pub(super) is_end: bool,
    /// How many of them were data.
    pub(super) data: u64,
}

impl Chunks {
    pub(super) fn new(data_max: u64, trailers_allow_underscores: bool) -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            extension: 0,
            extensions: 0,
            data: 0,
            data_max,
            trailers: Vec::new(),
            line_start: 0,
            trailers_allow_underscores,
        }
    }

    /// Looks at the next bytes of the body.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Seen, &'static Reason> {
        let mut at = 0;
        let mut pass = 0;
        let before = self.data;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Data => {
                    let available = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX);
                    let taken = self.size.min(available);
                    self.size -= taken;
                    self.data += taken;
                    at += usize::try_from(taken).unwrap_or(usize::MAX);
                    if self.size == 0 {
                        self.state = State::DataReturn;
                    }
                    pass = at;
                    continue;
                }
                State::Trailer => {
                    at += 1;
                    if self.trailer(byte)? {
                        self.state = State::End;
                        break;
                    }
                    continue;
                }
                State::End => break,
                _ => {}
            }
            self.state = self.step(byte)?;
            at += 1;
            pass = at;
        }
        Ok(Seen { pass, consumed: at, is_end: self.state == State::End, data: self.data - before })
    }

    /// Every byte outside data and trailers.
    fn step(&mut self, byte: u8) -> Result<State, &'static Reason> {
        let next = match (self.state, byte) {
            (State::Size, byte) if hex_value(byte).is_some() && self.digits < 16 => {
                self.digits += 1;
                self.size = self.size << 4 | u64::from(hex_value(byte).unwrap_or_default());
                State::Size
            }
            (State::Size, b';') if self.digits > 0 => State::ExtensionName { is_empty: true },
            (State::Size, b'\r') if self.digits > 0 => State::SizeLineFeed,
            (State::ExtensionName { .. }, byte) if is_token(byte) => State::ExtensionName { is_empty: false },
            (State::ExtensionName { is_empty: false }, b'=') => State::ExtensionValue { is_empty: true },
            (State::ExtensionValue { is_empty: true }, b'"') => State::Quoted,
            (State::ExtensionValue { .. }, byte) if is_token(byte) => State::ExtensionValue { is_empty: false },
            (State::Quoted, b'"') => State::AfterQuoted,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted | State::QuotedPair, byte) if is_value(byte) => State::Quoted,
            (state, b';') if state.ends_extension() => State::ExtensionName { is_empty: true },
            (state, b'\r') if state.ends_extension() => State::SizeLineFeed,
            (State::SizeLineFeed, b'\n') => return self.size_line_ended(),
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => {
                self.digits = 0;
                self.extension = 0;
                State::Size
            }
            (State::Size, _) => return Err(&problem::CHUNK_SIZE_INVALID),
            (State::DataReturn | State::DataLineFeed, _) => return Err(&problem::CHUNK_DATA_END_INVALID),
            (State::SizeLineFeed, _) if self.extension == 0 => return Err(&problem::CHUNK_SIZE_INVALID),
            _ => return Err(&problem::CHUNK_EXTENSION_INVALID),
        };
        if !matches!(next, State::Size | State::SizeLineFeed | State::DataLineFeed) {
            self.extension += 1;
            self.extensions += 1;
            if self.extension > EXTENSION_MAX || self.extensions > EXTENSIONS_MAX {
                return Err(&problem::CHUNK_EXTENSION_TOO_LONG);
            }
        }
        Ok(next)
    }

    fn size_line_ended(&self) -> Result<State, &'static Reason> {
        match self.data.checked_add(self.size) {
            _ if self.size == 0 => Ok(State::Trailer),
            Some(data) if data <= self.data_max => Ok(State::Data),
            _ => Err(&problem::BODY_TOO_LARGE),
        }
    }

    /// One byte of the trailer section; true when its empty line is complete.
    fn trailer(&mut self, byte: u8) -> Result<bool, &'static Reason> {
        if self.trailers.len() >= TRAILERS_MAX {
            return Err(&problem::TRAILERS_TOO_LARGE);
        }
        self.trailers.push(byte);
        if byte != b'\n' {
            return Ok(false);
        }
        let line = self.trailers.get(self.line_start..).and_then(|line| line.strip_suffix(b"\r\n"));
        let line = line.ok_or(&problem::TRAILER_INVALID)?;
        if line.is_empty() {
            return Ok(true);
        }
        let (name, _value) =
            field_line(line, self.trailers_allow_underscores).map_err(|_any| &problem::TRAILER_INVALID)?;
        if known(name).is_some() || name.eq_ignore_ascii_case(b"cookie") || name.eq_ignore_ascii_case(b"trailer") {
            return Err(&problem::TRAILER_FORBIDDEN);
        }
        self.line_start = self.trailers.len();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn look(bytes: &[u8]) -> Result<Seen, &'static str> {
        Chunks::new(1_000, false).look(bytes).map_err(|reason| reason.code)
    }

    #[test]
    fn passes_size_lines_and_data_and_ends_at_the_empty_line() {
        let body = b"5\r\nhello\r\nA;name;key=value;q=\"a\\\" b\"\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1";
        let end = body.len() - b"GET / HTTP/1.1".len();
        assert_eq!(look(body), Ok(Seen { pass: end - 2, consumed: end, is_end: true, data: 15 }));
    }

    #[test]
    fn drops_trailers() {
        let body = b"0\r\nx-checksum: abc\r\nExpires: 0\r\n\r\n";
        assert_eq!(look(body), Ok(Seen { pass: 3, consumed: body.len(), is_end: true, data: 0 }));
    }

    #[test]
    fn refuses_malformed_chunks() {
        for (body, code) in [
            ("\r\n", "chunk_size_invalid"),
            ("g\r\n", "chunk_size_invalid"),
            (" 5\r\n", "chunk_size_invalid"),
            ("5 \r\n", "chunk_size_invalid"),
            ("+5\r\n", "chunk_size_invalid"),
            ("-5\r\n", "chunk_size_invalid"),
            ("0x5\r\n", "chunk_size_invalid"),
            ("5_0\r\n", "chunk_size_invalid"),
            ("5\n", "chunk_size_invalid"),
            ("5\r\r\n", "chunk_size_invalid"),
            ("5\rx", "chunk_size_invalid"),
            (";a\r\n", "chunk_size_invalid"),
            ("00000000000000005\r\n", "chunk_size_invalid"),
            ("5;\r\n", "chunk_extension_invalid"),
            ("5;a\n", "chunk_extension_invalid"),
            ("5; a\r\n", "chunk_extension_invalid"),
            ("5;a=\r\n", "chunk_extension_invalid"),
            ("5;a=\"b\r\n", "chunk_extension_invalid"),
            ("5;a=\"b\n", "chunk_extension_invalid"),
            ("5;a\rb\r\n", "chunk_extension_invalid"),
            ("5;a=\"x\"y\r\n", "chunk_extension_invalid"),
            ("5;a=\u{1}\r\n", "chunk_extension_invalid"),
            ("5\r\nhelloX", "chunk_data_end_invalid"),
            ("5\r\nhello\n", "chunk_data_end_invalid"),
            ("5\r\nhello\rX", "chunk_data_end_invalid"),
            ("5\r\nhello\r\n\r\n", "chunk_size_invalid"),
        ] {
            assert_eq!(look(body.as_bytes()), Err(code), "{body:?}");
        }
    }

    #[test]
    fn refuses_malformed_and_dangerous_trailers() {
        for (trailers, code) in [
            ("a\r\n\r\n", "trailer_invalid"),
            ("a: b\n\r\n", "trailer_invalid"),
            (" a: b\r\n\r\n", "trailer_invalid"),
            ("a : b\r\n\r\n", "trailer_invalid"),
            ("\n", "trailer_invalid"),
            ("a_b: c\r\n\r\n", "trailer_invalid"),
            ("a: \0\r\n\r\n", "trailer_invalid"),
            ("Content-Length: 5\r\n\r\n", "trailer_forbidden"),
            ("Host: x\r\n\r\n", "trailer_forbidden"),
            ("Authorization: x\r\n\r\n", "trailer_forbidden"),
            ("transfer-encoding: chunked\r\n\r\n", "trailer_forbidden"),
        ] {
            assert_eq!(look(format!("0\r\n{trailers}").as_bytes()), Err(code), "{trailers:?}");
        }
        let flood = format!("0\r\n{}", "a: b\r\n".repeat(2_000));
        assert_eq!(look(flood.as_bytes()), Err("trailers_too_large"));
    }

    #[test]
    fn bounds_extensions_and_data() {
        let long = format!("1;{}\r\nx", "a".repeat(300));
        assert_eq!(look(long.as_bytes()), Err("chunk_extension_too_long"));
        let many = "1;aaaaaaaa\r\nx\r\n".repeat(2_500);
        let refused = Chunks::new(1 << 20, false).look(many.as_bytes()).unwrap_err();
        assert_eq!(refused.code, "chunk_extension_too_long");
        assert_eq!(look(b"3e9\r\n"), Err("body_too_large"));
        assert_eq!(look(b"ffffffffffffffff\r\n"), Err("body_too_large"));
        assert!(look(b"3e8\r\n").is_ok());
    }

    proptest! {
        /// However the bytes are cut, the same comes out.
        #[test]
        fn cuts_do_not_matter(chunks: Vec<Vec<u8>>, extra: Vec<u8>, cuts: Vec<usize>) {
            let mut body = Vec::new();
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                body.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\na: b\r\n\r\n");
            let end = body.len();
            body.extend_from_slice(&extra);
            let mut machine = Chunks::new(u64::MAX, false);
            let (mut rest, mut passed, mut consumed, mut is_end) = (body.as_slice(), 0, 0, false);
            let mut cuts = cuts.iter().map(|cut| cut % 7 + 1);
            while !is_end && !rest.is_empty() {
                let length = cuts.next().unwrap_or(rest.len()).min(rest.len());
                let seen = machine.look(&rest[..length]).unwrap();
                passed += seen.pass;
                consumed += seen.consumed;
                is_end = seen.is_end;
                rest = &rest[length..];
            }
            prop_assert_eq!((consumed, is_end), (end, true));
            prop_assert_eq!(passed, end - b"a: b\r\n\r\n".len());
        }

        #[test]
        fn never_panics(body: Vec<u8>) {
            prop_assert!(look(&body).is_ok_and(|seen| seen.pass <= seen.consumed && seen.consumed <= body.len()) || look(&body).is_err());
        }
    }
}
