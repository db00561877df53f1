//! Issuers of tokens: what the catalog says of them, and their keys, which are fetched in the background and outlive reloads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions, SecretSource, Sources};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Refusal;
use super::fetch::{FetchError, Source};
use super::keys::{Found, KeySet};
use crate::store::catalog::{At, check_name};

/// `[[issuer]]`: who issues JSON Web Tokens that callers may show, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The issuer's name in logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"accounts"`.
    pub name: String,
    /// What its tokens say in `iss`, to the letter; unique. Example: `"https://accounts.example.com"`.
    pub issuer: String,
    /// What its tokens may say in `aud`; one of them has to be there. Example: `["orders-api"]`.
    pub audiences: Vec<String>,
    /// How it signs: `"RS256"`, `"PS256"`, `"ES256"`, `"EdDSA"`, or `"HS256"` with a shared secret. A token that says otherwise
    /// is refused.
    pub algorithm: Algorithm,
    /// File with its keys (JSON Web Key Set), relative to the configuration directory of each node. One of `jwks_file`,
    /// `jwks_url` and `secret` is needed.
    pub jwks_file: Option<PathBuf>,
    /// Where its keys are fetched, `https://` or `http://`; in the background, and kept while that fails. Redirects are not
    /// followed.
    pub jwks_url: Option<String>,
    /// PEM file with the authorities that the certificate of `jwks_url` may come from. Default: those the system trusts.
    pub jwks_ca: Option<PathBuf>,
    /// The shared secret of `"HS256"`, at least 32 bytes.
    pub secret: Option<SecretSource>,
    /// How often keys are fetched. Default: `"10m"`.
    #[serde(default = "default_refresh")]
    pub refresh: HumanDuration,
    /// How long to wait at least before keys are fetched again: after a failure, and when a token names a key that is not known.
    /// Default: `"30s"`.
    #[serde(default = "default_refresh_min")]
    pub refresh_min: HumanDuration,
    /// Longest wait for the keys, connection included. Default: `"5s"`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// The largest key set. Default: `"256KiB"`.
    #[serde(default = "default_jwks_max")]
    pub jwks_max: ByteSize,
    /// How far its clock may differ. Default: `"60s"`.
    #[serde(default = "default_leeway")]
    pub leeway: HumanDuration,
    /// Whether its tokens have to say from when they count (`nbf`). Default: true.
    #[serde(default = "default_needs_nbf")]
    pub nbf_required: bool,
    /// The claim with the app key. Default: `azp`, or else `client_id`.
    pub app_claim: Option<String>,
    /// The claim with the user; the same value as the app key counts as none. Default: `"sub"`.
    #[serde(default = "default_user_claim")]
    pub user_claim: String,
}

fn default_refresh() -> HumanDuration {
    HumanDuration::from_secs(600)
}

fn default_refresh_min() -> HumanDuration {
    HumanDuration::from_secs(30)
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn default_jwks_max() -> ByteSize {
    ByteSize::kib(256)
}

fn default_leeway() -> HumanDuration {
    HumanDuration::from_secs(60)
}

fn default_needs_nbf() -> bool {
    true
}

fn default_user_claim() -> String {
    "sub".to_owned()
}

/// How an issuer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; keys of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256; keys of 2048 to 8192 bits.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC-SHA-256 with a shared secret.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// As tokens write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

/// An issuer as compiled.
#[derive(Debug)]
pub struct Issuer {
    /// Its name.
    pub name: Arc<str>,
    /// How it signs.
    pub algorithm: Algorithm,
    /// What its tokens may be meant for.
    pub audiences: Vec<String>,
    /// How far its clock may differ, in seconds.
    pub leeway_s: u64,
    /// Whether its tokens have to say from when they count.
    pub needs_nbf: bool,
    /// The claim with the app key; `azp` or `client_id` where there is none.
    pub app_claim: Option<Box<str>>,
    /// The claim with the user.
    pub user_claim: Box<str>,
    /// Where its keys are fetched; `None` when they are given.
    origin: Option<Origin>,
    keys: Arc<Keys>,
}

#[derive(Debug)]
struct Origin {
    url: Box<str>,
    source: Source,
    refresh_ms: u64,
    refresh_min_ms: u64,
}

/// The keys of an issuer and how they came; carried over from one generation to the next.
#[derive(Debug, Default)]
struct Keys {
    current: ArcSwapOption<KeySet>,
    /// A token named a key that is not known.
    is_missed: AtomicBool,
    is_fetching: AtomicBool,
    /// When they were last asked for and last came, in Unix milliseconds.
    asked_ms: AtomicU64,
    came_ms: AtomicU64,
    fetched: AtomicU64,
    failed: AtomicU64,
}

/// How the keys of an issuer are, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Keys known now.
    pub keys: usize,
    /// How often they were fetched.
    pub fetched: u64,
    /// How often that failed.
    pub failed: u64,
}

impl Issuer {
    /// Whether `signature` of `text` is from the key of this id.
    pub(super) fn verify(&self, id: Option<&str>, text: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let keys = self.keys.current.load();
        let Some(keys) = keys.as_ref() else {
            return Err(Refusal::Unavailable("the keys of the issuer are not known yet"));
        };
        match keys.verify(id, self.algorithm, text, signature) {
            Found::Proven => Ok(()),
            Found::Wrong => Err(Refusal::Refused("a token with a wrong signature")),
            Found::Unknown => {
                self.keys.is_missed.store(true, Ordering::Relaxed);
                Err(Refusal::Refused("a token with a key that its issuer does not have"))
            }
        }
    }

    /// How its keys are.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            keys: self.keys.current.load().as_ref().map_or(0, |keys| keys.len()),
            fetched: self.keys.fetched.load(Ordering::Relaxed),
            failed: self.keys.failed.load(Ordering::Relaxed),
        }
    }

    /// Begins to fetch the keys if it is time for that at `now_ms`, in Unix milliseconds.
    fn tend(&self, now_ms: u64) {
        let Some(origin) = &self.origin else { return };
        let keys = &self.keys;
        let since = |time: &AtomicU64| now_ms.saturating_sub(time.load(Ordering::Relaxed));
        let is_due = since(&keys.came_ms) >= origin.refresh_ms || keys.is_missed.load(Ordering::Relaxed);
        if !is_due || since(&keys.asked_ms) < origin.refresh_min_ms || keys.is_fetching.swap(true, Ordering::AcqRel) {
            return;
        }
        keys.asked_ms.store(now_ms, Ordering::Relaxed);
        keys.is_missed.store(false, Ordering::Relaxed);
        let (keys, source) = (Arc::clone(keys), origin.source.clone());
        let (name, algorithm) = (Arc::clone(&self.name), self.algorithm);
        tokio::spawn(async move {
            let fetched = source.fetch().await;
            match fetched.and_then(|text| KeySet::parse(&text, algorithm).map_err(FetchError::Keys)) {
                Ok(set) => {
                    tracing::debug!(issuer = %name, keys = set.len(), "fetched the keys");
                    keys.current.store(Some(Arc::new(set)));
                    keys.came_ms.store(now_ms, Ordering::Relaxed);
                    keys.fetched.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(issuer = %name, %error, cause, "the keys of the issuer cannot be fetched");
                    keys.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            keys.is_fetching.store(false, Ordering::Release);
        });
    }
}

/// All issuers, by what their tokens say in `iss`.
#[derive(Debug, Default)]
pub struct Issuers(HashMap<Box<str>, Arc<Issuer>>);

impl Issuers {
    /// Compiles `[[issuer]]`; keys of issuers that stay are carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        written: &[Config],
        positions: &Positions,
        sources: &mut Sources,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut all = Self::default();
        for (index, config) in written.iter().enumerate() {
            let at = At { positions, path: format!("issuer[{index}]") };
            if all.all().any(|known| *known.name == *config.name) {
                errors.push(at.error("name", format!("a second issuer {:?}", config.name), "give each its own name"));
            }
            if all.0.contains_key(config.issuer.as_str()) {
                errors.push(at.error("issuer", "two issuers whose tokens say the same", "keep one of the two"));
                continue;
            }
            let known = before.and_then(|before| before.find(&config.issuer));
            if let Some(issuer) = errors.collect(compile(config, &at, sources, known)) {
                all.0.insert(config.issuer.as_str().into(), Arc::new(issuer));
            }
        }
        errors.into_result(all)
    }

    /// The issuer whose tokens say this in `iss`.
    #[must_use]
    pub fn find(&self, named: &str) -> Option<&Issuer> {
        self.0.get(named).map(Arc::as_ref)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Issuer> {
        self.0.values().map(Arc::as_ref)
    }

    /// Begins to fetch the keys of those whose time has come at `now_ms`, in Unix milliseconds. Needs a runtime.
    pub fn tend(&self, now_ms: u64) {
        for issuer in self.0.values() {
            issuer.tend(now_ms);
        }
    }
}

fn compile(
    config: &Config,
    at: &At<'_>,
    sources: &mut Sources,
    before: Option<&Issuer>,
) -> Result<Issuer, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    check_name(&config.name, at, &mut errors);
    if config.issuer.is_empty() {
        errors.push(at.error("issuer", "no issuer, so no token fits", "write what its tokens say in iss"));
    }
    if config.audiences.is_empty() || config.audiences.iter().any(String::is_empty) {
        let remedy = "write what its tokens for this gate say in aud";
        errors.push(at.error("audiences", "without an audience tokens for anybody else would count too", remedy));
    }
    let ways = [config.jwks_file.is_some(), config.jwks_url.is_some(), config.secret.is_some()];
    let is_shared = config.algorithm == Algorithm::Hs256;
    if ways.iter().filter(|way| **way).count() != 1 || config.secret.is_some() != is_shared {
        let remedy = "write secret for \"HS256\", and jwks_file or jwks_url for the others";
        errors.push(at.error("name", "an issuer needs exactly one source of keys", remedy));
        return Err(errors);
    }
    let mut origin = None;
    let mut keys = Arc::new(Keys::default());
    let given = if let Some(secret) = &config.secret {
        errors.collect(shared_secret(secret, at, sources))
    } else if let Some(file) = &config.jwks_file {
        let text = errors.collect(sources.read_bytes(file));
        let set = text.map(|text| KeySet::parse(&text, config.algorithm));
        set.and_then(|set| {
            errors.collect(set.map_err(|error| at.error("jwks_file", error, "look into the file").into()))
        })
    } else {
        origin = errors.collect(fetched(config, at, sources));
        let same = before.filter(|before| {
            let url = before.origin.as_ref().map(|origin| &*origin.url);
            url.is_some() && url == config.jwks_url.as_deref() && before.algorithm == config.algorithm
        });
        keys = same.map_or(keys, |same| Arc::clone(&same.keys));
        None
    };
    if let Some(given) = given {
        keys.current.store(Some(Arc::new(given)));
    }
    errors.into_result(Issuer {
        name: config.name.as_str().into(),
        algorithm: config.algorithm,
        audiences: config.audiences.clone(),
        leeway_s: config.leeway.get().as_secs(),
        needs_nbf: config.nbf_required,
        app_claim: config.app_claim.as_deref().map(Into::into),
        user_claim: config.user_claim.as_str().into(),
        origin,
        keys,
    })
}

fn shared_secret(secret: &SecretSource, at: &At<'_>, sources: &mut Sources) -> Result<KeySet, ConfigErrors> {
    let secret = sources.secret(secret).map_err(|message| at.error("secret", message, "see the message"))?;
    // RFC 7518, section 3.2.
    if secret.expose().len() < 32 {
        let remedy = "make one with `openssl rand -base64 32`";
        return Err(at.error("secret", "a secret of less than 32 bytes can be guessed from tokens", remedy).into());
    }
    Ok(KeySet::of_secret(secret.expose()))
}

fn fetched(config: &Config, at: &At<'_>, sources: &mut Sources) -> Result<Origin, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let times = [("refresh", config.refresh), ("refresh_min", config.refresh_min), ("timeout", config.timeout)];
    for (key, duration) in times {
        if duration.get().is_zero() {
            errors.push(at.error(key, "must be longer than nothing", "write at least \"1ms\""));
        }
    }
    let authorities = config.jwks_ca.as_ref().and_then(|file| errors.collect(sources.read_bytes(file)));
    let url = config.jwks_url.as_deref().unwrap_or_default();
    let most = usize::try_from(config.jwks_max.get()).unwrap_or(usize::MAX);
    let source = Source::new(url, authorities.as_deref(), config.timeout.get(), most);
    let source = source.map_err(|message| at.error("jwks_url", message, "write https://HOST/PATH").into());
    let source = errors.collect(source);
    let millis = |duration: HumanDuration| u64::try_from(duration.get().as_millis()).unwrap_or(u64::MAX);
    match source {
        Some(source) if errors.is_empty() => Ok(Origin {
            url: url.into(),
            source,
            refresh_ms: millis(config.refresh),
            refresh_min_ms: millis(config.refresh_min),
        }),
        _ => Err(errors),
    }
}
