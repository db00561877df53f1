//! What access lists have to say about a request.

use std::fmt;
use std::sync::Arc;

use gatehouse_shared::cidr::{Network, Note};
use gatehouse_shared::problem::{self, Reason};

use crate::admit::{Action, Denial, Entry, Evidence, Mode, Source};

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
    /// Why a request is refused that has this on a list.
    #[must_use]
    pub fn reason(self) -> &'static Reason {
        match self {
            Self::Network => &problem::NETWORK_DENIED,
            Self::Host => &problem::HOST_DENIED,
            Self::Method => &problem::METHOD_DENIED,
            Self::UserAgent => &problem::USER_AGENT_DENIED,
            Self::Url => &problem::URL_DENIED,
        }
    }

    /// What the security log calls what was looked at.
    #[must_use]
    pub fn looked_at(self) -> &'static str {
        match self {
            Self::Network => "client",
            Self::Host => "host",
            Self::Method => "method",
            Self::UserAgent => "header user-agent",
            Self::Url => "url",
        }
    }
}

/// What holds for all entries of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The name of the list.
    pub list: Arc<str>,
    /// Whether its denials have an effect.
    pub mode: Mode,
    /// How the client is answered; `None`: as `[answer]` says.
    pub action: Option<Action>,
}

impl Terms {
    /// Whether a connection is closed for it before anything is read: nobody asked for another answer.
    pub(super) fn closes_connections(&self) -> bool {
        self.mode == Mode::Enforce && matches!(self.action, None | Some(Action::Drop))
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
    /// What holds for the whole list.
    pub terms: &'a Terms,
    /// The file, relative to the configuration directory.
    pub file: &'a Arc<str>,
    /// Its line, from 1.
    pub line: u32,
    /// The entry.
    pub entry: Matched<'a>,
    /// What is written beside it.
    pub note: Note<'a>,
}

impl Finding<'_> {
    /// The refusal of a request in which this value was found.
    #[must_use]
    pub fn denial(&self, value: &[u8]) -> Denial {
        let note = &self.note;
        let entry = Entry {
            text: self.entry.to_string().into(),
            file: Some(Arc::clone(self.file)),
            line: Some(self.line),
            owner: note.owner.map(Into::into),
            ticket: note.ticket.map(Into::into),
            reason: note.reason.map(Into::into),
            until_unix_ms: note.until.map(|until| until.saturating_mul(1_000)),
        };
        let evidence = Evidence::new(Source::List, Arc::clone(&self.terms.list)).entry(entry);
        let evidence = evidence.matched(self.kind.looked_at(), value);
        Denial { action: self.terms.action, mode: self.terms.mode, ..Denial::from(self.kind.reason()) }
            .because_of(evidence)
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
