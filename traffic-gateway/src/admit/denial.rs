//! Why a request goes no further, what its client is told, and what the security log says about it.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use gatehouse_shared::problem::Reason;
use http::{HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::Deserialize;

/// Most bytes of a matched value that are kept for the security log.
pub const MATCHED_MAX: usize = 256;

/// A refusal. Made only when something is refused: a clean request costs no allocation here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Code, status and texts.
    pub reason: &'static Reason,
    /// The status of the answer, where it is not that of the reason.
    pub status: Option<NonZeroU16>,
    /// What is particular about this case; the client reads it, so it never says anything about the inside.
    pub detail: Option<String>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// How the client is answered; `None`: as `[answer]` says for the reason.
    pub action: Option<Action>,
    /// Whether it counts, or is only written down.
    pub mode: Mode,
    /// The stage that refused; `None` where nobody refused but something failed, such as a business node.
    pub stage: Option<&'static str>,
    /// What exactly matched, for the security log alone.
    pub evidence: Option<Box<Evidence>>,
    /// Further headers of the answer, such as the RateLimit fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How a refused client is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A problem document, or an HTML page for browsers.
    #[default]
    Page,
    /// Nothing: an HTTP/1 connection is closed, an HTTP/2 stream reset.
    Drop,
    /// A redirect to the location that `[answer]` names.
    Redirect,
}

/// Whether what a rule finds has an effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Requests are refused.
    #[default]
    Enforce,
    /// Nothing is refused; what would have been is counted and written to the security log.
    Observe,
}

/// What led to a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of thing matched.
    pub source: Source,
    /// Its name as configured.
    pub name: Arc<str>,
    /// The entry of a list.
    pub entry: Option<Entry>,
    /// The value that matched.
    pub matched: Option<Matched>,
    /// What the rules of the WAF found.
    pub findings: Option<Box<Findings>>,
}

/// What the rules of the WAF found in a request or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The anomaly score, and from which on it is too much; `None` where one rule refused by itself.
    pub score: Option<(u32, u32)>,
    /// The rules that matched, in their order.
    pub rules: Vec<Finding>,
}

/// One rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its number.
    pub id: u32,
    /// Its message.
    pub message: Box<str>,
    /// What it adds to the score.
    pub score: u32,
    /// 0 (emergency) to 7 (debug), as in syslog.
    pub severity: Option<u8>,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// The file it stands in, and the line.
    pub place: (Arc<str>, u32),
    /// What it matched.
    pub matched: Matched,
}

/// The kind of thing that matched; its name is the key in the security log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// One rule.
    Rule,
    /// A list of entries.
    List,
    /// A limit.
    Limit,
}

/// Where an entry of a list was written, and what was written with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The entry itself, such as `192.0.2.0/24`.
    pub text: Box<str>,
    /// The file, relative to the configuration directory; `None` for a dynamic entry.
    pub file: Option<Arc<str>>,
    /// The line in that file, from 1.
    pub line: Option<u32>,
    /// Who is responsible.
    pub owner: Option<Box<str>>,
    /// The ticket behind it.
    pub ticket: Option<Box<str>>,
    /// Why it is there.
    pub reason: Option<Box<str>>,
    /// When it ends, Unix milliseconds.
    pub until_unix_ms: Option<u64>,
}

/// What matched, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// What was looked at: `client`, `path`, `header user-agent`, …
    pub what: Box<str>,
    /// Its first [`MATCHED_MAX`] bytes as they came; whoever writes them escapes them.
    pub value: Box<[u8]>,
    /// Bytes of the whole value.
    pub length: usize,
}

impl Matched {
    /// The first [`MATCHED_MAX`] bytes of a value.
    #[must_use]
    pub fn new(what: impl Into<Box<str>>, value: &[u8]) -> Self {
        let kept = value.get(..MATCHED_MAX).unwrap_or(value);
        Self { what: what.into(), value: kept.into(), length: value.len() }
    }
}

impl From<&'static Reason> for Denial {
    fn from(reason: &'static Reason) -> Self {
        Self {
            reason,
            status: None,
            detail: None,
            retry_after: None,
            action: None,
            mode: Mode::Enforce,
            stage: None,
            evidence: None,
            headers: Vec::new(),
        }
    }
}

impl Denial {
    /// The same, decided by `stage`.
    #[must_use]
    pub fn by(mut self, stage: &'static str) -> Self {
        self.stage = Some(stage);
        self
    }

    /// The status of its answer, if it gets one.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.map_or(self.reason.status, NonZeroU16::get)
    }

    /// The same, with what led to it.
    #[must_use]
    pub fn because_of(mut self, evidence: Evidence) -> Self {
        self.evidence = Some(Box::new(evidence));
        self
    }
}

impl Evidence {
    /// A rule, list or limit of this name.
    #[must_use]
    pub fn new(source: Source, name: impl Into<Arc<str>>) -> Self {
        Self { source, name: name.into(), entry: None, matched: None, findings: None }
    }

    /// The same, with the entry that matched.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entry = Some(entry);
        self
    }

    /// The same, with the value that matched; for values that are secrets there is [`Evidence::matched_secret`].
    #[must_use]
    pub fn matched(mut self, what: impl Into<Box<str>>, value: impl AsRef<[u8]>) -> Self {
        self.matched = Some(Matched::new(what, value.as_ref()));
        self
    }

    /// The same, with what the rules found.
    #[must_use]
    pub fn findings(mut self, findings: Findings) -> Self {
        self.findings = Some(Box::new(findings));
        self
    }

    /// The same for a value that must not be in a log, such as a token or a session cookie: only the first 16 hexadecimal
    /// digits of its SHA-256 are kept, so that two lines about the same secret can be told to be so.
    #[must_use]
    pub fn matched_secret(self, what: impl Into<Box<str>>, value: impl AsRef<[u8]>) -> Self {
        self.matched(what, secret_digest(value.as_ref()))
    }
}

/// What a log says of a secret: `sha256:` and the first 16 hexadecimal digits of its SHA-256.
pub(crate) fn secret_digest(value: &[u8]) -> String {
    let digest = digest(&SHA256, value);
    let hex: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Action {
    /// Its name in configuration and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Drop => "drop",
            Self::Redirect => "redirect",
        }
    }
}

impl Mode {
    /// Its name in configuration and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

impl Source {
    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::List => "list",
            Self::Limit => "limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matched_value_is_kept_up_to_its_bound_and_its_length_is_known() {
        let evidence = Evidence::new(Source::Rule, "agents").matched("header user-agent", "x".repeat(10_000));
        let matched = evidence.matched.unwrap();
        assert_eq!((matched.value.len(), matched.length), (MATCHED_MAX, 10_000));
        let short = Evidence::new(Source::List, "bad").matched("client", "192.0.2.1").matched.unwrap();
        assert_eq!((&*short.value, short.length), (b"192.0.2.1".as_slice(), 9));
    }

    #[test]
    fn of_a_secret_only_a_digest_is_kept() {
        let evidence = Evidence::new(Source::Limit, "logins").matched_secret("cookie session", "abc");
        assert_eq!(&*evidence.matched.unwrap().value, b"sha256:ba7816bf8f01cfea");
    }

    /// The result of every check carries one: small enough to be returned by value.
    #[test]
    fn a_denial_is_small() {
        assert!(size_of::<Denial>() <= 128, "{}", size_of::<Denial>());
    }
}
