//! What access lists have to say about a request.

use std::fmt;

use gatehouse_shared::cidr::{Entry, Network};

/// What was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The address of the client.
    Network,
    /// The host.
    Host,
    /// The method.
    Method,
    /// The user agent.
    UserAgent,
    /// Path and query.
    Url,
}

impl Kind {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Host => "host",
            Self::Method => "method",
            Self::UserAgent => "user_agent",
            Self::Url => "url",
        }
    }
}

/// The entry of a list that fits, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched<'a> {
    /// A network.
    Network(Network),
    /// A pattern or name.
    Pattern(&'a str),
}

impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

/// Which entry of which list has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<'a> {
    /// What was judged.
    pub kind: Kind,
    /// The file of the list, relative to the configuration directory; entries of the configuration itself have its name.
    pub list: &'a str,
    /// Its line, from 1; 0 where there are no lines.
    pub line: u32,
    /// The entry as it is written.
    pub entry: Matched<'a>,
    /// From when on it does not count, in Unix seconds; `None`: never.
    pub until: Option<u64>,
    /// Who answers for it.
    pub owner: Option<&'a str>,
    /// The ticket it belongs to.
    pub ticket: Option<&'a str>,
    /// Why it is there.
    pub reason: Option<&'a str>,
}

impl<'a> From<Entry<'a>> for Finding<'a> {
    fn from(entry: Entry<'a>) -> Self {
        let note = entry.note();
        Self {
            kind: Kind::Network,
            list: entry.list(),
            line: entry.line(),
            entry: Matched::Network(entry.network()),
            until: note.until,
            owner: note.owner,
            ticket: note.ticket,
            reason: note.reason,
        }
    }
}

/// What follows for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// Nothing is listed.
    Pass,
    /// An allowed network: no further check concerns it.
    Allowed(Finding<'a>),
    /// An allowed URL: the WAF does not look at it; everything else does.
    SkipWaf(Finding<'a>),
    /// It is turned away.
    Denied(Finding<'a>),
}
