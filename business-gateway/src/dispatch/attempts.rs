//! What became of each try of a call, where there was more than one.

use std::net::SocketAddr;
use std::time::Duration;

use gatehouse_shared::telemetry::access_log::Line;

use super::plan::MAX_TRIES;

/// One try.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// Its number in the service, from 1: what clients are told instead of its address.
    pub number: usize,
    /// How it ended: `ok`, a status that was not taken, or why there was none.
    pub outcome: Outcome,
    /// From its beginning to the head of the answer, or to giving up.
    pub took: Duration,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With the answer that the call got.
    Answered(u16),
    /// With an answer that was given up for another try.
    Replaced(u16),
    /// No connection could be opened, or it ended before it took the request.
    Unreachable,
    /// The connection ended before an answer.
    Broken,
    /// No answer came within the time of a try.
    Slow,
    /// It ended the call, without an answer.
    Failed,
}

impl Outcome {
    /// As it stands in the log and in `Server-Timing`, beside the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Replaced(_) => "replaced",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }

    /// The same for a try that was not the last one.
    pub(super) const fn not_taken(self) -> Self {
        match self {
            Self::Answered(status) => Self::Replaced(status),
            other => other,
        }
    }

    /// The status, where there was an answer.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) | Self::Replaced(status) => Some(status),
            _ => None,
        }
    }
}

/// The tries of a call. Empty, and without any cost, for a call that the first one answered and that nobody wants to see.
#[derive(Debug, Default)]
pub struct Attempts {
    tries: Vec<Attempt>,
    /// Keep the only try, too.
    keeps_all: bool,
}

impl Attempts {
    /// Keeps the tries of a call that one try answers, too.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// A try that was not the last one.
    pub(super) fn failed(&mut self, attempt: Attempt) {
        if self.tries.is_empty() {
            self.tries.reserve_exact(usize::try_from(MAX_TRIES).unwrap_or(0));
        }
        self.tries.push(attempt);
    }

    /// The last try.
    pub(super) fn ended(&mut self, attempt: Attempt) {
        if self.keeps_all || !self.tries.is_empty() {
            self.tries.push(attempt);
        }
    }

    /// Every try that was kept, in order.
    #[must_use]
    pub fn all(&self) -> &[Attempt] {
        &self.tries
    }

    /// Appends them to a line of the access log, if there was more than one.
    pub fn write(&self, line: &mut Line) {
        if self.tries.len() < 2 {
            return;
        }
        line.objects("tries", &self.tries, |line, attempt| {
            line.address("endpoint", attempt.endpoint);
            line.utf8("outcome", attempt.outcome.as_str());
            if let Some(status) = attempt.outcome.status() {
                line.number("status", u64::from(status));
            }
            line.millis("ms", attempt.took);
        });
    }
}
