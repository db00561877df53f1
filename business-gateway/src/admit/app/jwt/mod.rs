//! JSON Web Tokens: an issuer that the catalog names vouches for an app, and perhaps for a user and what that one allowed.
//!
//! The algorithm is the issuer's (`algorithm`), never the token's; `iss`, `aud` and `exp` have to be there and right, `nbf` too
//! unless the issuer is said not to write it. Keys come from a file or are fetched in the background: a call never waits for
//! them. Before the first key is there, nothing can be said of a token, which is a 503 and not a 401.

mod fetch;
mod issuer;
mod keys;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use issuer::{Algorithm, Config, Issuer, Issuers};

use super::{Malformed, Refusal};

/// Scopes of a token that are kept.
const MOST_SCOPES: usize = 64;

/// What a token says, once it is proven.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// The app it was issued to.
    pub app_key: Box<str>,
    /// The user it speaks for.
    pub user: Option<Arc<str>>,
    /// What it allows.
    pub scopes: Vec<Arc<str>>,
}

/// The head of a token. What must be understood (`crit`) is not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Verifies a token at `now_s` in Unix seconds.
///
/// # Errors
/// When it is not one, not from a known issuer, not signed, not meant for here, or not for now.
pub fn verify(issuers: &Issuers, token: &str, now_s: u64) -> Result<Token, Refusal> {
    const FORM: Malformed = Malformed("a bearer token is not a JSON Web Token");
    let (signed, signature) = token.rsplit_once('.').ok_or(FORM)?;
    let (header, claims) = signed.split_once('.').ok_or(FORM)?;
    let header: Header = part(header).ok_or(FORM)?;
    let claims: Map<String, Value> = part(claims).ok_or(FORM)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_error| FORM)?;
    if header.crit.is_some() {
        return Err(Malformed("a token with critical extensions").into());
    }
    let named = claims.get("iss").and_then(Value::as_str).ok_or(FORM)?;
    let issuer = issuers.find(named).ok_or(Refusal::Refused("a token of an issuer that is not known"))?;
    if header.alg != issuer.algorithm.as_str() {
        return Err(Refusal::Refused("a token of another algorithm than its issuer's"));
    }
    issuer.verify(header.kid.as_deref(), signed.as_bytes(), &signature)?;
    check_times(issuer, &claims, now_s)?;
    if !is_for(claims.get("aud"), &issuer.audiences) {
        return Err(Refusal::Refused("a token for another audience"));
    }
    read(issuer, &claims)
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// RFC 7519, sections 4.1.4 and 4.1.5. Whole seconds only.
fn check_times(issuer: &Issuer, claims: &Map<String, Value>, now_s: u64) -> Result<(), Refusal> {
    let time = |name: &str| {
        claims.get(name).map(|value| value.as_u64().ok_or(Malformed("a time of a token is not a whole number")))
    };
    let expires = time("exp").ok_or(Malformed("a token without exp"))??;
    if expires.saturating_add(issuer.leeway_s) <= now_s {
        return Err(Refusal::Expired);
    }
    match time("nbf") {
        Some(begins) if begins? > now_s.saturating_add(issuer.leeway_s) => Err(Refusal::Expired),
        None if issuer.needs_nbf => Err(Malformed("a token without nbf").into()),
        _ => Ok(()),
    }
}

/// RFC 7519, section 4.1.3: one of the audiences has to be one of ours.
fn is_for(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|value| ours.iter().any(|known| known == value));
    match audience {
        Some(Value::Array(several)) => several.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

fn read(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Token, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let app_key = match &issuer.app_claim {
        Some(claim) => text(claim),
        None => text("azp").or_else(|| text("client_id")),
    };
    let app_key = app_key.ok_or(Malformed("a token that names no app"))?;
    // A token that an app got for itself names the app as its subject.
    let user = text(&issuer.user_claim).filter(|user| *user != app_key).map(Arc::from);
    let mut scopes: Vec<Arc<str>> = Vec::new();
    for claim in [claims.get("scope"), claims.get("scp")].into_iter().flatten() {
        match claim {
            Value::String(text) => scopes.extend(text.split(' ').filter(|scope| !scope.is_empty()).map(Arc::from)),
            Value::Array(several) => scopes.extend(several.iter().filter_map(Value::as_str).map(Arc::from)),
            _ => return Err(Malformed("the scopes of a token are neither text nor a list").into()),
        }
    }
    if scopes.len() > MOST_SCOPES {
        return Err(Malformed("a token with more than 64 scopes").into());
    }
    Ok(Token { app_key: app_key.into(), user, scopes })
}

#[cfg(test)]
mod tests;
