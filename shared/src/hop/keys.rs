//! The keys of the hop: signing and verifying.

use std::cell::RefCell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::encode::{write_fields, write_signature};
use super::parse::{HopError, Version, parse_fields, parse_opening};
use super::{ALLOWED_SKEW, Hop, LIFETIME_MS, VerifiedHop};
use crate::config::{ConfigErrors, Positions, Secret, SecretSource, Sources};

/// A key of the hop as written: `{ id = "a", secret = { file = "hop.key" } }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HopKeyConfig {
    /// Name of the key, sent with every hop: 1 to 32 of `a-z`, `0-9`, `-` and `_`. Both tiers use the same names.
    #[schemars(example = "2026-11")]
    pub id: String,
    /// Where the secret is: at least 32 bytes, the same for both tiers.
    pub secret: SecretSource,
}

/// A secret shorter than this can be guessed: as many bytes as SHA-256 gives.
const MIN_SECRET_BYTES: usize = 32;
/// Live keys: the one that signs and, during a rotation, the other one.
const MAX_KEYS: usize = 2;
/// No header is longer: two thirds of it would be the path, whose cap is below.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// One key, ready for use.
pub struct HopKey {
    id: String,
    key: hmac::Key,
}

impl HopKey {
    /// A key from its name and secret.
    ///
    /// # Errors
    /// When the name or the length of the secret is not allowed.
    pub fn new(id: &str, secret: &Secret) -> Result<Self, HopKeysError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if id.is_empty() || id.len() > 32 || !id.bytes().all(plain) {
            return Err(HopKeysError::Id(id.to_owned()));
        }
        let bytes = secret.expose();
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(HopKeysError::ShortSecret { id: id.to_owned(), length: bytes.len() });
        }
        Ok(Self { id: id.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, bytes) })
    }
}

impl fmt::Debug for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a set of hop keys is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopKeysError {
    /// There is none, or more than two.
    #[error("there must be one or two hop keys, not {0}")]
    Count(usize),
    /// A name that is empty, longer than 32, or not of `a-z`, `0-9`, `-` and `_`.
    #[error("\"{0}\" is not a key id (1 to 32 of a-z, 0-9, - and _)")]
    Id(String),
    /// Two keys of one name.
    #[error("two hop keys have the id \"{0}\"")]
    DuplicateId(String),
    /// A secret of too few bytes.
    #[error("the secret of key \"{id}\" has {length} bytes; it needs at least {MIN_SECRET_BYTES}")]
    ShortSecret {
        /// The name of the key.
        id: String,
        /// The length of its secret in bytes.
        length: usize,
    },
}

/// One or two live keys: the first signs, any verifies. To rotate, add the new key second everywhere, then make it first,
/// then remove the old one.
#[derive(Debug)]
pub struct HopKeys {
    first: HopKey,
    second: Option<HopKey>,
}

impl HopKeys {
    /// The live keys, the signing one first.
    ///
    /// # Errors
    /// When there is none or more than two, or two have the same name.
    pub fn new(keys: Vec<HopKey>) -> Result<Self, HopKeysError> {
        let count = keys.len();
        let mut keys = keys.into_iter();
        let (Some(first), second, 1..=MAX_KEYS) = (keys.next(), keys.next(), count) else {
            return Err(HopKeysError::Count(count));
        };
        if second.as_ref().is_some_and(|second| second.id == first.id) {
            return Err(HopKeysError::DuplicateId(first.id));
        }
        Ok(Self { first, second })
    }

    /// Compiles the keys as written at `path` (such as `hop.keys`) of a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn compile(
        keys: &[HopKeyConfig],
        path: &str,
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut ready = Vec::with_capacity(keys.len());
        for (index, config) in keys.iter().enumerate() {
            let key = match sources.secret(&config.secret) {
                Ok(secret) => HopKey::new(&config.id, &secret).map_err(|error| error.to_string()),
                Err(message) => Err(message),
            };
            match key {
                Ok(key) => ready.push(key),
                Err(message) => {
                    errors.push(positions.error(&format!("{path}[{index}]"), message, remedy(&config.secret)))
                }
            }
        }
        let ready = errors.into_result(ready)?;
        Self::new(ready).map_err(|error| positions.error(path, error.to_string(), None).into())
    }

    /// The value of [`super::HOP_HEADER`] for a request with this method, authority and raw target.
    #[must_use]
    pub fn sign(&self, hop: &Hop<'_>, method: &str, authority: &str, raw_target: &str, now_unix_ms: u64) -> String {
        let mut value = String::with_capacity(320 + hop.path.len() + hop.subject.map_or(0, str::len));
        let age_ms = now_unix_ms.saturating_sub(hop.request_id.unix_ms());
        write_fields(&mut value, hop, &self.first.id, age_ms, raw_target);
        let tag = tag(&self.first.key, value.as_bytes(), method, authority, raw_target);
        write_signature(&mut value, tag.as_ref().first_chunk().copied().unwrap_or_default());
        value
    }

    /// Takes the value of [`super::HOP_HEADER`] apart and checks that it was made by a holder of a live key, for exactly
    /// this method, authority and raw target, and is neither expired nor from the future (with 5 s of skew allowed).
    ///
    /// # Errors
    /// Why the request must be refused with 401.
    pub fn verify(
        &self,
        value: &[u8],
        method: &str,
        authority: &str,
        raw_target: &str,
        now_unix_ms: u64,
    ) -> Result<VerifiedHop, HopError> {
        if value.len() > MAX_HEADER_BYTES || !value.is_ascii() {
            return Err(HopError::Malformed);
        }
        let text = std::str::from_utf8(value).map_err(|_error| HopError::Malformed)?;
        let opening = parse_opening(text)?;
        let version = opening.version;
        let end = text.len().checked_sub(version.signature_length()).ok_or(HopError::Malformed)?;
        let (signed, signature) = text.split_at_checked(end).ok_or(HopError::Malformed)?;
        let fields = signed.get(opening.length..).ok_or(HopError::Malformed)?;
        let key = self.key(opening.key_id)?;
        let expected = tag(&key.key, signed.as_bytes(), method, authority, raw_target);
        let expected = expected.as_ref().get(..version.signature_bytes()).ok_or(HopError::Malformed)?;
        let mut room = [0; SIGNATURE_ROOM];
        if !bool::from(expected.ct_eq(parse_signature(version, signature, &mut room)?)) {
            return Err(HopError::Signature);
        }
        let hop = parse_fields(version, fields, raw_target)?;
        check_time(hop.expires_unix_ms, now_unix_ms)?;
        Ok(hop)
    }

    fn key(&self, id: &str) -> Result<&HopKey, HopError> {
        if self.first.id == id {
            return Ok(&self.first);
        }
        self.second.as_ref().filter(|key| key.id == id).ok_or(HopError::UnknownKey)
    }
}

fn remedy(source: &SecretSource) -> Option<String> {
    match source {
        SecretSource::File(path) => Some(format!("create one with: openssl rand -hex 32 > {}", path.display())),
        SecretSource::Env(name) => Some(format!("set {name} to the output of: openssl rand -hex 32")),
    }
}

thread_local! {
    /// What is signed, put together once per request without an allocation.
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn tag(key: &hmac::Key, signed: &[u8], method: &str, authority: &str, raw_target: &str) -> hmac::Tag {
    MESSAGE.with_borrow_mut(|message| {
        message.clear();
        message.extend_from_slice(signed);
        for part in [method, authority, raw_target] {
            message.push(b'\n');
            message.extend_from_slice(part.as_bytes());
        }
        hmac::sign(key, message)
    })
}

/// 44 characters of base64 decode to at most so many bytes; the decoder wants room for them.
const SIGNATURE_ROOM: usize = 33;

fn parse_signature<'r>(version: Version, text: &str, room: &'r mut [u8; SIGNATURE_ROOM]) -> Result<&'r [u8], HopError> {
    let digits = text.strip_prefix(version.signature_start()).and_then(|rest| rest.strip_suffix(':'));
    let length =
        STANDARD.decode_slice(digits.ok_or(HopError::Malformed)?, room).map_err(|_error| HopError::Malformed)?;
    room.get(..length).filter(|_| length == version.signature_bytes()).ok_or(HopError::Malformed)
}

fn check_time(expires_unix_ms: u64, now_unix_ms: u64) -> Result<(), HopError> {
    let skew = u64::try_from(ALLOWED_SKEW.as_millis()).unwrap_or(u64::MAX);
    if now_unix_ms > expires_unix_ms.saturating_add(skew) {
        return Err(HopError::Expired);
    }
    if expires_unix_ms > now_unix_ms.saturating_add(LIFETIME_MS).saturating_add(skew) {
        return Err(HopError::FromTheFuture);
    }
    Ok(())
}
