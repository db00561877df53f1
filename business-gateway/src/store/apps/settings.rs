//! `[apps]` of `business.toml`: with which keys applications are protected, and how often a node asks for news.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions, Secret, SecretSource, Sources};
use gatehouse_shared::process::write_atomically;
use schemars::JsonSchema;
use serde::Deserialize;

use super::follow::Pace;
use super::keyring::{Keyring, SHORTEST_SECRET, SealError, random_text};

/// Where a node without Redis keeps the keys that it has made for itself.
const OWN_KEYS: &str = "apps.key";
const OWN_KEYS_PERMISSIONS: u32 = 0o600;
/// The id of a sealing key that a node has made for itself.
const OWN_ID: &str = "own";
/// What `poll` may be.
const POLL: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(300);

/// `[apps]`: how applications that are not in files are kept. A change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One or two live keys with which records are sealed, the same on all nodes; the first one seals, both open. Each needs at
    /// least 32 bytes. Without, and with `[store] kind = "file"`, a node makes its own in its state directory; with Redis,
    /// applications are then read from files only. Example: `[{ id = "2026", secret = { file = "apps-seal.key" } }]`.
    pub sealing_keys: Vec<SealingKeyConfig>,
    /// What checksums of app keys and tokens and hashes of API keys are made with: at least 32 bytes, the same on all nodes, and
    /// never changed, since nothing made with another one is accepted. Needed with `sealing_keys`. Example:
    /// `{ file = "apps-check.key" }`.
    pub check_key: Option<SecretSource>,
    /// How often a node asks Redis for changes, 10 ms to 300 ms. Three times as long it takes a new application at most to be
    /// handed out. Default: `"200ms"`.
    pub poll: HumanDuration,
    /// How often the filter of app keys is made anew, so that removed ones leave it; at least 1 s. Default: `"1h"`.
    pub rebuild: HumanDuration,
    /// Reads from the store at a time for each kind; more are refused with 503. Default: 1000.
    pub reads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sealing_keys: Vec::new(),
            check_key: None,
            poll: HumanDuration::from_millis(200),
            rebuild: HumanDuration::from_secs(3_600),
            reads: 1_000,
        }
    }
}

/// A key with which records are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealingKeyConfig {
    /// Its name in sealed records: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Where it is.
    pub secret: SecretSource,
}

/// A checked `[apps]`.
#[derive(Debug, Clone)]
pub struct Settings {
    keys: Option<Arc<Keyring>>,
    /// How often a node asks.
    pub pace: Pace,
    /// Reads at a time for each kind.
    pub reads: usize,
    written: Config,
}

impl Settings {
    /// Checks the table and reads its keys.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, sources: &mut Sources, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut sealing = Vec::new();
        for (index, key) in written.sealing_keys.iter().enumerate() {
            let at = format!("apps.sealing_keys[{index}]");
            if !gatehouse_shared::process::is_node_name(&key.id) {
                let message = format!("{:?} is not the name of a key", key.id);
                errors.push(positions.error(&format!("{at}.id"), message, Some("use 1 to 64 plain characters".into())));
            }
            if written.sealing_keys.iter().take(index).any(|other| other.id == key.id) {
                let message = format!("the key {:?} twice", key.id);
                errors.push(positions.error(&format!("{at}.id"), message, Some("give each its own name".into())));
            }
            if let Some(secret) = errors.collect(long_secret(&key.secret, &format!("{at}.secret"), sources, positions))
            {
                sealing.push((key.id.clone(), secret));
            }
        }
        if sealing.len() > 2 {
            let message = "more than two sealing keys";
            let remedy = Some("keep the new one and the one before".to_owned());
            errors.push(positions.error("apps.sealing_keys", message, remedy));
        }
        let check = written.check_key.as_ref();
        let check = check.and_then(|check| errors.collect(long_secret(check, "apps.check_key", sources, positions)));
        if written.check_key.is_none() && !written.sealing_keys.is_empty() {
            let remedy = Some("add check_key = { file = \"apps-check.key\" }".to_owned());
            errors.push(positions.error("apps.sealing_keys", "no check_key beside the sealing keys", remedy));
        }
        let mut bounds = |key: &str, is_well: bool, remedy: &str| {
            if !is_well {
                errors.push(positions.error(&format!("apps.{key}"), "out of bounds", Some(remedy.to_owned())));
            }
        };
        bounds("poll", POLL.contains(&written.poll.get()), "use 10ms to 300ms");
        bounds("rebuild", written.rebuild.get() >= Duration::from_secs(1), "use at least 1s");
        bounds("reads", (1..=100_000).contains(&written.reads), "use 1 to 100,000");
        let keys = check.and_then(|check| Keyring::new(&sealing, &check)).map(Arc::new);
        let pace = Pace { poll: written.poll.get(), rebuild: written.rebuild.get() };
        errors.into_result(Self { keys, pace, reads: written.reads, written: written.clone() })
    }

    /// Whether both were written alike; secrets may have changed.
    #[must_use]
    pub fn is_written_like(&self, other: &Self) -> bool {
        self.written == other.written
    }

    /// The keys of the fleet, if there are any.
    #[must_use]
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keys.as_ref()
    }

    /// The keys of a node without a fleet: those configured, or its own, which are made when they are first needed.
    ///
    /// # Errors
    /// The file in the state directory cannot be read or written.
    pub fn keyring_of_node(&self, state_dir: &Path) -> io::Result<Arc<Keyring>> {
        if let Some(keys) = &self.keys {
            return Ok(Arc::clone(keys));
        }
        let path = state_dir.join(OWN_KEYS);
        let secret = match std::fs::read(&path) {
            Ok(bytes) => Secret::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = random_text::<64>().map_err(|error: SealError| io::Error::other(error))?;
                write_atomically(&path, made.as_bytes(), OWN_KEYS_PERMISSIONS)?;
                Secret::new(made.into_bytes())
            }
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
        if secret.expose().len() < SHORTEST_SECRET {
            return Err(damaged());
        }
        Keyring::new(&[(OWN_ID.to_owned(), secret.clone())], &secret).map(Arc::new).ok_or_else(damaged)
    }
}

/// A secret that keys can be made from.
fn long_secret(
    source: &SecretSource,
    at: &str,
    sources: &mut Sources,
    positions: &Positions,
) -> Result<Secret, ConfigErrors> {
    let secret = sources.secret(source).map_err(|error| positions.error(at, error, None))?;
    if secret.expose().len() < SHORTEST_SECRET {
        let remedy = Some("make one with: head -c 48 /dev/urandom | base64".to_owned());
        return Err(positions.error(at, format!("shorter than {SHORTEST_SECRET} bytes"), remedy).into());
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        apps: Config,
    }

    fn compile(dir: &Path, text: &str) -> Result<Settings, ConfigErrors> {
        let file = SourceFile { path: "business.toml".into(), text: format!("[apps]\n{text}") };
        let document = parse::<File>(&file)?;
        Settings::compile(&document.value.apps, &mut Sources::new(dir), &document.positions)
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("short.key"), "short").unwrap();
        let text = "sealing_keys = [{ id = \"a b\", secret = { file = \"short.key\" } }, { id = \"a b\", secret = { file = \"gone.key\" } }]\n\
                    poll = \"1s\"\nrebuild = \"10ms\"\nreads = 0\n";
        let found = compile(dir.path(), text).unwrap_err().to_string();
        for expected in [
            "business.toml:2:24: \"a b\" is not the name of a key",
            "shorter than 32 bytes",
            "the key \"a b\" twice",
            "cannot read the secret file \"gone.key\"",
            "business.toml:2:16: no check_key beside the sealing keys",
            "business.toml:3:8: out of bounds (use 10ms to 300ms)",
            "business.toml:4:11: out of bounds (use at least 1s)",
            "business.toml:5:9: out of bounds",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
    }

    #[test]
    fn a_node_makes_keys_once_and_finds_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let settings = compile(dir.path(), "").unwrap();
        assert!(settings.keyring().is_none());
        let key = settings.keyring_of_node(dir.path()).unwrap().make_app_key().unwrap();
        let again = settings.keyring_of_node(dir.path()).unwrap();
        assert_eq!(again.form_of_app_key(&key), super::super::keyring::Form::Made);
        std::fs::write(dir.path().join(OWN_KEYS), "x").unwrap();
        assert!(settings.keyring_of_node(dir.path()).is_err());
    }
}
