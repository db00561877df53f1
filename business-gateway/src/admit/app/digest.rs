//! `Content-Digest` (RFC 9530): what a body must hash to. `sha-256` and `sha-512` count, and every one of the two that is given
//! must be right; other algorithms are passed over, but one of the two has to be there.

use http::HeaderMap;
use ring::digest::{self, Algorithm, SHA256, SHA512};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};
use subtle::ConstantTimeEq as _;

use super::Malformed;
use super::signature::joined;

/// The header.
pub const CONTENT_DIGEST: &str = "content-digest";

/// What a body must hash to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl ContentDigest {
    /// The digest of a request; `None` when its head has none.
    ///
    /// # Errors
    /// When the header is not a dictionary of byte sequences, or names neither `sha-256` nor `sha-512`.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let Some(text) = joined(headers, CONTENT_DIGEST) else { return Ok(None) };
        let mut found = Self::default();
        let parsed = Parser::new(&*text).parse_dictionary_with_visitor(Members(&mut found));
        parsed.map_err(|_error| Malformed("Content-Digest is not a dictionary of byte sequences"))?;
        if found == Self::default() {
            return Err(Malformed("Content-Digest has neither sha-256 nor sha-512"));
        }
        Ok(Some(found))
    }

    /// Whether `body` hashes to everything that is named.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        let agrees = |expected: &Option<Vec<u8>>, algorithm: &'static Algorithm| {
            let Some(expected) = expected else { return true };
            digest::digest(algorithm, body).as_ref().ct_eq(expected).into()
        };
        agrees(&self.sha256, &SHA256) && agrees(&self.sha512, &SHA512)
    }
}

/// Collects the members that count.
struct Members<'a>(&'a mut ContentDigest);

impl<'de> DictionaryVisitor<'de> for Members<'_> {
    type Out = ();
    type Error = Malformed;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Malformed> {
        let slot = match key.as_str() {
            "sha-256" => Some(&mut self.0.sha256),
            "sha-512" => Some(&mut self.0.sha512),
            _ => None,
        };
        match slot {
            Some(Some(_)) => Err(Malformed("Content-Digest names an algorithm twice")),
            slot => Ok(Member(slot)),
        }
    }

    fn finish(self) -> Result<(), Malformed> {
        Ok(())
    }
}

struct Member<'a>(Option<&'a mut Option<Vec<u8>>>);

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = Malformed;

    fn item(self) -> Result<impl ItemVisitor<'de>, Malformed> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Malformed> {
        Err::<Ignored, _>(Malformed("Content-Digest holds a list"))
    }
}

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Out = ();
    type Error = Malformed;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Malformed> {
        if let Some(slot) = self.0 {
            let BareItemFromInput::ByteSequence(bytes) = item else {
                return Err(Malformed("a digest is not a byte sequence"));
            };
            *slot = Some(bytes);
        }
        Ok(Ignored)
    }
}

/// The value of a `Content-Digest` header with the SHA-256 of `body`.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    use base64::Engine as _;
    let digest = digest::digest(&SHA256, body);
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"{\"hello\": \"world\"}";
    /// RFC 9421, appendix B.2.
    const SHA512_OF_HELLO: &str =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    /// RFC 9530, appendix B.
    const SHA256_OF_HELLO: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

    fn parse(lines: &[&str]) -> Result<Option<ContentDigest>, Malformed> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_DIGEST, line.parse().unwrap());
        }
        ContentDigest::of(&headers)
    }

    #[test]
    fn knows_the_digests_of_the_rfcs() {
        for lines in [&[SHA512_OF_HELLO][..], &[SHA256_OF_HELLO], &[SHA256_OF_HELLO, SHA512_OF_HELLO]] {
            let digest = parse(lines).unwrap().unwrap();
            assert!(digest.matches(HELLO));
            assert!(!digest.matches(b"{\"hello\": \"World\"}"));
        }
        assert_eq!(content_digest(HELLO), SHA256_OF_HELLO);
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn every_digest_that_is_given_counts() {
        let wrong = SHA256_OF_HELLO.replace('X', "Y");
        assert!(!parse(&[SHA512_OF_HELLO, &wrong]).unwrap().unwrap().matches(HELLO));
        assert!(parse(&[SHA512_OF_HELLO, "md5=:AAAA:"]).unwrap().unwrap().matches(HELLO));
    }

    #[test]
    fn refuses_what_says_nothing() {
        for line in
            ["md5=:AAAA:", "sha-256=abc", "sha-256=(:AAAA:)", "sha-256", "sha-256=:AAAA:, sha-256=:AAAA:", "=", ""]
        {
            assert!(parse(&[line]).is_err(), "{line}");
        }
    }
}
