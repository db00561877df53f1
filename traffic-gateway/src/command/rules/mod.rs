//! `rules`: what the rules of the web application firewall say, what they would say, and what they have found.

mod check;
mod test;
mod explain;
mod replay;
mod exclude;
mod exclusion;
mod report;
mod cases;
mod log_line;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::config::ConfigErrors;

use super::call::CallError;
use super::{INVALID, fail, refuse};

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show every error and warning of rules and count them; exits with 64 if there is an error
    Check(check::Check),
    /// Run files of requests through the rules and show where the verdict is not the expected one; exits with 1 then
    Test(test::Test),
    /// Show every rule that a request matches, with the value that matched, the score and the decision
    Explain(explain::Explain),
    /// Compare the rules with those of another configuration on recorded requests: newly blocked, newly allowed, by rule
    Replay(replay::Replay),
    /// Print the narrowest exclusion for a denial in the security log
    Exclude(exclude::Exclude),
    /// Show how often each rule of the running node has matched, and those that never have
    Report(report::Report),
}

/// Why a command has not done what it should.
#[derive(Debug, thiserror::Error)]
enum RulesError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// The rules or the configuration are not in order.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// A file cannot be read or written.
    #[error("{0}")]
    File(String, #[source] std::io::Error),
    /// A file of requests is not in order.
    #[error("{0}: {1}")]
    Cases(String, gatehouse_waf::golden::Error),
    /// The command cannot be used like this.
    #[error("{0}")]
    Usage(String),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Impossible(String),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.action {
        Action::Check(check) => check.run(),
        Action::Test(test) => test.run(),
        Action::Explain(explain) => explain.run(),
        Action::Replay(replay) => replay.run(),
        Action::Exclude(exclude) => exclude.run(),
        Action::Report(report) => report.run(),
    };
    match outcome {
        Ok(code) => code,
        Err(RulesError::Call(CallError::Config(errors)) | RulesError::Config(errors)) => refuse(&errors),
        Err(error @ RulesError::Usage(_)) => {
            fail(&error);
            ExitCode::from(INVALID)
        }
        Err(error) => fail(&error),
    }
}

/// What a client has sent, on one line of printable ASCII.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Text that may hold what a client has sent: without control characters, which could play tricks on a terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// `1 rule`, `2 rules`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
