//! The catalog of one generation as it was written, and where it came from: files, or a revision in Redis.
//!
//! - [`last_good`]: the revision in force, in the state directory, from which a node starts while Redis is away
//! - [`edit`]: what can be changed, whatever the store
//! - [`change`]: making a change: checked, stored, in force
//! - [`follow`]: taking over what others have published
//!
//! With `[store] kind = "redis"` and `[catalog] signing_keys` the catalog is in Redis (see [`gatehouse_store::catalog`]). A node
//! accepts only revisions that are signed, that compile, and that are greater than the one in force; whatever else it finds
//! there it counts and shows at `/policy`, and keeps what it has. Until there is a first revision it serves from the files.

pub mod last_good;
pub mod edit;
pub mod change;
pub mod follow;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{
    ByteSize, ConfigError, ConfigErrors, Document, HumanDuration, Positions, Sources, parse_json,
};
use gatehouse_store::Kind;
use gatehouse_store::catalog::{Head, SigningKeyConfig, SigningKeys};
use schemars::JsonSchema;
use serde::Deserialize;

use super::catalog::CatalogConfig;
use super::catalog::objects::Objects;
use super::file;
use crate::config;

/// `[catalog]`: how the catalog is kept in Redis.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One or two keys that revisions of the catalog are signed with, so that writing to Redis is not enough to change it; the
    /// first signs. With `[store] kind = "redis"` they put the catalog into Redis; without them it stays in files. Example:
    /// `[{ id = "a", secret = { file = "catalog.key" } }]`. Default: none.
    pub signing_keys: Vec<SigningKeyConfig>,
    /// How often a node asks Redis for a new revision, give or take a fifth; 20 ms to 10 s. Default: `"300ms"`.
    pub poll: HumanDuration,
    /// How many revisions are kept for `catalog history`, `diff` and `rollback`; 1 to 10000. Default: 100.
    pub history: usize,
    /// The largest document that is published or accepted, as JSON; at least 1 KiB. Default: `"8MiB"`.
    pub document_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            signing_keys: Vec::new(),
            poll: HumanDuration::from_millis(300),
            history: 100,
            document_max: ByteSize::mib(8),
        }
    }
}

/// `[catalog]` of a node whose catalog is in Redis, checked.
#[derive(Debug)]
pub struct Settings {
    /// What revisions are signed with.
    pub keys: SigningKeys,
    /// How often Redis is asked.
    pub poll: Duration,
    /// How many revisions are kept.
    pub history: usize,
    /// The largest document, in bytes.
    pub document_max: usize,
    /// The file of the revision in force.
    pub last_good: PathBuf,
}

impl Config {
    /// Checks the table; `None` where the catalog is in files.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        &self,
        kind: Kind,
        state_dir: &Path,
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Option<Settings>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |is_right: bool, key: &str, message: &str| {
            if !is_right {
                errors.push(positions.error(&format!("catalog.{key}"), message, None));
            }
        };
        let polls = Duration::from_millis(20)..=Duration::from_secs(10);
        check(polls.contains(&self.poll.get()), "poll", "must be 20ms to 10s");
        check((1..=10_000).contains(&self.history), "history", "must be 1 to 10000");
        let document_max = self.document_max.as_usize();
        check(document_max >= 1_024, "document_max", "must be at least 1KiB");
        let is_used = self.signing_keys.is_empty() || kind == Kind::Redis;
        check(is_used, "signing_keys", "are for [store] kind = \"redis\" only");
        let keys = SigningKeys::compile(&self.signing_keys, "catalog.signing_keys", positions, sources);
        let keys = errors.collect(keys).flatten();
        errors.into_result(keys.map(|keys| Settings {
            keys,
            poll: self.poll.get(),
            history: self.history,
            document_max,
            last_good: state_dir.join(last_good::FILE),
        }))
    }
}

/// The catalog of one generation as it was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its objects.
    pub objects: Objects,
    /// Where they came from.
    pub origin: Origin,
    /// Of a catalog that is in Redis.
    pub settings: Option<Arc<Settings>>,
}

/// Where a catalog came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The files of this node.
    Files,
    /// This revision in Redis.
    Revision(Head),
}

impl Written {
    /// The revision; 0 for files.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.head().map_or(0, |head| head.revision)
    }

    /// What is said of the revision.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        match &self.origin {
            Origin::Files => None,
            Origin::Revision(head) => Some(head),
        }
    }
}

/// A catalog as written, with and without its types.
pub type Read = (Document<CatalogConfig>, Written);

/// Reads the catalog of a node: the last good revision, or its files. What `before` has is never replaced by something older.
///
/// # Errors
/// Everything that cannot be read or is no catalog.
pub fn read(
    written: Option<&Document<config::Config>>,
    before: Option<&Written>,
    sources: &mut Sources,
) -> Result<Read, ConfigErrors> {
    let Some(document) = written else {
        // business.toml has its own errors; where the catalog is cannot be known.
        return from_files(None, sources);
    };
    let (config, state_dir) = (&document.value, &document.value.process.state_dir);
    let settings = config.catalog.compile(config.store.kind, state_dir, &document.positions, sources)?;
    let Some(settings) = settings.map(Arc::new) else { return from_files(None, sources) };
    let known = before.and_then(|before| before.head().map(|head| (head, &before.objects)));
    let kept = last_good::read(&settings)?;
    let is_older = |kept: &last_good::Kept| known.is_some_and(|(head, _)| head.revision > kept.head.revision);
    let (head, objects) = match (kept, known) {
        (Some(kept), _) if !is_older(&kept) => (kept.head, kept.objects),
        (_, Some((head, objects))) => {
            tracing::warn!(
                revision = head.revision,
                "the last good catalog on disk is gone or older than the one in force"
            );
            (head.clone(), objects.clone())
        }
        (_, None) => return from_files(Some(settings), sources),
    };
    sources.include(last_good::FILE, head.sha256.as_bytes());
    sources.include("revision", &head.revision.to_be_bytes());
    let document = parse_json(last_good::FILE, &objects.to_json())?;
    Ok((document, Written { objects, origin: Origin::Revision(head), settings: Some(settings) }))
}

fn from_files(settings: Option<Arc<Settings>>, sources: &mut Sources) -> Result<Read, ConfigErrors> {
    let has_files = [file::CATALOG, file::FOLDER].iter().any(|name| sources.dir().join(name).exists());
    // A node of a fleet needs no file at all.
    let (document, objects) = match &settings {
        Some(_) if !has_files => (parse_json("", &Objects::default().to_json())?, Objects::default()),
        _ => file::read_all(sources)?,
    };
    Ok((document, Written { objects, origin: Origin::Files, settings }))
}

/// A catalog that is to be checked before it is published or accepted; findings have the paths of `objects`.
///
/// # Errors
/// When it is none.
pub fn candidate(objects: Objects) -> Result<Read, ConfigErrors> {
    let document = parse_json("", &objects.to_json())?;
    Ok((document, Written { objects, origin: Origin::Files, settings: None }))
}

/// Findings about a candidate without those that concern other files.
#[must_use]
pub fn is_about_candidate(error: &ConfigError) -> bool {
    error.line == 0 && error.file != config::FILE
}
