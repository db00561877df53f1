//! The comparisons that prove who calls. Each that fails takes the same steps: two secrets are tried, and those that an app does
//! not have and those of an app that does not exist are replaced by ones nobody knows. Only for who has proven to have a secret it ends
//! early. Every step is counted, so that a test can tell that nobody can tell.

use std::sync::atomic::{AtomicU64, Ordering};

use gatehouse_shared::config::Secret;
use md5::{Digest as _, Md5};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ring::{digest, hmac};
use subtle::{Choice, ConstantTimeEq as _};

use crate::store::apps::AppSecret;

/// Keys tried of one app: two are live while one is exchanged.
pub const LIVE_KEYS: usize = 2;

/// As many public keys as are tried; `None` where the app has fewer.
pub type Keys<'a> = [Option<&'a [u8]>; LIVE_KEYS];

/// As many secrets as are tried; `None` where the app has fewer.
pub type Secrets<'a> = [Option<&'a AppSecret>; LIVE_KEYS];

/// Makes comparisons, and counts them.
#[derive(Debug)]
pub struct Prover {
    /// Takes the place of a secret that is not there; drawn at the start of the process.
    stand_in: AppSecret,
    /// The same for a public key.
    stand_in_public: Box<[u8]>,
    /// Comparisons by HMAC-SHA-256.
    pub hmacs: AtomicU64,
    /// Comparisons by MD5.
    pub md5s: AtomicU64,
    /// Verifications by Ed25519.
    pub ed25519s: AtomicU64,
    /// Comparisons of secrets with secrets.
    pub secrets: AtomicU64,
}

impl Prover {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let mut stand_in = vec![0; 32];
        // Without randomness the stand-in is known, and still nobody's: a match with it never counts.
        if let Err(error) = random.fill(&mut stand_in) {
            tracing::error!(%error, "no randomness from the system");
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&stand_in);
        let stand_in_public = pair.map(|pair| pair.public_key().as_ref().into()).unwrap_or_default();
        Self {
            stand_in: AppSecret::new("stand-in".into(), Secret::new(stand_in), 0),
            stand_in_public,
            hmacs: AtomicU64::new(0),
            md5s: AtomicU64::new(0),
            ed25519s: AtomicU64::new(0),
            secrets: AtomicU64::new(0),
        }
    }

    /// Whether `proof` is the HMAC-SHA-256 of `text` under one of the secrets.
    #[must_use]
    pub fn hmac(&self, secrets: Secrets<'_>, text: &[u8], proof: &[u8]) -> Choice {
        self.any(secrets, &self.stand_in, &self.hmacs, |secret| hmac::sign(secret.key(), text).as_ref().ct_eq(proof))
    }

    /// Whether `proof` is the MD5 of secret, text and secret: what an old open-platform client sends.
    #[must_use]
    pub fn md5(&self, secrets: Secrets<'_>, text: &[u8], proof: &[u8]) -> Choice {
        self.any(secrets, &self.stand_in, &self.md5s, |secret| {
            let mut hash = Md5::new();
            hash.update(secret.expose());
            hash.update(text);
            hash.update(secret.expose());
            hash.finalize().as_slice().ct_eq(proof)
        })
    }

    /// Whether `given` is one of the secrets. Their digests are compared, so that not even the length shows.
    #[must_use]
    pub fn secret(&self, secrets: Secrets<'_>, given: &[u8]) -> Choice {
        let given = digest::digest(&digest::SHA256, given);
        self.any(secrets, &self.stand_in, &self.secrets, |secret| {
            digest::digest(&digest::SHA256, secret.expose()).as_ref().ct_eq(given.as_ref())
        })
    }

    /// Whether `proof` is a signature of `text` under one of the public keys.
    #[must_use]
    pub fn ed25519(&self, keys: Keys<'_>, text: &[u8], proof: &[u8]) -> Choice {
        self.any(keys, &self.stand_in_public, &self.ed25519s, |key| {
            Choice::from(u8::from(UnparsedPublicKey::new(&ED25519, key).verify(text, proof).is_ok()))
        })
    }

    /// Counts a comparison of secrets that somebody else makes: those of API keys, which are kept as hashes.
    pub fn count_secret(&self) {
        self.secrets.fetch_add(1, Ordering::Relaxed);
    }

    fn any<T: ?Sized>(
        &self,
        keys: [Option<&T>; LIVE_KEYS],
        stand_in: &T,
        counter: &AtomicU64,
        agrees: impl Fn(&T) -> Choice,
    ) -> Choice {
        for key in keys {
            counter.fetch_add(1, Ordering::Relaxed);
            let proven = agrees(key.unwrap_or(stand_in)) & Choice::from(u8::from(key.is_some()));
            if bool::from(proven) {
                return proven;
            }
        }
        Choice::from(0)
    }
}

impl Default for Prover {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app_secret(bytes: &[u8]) -> AppSecret {
        AppSecret::new("1".into(), Secret::new(bytes.to_vec()), 0)
    }

    fn counts(prover: &Prover) -> [u64; 4] {
        [&prover.hmacs, &prover.md5s, &prover.ed25519s, &prover.secrets].map(|count| count.load(Ordering::Relaxed))
    }

    #[test]
    fn either_of_two_secrets_proves_and_no_other() {
        let prover = Prover::new();
        let tag = |secret: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"text").as_ref().to_vec();
        let (one, two) = (app_secret(b"one"), app_secret(b"two"));
        let both = [Some(&one), Some(&two)];
        for (secrets, secret, expected) in [
            (both, &b"one"[..], true),
            (both, b"two", true),
            (both, b"three", false),
            ([None, Some(&two)], b"two", true),
            ([Some(&one), None], b"two", false),
            ([None, None], b"two", false),
        ] {
            assert_eq!(bool::from(prover.hmac(secrets, b"text", &tag(secret))), expected);
            assert_eq!(bool::from(prover.secret(secrets, secret)), expected);
        }
        assert!(!bool::from(prover.hmac(both, b"text", &tag(b"one")[..31])), "a shorter proof");
    }

    #[test]
    fn the_stand_in_proves_nothing() {
        let prover = Prover::new();
        let key = hmac::Key::new(hmac::HMAC_SHA256, prover.stand_in.expose());
        assert!(!bool::from(prover.hmac([None, None], b"text", hmac::sign(&key, b"text").as_ref())));
        assert!(!bool::from(prover.secret([None, None], prover.stand_in.expose())));
        let pair = Ed25519KeyPair::from_seed_unchecked(prover.stand_in.expose()).unwrap();
        assert!(!bool::from(prover.ed25519([None, None], b"text", pair.sign(b"text").as_ref())));
        assert!(bool::from(prover.ed25519(
            [None, Some(pair.public_key().as_ref())],
            b"text",
            pair.sign(b"text").as_ref()
        )));
    }

    #[test]
    fn as_much_is_done_for_nobody_as_for_somebody() {
        let (one, two) = (app_secret(b"one"), app_secret(b"two"));
        let of = |secrets: Secrets<'_>| {
            let prover = Prover::new();
            let _wrong = (
                prover.hmac(secrets, b"t", &[0; 32]),
                prover.md5(secrets, b"t", &[0; 16]),
                prover.secret(secrets, b"x"),
                prover.ed25519(secrets.map(|secret| secret.map(AppSecret::expose)), b"t", &[0; 64]),
            );
            counts(&prover)
        };
        assert_eq!(of([None, None]), [2, 2, 2, 2]);
        assert_eq!(of([Some(&one), None]), [2, 2, 2, 2]);
        assert_eq!(of([Some(&one), Some(&two)]), [2, 2, 2, 2]);
    }
}
