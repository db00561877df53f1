//! Bracket expressions and escapes of single bytes, as PCRE reads them.

use super::pattern::Fault;
use crate::seclang::diagnostic::number;

/// Named sets between `[:` and `:]`.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A byte as it stands in an expression or a set.
pub(super) fn hex(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }
}

fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { column: number(at), message: message.into() })
}

/// One member of a set.
enum Member {
    /// A byte, which may begin or end a range.
    Byte(u8),
    /// Several bytes, already written for the `regex` crate.
    Set(String),
}

/// Translates the set that begins at `start`; the answer says where it ends.
pub(super) fn translate(characters: &[char], start: usize) -> Result<(String, usize), Fault> {
    let mut at = start + 1;
    let mut out = String::from("[");
    if characters.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    loop {
        match characters.get(at) {
            None => return fault(start, "a set is never closed; write \\[ for the character"),
            Some(']') if at > first => {
                out.push(']');
                return Ok((out, at + 1));
            }
            Some('\\') if characters.get(at + 1) == Some(&'Q') => at = quoted(characters, at + 2, &mut out),
            Some('\\') if characters.get(at + 1) == Some(&'E') => at += 2,
            Some(_) => at = member_or_range(characters, at, &mut out)?,
        }
    }
}

/// `\Q…\E` inside of a set.
fn quoted(characters: &[char], mut at: usize, out: &mut String) -> usize {
    while let Some(character) = characters.get(at) {
        if *character == '\\' && characters.get(at + 1) == Some(&'E') {
            return at + 2;
        }
        out.push_str(&bytes(*character));
        at += 1;
    }
    at
}

fn bytes(character: char) -> String {
    let mut buffer = [0; 4];
    character.encode_utf8(&mut buffer).bytes().map(hex).collect()
}

fn member_or_range(characters: &[char], at: usize, out: &mut String) -> Result<usize, Fault> {
    let (low, end) = member(characters, at)?;
    let range = characters.get(end) == Some(&'-') && characters.get(end + 1).is_some_and(|next| *next != ']');
    match low {
        Member::Byte(low) if range => {
            let (high, after) = member(characters, end + 1)?;
            match high {
                Member::Byte(high) if low <= high => out.push_str(&format!("{}-{}", hex(low), hex(high))),
                Member::Byte(_) => return fault(at, "a range runs backwards; write the smaller character first"),
                Member::Set(set) => out.push_str(&format!("{}\\x2d{set}", hex(low))),
            }
            Ok(after)
        }
        Member::Byte(low) => {
            out.push_str(&hex(low));
            Ok(end)
        }
        Member::Set(set) => {
            out.push_str(&set);
            if range {
                out.push_str("\\x2d");
                return Ok(end + 1);
            }
            Ok(end)
        }
    }
}

fn member(characters: &[char], at: usize) -> Result<(Member, usize), Fault> {
    match (characters.get(at).copied().unwrap_or_default(), characters.get(at + 1).copied()) {
        ('[', Some(':')) => {
            if let Some((set, end)) = named(characters, at)? {
                return Ok((Member::Set(set), end));
            }
            Ok((Member::Byte(b'['), at + 1))
        }
        ('[', Some(kind @ ('.' | '='))) if closes(characters, at + 2, kind) => {
            fault(at, "collating elements exist nowhere; write the characters")
        }
        ('\\', Some(next)) => {
            let set = match next {
                'd' | 'D' | 'w' | 'W' | 's' | 'S' => format!("\\{next}"),
                'h' => r"\t\x20\xa0".to_owned(),
                'H' => r"\x00-\x08\x0a-\x1f\x21-\x9f\xa1-\xff".to_owned(),
                'v' => r"\x0a-\x0d\x85".to_owned(),
                'V' => r"\x00-\x09\x0e-\x84\x86-\xff".to_owned(),
                'b' => return Ok((Member::Byte(8), at + 2)),
                'B' | 'R' | 'X' | 'N' => return fault(at, format!("\\{next} is nothing inside of a set; remove it")),
                next if !next.is_ascii() => bytes(next),
                '1'..='7' => return Ok(octal(characters, at + 1)),
                _ => {
                    let (byte, end) = escaped_byte(characters, at)?;
                    return Ok((Member::Byte(byte), end));
                }
            };
            Ok((Member::Set(set), at + 2))
        }
        ('\\', None) => fault(at, "a backslash at the end escapes nothing"),
        (character, _) => match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => Ok((Member::Byte(byte), at + 1)),
            _ => Ok((Member::Set(bytes(character)), at + 1)),
        },
    }
}

/// `[:name:]` and `[:^name:]`; nothing when it is not closed like that.
fn named(characters: &[char], at: usize) -> Result<Option<(String, usize)>, Fault> {
    let rest = characters.get(at + 2..).unwrap_or_default();
    let length = rest.iter().take_while(|character| character.is_ascii_alphabetic() || **character == '^').count();
    if rest.get(length) != Some(&':') || rest.get(length + 1) != Some(&']') {
        return Ok(None);
    }
    let name: String = rest.iter().take(length).collect();
    if !NAMED.contains(&name.strip_prefix('^').unwrap_or(&name)) {
        return fault(at, format!("[:{name}:] is no set; there are {}", NAMED.join(", ")));
    }
    Ok(Some((format!("[:{name}:]"), at + length + 4)))
}

fn closes(characters: &[char], from: usize, kind: char) -> bool {
    let rest = characters.get(from..).unwrap_or_default();
    rest.iter().take_while(|character| **character != ']').last() == Some(&kind)
}

fn octal(characters: &[char], from: usize) -> (Member, usize) {
    let digits = characters.get(from..).unwrap_or_default().iter().take(3).map_while(|digit| digit.to_digit(8));
    let (value, length) = digits.fold((0, 0), |(value, length), digit| (value * 8 + digit, length + 1));
    (Member::Byte(u8::try_from(value & 0xff).unwrap_or_default()), from + length)
}

/// The byte an escape stands for, and where it ends.
pub(super) fn escaped_byte(characters: &[char], at: usize) -> Result<(u8, usize), Fault> {
    let next = characters.get(at + 1).copied().unwrap_or_default();
    let byte = match next {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'f' => 0x0c,
        'a' => 7,
        'e' => 0x1b,
        'x' => return hexadecimal(characters, at),
        '0' => {
            let (member, end) = octal(characters, at + 1);
            return Ok((if let Member::Byte(byte) = member { byte } else { 0 }, end));
        }
        'c' => {
            return match characters
                .get(at + 2)
                .and_then(|letter| u8::try_from(*letter).ok())
                .filter(u8::is_ascii_graphic)
            {
                Some(letter) => Ok((letter.to_ascii_uppercase() ^ 0x40, at + 3)),
                None => fault(at, "\\c needs a letter"),
            };
        }
        '1'..='9' | 'g' | 'k' => return fault(at, "references to groups exist in PCRE only; write what has to match"),
        'R' => return fault(at, "\\R exists in PCRE only; write (?:\\r\\n|\\n|\\r)"),
        'K' | 'G' | 'X' | 'C' => return fault(at, format!("\\{next} exists in PCRE only; remove it")),
        'p' | 'P' => {
            return fault(at, "lists match bytes, which have no Unicode properties; write a set of characters");
        }
        'l' | 'L' | 'u' | 'U' | 'N' | 'o' => {
            return fault(at, format!("\\{next} is no escape of PCRE; write \\xhh for a byte"));
        }
        other => u8::try_from(other).unwrap_or_default(),
    };
    Ok((byte, at + 2))
}

/// `\xh`, `\xhh` and `\x{h…}`.
fn hexadecimal(characters: &[char], at: usize) -> Result<(u8, usize), Fault> {
    let rest = characters.get(at + 2..).unwrap_or_default();
    let (skip, limit) = if rest.first() == Some(&'{') { (1, 8) } else { (0, 2) };
    let digits: Vec<u32> = rest.iter().skip(skip).take(limit).map_while(|digit| digit.to_digit(16)).collect();
    let closed = skip == 0 || rest.get(skip + digits.len()) == Some(&'}');
    let value = digits.iter().fold(0_u32, |value, digit| value.wrapping_mul(16).wrapping_add(*digit));
    match u8::try_from(value) {
        Ok(byte) if closed && !digits.is_empty() => Ok((byte, at + 2 + digits.len() + skip * 2)),
        _ => fault(at, "\\x needs one byte: \\xhh or \\x{hh}"),
    }
}
