//! The keys that revisions of the catalog are signed with.

use gatehouse_shared::config::{ConfigErrors, Positions, SecretSource, Sources};
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret shorter than this can be guessed: as many bytes as SHA-256 gives.
const MIN_SECRET_BYTES: usize = 32;
/// Live keys: the one that signs and, during a rotation, the other one.
const MAX_KEYS: usize = 2;

/// A key as written: `{ id = "a", secret = { file = "catalog.key" } }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyConfig {
    /// Name of the key, kept with every revision it signs: 1 to 32 of `a-z`, `0-9`, `-` and `_`. The same on all nodes.
    #[schemars(example = "2026-11")]
    pub id: String,
    /// Where the secret is: at least 32 bytes, the same on all nodes, and nowhere in Redis.
    pub secret: SecretSource,
}

/// One or two live keys: the first signs, any verifies. To rotate, add the new key second everywhere, then make it first, then
/// publish once (`catalog publish`), then remove the old one.
pub struct SigningKeys(Vec<(String, hmac::Key)>);

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl SigningKeys {
    /// The keys written at `path` (such as `catalog.signing_keys`), the signing one first. `None` where none is written.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn compile(
        keys: &[SigningKeyConfig],
        path: &str,
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Option<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut ready: Vec<(String, hmac::Key)> = Vec::with_capacity(keys.len());
        if keys.len() > MAX_KEYS {
            errors.push(positions.error(path, format!("{} keys", keys.len()), Some("write one or two".to_owned())));
        }
        for (index, written) in keys.iter().enumerate() {
            let mut refuse = |message: String, remedy: Option<String>| {
                errors.push(positions.error(&format!("{path}[{index}]"), message, remedy));
            };
            let id = &written.id;
            let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            if id.is_empty() || id.len() > 32 || !id.bytes().all(is_plain) {
                refuse(format!("{id:?} is not a key id"), Some("use 1 to 32 of a-z, 0-9, - and _".to_owned()));
            }
            if ready.iter().any(|(other, _)| other == id) {
                refuse(format!("a second key {id:?}"), Some("give each its own id".to_owned()));
            }
            match sources.secret(&written.secret) {
                Ok(secret) if secret.expose().len() < MIN_SECRET_BYTES => {
                    let length = secret.expose().len();
                    let message =
                        format!("the secret of key {id:?} has {length} bytes; it needs at least {MIN_SECRET_BYTES}");
                    refuse(message, remedy(&written.secret));
                }
                Ok(secret) => ready.push((id.clone(), hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))),
                Err(message) => refuse(message, remedy(&written.secret)),
            }
        }
        let keys = (!ready.is_empty()).then_some(Self(ready));
        errors.into_result(keys)
    }

    /// Keys from their names and secrets, for tests.
    #[must_use]
    pub fn from_secrets(keys: &[(&str, &[u8])]) -> Self {
        Self(keys.iter().map(|(id, secret)| ((*id).to_owned(), hmac::Key::new(hmac::HMAC_SHA256, secret))).collect())
    }

    /// The key that signs.
    pub(super) fn signing(&self) -> Option<(&str, &hmac::Key)> {
        self.0.first().map(|(id, key)| (id.as_str(), key))
    }

    /// The key of this name.
    pub(super) fn find(&self, id: &str) -> Option<&hmac::Key> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }
}

fn remedy(source: &SecretSource) -> Option<String> {
    match source {
        SecretSource::File(path) => Some(format!("create one with: openssl rand -hex 32 > {}", path.display())),
        SecretSource::Env(name) => Some(format!("set {name} to the output of: openssl rand -hex 32")),
    }
}
