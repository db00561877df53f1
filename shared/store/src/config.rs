//! The `[store]` table: as it is written, and as it is used.

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions, Secret, SecretSource, Sources};
use redis::{ConnectionAddr, IntoConnectionInfo as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shortest and longest timeout that makes sense.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Where state is kept that more than one node needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The kind of store. `"file"`: every node works from its own files and counts for itself. `"redis"`: the nodes of a
    /// fleet share what they know through Redis; while it is away each goes on with what it knew last. Default: `"file"`.
    #[schemars(example = &"redis")]
    pub kind: Kind,
    /// Where Redis is: `redis://HOST:PORT`, `rediss://HOST:PORT` for TLS, or `unix:///PATH`. One for `mode = "single"`, some
    /// of the nodes for a Cluster, the Sentinels for Sentinel. User name and password never stand here.
    #[schemars(example = &["redis://10.0.0.5:6379"])]
    pub urls: Vec<String>,
    /// How Redis is run: `"single"`, `"sentinel"` or `"cluster"`. Default: `"single"`.
    #[schemars(example = &"sentinel")]
    pub mode: Mode,
    /// What the Sentinels call the master; needed with `mode = "sentinel"`.
    #[schemars(example = &"gatehouse")]
    pub sentinel_master: Option<String>,
    /// The ACL user; see docs/BLOCKLIST.md for the rights it needs. Default: Redis' own default user.
    #[schemars(example = &"edge")]
    pub username: Option<String>,
    /// The password of that user.
    pub password: Option<SecretSource>,
    /// The password of the Sentinels, where they have one.
    pub sentinel_password: Option<SecretSource>,
    /// Number of the database; a Cluster only has 0. Default: 0.
    pub database: u16,
    /// PEM file with the authorities that Redis' certificate may come from. Default: those the system trusts.
    #[schemars(example = &"redis-ca.pem")]
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate that this node shows to Redis; needs `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of that certificate.
    pub client_key: Option<SecretSource>,
    /// Longest wait for a connection, TLS and login included; 10 ms to 60 s. Default: `"1s"`.
    #[schemars(example = &"1s")]
    pub connect_timeout: HumanDuration,
    /// Longest wait for an answer; 10 ms to 60 s. Default: `"500ms"`.
    #[schemars(example = &"500ms")]
    pub command_timeout: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::File,
            urls: Vec::new(),
            mode: Mode::Single,
            sentinel_master: None,
            username: None,
            password: None,
            sentinel_password: None,
            database: 0,
            ca: None,
            client_certificate: None,
            client_key: None,
            connect_timeout: HumanDuration::from_secs(1),
            command_timeout: HumanDuration::from_millis(500),
        }
    }
}

/// A kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files on each node; needs nothing but the gateway itself.
    #[default]
    File,
    /// Redis, for a fleet.
    Redis,
}

/// How Redis is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One server.
    #[default]
    Single,
    /// One master, which Sentinels name.
    Sentinel,
    /// Several masters, which share the keys.
    Cluster,
}

/// A checked `[store]`.
#[derive(Clone, Debug)]
pub enum Settings {
    /// Files on each node.
    File,
    /// Redis.
    Redis(Box<RedisSettings>),
}

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    pub(crate) mode: Mode,
    pub(crate) addresses: Vec<ConnectionAddr>,
    pub(crate) sentinel_master: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) sentinel_password: Option<Secret>,
    pub(crate) database: u16,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Secret)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
}

impl RedisSettings {
    /// One Redis at this address, such as `unix:///run/redis.sock`, with nothing else set; what tests use.
    ///
    /// # Errors
    /// A sentence about an address that is none.
    pub fn single(url: &str) -> Result<Self, String> {
        Ok(Self {
            mode: Mode::Single,
            addresses: vec![address(url)?],
            sentinel_master: String::new(),
            username: None,
            password: None,
            sentinel_password: None,
            database: 0,
            ca: None,
            identity: None,
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_millis(500),
        })
    }

    /// The same with this longest wait for a connection and for an answer.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, command_timeout: timeout, ..self }
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }))
    }
}

impl Config {
    /// Checks the table, which stands at `path` of its file, and reads what it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(&self, path: &str, sources: &mut Sources, positions: &Positions) -> Result<Settings, ConfigErrors> {
        let mut compiling = Compiling { path, sources, positions, errors: ConfigErrors::new() };
        if self.kind == Kind::File {
            let is_stray = !self.urls.is_empty();
            compiling.check(!is_stray, "urls", "is for kind = \"redis\" only");
            return compiling.errors.into_result(Settings::File);
        }
        let addresses = compiling.addresses(self);
        compiling.consistency(self, &addresses);
        let secrets = [
            compiling.secret("password", self.password.as_ref()),
            compiling.secret("sentinel_password", self.sentinel_password.as_ref()),
            compiling.secret("client_key", self.client_key.as_ref()),
        ];
        let [password, sentinel_password, client_key] = secrets;
        let ca = compiling.file(self.ca.as_ref());
        let certificate = compiling.file(self.client_certificate.as_ref());
        compiling.errors.into_result(Settings::Redis(Box::new(RedisSettings {
            mode: self.mode,
            addresses,
            sentinel_master: self.sentinel_master.clone().unwrap_or_default(),
            username: self.username.clone(),
            password,
            sentinel_password,
            database: self.database,
            ca,
            identity: certificate.zip(client_key),
            connect_timeout: self.connect_timeout.get(),
            command_timeout: self.command_timeout.get(),
        })))
    }
}

/// A `[store]` that is being checked.
struct Compiling<'a> {
    path: &'a str,
    sources: &'a mut Sources,
    positions: &'a Positions,
    errors: ConfigErrors,
}

impl Compiling<'_> {
    fn check(&mut self, is_right: bool, key: &str, message: &str) {
        if !is_right {
            let path = format!("{}.{key}", self.path);
            self.errors.push(self.positions.error(&path, format!("{key} {message}"), None));
        }
    }

    fn addresses(&mut self, config: &Config) -> Vec<ConnectionAddr> {
        let mut addresses = Vec::new();
        for (index, url) in config.urls.iter().enumerate() {
            match address(url) {
                Ok(address) => addresses.push(address),
                Err(message) => {
                    let path = format!("{}.urls[{index}]", self.path);
                    self.errors.push(self.positions.error(&path, message, None));
                }
            }
        }
        addresses
    }

    fn consistency(&mut self, config: &Config, addresses: &[ConnectionAddr]) {
        let is_tls = |address: &ConnectionAddr| matches!(address, ConnectionAddr::TcpTls { .. });
        let is_unix = |address: &ConnectionAddr| matches!(address, ConnectionAddr::Unix(_));
        let (single, sentinel) = (config.mode == Mode::Single, config.mode == Mode::Sentinel);
        self.check(!config.urls.is_empty(), "urls", "must name at least one Redis with kind = \"redis\"");
        self.check(!single || config.urls.len() <= 1, "urls", "must be one with mode = \"single\"");
        let is_mixed = addresses.iter().any(is_tls) && !addresses.iter().all(is_tls);
        self.check(!is_mixed, "urls", "must all be rediss:// or none");
        self.check(single || !addresses.iter().any(is_unix), "urls", "may be unix:// only with mode = \"single\"");
        let has_name = config.sentinel_master.as_deref().is_some_and(|name| !name.is_empty());
        self.check(!sentinel || has_name, "sentinel_master", "is needed with mode = \"sentinel\"");
        self.check(
            config.mode != Mode::Cluster || config.database == 0,
            "database",
            "must be 0 with mode = \"cluster\"",
        );
        let is_whole = config.client_certificate.is_some() == config.client_key.is_some();
        self.check(is_whole, "client_certificate", "and client_key are needed together");
        let wants_tls = config.ca.is_some() || config.client_certificate.is_some();
        let has_tls = addresses.is_empty() || addresses.iter().any(is_tls);
        self.check(!wants_tls || has_tls, "urls", "must be rediss:// for ca and client_certificate to count");
        for (key, timeout) in [("connect_timeout", config.connect_timeout), ("command_timeout", config.command_timeout)]
        {
            self.check(TIMEOUTS.contains(&timeout.get()), key, "must be 10ms to 60s");
        }
    }

    fn secret(&mut self, key: &str, source: Option<&SecretSource>) -> Option<Secret> {
        match self.sources.secret(source?) {
            Ok(secret) => Some(secret),
            Err(message) => {
                let path = format!("{}.{key}", self.path);
                self.errors.push(self.positions.error(&path, message, None));
                None
            }
        }
    }

    fn file(&mut self, file: Option<&PathBuf>) -> Option<Vec<u8>> {
        let read = self.sources.read_bytes(file?);
        self.errors.collect(read)
    }
}

/// Reads the address of a Redis; refuses whatever else a URL can carry.
fn address(url: &str) -> Result<ConnectionAddr, String> {
    const FORMS: &str = "redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH";
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if rest.contains('@') {
        return Err("a password is never written here: use username and password".to_owned());
    }
    let is_known = matches!(scheme, "redis" | "rediss" | "unix");
    let is_bare = !rest.contains(['?', '#']) && (scheme == "unix" || !rest.trim_end_matches('/').contains('/'));
    if !is_known || !is_bare || rest.is_empty() {
        return Err(format!("\"{url}\" is not the address of a Redis ({FORMS})"));
    }
    let information = url.into_connection_info();
    information
        .map(|information| information.addr().clone())
        .map_err(|_unclear| format!("\"{url}\" is not the address of a Redis ({FORMS})"))
}

#[cfg(test)]
mod tests;
