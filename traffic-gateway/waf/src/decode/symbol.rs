//! One encoded character: where it may begin, how long it is, what it stands for.

use super::Layers;

/// A character that was encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    bytes: [u8; 4],
    count: usize,
    /// How many bytes stood for it; never fewer than it has itself.
    pub(super) length: usize,
    pub(super) layer: Layers,
}

impl Symbol {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }

    const fn byte(byte: u8, length: usize, layer: Layers) -> Self {
        Self { bytes: [byte, 0, 0, 0], count: 1, length, layer }
    }

    const fn nothing(length: usize, layer: Layers) -> Self {
        Self { bytes: [0; 4], count: 0, length, layer }
    }

    /// The UTF-8 of a code point, folded to ASCII where it is a look-alike. `None` when that is longer than what stood
    /// for it, which no real character is.
    fn code(code: u32, length: usize, layer: Layers) -> Option<Self> {
        if let Some(byte) = fold(code) {
            return Some(Self::byte(byte, length, layer));
        }
        let mut bytes = [0; 4];
        let count = char::from_u32(code)?.encode_utf8(&mut bytes).len();
        (count <= length).then_some(Self { bytes, count, length, layer })
    }
}

/// Bytes at which an encoded character may begin.
pub(super) const fn may_begin(byte: u8) -> bool {
    matches!(byte, b'%' | b'&' | b'\\' | b'+' | 0xc0 | 0xc1 | 0xc2 | 0xc5 | 0xca | 0xe0 | 0xe2 | 0xe3 | 0xef | 0xf0)
}

/// Where the first encoded character is.
pub(super) fn first(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += value.get(at..)?.iter().position(|&byte| may_begin(byte) && byte != b'+')?;
        if read(value.get(at..)?, false).is_some() {
            return Some(first_plus(value, at));
        }
        at += 1;
    }
}

/// A `+` before the first `%27` is a space as well.
fn first_plus(value: &[u8], at: usize) -> usize {
    value.get(..at).and_then(|head| memchr::memchr(b'+', head)).unwrap_or(at)
}

/// Whether there is a percent sign with its digits.
pub(super) fn has_percent(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value).any(|at| value.get(at..).and_then(percent).is_some())
}

/// Reads the encoded character at the beginning of the text, if there is one.
pub(super) fn read(text: &[u8], plus_is_space: bool) -> Option<Symbol> {
    match text.first()? {
        b'%' => percent(text),
        b'&' => entity(text),
        b'\\' => escape(text),
        b'+' => plus_is_space.then_some(Symbol::byte(b' ', 1, Layers::PERCENT)),
        _ => wide(text),
    }
}

fn hex(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

/// Reads so many hexadecimal digits.
fn hex_digits(text: &[u8], count: usize) -> Option<u32> {
    text.get(..count)?.iter().try_fold(0, |code, &byte| Some(code << 4 | hex(byte)?))
}

/// `%27` and `%u0027`.
fn percent(text: &[u8]) -> Option<Symbol> {
    let rest = text.get(1..)?;
    if let Some(b'u' | b'U') = rest.first() {
        return Symbol::code(hex_digits(rest.get(1..)?, 4)?, 6, Layers::PERCENT);
    }
    let byte = u8::try_from(hex_digits(rest, 2)?).ok()?;
    Some(Symbol::byte(byte, 3, Layers::PERCENT))
}

/// `\u0027`, `\u{27}`, `\x27`, `\047` and `\/`.
fn escape(text: &[u8]) -> Option<Symbol> {
    let rest = text.get(1..)?;
    match rest.first()? {
        b'u' if rest.get(1) == Some(&b'{') => {
            let digits = rest.get(2..)?.iter().take(8).take_while(|byte| byte.is_ascii_hexdigit()).count();
            (digits > 0 && rest.get(2 + digits) == Some(&b'}')).then_some(())?;
            Symbol::code(hex_digits(rest.get(2..)?, digits)?, digits + 4, Layers::ESCAPE)
        }
        b'u' | b'U' => Symbol::code(hex_digits(rest.get(1..)?, 4)?, 6, Layers::ESCAPE),
        b'x' | b'X' => Symbol::code(hex_digits(rest.get(1..)?, 2)?, 4, Layers::ESCAPE),
        b'0'..=b'3' => {
            let code =
                rest.get(..3)?.iter().try_fold(0, |code, &byte| Some(code << 3 | char::from(byte).to_digit(8)?))?;
            (code >= 0x20).then_some(())?;
            Symbol::code(code, 4, Layers::ESCAPE)
        }
        b'/' => Some(Symbol::byte(b'/', 2, Layers::ESCAPE)),
        _ => None,
    }
}

/// Names of characters that mean something to a grammar. The first four are known without `;` too.
const NAMES: &[(&[u8], u8)] = &[
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"amp", b'&'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"nbsp", b' '),
    (b"tab", b'\t'),
    (b"newline", b'\n'),
    (b"colon", b':'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"equals", b'='),
    (b"grave", b'`'),
    (b"semi", b';'),
    (b"comma", b','),
    (b"period", b'.'),
    (b"excl", b'!'),
    (b"num", b'#'),
    (b"dollar", b'$'),
    (b"percnt", b'%'),
    (b"ast", b'*'),
    (b"plus", b'+'),
    (b"lsqb", b'['),
    (b"lbrack", b'['),
    (b"rsqb", b']'),
    (b"rbrack", b']'),
    (b"lcub", b'{'),
    (b"lbrace", b'{'),
    (b"rcub", b'}'),
    (b"rbrace", b'}'),
    (b"vert", b'|'),
    (b"verbar", b'|'),
    (b"hat", b'^'),
    (b"lowbar", b'_'),
    (b"commat", b'@'),
    (b"quest", b'?'),
];

/// `&#39;`, `&#x27;`, also without `;`, and names.
fn entity(text: &[u8]) -> Option<Symbol> {
    let rest = text.get(1..)?;
    if rest.first() == Some(&b'#') {
        return numeric_entity(rest.get(1..)?);
    }
    let length = rest.iter().take(8).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let closed = rest.get(length) == Some(&b';');
    let name = rest.get(..length)?;
    let known = if closed {
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))
    } else {
        NAMES.iter().take(4).find(|(known, _)| {
            name.get(..known.len()).is_some_and(|head| head == *known || head == known.to_ascii_uppercase().as_slice())
        })
    };
    let (known, byte) = known?;
    Some(Symbol::byte(*byte, 1 + known.len() + usize::from(closed), Layers::ENTITY))
}

/// The number of an entity, after `&#`. Leading zeros are skipped without a limit, as browsers do.
fn numeric_entity(rest: &[u8]) -> Option<Symbol> {
    let (digits, radix, prefix) = match rest.first()? {
        b'x' | b'X' => (rest.get(1..)?, 16, 3),
        _ => (rest, 10, 2),
    };
    // Beyond so many zeros nobody reads on; the bound keeps every pass linear.
    let zeros = digits.iter().take(32).take_while(|byte| **byte == b'0').count();
    let digits = digits.get(zeros..)?;
    let count = digits.iter().take(7).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if count == 0 {
        return None;
    }
    let code = digits
        .get(..count)?
        .iter()
        .try_fold(0_u32, |code, &byte| Some(code * radix + char::from(byte).to_digit(radix)?))?;
    let closed = digits.get(count) == Some(&b';');
    Symbol::code(code, prefix + zeros + count + usize::from(closed), Layers::ENTITY)
}

/// A character in more bytes than it needs, a look-alike of an ASCII character, or an invisible one.
fn wide(text: &[u8]) -> Option<Symbol> {
    let continued = |at: usize| text.get(at).filter(|byte| **byte & 0xc0 == 0x80).map(|byte| u32::from(byte & 0x3f));
    match *text.first()? {
        first @ (0xc0 | 0xc1) => {
            let code = (u32::from(first) & 1) << 6 | continued(1)?;
            Some(Symbol::byte(u8::try_from(code).ok()?, 2, Layers::WIDE))
        }
        first @ (0xc2 | 0xc5 | 0xca) => folded((u32::from(first) & 0x1f) << 6 | continued(1)?, 2),
        first @ (0xe0 | 0xe2 | 0xe3 | 0xef) => {
            let code = (u32::from(first) & 0x0f) << 12 | continued(1)? << 6 | continued(2)?;
            overlong(code, 3).or_else(|| folded(code, 3))
        }
        0xf0 => overlong(continued(1)? << 12 | continued(2)? << 6 | continued(3)?, 4),
        _ => None,
    }
}

fn overlong(code: u32, length: usize) -> Option<Symbol> {
    u8::try_from(code).ok().filter(u8::is_ascii).map(|byte| Symbol::byte(byte, length, Layers::WIDE))
}

fn folded(code: u32, length: usize) -> Option<Symbol> {
    if matches!(code, 0xad | 0x200b..=0x200f | 0x2060 | 0xfeff) {
        return Some(Symbol::nothing(length, Layers::WIDE));
    }
    fold(code).map(|byte| Symbol::byte(byte, length, Layers::WIDE))
}

/// The ASCII character that databases, file systems and resolvers take a look-alike for.
fn fold(code: u32) -> Option<u8> {
    if code < 0x80 {
        return u8::try_from(code).ok();
    }
    let offset = |first: u32, byte: u8| u8::try_from(code - first).ok().map(|offset| byte + offset);
    match code {
        0xff01..=0xff5e => offset(0xff01, b'!'),
        0x2460..=0x2468 => offset(0x2460, b'1'),
        0x24ea => Some(b'0'),
        0x24b6..=0x24cf => offset(0x24b6, b'A'),
        0x24d0..=0x24e9 => offset(0x24d0, b'a'),
        0x02b9 | 0x02bc => Some(b'\''),
        0x017f => Some(b's'),
        0x212a => Some(b'K'),
        0x2044 | 0x2215 => Some(b'/'),
        0x2216 => Some(b'\\'),
        0x2024 | 0x3002 | 0xff61 => Some(b'.'),
        0x3000 => Some(b' '),
        0xfe64 => Some(b'<'),
        0xfe65 => Some(b'>'),
        0xfe66 => Some(b'='),
        _ => None,
    }
}
