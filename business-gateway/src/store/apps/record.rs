//! What the store keeps of an application and of a user's authorisation, and how values for calls are made of it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_shared::config::Secret;
use gatehouse_store::app::RecordKind;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::app::{ApiKeyHash, App, AppPublicKey, AppSecret, Scheme, Session, Status};
use super::filter::Filter;
use super::funnel::Kind;
use super::keyring::Keyring;

/// An application as it is stored, before it is sealed. A field that a later version adds is no hindrance for an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// For people.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Whether it may call.
    pub status: Status,
    /// When it may no more, in Unix seconds.
    pub expires_unix: Option<u64>,
    /// The plan that sets its quotas.
    pub plan: Option<String>,
    /// The class of customer.
    pub class: Option<String>,
    /// The packages it may call.
    pub packages: Vec<String>,
    /// Where it may call from.
    pub networks: Vec<IpNet>,
    /// How much of an answer it may see.
    pub field_level: u8,
    /// The schemes switched on.
    pub schemes: Vec<Scheme>,
    /// Its secrets.
    pub secrets: Vec<SecretRecord>,
    /// Its public keys.
    pub public_keys: Vec<PublicKeyRecord>,
    /// Its API keys.
    pub api_keys: Vec<ApiKeyRecord>,
    /// Subjects of its certificates.
    pub subjects: Vec<String>,
    /// Whether it may sign with MD5.
    pub platform_md5: bool,
    /// When it was made, in Unix seconds.
    pub created_unix: u64,
}

/// A secret as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// Its id.
    pub id: String,
    /// Its bytes in Base64.
    pub secret: String,
    /// When it was made, in Unix seconds.
    pub created_unix: u64,
    /// When it ends, in Unix seconds.
    pub expires_unix: Option<u64>,
}

impl std::fmt::Debug for SecretRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SecretRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A public key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeyRecord {
    /// Its id.
    pub id: String,
    /// Its 32 bytes in Base64.
    pub key: String,
}

/// An API key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: String,
    /// Its keyed hash in Base64.
    pub hash: String,
    /// When it was made, in Unix seconds.
    pub created_unix: u64,
    /// When it ends, in Unix seconds.
    pub expires_unix: Option<u64>,
}

/// A user's authorisation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The user.
    pub user: String,
    /// What the application may use.
    pub scopes: Vec<String>,
    /// When it ends, in Unix seconds.
    pub expires_unix: u64,
}

/// Whose a certificate's subject is, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRecord {
    /// The key of the application.
    pub app: String,
}

/// 32 bytes in Base64.
pub(super) fn bytes32(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn shared(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

impl Record {
    /// A new application with every scheme switched on.
    #[must_use]
    pub fn new() -> Self {
        Self { schemes: Scheme::ALL.to_vec(), ..Self::default() }
    }

    /// The application as calls need it.
    ///
    /// # Errors
    /// A sentence about bytes that are none.
    pub fn compile(self, key: &str, version: u64) -> Result<App, String> {
        let secret = |secret: SecretRecord| {
            let bytes = STANDARD.decode(&secret.secret).map_err(|_undecodable| "a secret is not Base64")?;
            let mut compiled = AppSecret::new(secret.id.into(), Secret::new(bytes), secret.created_unix);
            compiled.expires_unix = secret.expires_unix;
            Ok::<_, String>(compiled)
        };
        let public_key = |key: PublicKeyRecord| {
            let bytes = bytes32(&key.key).ok_or("a public key is not 32 bytes in Base64")?;
            Ok::<_, String>(AppPublicKey { id: key.id.into(), bytes })
        };
        let api_key = |key: ApiKeyRecord| {
            let hash = bytes32(&key.hash).ok_or("the hash of an API key is not 32 bytes in Base64")?;
            Ok::<_, String>(ApiKeyHash { id: key.id.into(), hash, expires_unix: key.expires_unix })
        };
        Ok(App {
            key: key.into(),
            name: self.name.into(),
            owner: self.owner.map(Into::into),
            status: self.status,
            expires_unix: self.expires_unix,
            plan: self.plan.map(Arc::from),
            class: self.class.map(Arc::from),
            packages: shared(self.packages),
            networks: self.networks,
            field_level: self.field_level,
            schemes: self.schemes,
            secrets: self.secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
            public_keys: self.public_keys.into_iter().map(public_key).collect::<Result<_, _>>()?,
            api_keys: self.api_keys.into_iter().map(api_key).collect::<Result<_, _>>()?,
            subjects: shared(self.subjects),
            platform_md5: self.platform_md5,
            version,
        })
    }
}

/// Opens a record and reads what is in it.
///
/// # Errors
/// A sentence for the log.
pub(super) fn open<T: for<'de> Deserialize<'de>>(
    keys: &Keyring,
    kind: RecordKind,
    key: &str,
    version: u64,
    sealed: &[u8],
) -> Result<T, String> {
    let text = keys.open(kind, key, version, sealed).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| format!("the record is not understood: {error}"))
}

/// Applications by key.
#[derive(Debug)]
pub struct Applications {
    pub(super) keys: Arc<Keyring>,
    pub(super) filter: Arc<Filter>,
}

impl Kind for Applications {
    type Value = App;
    const KIND: RecordKind = RecordKind::App;

    fn decode(&self, key: &str, version: u64, sealed: &[u8]) -> Result<App, String> {
        open::<Record>(&self.keys, Self::KIND, key, version, sealed)?.compile(key, version)
    }

    fn weight(app: &App) -> usize {
        // Sixteen bytes: the counts of an `Arc`.
        let text = |text: &str| text.len() + 16;
        let texts = |texts: &[Arc<str>]| texts.iter().map(|one| text(one) + size_of::<Arc<str>>()).sum::<usize>();
        let secrets = app.secrets.iter().map(|one| size_of::<AppSecret>() + text(&one.id) + one.expose().len());
        text(&app.key)
            + app.name.len()
            + app.owner.as_deref().map_or(0, str::len)
            + app.plan.as_deref().map_or(0, text)
            + app.class.as_deref().map_or(0, text)
            + texts(&app.packages)
            + texts(&app.subjects)
            + app.networks.len() * size_of::<IpNet>()
            + app.schemes.len()
            + secrets.sum::<usize>()
            + app.public_keys.iter().map(|one| size_of::<AppPublicKey>() + text(&one.id)).sum::<usize>()
            + app.api_keys.iter().map(|one| size_of::<ApiKeyHash>() + text(&one.id)).sum::<usize>()
    }

    fn denies(&self, key: &str) -> bool {
        self.filter.is_loaded() && self.filter.denies(self.keys.mark(key))
    }
}

/// Users' authorisations by `APPKEY/ID`.
#[derive(Debug)]
pub struct Sessions {
    pub(super) keys: Arc<Keyring>,
}

impl Kind for Sessions {
    type Value = Session;
    const KIND: RecordKind = RecordKind::Session;

    fn decode(&self, key: &str, version: u64, sealed: &[u8]) -> Result<Session, String> {
        let SessionRecord { user, scopes, expires_unix } = open(&self.keys, Self::KIND, key, version, sealed)?;
        Ok(Session { user: user.into(), scopes: shared(scopes), expires_unix })
    }

    fn weight(session: &Session) -> usize {
        session.user.len() + session.scopes.iter().map(|scope| scope.len() + 32).sum::<usize>()
    }

    fn denies(&self, _key: &str) -> bool {
        false
    }

    fn pattern_key(key: &str) -> &str {
        key.split_once('/').map_or(key, |(app, _)| app)
    }
}

/// The keys of applications by the subjects of their certificates.
#[derive(Debug)]
pub struct Subjects {
    pub(super) keys: Arc<Keyring>,
}

impl Kind for Subjects {
    type Value = Box<str>;
    const KIND: RecordKind = RecordKind::Subject;

    fn decode(&self, key: &str, version: u64, sealed: &[u8]) -> Result<Box<str>, String> {
        let SubjectRecord { app } = open(&self.keys, Self::KIND, key, version, sealed)?;
        Ok(app.into())
    }

    fn weight(app: &Box<str>) -> usize {
        app.len()
    }

    fn denies(&self, _key: &str) -> bool {
        false
    }
}
