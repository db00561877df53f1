//! One application, as compiled: everything that a call of it may need, in one shared value.

use std::fmt;
use std::sync::Arc;

use gatehouse_shared::config::Secret;
use ipnet::IpNet;
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way in which an application proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530).
    Signature,
    /// The signed parameters of open platforms.
    Platform,
    /// A key that is sent as it is.
    ApiKey,
    /// A JSON Web Token of a known issuer.
    Jwt,
    /// HTTP Basic with the application's key and secret.
    Basic,
    /// The subject of a client certificate, which the edge has verified.
    Mtls,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 6] = [Self::Signature, Self::Platform, Self::ApiKey, Self::Jwt, Self::Basic, Self::Mtls];

    /// As it stands in configuration, logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Platform => "platform",
            Self::ApiKey => "api-key",
            Self::Jwt => "jwt",
            Self::Basic => "basic",
            Self::Mtls => "mtls",
        }
    }
}

/// Whether an application may call at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// It may not.
    Disabled,
}

/// An application.
#[derive(Clone)]
pub struct App {
    /// What it names itself with in a call; unique.
    pub key: Arc<str>,
    /// For people.
    pub name: Box<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Whether it may call.
    pub status: Status,
    /// When it may no more, in Unix seconds.
    pub expires_unix: Option<u64>,
    /// The plan that sets its quotas.
    pub plan: Option<Arc<str>>,
    /// The class of customer, by which traffic groups choose.
    pub class: Option<Arc<str>>,
    /// The packages of APIs it may call.
    pub packages: Vec<Arc<str>>,
    /// Where it may call from; empty for anywhere.
    pub networks: Vec<IpNet>,
    /// How much of an answer it may see.
    pub field_level: u8,
    /// The schemes switched on for it.
    pub schemes: Vec<Scheme>,
    /// Live secrets, two at most.
    pub secrets: Vec<AppSecret>,
    /// Live Ed25519 keys, two at most.
    pub public_keys: Vec<AppPublicKey>,
    /// API keys, by hash.
    pub api_keys: Vec<ApiKeyHash>,
    /// Subjects of its client certificates.
    pub subjects: Vec<Arc<str>>,
    /// Whether it may sign with MD5 in the platform scheme.
    pub platform_md5: bool,
    /// Grows with each change.
    pub version: u64,
}

impl App {
    /// Whether it may call at this time.
    #[must_use]
    pub fn is_active(&self, now_unix: u64) -> bool {
        self.status == Status::Enabled && self.expires_unix.is_none_or(|end| now_unix < end)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("App").field("key", &self.key).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A secret that the application and the gateway share.
#[derive(Clone)]
pub struct AppSecret {
    /// Tells the live secrets of an application apart.
    pub id: Arc<str>,
    /// When it was made, in Unix seconds.
    pub created_unix: u64,
    /// When it ends, in Unix seconds; set for the old one at a rotation.
    pub expires_unix: Option<u64>,
    secret: Secret,
    key: hmac::Key,
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AppSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AppSecret {
    /// A secret of these bytes that does not end.
    #[must_use]
    pub fn new(id: Arc<str>, secret: Secret, created_unix: u64) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Self { id, created_unix, expires_unix: None, secret, key }
    }

    /// Its bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }

    /// What HMAC-SHA-256 makes of it before it looks at a text: made once, and not for every call.
    #[must_use]
    pub fn key(&self) -> &hmac::Key {
        &self.key
    }

    /// Whether it counts at this time.
    #[must_use]
    pub fn is_live(&self, now_unix: u64) -> bool {
        self.expires_unix.is_none_or(|end| now_unix < end)
    }
}

/// An Ed25519 key with which the gateway verifies the application's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPublicKey {
    /// Tells the keys of an application apart.
    pub id: Arc<str>,
    /// The key, as RFC 8032 writes it.
    pub bytes: [u8; 32],
}

/// An API key, which is not kept in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyHash {
    /// Tells the keys of an application apart.
    pub id: Arc<str>,
    /// HMAC-SHA-256 of the key under the gateway's own.
    pub hash: [u8; 32],
    /// When it ends, in Unix seconds.
    pub expires_unix: Option<u64>,
}

/// What a user has allowed an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user: Arc<str>,
    /// What of the user's the application may use.
    pub scopes: Vec<Arc<str>>,
    /// When it ends, in Unix seconds.
    pub expires_unix: u64,
}
