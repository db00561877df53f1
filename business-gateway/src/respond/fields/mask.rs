//! What stands in the place of a value that an application may not see.

use ring::hmac;

/// What becomes of a value; the last in this order counts where several rules are about the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mask {
    /// `"a***@example.com"`: the first character and the domain.
    Email,
    /// `"****1234"`: the last four characters of eight or more.
    Last4,
    /// The same text for the same value, from which nobody can compute the value.
    Hash,
    /// A text, as JSON.
    Text(Box<str>),
    /// `null`.
    Null,
    /// Nothing: the member is not there, and the array one element shorter.
    Remove,
}

/// The shortest text whose last four characters are shown.
const LAST4_MIN: u64 = 8;
/// The longest address (RFC 5321, section 4.5.3.1.3, without its brackets).
const EMAIL_MAX: usize = 254;

impl Mask {
    /// What is written for a value that is no text and no number.
    #[must_use]
    pub fn of_others(&self) -> &str {
        match self {
            Self::Text(json) => json,
            _ => "null",
        }
    }

    /// Begins to mask a text or a number; `None` where what is written does not depend on it.
    #[must_use]
    pub fn begin(&self, key: Option<&hmac::Key>) -> Option<Masking> {
        match self {
            Self::Email => Some(Masking::Email(Some(String::new()))),
            Self::Last4 => Some(Masking::Last4 { tail: ['*'; 4], count: 0 }),
            // Without a key, which is refused at load, nothing is shown.
            Self::Hash => key.map(|key| Masking::Hash(Box::new(hmac::Context::with_key(key)))),
            Self::Text(_) | Self::Null | Self::Remove => None,
        }
    }
}

/// A text that is being masked; it holds no more of it than will be shown.
#[derive(Clone)]
pub enum Masking {
    /// What there is of an address; `None` for what is too long for one.
    Email(Option<String>),
    /// The last four characters, and how many there were.
    Last4 {
        /// The last of them.
        tail: [char; 4],
        /// How many.
        count: u64,
    },
    /// The hash so far.
    Hash(Box<hmac::Context>),
}

impl std::fmt::Debug for Masking {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Masking")
    }
}

impl Masking {
    /// Takes the next of the text.
    pub fn push(&mut self, text: &str) {
        match self {
            Self::Email(address) => match address {
                Some(known) if known.len().saturating_add(text.len()) <= EMAIL_MAX => known.push_str(text),
                _ => *address = None,
            },
            Self::Last4 { tail, count } => {
                for character in text.chars() {
                    tail.rotate_left(1);
                    if let Some(last) = tail.last_mut() {
                        *last = character;
                    }
                    *count += 1;
                }
            }
            Self::Hash(context) => context.update(text.as_bytes()),
        }
    }

    /// Writes the masked text as JSON.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Email(address) => {
                let shown = address.as_deref().and_then(|address| address.rsplit_once('@'));
                out.push(b'"');
                match shown {
                    Some((local, domain)) => {
                        escape(local.chars().take(1), out);
                        out.extend_from_slice(b"***@");
                        escape(domain.chars(), out);
                    }
                    None => out.extend_from_slice(b"***"),
                }
                out.push(b'"');
            }
            Self::Last4 { tail, count } => {
                out.extend_from_slice(b"\"****");
                if count >= LAST4_MIN {
                    escape(tail.into_iter(), out);
                }
                out.push(b'"');
            }
            Self::Hash(context) => {
                let tag = context.sign();
                out.push(b'"');
                for byte in tag.as_ref().iter().take(16) {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
                out.push(b'"');
            }
        }
    }
}

/// Characters of a JSON string (RFC 8259, section 7).
fn escape(characters: impl Iterator<Item = char>, out: &mut Vec<u8>) {
    for character in characters {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\0'..='\x1f' => out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes()),
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: &Mask, pieces: &[&str]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let mut masking = mask.begin(Some(&key)).unwrap();
        for piece in pieces {
            masking.push(piece);
        }
        let mut out = Vec::new();
        masking.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_four_are_shown_of_long_texts_only() {
        for (text, expected) in [
            ("", "\"****\""),
            ("1234567", "\"****\""),
            ("12345678", "\"****5678\""),
            ("aaaaaaäö\"\\", "\"****äö\\\"\\\\\""),
        ] {
            assert_eq!(masked(&Mask::Last4, &[text]), expected);
        }
    }

    #[test]
    fn an_address_keeps_its_domain_and_its_first_character() {
        let long = format!("{}@example.com", "a".repeat(300));
        for (text, expected) in [
            ("ann@example.com", "\"a***@example.com\""),
            ("\"x@y\"@b", "\"\\\"***@b\""),
            ("@b", "\"***@b\""),
            ("no address", "\"***\""),
            (&long, "\"***\""),
        ] {
            assert_eq!(masked(&Mask::Email, &[text]), expected);
        }
    }

    #[test]
    fn a_hash_depends_on_the_text_and_not_on_its_pieces() {
        let one = masked(&Mask::Hash, &["4711", "0815"]);
        assert_eq!(one, masked(&Mask::Hash, &["47110815"]));
        assert_ne!(one, masked(&Mask::Hash, &["47110816"]));
        assert_eq!(one.len(), 34);
        assert!(Mask::Hash.begin(None).is_none());
    }

    #[test]
    fn the_strictest_mask_is_the_last() {
        let strict = [Mask::Email, Mask::Last4, Mask::Hash, Mask::Text("\"x\"".into()), Mask::Null, Mask::Remove];
        assert!(strict.is_sorted());
    }
}
