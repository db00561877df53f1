//! The cache control centre: `[[cache_rule]]` says what a node keeps of what it has read, for how long, and how much of it.
//!
//! The first rule whose kind and key pattern fit decides; what it leaves out, and keys without a rule, follow the defaults of the
//! kind. Rules are part of the catalog, so a change of them reaches every node; it counts for what is kept already, too.

use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions};
use gatehouse_store::app::RecordKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::catalog::At;

/// Longest time that anything about applications is used without having been read again. Removed records leave a trace for
/// longer than that.
const LONGEST_STALE: Duration = Duration::from_secs(24 * 3_600);
/// Longest time for which an unknown key is remembered as such.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(3_600);
/// Most rules: the pattern of each may be compared with the key of a call.
const MOST_RULES: usize = 64;
/// Most entries of a rule.
const MOST_ENTRIES: usize = 100_000_000;

/// `[[cache_rule]]`: what a node keeps of applications, sessions and subjects that it has read, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The rule's name; unique. Letters, digits, `.`, `_` and `-`. Example: `"partners"`.
    pub name: String,
    /// What it is about: `"app"`, `"session"` (users' authorisations) or `"subject"` (of client certificates).
    pub kind: Kind,
    /// The keys: an app key (for sessions, that of their application) or a subject, with at most one `*` for any text. The first
    /// rule that fits decides. Default: `"*"`. Example: `"partner-*"`.
    #[serde(default = "any")]
    pub keys: String,
    /// Whether anything is kept; without, every call reads from the store. Default: true.
    #[serde(default = "yes")]
    pub cached: bool,
    /// For how long what was read counts as fresh, less up to a tenth by chance. Changes are announced and do not wait for it.
    /// Default: `"15m"` for applications and subjects, `"5m"` for sessions.
    pub ttl: Option<HumanDuration>,
    /// For how long after `ttl` it is still used while it is read again, or while the store is away; then the answer is 503.
    /// `ttl` and `stale` together are at most a day. Default: `"1h"`.
    pub stale: Option<HumanDuration>,
    /// For how long a key is remembered as unknown; at most an hour. Default: `"30s"`.
    pub negative_ttl: Option<HumanDuration>,
    /// How many entries a node keeps under this rule, apart from those of other rules. Default: those of the kind share 100,000.
    pub entries: Option<usize>,
}

fn any() -> String {
    "*".to_owned()
}

fn yes() -> bool {
    true
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Applications.
    App,
    /// Users' authorisations.
    Session,
    /// Subjects of client certificates.
    Subject,
}

impl From<Kind> for RecordKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::App,
            Kind::Session => Self::Session,
            Kind::Subject => Self::Subject,
        }
    }
}

/// All rules, compiled, in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    all: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub kind: RecordKind,
    /// Which keys.
    pub keys: Pattern,
    /// What it says.
    pub terms: Terms,
    /// Entries of its own; `None`: it shares those of the kind.
    pub entries: Option<usize>,
}

/// What a rule says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether it is kept.
    pub is_cached: bool,
    /// How long it is fresh.
    pub ttl: Duration,
    /// How long it is used after that.
    pub stale: Duration,
    /// How long an unknown key is remembered as such.
    pub negative_ttl: Duration,
}

impl Terms {
    /// What holds where no rule says otherwise.
    #[must_use]
    pub fn of(kind: RecordKind) -> Self {
        let minutes = if kind == RecordKind::Session { 5 } else { 15 };
        Self {
            is_cached: true,
            ttl: Duration::from_secs(minutes * 60),
            stale: Duration::from_secs(3_600),
            negative_ttl: Duration::from_secs(30),
        }
    }
}

/// Entries that the keys of a kind share, where no rule says otherwise.
pub const ENTRIES: usize = 100_000;

/// A key pattern: text with at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this key.
    Exactly(Box<str>),
    /// Keys that begin and end like this.
    Around(Box<str>, Box<str>),
}

impl Pattern {
    /// `None` with more than one `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('*') {
            None => Some(Self::Exactly(text.into())),
            Some((_, end)) if end.contains('*') => None,
            Some((start, end)) => Some(Self::Around(start.into(), end.into())),
        }
    }

    /// Whether it fits a key.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        match self {
            Self::Exactly(text) => **text == *key,
            Self::Around(start, end) => {
                key.len() >= start.len() + end.len() && key.starts_with(&**start) && key.ends_with(&**end)
            }
        }
    }
}

impl Rules {
    /// Compiles the rules of a catalog, which stand at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(written: &[Config], positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut rules = Self::default();
        for (index, rule) in written.iter().enumerate() {
            let at = At { positions, path: format!("cache_rule[{index}]") };
            if written.iter().take(index).any(|other| other.name == rule.name) {
                errors.push(at.error("name", format!("a second cache rule {:?}", rule.name), "give each its own name"));
            }
            if index == MOST_RULES {
                errors.push(at.error("name", format!("more than {MOST_RULES} cache rules"), "use patterns"));
            }
            if let Some(rule) = errors.collect(compile(rule, &at)) {
                rules.all.push(rule);
            }
        }
        errors.into_result(rules)
    }

    /// The rules about one kind, in the order written.
    pub fn about(&self, kind: RecordKind) -> impl Iterator<Item = &Rule> {
        self.all.iter().filter(move |rule| rule.kind == kind)
    }
}

fn compile(written: &Config, at: &At<'_>) -> Result<Rule, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    crate::store::catalog::check_name(&written.name, at, &mut errors);
    let kind = RecordKind::from(written.kind);
    let keys = Pattern::parse(&written.keys);
    if keys.is_none() {
        errors.push(at.error("keys", format!("{:?} has more than one \"*\"", written.keys), "write one rule for each"));
    }
    let usual = Terms::of(kind);
    let or = |written: Option<HumanDuration>, usual: Duration| written.map_or(usual, HumanDuration::get);
    let terms = Terms {
        is_cached: written.cached,
        ttl: or(written.ttl, usual.ttl),
        stale: or(written.stale, usual.stale),
        negative_ttl: or(written.negative_ttl, usual.negative_ttl),
    };
    if terms.ttl.saturating_add(terms.stale) > LONGEST_STALE {
        let key = if written.stale.is_some() { "stale" } else { "ttl" };
        errors.push(at.error(key, "\"ttl\" and \"stale\" together are more than a day", "use less"));
    }
    if terms.negative_ttl > LONGEST_NEGATIVE {
        errors.push(at.error("negative_ttl", "more than an hour", "use at most \"1h\""));
    }
    match written.entries {
        Some(entries) if !(1..=MOST_ENTRIES).contains(&entries) => {
            let remedy = "write 1 to 100,000,000; cached = false keeps nothing";
            errors.push(at.error("entries", format!("{entries} entries cannot be kept"), remedy));
        }
        Some(_) if !written.cached => {
            errors.push(at.error("entries", "nothing is kept with cached = false", "remove one of the two"));
        }
        _ => {}
    }
    let rule = keys.map(|keys| Rule { name: written.name.clone(), kind, keys, terms, entries: written.entries });
    match rule {
        Some(rule) => errors.into_result(rule),
        None => Err(errors),
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Catalog {
        cache_rule: Vec<Config>,
    }

    pub(crate) fn rules(text: &str) -> Result<Rules, ConfigErrors> {
        let file = SourceFile { path: "catalog.toml".into(), text: text.to_owned() };
        let document = parse::<Catalog>(&file)?;
        Rules::compile(&document.value.cache_rule, &document.positions)
    }

    #[test]
    fn patterns_fit_whole_keys() {
        let fits = |pattern: &str, key: &str| Pattern::parse(pattern).unwrap().fits(key);
        assert!(fits("*", "") && fits("*", "shop") && fits("shop", "shop") && !fits("shop", "shops"));
        assert!(fits("sh*", "shop") && fits("*op", "shop") && fits("s*p", "shop") && !fits("sho*hop", "shop"));
        assert!(Pattern::parse("a*b*").is_none());
    }

    #[test]
    fn what_a_rule_leaves_out_follows_the_defaults() {
        let rules = rules("[[cache_rule]]\nname = \"a\"\nkind = \"session\"\nttl = \"1s\"\n").unwrap();
        let rule = rules.about(RecordKind::Session).next().unwrap();
        assert_eq!(rule.terms, Terms { ttl: Duration::from_secs(1), ..Terms::of(RecordKind::Session) });
        assert_eq!((rules.about(RecordKind::App).count(), rule.entries), (0, None));
        assert!(rule.keys.fits("anything"));
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "\
[[cache_rule]]
name = \"a b\"
kind = \"app\"
keys = \"a*b*\"
ttl = \"23h\"
stale = \"2h\"
negative_ttl = \"2h\"
entries = 0
[[cache_rule]]
name = \"b\"
kind = \"app\"
cached = false
entries = 7
[[cache_rule]]
name = \"b\"
kind = \"subject\"
";
        let found = rules(text).unwrap_err().to_string();
        for expected in [
            "catalog.toml:2:8: \"a b\" is not a name",
            "catalog.toml:4:8: \"a*b*\" has more than one \"*\"",
            "catalog.toml:6:9: \"ttl\" and \"stale\" together are more than a day",
            "catalog.toml:7:16: more than an hour",
            "catalog.toml:8:11: 0 entries cannot be kept",
            "catalog.toml:13:11: nothing is kept with cached = false",
            "catalog.toml:15:8: a second cache rule \"b\"",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
        assert_eq!(found.lines().count(), 7, "{found}");
    }
}
