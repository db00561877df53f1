//! Applications that people write down: `[[app]]` in the catalog. They are part of the generation, known to every node from its
//! start, and cannot be changed through the API.

use std::collections::HashMap;
use std::sync::Arc;

use gatehouse_shared::clock::parse_rfc3339;
use gatehouse_shared::config::{ConfigErrors, Positions, Secret, SecretSource, Sources};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::{ApiKeyHash, App, AppPublicKey, AppSecret, Scheme, Status};
use super::check::{self, NETWORK_FORM};
use super::keyring::hash_in_memory;
use super::record::bytes32;
use crate::store::catalog::At;

/// `[[app]]`: an application that is written in a file instead of being made through the API, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it names itself with in a call; unique. 1 to 64 letters, digits, `-` and `_`. Example: `"shop"`.
    pub key: String,
    /// For people. Default: the key.
    pub name: Option<String>,
    /// Who answers for it. Example: `"team-orders@example.com"`.
    pub owner: Option<String>,
    /// Whether it may call: `"enabled"` or `"disabled"`. Default: `"enabled"`.
    #[serde(default)]
    pub status: Status,
    /// When it may call no more. Example: `"2027-01-01T00:00:00Z"`.
    pub expires: Option<String>,
    /// The plan that sets its quotas.
    pub plan: Option<String>,
    /// The class of customer, by which traffic groups choose.
    pub class: Option<String>,
    /// The packages of APIs it may call.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Networks it may call from. Default: anywhere. Example: `["192.0.2.0/24"]`.
    #[serde(default)]
    pub networks: Vec<String>,
    /// How much of an answer it may see. Default: 0.
    #[serde(default)]
    pub field_level: u8,
    /// The schemes switched on for it. Default: all.
    #[serde(default = "all_schemes")]
    pub schemes: Vec<Scheme>,
    /// Secrets that it shares with the gateway: two at most.
    #[serde(default)]
    pub secrets: Vec<SecretConfig>,
    /// Ed25519 keys that its signatures are verified with: two at most.
    #[serde(default)]
    pub public_keys: Vec<PublicKeyConfig>,
    /// The secrets of its API keys; a call shows `KEY.SECRET`.
    #[serde(default)]
    pub api_keys: Vec<SecretConfig>,
    /// Subjects of its client certificates, as the edge writes them into the hop.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Whether it may sign with MD5 in the platform scheme. Default: false.
    #[serde(default)]
    pub platform_md5: bool,
}

/// A secret of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretConfig {
    /// Tells the secrets of an application apart.
    pub id: String,
    /// Where it is.
    pub secret: SecretSource,
}

/// A public key of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicKeyConfig {
    /// Tells the keys of an application apart.
    pub id: String,
    /// Its 32 bytes in Base64.
    pub key: String,
}

fn all_schemes() -> Vec<Scheme> {
    Scheme::ALL.to_vec()
}

/// All of them.
#[derive(Debug, Default)]
pub struct Declared {
    by_key: HashMap<Arc<str>, Arc<App>>,
    by_subject: HashMap<Arc<str>, Arc<App>>,
}

impl Declared {
    /// Compiles the applications of a catalog and reads their secrets.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(written: &[Config], sources: &mut Sources, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut declared = Self::default();
        for (index, app) in written.iter().enumerate() {
            let at = At { positions, path: format!("app[{index}]") };
            if let Some(app) = errors.collect(compile(app, &at, sources)) {
                declared.add(&Arc::new(app), &at, &mut errors);
            }
        }
        errors.into_result(declared)
    }

    fn add(&mut self, app: &Arc<App>, at: &At<'_>, errors: &mut ConfigErrors) {
        for (index, subject) in app.subjects.iter().enumerate() {
            if let Some(other) = self.by_subject.insert(Arc::clone(subject), Arc::clone(app)) {
                let message = format!("the subject {subject:?} is that of {:?} already", other.key);
                errors.push(at.error(&format!("subjects[{index}]"), message, "a certificate is one application's"));
            }
        }
        if self.by_key.insert(Arc::clone(&app.key), Arc::clone(app)).is_some() {
            errors.push(at.error("key", format!("a second application {:?}", app.key), "give each its own key"));
        }
    }

    /// The application with this key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&Arc<App>> {
        self.by_key.get(key)
    }

    /// The application of a certificate's subject.
    #[must_use]
    pub fn find_by_subject(&self, subject: &str) -> Option<&Arc<App>> {
        self.by_subject.get(subject)
    }

    /// All of them, by key.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<App>> {
        let mut all: Vec<_> = self.by_key.values().collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }
}

/// An application that is being checked.
struct Compiling<'a> {
    at: &'a At<'a>,
    sources: &'a mut Sources,
    errors: ConfigErrors,
}

impl Compiling<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>, remedy: &str) {
        self.errors.push(self.at.error(key, message, remedy));
    }

    fn networks(&mut self, written: &[String]) -> Vec<IpNet> {
        let mut networks = Vec::with_capacity(written.len());
        for (index, network) in written.iter().enumerate() {
            match check::network(network) {
                Some(network) => networks.push(network),
                None => self.refuse(&format!("networks[{index}]"), format!("{network:?} is no network"), NETWORK_FORM),
            }
        }
        networks
    }

    fn secrets(&mut self, written: &[SecretConfig], name: &str) -> Vec<(Arc<str>, Secret)> {
        let mut secrets = Vec::with_capacity(written.len());
        for (index, secret) in written.iter().enumerate() {
            if written.iter().take(index).any(|other| other.id == secret.id) {
                self.refuse(&format!("{name}[{index}].id"), format!("the id {:?} twice", secret.id), "use another one");
            }
            match self.sources.secret(&secret.secret) {
                Ok(bytes) => secrets.push((secret.id.as_str().into(), bytes)),
                Err(error) => {
                    let key = self.at.key(&format!("{name}[{index}].secret"));
                    self.errors.push(self.at.positions.error(&key, error, None));
                }
            }
        }
        secrets
    }

    fn public_keys(&mut self, written: &[PublicKeyConfig]) -> Vec<AppPublicKey> {
        let mut keys = Vec::with_capacity(written.len());
        for (index, key) in written.iter().enumerate() {
            match bytes32(&key.key) {
                Some(bytes) => keys.push(AppPublicKey { id: key.id.as_str().into(), bytes }),
                None => {
                    let at = format!("public_keys[{index}].key");
                    self.refuse(&at, "no Ed25519 key", "write its 32 bytes in Base64");
                }
            }
        }
        keys
    }

    fn at_most_two(&mut self, name: &str, count: usize) {
        if count > 2 {
            self.refuse(name, format!("{count} of them"), "two at most: the new one and the one before");
        }
    }
}

fn compile(written: &Config, at: &At<'_>, sources: &mut Sources) -> Result<App, ConfigErrors> {
    let mut compiling = Compiling { at, sources, errors: ConfigErrors::new() };
    if let Err(error) = check::app_key(&written.key) {
        compiling.refuse("key", error, "use 1 to 64 letters, digits, \"-\" and \"_\"");
    }
    let expires = written.expires.as_deref().map(parse_rfc3339);
    if expires == Some(None) {
        compiling.refuse("expires", "no time", "write it as in \"2027-01-01T00:00:00Z\"");
    }
    compiling.at_most_two("secrets", written.secrets.len());
    compiling.at_most_two("public_keys", written.public_keys.len());
    for (index, subject) in written.subjects.iter().enumerate() {
        if let Err(error) = check::subject(subject) {
            compiling.refuse(&format!("subjects[{index}]"), error, "write it as the edge does");
        }
    }
    let networks = compiling.networks(&written.networks);
    let secrets = compiling.secrets(&written.secrets, "secrets");
    let api_keys = compiling.secrets(&written.api_keys, "api_keys");
    let public_keys = compiling.public_keys(&written.public_keys);
    let secret = |(id, secret)| AppSecret::new(id, secret, 0);
    let api_key = |(id, secret): (Arc<str>, Secret)| {
        let hash = hash_in_memory(&written.key, secret.expose());
        ApiKeyHash { id, hash, expires_unix: None }
    };
    let shared = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    compiling.errors.into_result(App {
        key: written.key.as_str().into(),
        name: written.name.as_deref().unwrap_or(&written.key).into(),
        owner: written.owner.as_deref().map(Into::into),
        status: written.status,
        expires_unix: expires.flatten().map(|ms| ms / 1_000),
        plan: written.plan.as_deref().map(Arc::from),
        class: written.class.as_deref().map(Arc::from),
        packages: shared(&written.packages),
        networks,
        field_level: written.field_level,
        schemes: written.schemes.clone(),
        secrets: secrets.into_iter().map(secret).collect(),
        public_keys,
        api_keys: api_keys.into_iter().map(api_key).collect(),
        subjects: shared(&written.subjects),
        platform_md5: written.platform_md5,
        version: 0,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Catalog {
        app: Vec<Config>,
    }

    fn declared(dir: &Path, text: &str) -> Result<Declared, ConfigErrors> {
        let file = SourceFile { path: "catalog.toml".into(), text: text.to_owned() };
        let document = parse::<Catalog>(&file)?;
        Declared::compile(&document.value.app, &mut Sources::new(dir), &document.positions)
    }

    #[test]
    fn an_application_is_read_with_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shop.secret"), "s3cret\n").unwrap();
        let text = "\
[[app]]
key = \"shop\"
packages = [\"orders\"]
networks = [\"192.0.2.7/24\", \"::1\"]
expires = \"2027-01-01T00:00:00Z\"
secrets = [{ id = \"a\", secret = { file = \"shop.secret\" } }]
api_keys = [{ id = \"k\", secret = { file = \"shop.secret\" } }]
subjects = [\"CN=shop\"]
";
        let declared = declared(dir.path(), text).unwrap();
        let shop = declared.find("shop").unwrap();
        assert_eq!((&*shop.name, shop.secrets[0].expose()), ("shop", &b"s3cret"[..]));
        assert_eq!(shop.api_keys[0].hash, hash_in_memory("shop", b"s3cret"));
        assert_eq!(shop.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.0/24", "::1/128"]);
        assert_eq!((shop.expires_unix, shop.schemes.len()), (Some(1_798_761_600), Scheme::ALL.len()));
        assert_eq!(declared.find_by_subject("CN=shop").unwrap().key, shop.key);
        assert!(declared.find("shed").is_none());
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\
[[app]]
key = \"a.b\"
expires = \"soon\"
networks = [\"10.0.0.0/33\"]
secrets = [{ id = \"a\", secret = { file = \"gone\" } }]
public_keys = [{ id = \"a\", key = \"AAAA\" }]
subjects = [\"\"]
[[app]]
key = \"shop\"
subjects = [\"CN=shop\"]
[[app]]
key = \"shop\"
subjects = [\"CN=shop\"]
";
        let found = declared(dir.path(), text).unwrap_err().to_string();
        for expected in [
            "catalog.toml:2:7: \"a.b\" is not an app key",
            "catalog.toml:3:11: no time",
            "catalog.toml:4:13: \"10.0.0.0/33\" is no network",
            "catalog.toml:5:33: cannot read the secret file \"gone\"",
            "catalog.toml:6:34: no Ed25519 key",
            "catalog.toml:7:13: ",
            "catalog.toml:12:7: a second application \"shop\"",
            "catalog.toml:13:13: the subject \"CN=shop\" is that of \"shop\" already",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
        assert_eq!(found.lines().count(), 8, "{found}");
    }
}
