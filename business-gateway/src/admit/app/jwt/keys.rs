//! The keys of an issuer: a JSON Web Key Set (RFC 7517), of which only what fits the issuer's algorithm is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

use super::Algorithm;

/// Keys of one issuer that are kept.
const MOST_KEYS: usize = 64;

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<(Option<Box<str>>, Key)>);

#[derive(Debug)]
enum Key {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(hmac::Key),
}

/// Which key a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The key is there and its signature is right.
    Proven,
    /// The key is there and its signature is wrong.
    Wrong,
    /// No such key.
    Unknown,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds and for other uses are passed over, those that cannot be read too: an issuer may add
    /// kinds that nobody here knows.
    pub(super) fn parse(text: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(text).map_err(|error| format!("not a key set: {error}"))?;
        let keys = written.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let usable: Vec<_> = keys.filter_map(|key| usable(&key, algorithm)).take(MOST_KEYS).collect();
        if usable.is_empty() {
            return Err(format!("a key set without a key for {}", algorithm.as_str()));
        }
        Ok(Self(usable))
    }

    /// The one secret of an issuer that shares it.
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        Self(vec![(None, Key::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret)))])
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies with the key of this id. A token without an id is taken where there is one key only; a shared secret has none.
    pub(super) fn verify(&self, id: Option<&str>, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> Found {
        let key = match (id, self.0.as_slice()) {
            (_, [(None, key @ Key::Secret(_))]) | (None, [(_, key)]) => Some(key),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|(known, _)| known.as_deref() == Some(id)).map(|(_, key)| key),
        };
        let Some(key) = key else { return Found::Unknown };
        if key.verify(algorithm, text, signature) { Found::Proven } else { Found::Wrong }
    }
}

impl Key {
    fn verify(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters, modulus: &[u8], exponent: &[u8]| {
            RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, text, signature).is_ok()
        };
        match (algorithm, self) {
            (Algorithm::Rs256, Self::Rsa { modulus, exponent }) => rsa(&RSA_PKCS1_2048_8192_SHA256, modulus, exponent),
            (Algorithm::Ps256, Self::Rsa { modulus, exponent }) => rsa(&RSA_PSS_2048_8192_SHA256, modulus, exponent),
            (Algorithm::Es256, Self::P256(key)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(text, signature).is_ok()
            }
            (Algorithm::EdDsa, Self::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(text, signature).is_ok()
            }
            (Algorithm::Hs256, Self::Secret(key)) => hmac::verify(key, text, signature).is_ok(),
            _ => false,
        }
    }
}

/// The key, if it is for signatures of this algorithm. A set that anybody may fetch holds no secrets.
fn usable(key: &Jwk, algorithm: Algorithm) -> Option<(Option<Box<str>>, Key)> {
    let common = &key.common;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_of_algorithm =
        common.key_algorithm.is_none_or(|known| known.to_string().eq_ignore_ascii_case(algorithm.as_str()));
    if !is_for_signatures || !is_of_algorithm {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let coordinate = |text: &str| decode(text).filter(|bytes| bytes.len() == 32);
    let usable = match (algorithm, &key.algorithm) {
        (Algorithm::Rs256 | Algorithm::Ps256, AlgorithmParameters::RSA(key)) => {
            // ring takes no leading zeros.
            let number = |text| decode(text).map(|bytes| bytes.into_iter().skip_while(|byte| *byte == 0).collect());
            Key::Rsa { modulus: number(&key.n)?, exponent: number(&key.e)? }
        }
        (Algorithm::Es256, AlgorithmParameters::EllipticCurve(key)) if key.curve == EllipticCurve::P256 => {
            Key::P256([&[4][..], &coordinate(&key.x)?, &coordinate(&key.y)?].concat())
        }
        (Algorithm::EdDsa, AlgorithmParameters::OctetKeyPair(key)) if key.curve == EllipticCurve::Ed25519 => {
            Key::Ed25519(coordinate(&key.x)?)
        }
        _ => return None,
    };
    Some((common.key_id.as_deref().map(Into::into), usable))
}
