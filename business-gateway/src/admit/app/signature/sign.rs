//! The other side: what a caller does to sign a request. `business-gateway sign` and the tests use it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;

use super::parse::push_string;
use super::{ED25519, HMAC_SHA256, Malformed, Message, base};

/// What a caller signs with.
#[derive(Debug)]
pub enum SigningKey {
    /// A secret that the gate knows too.
    Hmac(Vec<u8>),
    /// A key whose public half the gate knows.
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// What the algorithm is called in `alg`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Hmac(_) => HMAC_SHA256,
            Self::Ed25519(_) => ED25519,
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Hmac(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }
}

/// What a new signature says.
#[derive(Debug, Clone, Copy)]
pub struct NewSignature<'a> {
    /// `APPKEY` or `APPKEY/KEYID`.
    pub key_id: &'a str,
    /// When it is made, in Unix seconds.
    pub created: u64,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// What makes it the only one of its kind.
    pub nonce: &'a str,
    /// Header fields to cover beside what must be covered.
    pub headers: &'a [&'a str],
    /// Whether there is a body; if so `content-digest` has to be among the headers of the message already.
    pub has_body: bool,
}

/// The values of `Signature-Input` and `Signature` for a request.
///
/// # Errors
/// When a header that is to be covered is not there.
pub fn sign(message: &Message<'_>, new: &NewSignature<'_>, key: &SigningKey) -> Result<(String, String), Malformed> {
    let mut components = vec!["@method", "@authority", "@path", "@query"];
    if new.has_body {
        components.push(super::super::digest::CONTENT_DIGEST);
        if message.headers.contains_key(http::header::CONTENT_TYPE) {
            components.push("content-type");
        }
    }
    for name in new.headers {
        if !components.contains(name) {
            components.push(name);
        }
    }
    let mut parameters = String::from("(");
    for (index, name) in components.iter().enumerate() {
        if index > 0 {
            parameters.push(' ');
        }
        push_string(&mut parameters, name);
    }
    parameters.push_str(&format!(");created={}", new.created));
    if let Some(expires) = new.expires {
        parameters.push_str(&format!(";expires={expires}"));
    }
    for (name, value) in [("nonce", new.nonce), ("keyid", new.key_id), ("alg", key.algorithm())] {
        parameters.push_str(&format!(";{name}="));
        push_string(&mut parameters, value);
    }
    let base = base::write(components.into_iter(), &parameters, message)?;
    let signature = STANDARD.encode(key.sign(&base));
    Ok((format!("sig1={parameters}"), format!("sig1=:{signature}:")))
}
