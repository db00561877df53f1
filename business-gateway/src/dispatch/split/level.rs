//! One level of a split: conditions that a call meets or does not, and the branch of those that meet them all.

use std::fmt;
use std::sync::Arc;

use gatehouse_shared::cidr::{Network, NetworkSet, NetworkSetBuilder, Note};
use gatehouse_shared::config::ConfigErrors;
use schemars::JsonSchema;
use serde::Deserialize;

use super::share::Share;
use super::source::{Seen, Source};
use super::uids::{self, UidFiles, Uids};
use crate::store::catalog::At;

/// A level of a split, as written: at least one condition, and the branch of calls that meet all of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelConfig {
    /// A share of those who come to this level and meet its other conditions, in hundredths, with up to four digits behind the
    /// point: always the same uids. Example: `5`.
    pub percent: Option<f64>,
    /// Networks of clients. Example: `["10.20.0.0/16"]`.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// The first and the last of a range of uids that are whole numbers. Example: `[1000, 1999]`.
    pub uid_range: Option<[u64; 2]>,
    /// Ends of uids. Example: `["0", "5"]`.
    #[serde(default)]
    pub uid_suffixes: Vec<String>,
    /// Uids.
    #[serde(default)]
    pub uids: Vec<String>,
    /// A file of uids, one a line, up to 1,000,000; relative to the configuration directory. Example: `"lists/beta-users.txt"`.
    pub uid_file: Option<String>,
    /// Something of the call that must have one of `values`: `"query:NAME"`, `"header:NAME"`, `"cookie:NAME"`, `"app"`,
    /// `"app.plan"`, `"app.class"`, `"app.owner"`, `"app.name"`, `"user"` or `"client"`. Example: `"query:city"`.
    pub argument: Option<String>,
    /// The values of `argument`. Example: `["Hangzhou", "Suzhou"]`.
    #[serde(default)]
    pub values: Vec<String>,
    /// Where calls go that meet all conditions: one of the branches, or `"default"`. Example: `"canary"`.
    pub branch: String,
}

/// A level as compiled.
#[derive(Debug)]
pub struct Level {
    conditions: Vec<Condition>,
    /// Where calls go: a place in the branches of the split.
    pub branch: usize,
}

/// What a level asks of a call.
#[derive(Debug)]
enum Condition {
    Networks(Box<NetworkSet>),
    Argument(Source, Box<[Box<str>]>),
    UidRange(u64, u64),
    UidSuffixes(Box<[Box<str>]>),
    Uids(Arc<Uids>),
    Share(Share, f64),
}

impl Level {
    /// Compiles a level that leads to `branch`; shares are told apart by `salt` and the name of the branch.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn compile(
        written: &LevelConfig,
        at: &At<'_>,
        salt: &str,
        branch: usize,
        files: &UidFiles,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        // The cheapest first; the share, which is of those who meet all others, last.
        let mut conditions = Vec::new();
        if !written.networks.is_empty() {
            conditions.extend(errors.collect(networks(&written.networks, at)));
        }
        if let Some([first, last]) = written.uid_range {
            if first > last {
                errors.push(at.error("uid_range", "a range that ends before it begins", "write the smaller uid first"));
            }
            conditions.push(Condition::UidRange(first, last));
        }
        if !written.uid_suffixes.is_empty() {
            check_uids(&written.uid_suffixes, "uid_suffixes", at, &mut errors);
            conditions
                .push(Condition::UidSuffixes(written.uid_suffixes.iter().map(|end| end.as_str().into()).collect()));
        }
        conditions.extend(argument(written, at, &mut errors));
        if !written.uids.is_empty() {
            check_uids(&written.uids, "uids", at, &mut errors);
            conditions.push(Condition::Uids(Arc::new(written.uids.iter().map(String::as_str).collect())));
        }
        if let Some(file) = &written.uid_file {
            // A file that could not be read has its own errors.
            conditions.push(Condition::Uids(files.find(file).cloned().unwrap_or_default()));
        }
        if let Some(percent) = written.percent {
            match Share::new(salt, &written.branch, percent) {
                Some(share) => conditions.push(Condition::Share(share, percent)),
                None => errors.push(at.error("percent", format!("{percent} is no share"), "write 0 to 100")),
            }
        }
        if conditions.is_empty() && errors.is_empty() {
            let remedy = "add percent, networks, uid_range, uid_suffixes, uids, uid_file or argument";
            errors.push(at.error("branch", "a level without a condition would take every call", remedy));
        }
        errors.into_result(Self { conditions, branch })
    }

    /// Whether a call of this uid meets all conditions.
    #[must_use]
    pub fn takes(&self, seen: &Seen<'_>, uid: Option<&str>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(seen, uid))
    }
}

impl Condition {
    fn holds(&self, seen: &Seen<'_>, uid: Option<&str>) -> bool {
        match self {
            Self::Networks(networks) => networks.contains(seen.client),
            Self::Argument(source, values) => {
                source.find(seen).is_some_and(|value| values.iter().any(|known| **known == *value))
            }
            Self::UidRange(first, last) => uid.and_then(number).is_some_and(|uid| (*first..=*last).contains(&uid)),
            Self::UidSuffixes(ends) => uid.is_some_and(|uid| ends.iter().any(|end| uid.ends_with(&**end))),
            Self::Uids(uids) => uid.is_some_and(|uid| uids.contains(uid)),
            Self::Share(share, _) => uid.is_some_and(|uid| share.has(uid)),
        }
    }
}

/// A uid that is a whole number, written in digits alone.
fn number(uid: &str) -> Option<u64> {
    uid.bytes().all(|byte| byte.is_ascii_digit()).then(|| uid.parse().ok())?
}

/// In words.
impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, condition) in self.conditions.iter().enumerate() {
            if place > 0 {
                out.write_str(" and ")?;
            }
            match condition {
                Condition::Networks(networks) => {
                    let all: Vec<_> = networks.iter().take(SHOWN).map(|entry| entry.network().to_string()).collect();
                    write!(out, "client in {}", some(&all, networks.len()))?;
                }
                Condition::Argument(source, values) => {
                    write!(out, "{source} is {}", some(values, values.len()))?;
                }
                Condition::UidRange(first, last) => write!(out, "uid {first} to {last}")?,
                Condition::UidSuffixes(ends) => write!(out, "uid ends in {}", some(ends, ends.len()))?,
                Condition::Uids(uids) => write!(out, "uid among {}", uids.len())?,
                Condition::Share(_, percent) => write!(out, "{percent} %")?,
            }
        }
        Ok(())
    }
}

/// Values that are shown of a long list.
const SHOWN: usize = 4;

/// The first of a list, and how many more there are.
fn some<T: AsRef<str>>(values: &[T], count: usize) -> String {
    let shown: Vec<&str> = values.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match count.saturating_sub(shown.len()) {
        0 => shown.join(" or "),
        more => format!("{} or {more} more", shown.join(", ")),
    }
}

fn networks(written: &[Network], at: &At<'_>) -> Result<Condition, ConfigErrors> {
    let mut builder = NetworkSetBuilder::new("networks");
    for network in written {
        builder.add(*network, &Note::default(), 0);
    }
    let set = builder.build();
    let set = set.map_err(|error| at.error("networks", error.to_string(), "write fewer networks"))?;
    Ok(Condition::Networks(Box::new(set)))
}

fn argument(written: &LevelConfig, at: &At<'_>, errors: &mut ConfigErrors) -> Option<Condition> {
    let Some(name) = &written.argument else {
        if !written.values.is_empty() {
            errors.push(at.error("values", "values of nothing", "add argument = \"query:city\", say"));
        }
        return None;
    };
    if written.values.is_empty() {
        errors.push(at.error("argument", "no values that it may have", "add values = [\"…\"]"));
    }
    if written.values.iter().any(String::is_empty) {
        errors.push(at.error("values", "an empty value, which counts as none", "remove it"));
    }
    match Source::parse(name) {
        Ok(source) => {
            Some(Condition::Argument(source, written.values.iter().map(|value| value.as_str().into()).collect()))
        }
        Err(error) => {
            errors.push(at.error("argument", error.to_string(), error.remedy));
            None
        }
    }
}

fn check_uids(written: &[String], key: &str, at: &At<'_>, errors: &mut ConfigErrors) {
    for (index, uid) in written.iter().enumerate() {
        if let Err(message) = uids::check(uid) {
            errors.push(at.error(&format!("{key}[{index}]"), message, "write uids as the key gives them"));
        }
    }
}
