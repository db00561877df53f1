//! A revision as it is stored: what is said of it, its document, and the signature over both.

use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use super::SigningKeys;

/// What a signature begins with, so that it can be taken for nothing else signed with the same key.
const PURPOSE: &[u8] = b"gatehouse catalog 1\n";

/// What is said of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; 1 for the first.
    pub revision: u64,
    /// When it was published, in Unix milliseconds, by the clock of the node that did.
    pub unix_ms: u64,
    /// The name of the admin token that made the change.
    pub by: String,
    /// The node that was told.
    pub node: String,
    /// What was done, such as `put api orders.list`.
    pub what: String,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The SHA-256 of the document, in hexadecimal digits.
    #[serde(default)]
    pub sha256: String,
}

/// A revision as stored, not yet believed. In the state directory it is one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// [`Head`] as JSON.
    pub head: String,
    /// The document as JSON.
    pub document: String,
    /// The name of the key.
    pub key: String,
    /// HMAC-SHA-256 over the head, which names the hash of the document; hexadecimal digits.
    pub mac: String,
}

/// Why a revision is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is signed with a key that is not live.
    #[error("it is signed with the key {0:?}, which is not among signing_keys")]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("its signature does not fit: it was not written by a gateway with the same signing key")]
    Signature,
    /// The document is another one than was signed.
    #[error("its document is not the one that was signed")]
    Document,
    /// It says another number than it is stored under.
    #[error("it is revision {0}, stored under another number")]
    Number(u64),
    /// What was signed is not understood.
    #[error("it is damaged")]
    Damaged,
}

impl SigningKeys {
    /// Signs a document; `head` is what is said of it, but for its hash.
    #[must_use]
    pub fn seal(&self, head: Head, document: String) -> Sealed {
        let head = Head { sha256: sha256(&document), ..head };
        let head = serde_json::to_string(&head).unwrap_or_default();
        let signed = self.signing().map(|(id, key)| (id.to_owned(), hex(hmac::sign(key, &message(&head)).as_ref())));
        let (key, mac) = signed.unwrap_or_default();
        Sealed { head, document, key, mac }
    }

    /// Believes a revision that a holder of a live key has signed.
    ///
    /// # Errors
    /// Why it must not be believed.
    pub fn open(&self, sealed: &Sealed) -> Result<Head, SealError> {
        let head = self.open_head(sealed)?;
        if head.sha256 != sha256(&sealed.document) {
            return Err(SealError::Document);
        }
        Ok(head)
    }

    /// The same without looking at the document.
    ///
    /// # Errors
    /// Why it must not be believed.
    pub fn open_head(&self, sealed: &Sealed) -> Result<Head, SealError> {
        let key = self.find(&sealed.key).ok_or_else(|| SealError::UnknownKey(sealed.key.chars().take(32).collect()))?;
        let mac = bytes(&sealed.mac).ok_or(SealError::Signature)?;
        hmac::verify(key, &message(&sealed.head), &mac).map_err(|_unspecified| SealError::Signature)?;
        serde_json::from_str(&sealed.head).map_err(|_damaged| SealError::Damaged)
    }
}

fn message(head: &str) -> Vec<u8> {
    [PURPOSE, head.as_bytes()].concat()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 32 bytes that 64 hexadecimal digits stand for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn keys(secrets: &[(&str, &[u8])]) -> SigningKeys {
        SigningKeys::from_secrets(secrets)
    }

    fn head() -> Head {
        Head { revision: 7, by: "ann".to_owned(), what: "put api a".to_owned(), ..Head::default() }
    }

    #[test]
    fn what_is_sealed_is_opened_with_any_live_key_of_that_name() {
        let old = keys(&[("a", &[1; 32])]);
        let sealed = old.seal(head(), "{}".to_owned());
        let both = keys(&[("b", &[2; 32]), ("a", &[1; 32])]);
        let opened = both.open(&sealed).unwrap();
        assert_eq!((opened.revision, opened.by.as_str(), opened.sha256.len()), (7, "ann", 64));
        assert_eq!(both.seal(head(), "{}".to_owned()).key, "b");
        let unknown = SealError::UnknownKey("a".to_owned());
        assert_eq!(keys(&[("b", &[2; 32])]).open(&sealed), Err(unknown));
        assert_eq!(keys(&[("a", &[2; 32])]).open(&sealed), Err(SealError::Signature));
    }

    #[test]
    fn another_document_or_another_number_is_seen() {
        let keys = keys(&[("a", &[1; 32])]);
        let sealed = keys.seal(head(), "{}".to_owned());
        let other = Sealed { document: "{ }".to_owned(), ..sealed.clone() };
        assert_eq!(keys.open(&other), Err(SealError::Document));
        assert!(keys.open_head(&other).is_ok());
        let later = Sealed { head: sealed.head.replace(":7,", ":8,"), ..sealed.clone() };
        assert_eq!(keys.open(&later), Err(SealError::Signature));
        for mac in ["", "00", &"é".repeat(32), &sealed.mac.replace('a', ""), &"0".repeat(64)] {
            assert_eq!(
                keys.open(&Sealed { mac: mac.to_owned(), ..sealed.clone() }),
                Err(SealError::Signature),
                "{mac}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_flipped_byte_is_believed(document in "\\PC{0,60}", at in 0_usize..2_000, bit in 0_u8..7) {
            let keys = keys(&[("a", &[1; 32])]);
            let sealed = keys.seal(head(), document);
            prop_assert_eq!(keys.open(&sealed).unwrap().revision, 7);
            let mut text = serde_json::to_string(&sealed).unwrap().into_bytes();
            let at = at % text.len();
            text[at] ^= 1 << bit;
            if let Ok(forged) = serde_json::from_slice::<Sealed>(&text)
                && forged != sealed
                // Hexadecimal digits may be written in either case.
                && forged.mac.to_lowercase() != sealed.mac
            {
                prop_assert!(keys.open(&forged).is_err(), "{:?}", forged);
            }
        }
    }
}
