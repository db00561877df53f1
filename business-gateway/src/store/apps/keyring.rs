//! The keys that protect applications: what their records are sealed with, and what app keys, API keys and tokens are
//! checked with.
//!
//! A record is sealed as a whole with AES-256-GCM, so that who can write to the store can neither read a secret nor give an
//! application more rights. The associated data names the kind, the key and the version of the record and the sealing key:
//! no record can stand in for another one. Two sealing keys may be live, the first one seals; both open.

use gatehouse_shared::config::Secret;
use gatehouse_store::app::RecordKind;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{aead, hmac};
use subtle::ConstantTimeEq as _;

/// The form of a sealed record.
const FORM: u8 = 1;
/// Shortest secret that keys are made from, in bytes.
pub const SHORTEST_SECRET: usize = 32;
/// What the app keys and tokens that are made here begin with.
const MADE_APP: &str = "ak_";
const MADE_TOKEN: &str = "ut_";
/// Random characters of a key that is made here: 100 bits.
const RANDOM_CHARACTERS: usize = 20;
/// Characters of the checksum: 30 bits, so one guess in a thousand million is looked up.
const CHECK_CHARACTERS: usize = 6;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why a record is not opened or sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It has a form that no version of this crate writes.
    #[error("the sealed record is damaged")]
    Damaged,
    /// The sealing key is not among those configured.
    #[error("the record is sealed with the key {0:?}, which [apps] sealing_keys does not have")]
    UnknownKey(String),
    /// The key is there, but what it opens was changed, or belongs to another key or version.
    #[error("the sealed record was changed by somebody else than Gatehouse")]
    Forged,
    /// The operating system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

/// What a text looks like that should be a key made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A key that an operator has chosen; nothing can be said about it.
    Chosen,
    /// Made here: its checksum is right.
    Made,
    /// It looks as if it was made here, but was not.
    Forged,
}

/// The keys.
pub struct Keyring {
    sealing: Vec<SealingKey>,
    check: hmac::Key,
}

struct SealingKey {
    id: Box<str>,
    key: aead::LessSafeKey,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.sealing.iter().map(|key| &key.id).collect();
        out.debug_struct("Keyring").field("sealing", &ids).finish_non_exhaustive()
    }
}

/// Two keys for two purposes never come from one use of a secret.
fn derived(secret: &[u8], purpose: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes())
}

impl Keyring {
    /// Keys made from secrets: `sealing` with their ids, the first one seals; `check` for everything else.
    ///
    /// `None` without a sealing key.
    #[must_use]
    pub fn new(sealing: &[(String, Secret)], check: &Secret) -> Option<Self> {
        let sealing: Vec<SealingKey> = sealing
            .iter()
            .filter_map(|(id, secret)| {
                let bytes = derived(secret.expose(), "gatehouse: sealing of applications");
                let key = aead::UnboundKey::new(&aead::AES_256_GCM, bytes.as_ref()).ok()?;
                Some(SealingKey { id: id.as_str().into(), key: aead::LessSafeKey::new(key) })
            })
            .collect();
        let check = derived(check.expose(), "gatehouse: checksums and hashes of applications");
        let check = hmac::Key::new(hmac::HMAC_SHA256, check.as_ref());
        (!sealing.is_empty()).then_some(Self { sealing, check })
    }

    /// Seals a record that will have this version.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, kind: RecordKind, key: &str, version: u64, record: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealing = self.sealing.first().ok_or(SealError::Random)?;
        let id_length = u8::try_from(sealing.id.len()).map_err(|_too_long| SealError::Damaged)?;
        let nonce: [u8; aead::NONCE_LEN] = random()?;
        let mut sealed = vec![FORM, id_length];
        sealed.extend_from_slice(sealing.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        let mut text = record.to_vec();
        let bound = aead::Aad::from(associated(kind, key, version, &sealing.id));
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        sealing.key.seal_in_place_append_tag(nonce, bound, &mut text).map_err(|_unspecified| SealError::Damaged)?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens a record that should have this version.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&self, kind: RecordKind, key: &str, version: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let [FORM, id_length, rest @ ..] = sealed else { return Err(SealError::Damaged) };
        let (id, rest) = rest.split_at_checked(usize::from(*id_length)).ok_or(SealError::Damaged)?;
        let (nonce, text) = rest.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or(SealError::Damaged)?;
        let sealing = self.sealing.iter().find(|key| key.id.as_bytes() == id);
        let sealing = sealing.ok_or_else(|| SealError::UnknownKey(String::from_utf8_lossy(id).into_owned()))?;
        let bound = aead::Aad::from(associated(kind, key, version, &sealing.id));
        let mut text = text.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let opened = sealing.key.open_in_place(nonce, bound, &mut text).map_err(|_unspecified| SealError::Forged)?;
        Ok(opened.to_vec())
    }

    /// A new app key: it carries a checksum that only who has the keys can make.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn make_app_key(&self) -> Result<String, SealError> {
        self.make(MADE_APP, "")
    }

    /// A new token of a user of `app`, with a checksum that holds for this application alone.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn make_token(&self, app: &str) -> Result<String, SealError> {
        self.make(MADE_TOKEN, app)
    }

    /// Whether an app key was made here.
    #[must_use]
    pub fn form_of_app_key(&self, key: &str) -> Form {
        if key.starts_with(MADE_APP) { self.form(MADE_APP, "", key) } else { Form::Chosen }
    }

    /// Whether a token was made here, for this application.
    #[must_use]
    pub fn is_token_of(&self, app: &str, token: &str) -> bool {
        self.form(MADE_TOKEN, app, token) == Form::Made
    }

    /// The id of a token: what it is found by, and not enough to use it.
    #[must_use]
    pub fn id_of_token(&self, app: &str, token: &str) -> String {
        let hash = self.hash("token", &[app, token]);
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The keyed hash of the secret of an API key.
    #[must_use]
    pub fn hash_of_api_key(&self, app: &str, secret: &[u8]) -> [u8; 32] {
        self.hash_bytes("api key", &[app.as_bytes(), secret])
    }

    /// The keyed hash under which the subject of a certificate is found.
    #[must_use]
    pub fn hash_of_subject(&self, subject: &str) -> String {
        self.hash("subject", &[subject]).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the filter of app keys goes by. Keyed, so that nobody can look for keys that it takes for known ones.
    #[must_use]
    pub fn mark(&self, key: &str) -> (u64, u64) {
        let hash = self.hash("filter", &[key]);
        let word = |from: usize| hash.get(from..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes);
        (word(0).unwrap_or_default(), word(8).unwrap_or_default())
    }

    fn make(&self, start: &str, of: &str) -> Result<String, SealError> {
        let random: [u8; RANDOM_CHARACTERS] = random()?;
        let mut made = start.to_owned();
        made.extend(random.iter().map(|byte| character(*byte)));
        let check = self.check_of(of, &made);
        made.extend(check);
        Ok(made)
    }

    fn form(&self, start: &str, of: &str, text: &str) -> Form {
        let Some((body, check)) = text.split_at_checked(start.len() + RANDOM_CHARACTERS) else { return Form::Forged };
        let right: String = self.check_of(of, body).iter().collect();
        if text.starts_with(start) && bool::from(right.as_bytes().ct_eq(check.as_bytes())) {
            Form::Made
        } else {
            Form::Forged
        }
    }

    fn check_of(&self, of: &str, body: &str) -> [char; CHECK_CHARACTERS] {
        let hash = self.hash("checksum", &[of, body]);
        let mut check = ['a'; CHECK_CHARACTERS];
        for (place, byte) in check.iter_mut().zip(hash) {
            *place = character(byte);
        }
        check
    }

    /// The keyed hash of some texts for one purpose; no two lists of texts have the same one.
    fn hash<const N: usize>(&self, purpose: &str, texts: &[&str; N]) -> [u8; 32] {
        self.hash_bytes(purpose, &texts.map(str::as_bytes))
    }

    fn hash_bytes(&self, purpose: &str, texts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.check);
        for text in std::iter::once(&purpose.as_bytes()).chain(texts) {
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text);
        }
        let mut hash = [0; 32];
        for (place, byte) in hash.iter_mut().zip(context.sign().as_ref()) {
            *place = *byte;
        }
        hash
    }
}

/// The hash of an API key that stands in a file in clear: it never leaves the memory of the node, so it needs no key.
#[must_use]
pub fn hash_in_memory(app: &str, secret: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"gatehouse: API keys in memory");
    let mut context = hmac::Context::with_key(&key);
    context.update(app.as_bytes());
    context.update(b".");
    context.update(secret);
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().zip(context.sign().as_ref()) {
        *place = *byte;
    }
    hash
}

/// What a sealed record is bound to.
fn associated(kind: RecordKind, key: &str, version: u64, sealing: &str) -> Vec<u8> {
    format!("{}\0{key}\0{version}\0{sealing}", kind.as_str()).into_bytes()
}

fn character(byte: u8) -> char {
    ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from)
}

/// Random bytes.
///
/// # Errors
/// [`SealError::Random`].
pub(super) fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| SealError::Random)?;
    Ok(bytes)
}

/// Random characters of the alphabet, five bits each.
///
/// # Errors
/// [`SealError::Random`].
pub(super) fn random_text<const N: usize>() -> Result<String, SealError> {
    Ok(random::<N>()?.iter().map(|byte| character(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    pub(super) fn keyring(ids: &[&str]) -> Keyring {
        let keys: Vec<_> =
            ids.iter().map(|id| ((*id).to_owned(), secret(&format!("{id}-{}", "x".repeat(32))))).collect();
        Keyring::new(&keys, &secret(&"c".repeat(32))).unwrap()
    }

    #[test]
    fn a_record_opens_only_as_what_it_was_sealed_as() {
        let keys = keyring(&["a"]);
        let sealed = keys.seal(RecordKind::App, "shop", 7, b"record").unwrap();
        assert_eq!(keys.open(RecordKind::App, "shop", 7, &sealed).unwrap(), b"record");
        assert!(!sealed.windows(6).any(|window| window == b"record"));
        assert_eq!(keys.open(RecordKind::App, "shop", 8, &sealed), Err(SealError::Forged));
        assert_eq!(keys.open(RecordKind::App, "shed", 7, &sealed), Err(SealError::Forged));
        assert_eq!(keys.open(RecordKind::Session, "shop", 7, &sealed), Err(SealError::Forged));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(keys.open(RecordKind::App, "shop", 7, &changed).is_err(), "byte {place}");
            assert!(keys.open(RecordKind::App, "shop", 7, &sealed[..place]).is_err(), "first {place}");
        }
    }

    #[test]
    fn a_rotated_sealing_key_opens_until_it_is_gone() {
        let sealed = keyring(&["old"]).seal(RecordKind::App, "shop", 1, b"x").unwrap();
        let both = keyring(&["new", "old"]);
        assert_eq!(both.open(RecordKind::App, "shop", 1, &sealed).unwrap(), b"x");
        let new = both.seal(RecordKind::App, "shop", 2, b"y").unwrap();
        let only = keyring(&["new"]);
        assert_eq!(only.open(RecordKind::App, "shop", 2, &new).unwrap(), b"y");
        assert_eq!(only.open(RecordKind::App, "shop", 1, &sealed), Err(SealError::UnknownKey("old".to_owned())));
    }

    #[test]
    fn keys_made_here_are_known_and_guesses_are_not() {
        let keys = keyring(&["a"]);
        let key = keys.make_app_key().unwrap();
        assert_eq!((key.len(), keys.form_of_app_key(&key)), (29, Form::Made));
        assert_eq!(keys.form_of_app_key("shop"), Form::Chosen);
        let mut guesses = 0;
        for _ in 0..10_000 {
            let guess = format!("ak_{}", random_text::<26>().unwrap());
            guesses += usize::from(keys.form_of_app_key(&guess) != Form::Forged);
        }
        assert_eq!(guesses, 0);
        let token = keys.make_token("shop").unwrap();
        assert!(keys.is_token_of("shop", &token) && !keys.is_token_of("shed", &token));
        assert!(!keys.is_token_of("shop", "ut_") && !keys.is_token_of("shop", ""));
    }

    proptest! {
        #[test]
        fn nothing_makes_opening_or_checking_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text: String) {
            let keys = keyring(&["a"]);
            prop_assert!(keys.open(RecordKind::App, "shop", 1, &bytes).is_err());
            let form = keys.form_of_app_key(&format!("ak_{text}"));
            prop_assert_eq!(form, Form::Forged);
            prop_assert!(!keys.is_token_of("shop", &text));
        }
    }
}
