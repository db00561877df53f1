//! One request and its answer, seen by the rules in five phases.
//!
//! A [`Transaction`] is fed in the order of the wire: the request line and headers (phase 1), the body (phase 2), the
//! head of the answer (phase 3) and its body (phase 4). Each phase says whether the exchange may go on.
//! [`Transaction::finish`] runs phase 5 and tells what matched. Nothing here waits, and nothing is allocated for a
//! request in which nothing matches once the buffers have grown: [`Transaction::renew`] uses them again.
//!
//! What a rule does with a value is in `run`, what follows from a match in `act`; `items` says what variables are.
//!
//! # What differs from ModSecurity
//!
//! - `REQUEST_FILENAME` is the part of the target before the first raw `?`, decoded afterwards: an encoded `?` does not
//!   end it.
//! - JSON and XML bodies are read by their content type; no rule has to switch that on.
//! - `MATCHED_VAR` and its relatives belong to the rule that runs, and keep the names values had before (`ARGS:id`).
//! - Captures of an earlier match are forgotten at the next `capture`, also when that has fewer groups.
//! - `TIME` is in UTC, `REMOTE_HOST` is the address: verdicts do not wait for a name server.
//! - `deny` in phase 5 is only reported.

pub(crate) mod texts;
mod slots;
mod members;
mod tx;
mod time;
mod items;
mod state;
mod wake;
mod request;
mod body;
mod response;
mod run;
mod act;
mod expand;
mod report;
mod pool;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::rules::RuleSet;
use crate::seclang::ast::EngineMode;

pub use body::{BodySoFar, OVERLAP, WINDOW};
pub use pool::Pool;
pub use report::{MATCHED_BYTES, MATCHES, Match, MatchedTarget, Report, TARGETS};

use state::State;

/// What rules may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do not run.
    #[default]
    Off,
    /// They run and are reported, nothing is refused.
    Detect,
    /// They run and refuse. `SecRuleEngine DetectionOnly` in the files makes it [`Detect`](Self::Detect).
    Block,
}

/// Whether an exchange goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Pass,
    /// It is answered here.
    Deny {
        /// Status of the answer.
        status: u16,
        /// Number of the rule; 0 for a limit.
        by: u32,
    },
    /// The connection is closed without an answer.
    Drop {
        /// Number of the rule.
        by: u32,
    },
    /// It is answered with a redirect.
    Redirect {
        /// Status of the answer, 300 to 399.
        status: u16,
        /// Where to; bytes that are no text are replaced. It may hold what the client sent: check it like any header.
        location: String,
        /// Number of the rule.
        by: u32,
    },
}

/// What a transaction begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Address of the client.
    pub client: SocketAddr,
    /// Address it connected to.
    pub server: SocketAddr,
    /// The id of the request.
    pub unique_id: &'a str,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// A random number, for sampling.
    pub random: u64,
}

/// One request and its answer.
#[derive(Debug)]
pub struct Transaction {
    rules: Arc<RuleSet>,
    state: Box<State>,
}

impl Transaction {
    /// Begins a transaction.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, mode: Mode, start: Start<'_>) -> Self {
        let mut transaction = Self { rules, state: Box::new(State::new()) };
        transaction.begin(mode, start);
        transaction
    }

    /// Begins another transaction with the buffers of this one.
    pub fn renew(&mut self, rules: Arc<RuleSet>, mode: Mode, start: Start<'_>) {
        self.rules = rules;
        self.begin(mode, start);
    }

    fn begin(&mut self, mode: Mode, start: Start<'_>) {
        let rules = &*self.rules;
        let state = &mut *self.state;
        state.clear(rules);
        let sampled = start.random % 100 < u64::from(rules.settings.sampling_percentage);
        state.mode = match (mode, rules.settings.engine) {
            _ if !sampled => Mode::Off,
            (Mode::Off, _) | (_, EngineMode::Off) => Mode::Off,
            (Mode::Detect, _) | (_, EngineMode::DetectionOnly) => Mode::Detect,
            (Mode::Block, EngineMode::On) => Mode::Block,
        };
        state.engine = match state.mode {
            Mode::Off => EngineMode::Off,
            Mode::Detect => EngineMode::DetectionOnly,
            Mode::Block => EngineMode::On,
        };
        if state.engine == EngineMode::Off {
            return;
        }
        state.set_start(start);
    }

    /// The request line, the target as it came.
    pub fn request_line(&mut self, method: &[u8], raw_target: &[u8], protocol: &[u8]) {
        if self.state.engine != EngineMode::Off {
            self.state.set_request_line(&self.rules, method, raw_target, protocol);
        }
    }

    /// A header, in the order of the wire. Over HTTP/2 pass `:authority` as `host`.
    pub fn request_header(&mut self, name: &[u8], value: &[u8]) {
        if self.state.engine != EngineMode::Off {
            self.state.add_request_header(&self.rules, name, value);
        }
    }

    /// The head is complete: phase 1.
    pub fn request_head_end(&mut self) -> Verdict {
        self.state.run_phase(&self.rules, 1)
    }

    /// Whether the rules look at the body. If not, it need not be passed here.
    #[must_use]
    pub fn wants_request_body(&self) -> bool {
        self.state.wants_request_body(&self.rules)
    }

    /// A piece of the body. Denies when the body is longer than its limit; rules decide at its end.
    pub fn request_body(&mut self, piece: &[u8]) -> Verdict {
        self.state.take_body(&self.rules, piece)
    }

    /// Whether long files of the body may go on before its end, as far as [`body_so_far`](Self::body_so_far) says.
    #[must_use]
    pub fn streams_files(&self) -> bool {
        self.state.streams_files()
    }

    /// How far a body is of which parts may go on before its end; `None` for every other.
    #[must_use]
    pub fn body_so_far(&self) -> Option<BodySoFar> {
        self.state.body_so_far()
    }

    /// Judges the body as far as it is, as if it ended there: what is [`settled`](BodySoFar::settled) may go on if the rules
    /// let it pass. A denial stands; otherwise the verdict at the end is what it would be without this.
    pub fn judge_so_far(&mut self) -> Verdict {
        self.state.judge_so_far(&self.rules)
    }

    /// Only the beginning of the body is shown, up to here: that it is malformed for want of its end counts for nothing.
    pub fn request_body_cut(&mut self) {
        self.state.cut_body();
    }

    /// The request is complete, with or without a body: phase 2.
    pub fn request_end(&mut self) -> Verdict {
        self.state.end_body(&self.rules);
        self.state.run_phase(&self.rules, 2)
    }

    /// The body is sent again from its beginning, to another upstream: what came of it so far is forgotten. Once phase 2
    /// has run its verdict stands, and the body that comes again is not looked at.
    pub fn restart_request_body(&mut self) {
        self.state.restart_body();
    }

    /// The first line of the answer; the reason may be empty.
    pub fn response_head(&mut self, protocol: &[u8], status: u16, reason: &[u8]) {
        if self.state.engine != EngineMode::Off {
            self.state.response_line(protocol, status, reason);
        }
    }

    /// A header of the answer, in the order of the wire.
    pub fn response_header(&mut self, name: &[u8], value: &[u8]) {
        if self.state.engine != EngineMode::Off {
            self.state.add_response_header(&self.rules, name, value);
        }
    }

    /// The head of the answer is complete: phase 3.
    pub fn response_head_end(&mut self) -> Verdict {
        self.state.run_phase(&self.rules, 3)
    }

    /// Whether the rules look at the answer's body.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        self.state.wants_response_body(&self.rules)
    }

    /// A piece of the answer's body.
    pub fn response_body(&mut self, piece: &[u8]) -> Verdict {
        self.state.take_response_body(&self.rules, piece)
    }

    /// The answer is complete: phase 4. What is denied here is already on its way; the edge can only abort it.
    pub fn response_end(&mut self) -> Verdict {
        self.state.end_response_body(&self.rules);
        self.state.run_phase(&self.rules, 4)
    }

    /// Time since the transaction began, for `DURATION`. The crate reads no clock.
    pub fn elapsed(&mut self, elapsed: Duration) {
        self.state.milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    }

    /// Runs phase 5 and tells what was found. To be called once, at the end, whatever was decided.
    pub fn finish(&mut self) -> Report {
        self.state.run_phase(&self.rules, 5);
        self.state.take_report(&self.rules)
    }
}
