//! `[[split]]`: which service answers a call of an API, out of several. For canaries, A/B tests and moves from one service to
//! another.
//!
//! A split is a list of levels, looked through in order. The first whose conditions all hold decides the branch; when none
//! does, it is the branch `default`: the service of the API itself. The branch depends on nothing but the call and the split as
//! written, so everybody stays where they are, on every node, until the split is changed.
//!
//! - [`source`]: what is looked at of a call
//! - [`level`]: the conditions
//! - [`share`]: a share of callers, by hash
//! - [`uids`]: lists of uids
//! - [`taken`]: which branch a call took
//! - [`counts`]: what became of the calls of a branch
//! - [`metrics`]: the same for Prometheus

pub mod counts;
pub mod level;
pub mod metrics;
pub mod share;
pub mod source;
pub mod taken;
pub mod uids;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, Positions, nearest};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::level::LevelConfig;
pub use self::taken::Notes;

use self::counts::Counts;
use self::level::Level;
use self::metrics::BranchMetrics;
use self::source::{Seen, Source};
use self::uids::UidFiles;
use crate::admit::api;
use crate::admit::flow_rule::effect::{Effects, Tag, header_name};
use crate::dispatch::service::{self, Service};
use crate::dispatch::target;
use crate::store::catalog::{At, check_name};

/// The branch that is there in every split: the service of the API.
pub const DEFAULT: &str = "default";
/// Most levels of a split: each is looked at for every call that no level before it takes.
const LEVELS_MAX: usize = 64;

/// `[[split]]`: which of several services answers, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The split's name in APIs, logs, metrics and commands; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders-canary"`.
    pub name: String,
    /// The uid by which callers are told apart: `"user"`, `"app"`, `"client"` (the address), `"cookie:NAME"`, `"header:NAME"`,
    /// `"query:NAME"`, or `"call"`, which is another one for every call. Default: `"user"`.
    #[serde(default = "default_key")]
    pub key: String,
    /// The branch of calls without a uid that no level takes; levels that ask for a uid never take them. Default: `"default"`.
    pub without_key: Option<String>,
    /// What goes into the hash before the uid. Two splits with the same salt and branches with the same name choose the same
    /// callers; another salt chooses others. Default: the name of the split.
    pub salt: Option<String>,
    /// A header of the answer that names the branch taken. Default: none. Example: `"x-branch"`.
    pub answer_header: Option<String>,
    /// Where calls may go beside the service of the API: one table each. `default` may be among them, to be given headers or tags.
    #[serde(default)]
    pub branches: Vec<BranchConfig>,
    /// Who goes where: one table each, in this order; the first whose conditions all hold decides. At most 64.
    #[serde(default)]
    pub levels: Vec<LevelConfig>,
}

/// A branch of a split, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchConfig {
    /// Its name in levels, logs, metrics and commands. Example: `"canary"`.
    pub name: String,
    /// The `[[service]]` that answers. Only `default` has none: it is the service of the API.
    pub service: Option<String>,
    /// Headers set on the request as the service gets it. Default: none. Example: `{ x-variant = "b" }`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Tags of the call, for the log. Default: none. Example: `{ experiment = "checkout-2" }`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

fn default_key() -> String {
    "user".to_owned()
}

/// A split as compiled.
#[derive(Debug)]
pub struct Split {
    /// Its name.
    pub name: Arc<str>,
    /// As it was written.
    pub written: Config,
    key: Source,
    levels: Vec<Level>,
    /// `default` first.
    branches: Vec<Arc<Branch>>,
    /// A place in `branches`.
    without_key: usize,
}

/// A branch as compiled.
#[derive(Debug)]
pub struct Branch {
    /// The name of its split.
    pub split: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Who answers; `None`: the service of the API.
    pub service: Option<Arc<Service>>,
    /// What became of its calls since the split says what it says.
    pub counts: Arc<Counts>,
    /// Set on the request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log.
    tags: Vec<Tag>,
    /// Set on the answer.
    answer_header: Option<(HeaderName, HeaderValue)>,
    /// Where its calls are counted; looked up at the first call.
    metrics: OnceLock<BranchMetrics>,
}

impl Branch {
    /// What is set on the request.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}

/// What a split says of a call.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'s> {
    /// Where it goes.
    pub branch: &'s Arc<Branch>,
    /// The level that says so, from 1; `None` when none did.
    pub level: Option<usize>,
}

/// Every split of a catalog.
#[derive(Debug, Default)]
pub struct Splits {
    by_name: BTreeMap<Arc<str>, Arc<Split>>,
    /// The files of uids they name.
    pub files: UidFiles,
}

/// What splits are compiled with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The files of uids.
    pub files: &'a UidFiles,
    /// Services that could be compiled.
    pub services: &'a BTreeMap<Arc<str>, Arc<Service>>,
    /// All services as written.
    pub written: &'a [service::Config],
}

impl Splits {
    /// Compiles the splits of a catalog; what was counted of those that say the same as before is carried over.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        configs: &[Config],
        positions: &Positions,
        surroundings: Surroundings<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut splits = Self { by_name: BTreeMap::new(), files: surroundings.files.clone() };
        for (index, written) in configs.iter().enumerate() {
            let at = At { positions, path: format!("split[{index}]") };
            if configs.iter().take(index).any(|other| other.name == written.name) {
                errors.push(at.error("name", format!("a second split {:?}", written.name), "give each its own name"));
                continue;
            }
            let before = before.and_then(|before| before.find(&written.name));
            let compiled = Split::compile(written, &at, surroundings, before.map(Arc::as_ref));
            if let Some(compiled) = errors.collect(compiled) {
                splits.by_name.insert(Arc::clone(&compiled.name), Arc::new(compiled));
            }
        }
        errors.into_result(splits)
    }

    /// The split of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Split>> {
        self.by_name.get(name)
    }

    /// Every split, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Split>> {
        self.by_name.values()
    }

    /// The split of an API, if it names one.
    ///
    /// # Errors
    /// When there is none of that name, or the API has no service that would be its default.
    pub fn of_api(
        &self,
        written: &api::Config,
        at: &At<'_>,
        all: &[Config],
    ) -> Result<Option<Arc<Split>>, ConfigErrors> {
        let Some(name) = &written.split else { return Ok(None) };
        let mut errors = ConfigErrors::new();
        if written.service.is_none() {
            let message = "a split chooses among services, and the API has none for the branch \"default\"";
            errors.push(at.error("split", message, "add service = \"…\", or remove split"));
        }
        let split = self.find(name).cloned();
        // One that is written but wrong has its own errors.
        if split.is_none() && !all.iter().any(|split| split.name == *name) {
            let remedy = match nearest(name, all.iter().map(|split| split.name.as_str())) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("add [[split]] with name = {name:?}"),
            };
            errors.push(at.error("split", format!("no split {name:?}"), remedy));
        }
        errors.into_result(split)
    }
}

impl Split {
    fn compile(
        written: &Config,
        at: &At<'_>,
        surroundings: Surroundings<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&written.name, at, &mut errors);
        let key = Source::parse(&written.key);
        if let Err(error) = &key {
            errors.push(at.error("key", error.to_string(), error.remedy.clone()));
        }
        if written.levels.len() > LEVELS_MAX {
            errors.push(at.error("levels", format!("more than {LEVELS_MAX} levels"), "join some of them"));
        }
        let answer_header = written.answer_header.as_ref().and_then(|name| {
            let parsed = header_name(name);
            let refuse =
                |error: String| at.error("answer_header", error, "write a name of your own, as in \"x-branch\"");
            parsed.map_err(|error| errors.push(refuse(error.to_string()))).ok()
        });
        // Whoever changes the rule begins to compare anew.
        let before = before.filter(|before| before.written == *written);
        let branches = errors.collect(branches(written, at, surroundings, answer_header.as_ref(), before));
        let names = std::iter::once(DEFAULT).chain(written.branches.iter().map(|branch| branch.name.as_str()));
        let place = |name: &str, key: &str, errors: &mut ConfigErrors| {
            let found = branches.as_ref().and_then(|branches| branches.iter().position(|branch| *branch.name == *name));
            if found.is_none() && !names.clone().any(|known| known == name) {
                let remedy = match nearest(name, names.clone()) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => format!("add {{ name = {name:?}, service = \"…\" }} to branches"),
                };
                errors.push(at.error(key, format!("no branch {name:?}"), remedy));
            }
            found.unwrap_or_default()
        };
        let without_key = match &written.without_key {
            Some(name) => place(name, "without_key", &mut errors),
            None => 0,
        };
        let salt = written.salt.as_deref().unwrap_or(&written.name);
        let mut levels = Vec::with_capacity(written.levels.len());
        for (index, level) in written.levels.iter().enumerate() {
            let branch = place(&level.branch, &format!("levels[{index}].branch"), &mut errors);
            let of_level = At { positions: at.positions, path: at.key(&format!("levels[{index}]")) };
            levels.extend(errors.collect(Level::compile(level, &of_level, salt, branch, surroundings.files)));
        }
        errors.into_result(())?;
        // What is missing here has its errors above.
        let (Ok(key), Some(branches)) = (key, branches) else { return Err(ConfigErrors::new()) };
        Ok(Self { name: written.name.as_str().into(), written: written.clone(), key, levels, branches, without_key })
    }

    /// Where a call goes.
    #[must_use]
    pub fn choose(&self, seen: &Seen<'_>) -> Option<Choice<'_>> {
        let uid = self.key.find(seen);
        let level = self.levels.iter().position(|level| level.takes(seen, uid.as_deref()));
        let place = match level.and_then(|level| self.levels.get(level)) {
            Some(level) => level.branch,
            None if uid.is_none() => self.without_key,
            None => 0,
        };
        Some(Choice { branch: self.branches.get(place)?, level: level.map(|level| level + 1) })
    }

    /// Its branches, `default` first.
    #[must_use]
    pub fn branches(&self) -> &[Arc<Branch>] {
        &self.branches
    }

    /// What each level asks for, and which branch it leads to.
    pub fn levels(&self) -> impl Iterator<Item = (String, &str)> {
        let branch = |level: &Level| self.branches.get(level.branch).map_or("", |branch| &*branch.name);
        self.levels.iter().map(move |level| (level.to_string(), branch(level)))
    }
}

/// The branches of a split, `default` first.
fn branches(
    written: &Config,
    at: &At<'_>,
    surroundings: Surroundings<'_>,
    answer_header: Option<&HeaderName>,
    before: Option<&Split>,
) -> Result<Vec<Arc<Branch>>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let now = clock::unix_ms();
    let split: Arc<str> = written.name.as_str().into();
    let counts = |name: &str| {
        let known = before.and_then(|before| before.branches.iter().find(|branch| *branch.name == *name));
        known.map_or_else(|| Arc::new(Counts::since(now)), |known| Arc::clone(&known.counts))
    };
    let branch = |config: &BranchConfig, service, headers, tags| Branch {
        split: Arc::clone(&split),
        name: config.name.as_str().into(),
        service,
        counts: counts(&config.name),
        headers,
        tags,
        answer_header: answer_header.cloned().zip(HeaderValue::from_str(&config.name).ok()),
        metrics: OnceLock::new(),
    };
    let usual = BranchConfig { name: DEFAULT.to_owned(), ..BranchConfig::default() };
    let mut branches = vec![Arc::new(branch(&usual, None, Vec::new(), Vec::new()))];
    for (index, config) in written.branches.iter().enumerate() {
        let at = At { positions: at.positions, path: at.key(&format!("branches[{index}]")) };
        check_name(&config.name, &at, &mut errors);
        if written.branches.iter().take(index).any(|other| other.name == config.name) {
            errors.push(at.error("name", format!("a second branch {:?}", config.name), "give each its own name"));
        }
        let service = match &config.service {
            Some(_) if config.name == DEFAULT => {
                let message = "the branch \"default\" is the service of the API";
                errors.push(at.error("service", message, "remove it, or give the branch another name"));
                None
            }
            Some(name) => target::find(name, &at, surroundings.services, surroundings.written, &mut errors),
            None if config.name != DEFAULT => {
                errors.push(at.error("name", "nobody answers its calls", "add service = \"…\""));
                None
            }
            None => None,
        };
        // The same bounds as for what flow rules set.
        let (mut headers, mut tags) = (Effects::default(), Effects::default());
        for (name, value) in &config.headers {
            if let Err(error) = headers.set_header(name, value) {
                let remedy = "set a header of your own, as in { x-variant = \"b\" }";
                errors.push(at.error(&format!("headers.{name}"), error.to_string(), remedy));
            }
        }
        for (name, value) in &config.tags {
            if let Err(error) = tags.tag(name, value) {
                errors.push(at.error(&format!("tags.{name}"), error.to_string(), "write a short name and value"));
            }
        }
        let headers = headers.headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let compiled = Arc::new(branch(config, service, headers, tags.tags));
        match branches.first_mut().filter(|_| config.name == DEFAULT) {
            Some(usual) => *usual = compiled,
            None => branches.push(compiled),
        }
    }
    errors.into_result(branches)
}

#[cfg(test)]
pub(crate) mod tests;
