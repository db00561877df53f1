//! `block`: the dynamic blocklist of the node that runs with a configuration, and of its fleet.

mod change;
mod look;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::cidr::Network;
use serde_json::Value;

use super::call::{Answer, Call, CallError, Where, explained};
use super::{THIS_NODE_ONLY, fail, refuse};

/// Arguments of `block`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Block a network, on all nodes of the fleet
    Add(change::Add),
    /// Take a network off the list
    Remove(change::Remove),
    /// Show the entries: network, until, owner, ticket, by, reason
    List(look::List),
    /// Block every network of a list: our own format, FireHOL, Spamhaus DROP, CrowdSec CSV
    Import(change::Import),
    /// Print the entries as a list that `import` and `[[access.list]]` read
    Export(Where),
    /// Show the last changes: time, by, node, network, what
    History(look::History),
    /// Show who is refused most, and who connects most without logging in: network, how often, why
    Suggest(look::Suggest),
}

/// Why a command has not done what it should.
#[derive(Debug, thiserror::Error)]
enum BlockError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// The node refused.
    #[error("{0}")]
    Refused(String),
    /// What is to be imported is not in order.
    #[error("{0}")]
    Input(#[from] gatehouse_shared::config::ConfigErrors),
    /// A file cannot be read.
    #[error("cannot read {0}")]
    File(String, #[source] std::io::Error),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.action {
        Action::Add(add) => change::add(add),
        Action::Remove(remove) => change::remove(remove),
        Action::Import(import) => change::import(import),
        Action::List(list) => look::list(list),
        Action::Export(at) => look::export(at),
        Action::History(history) => look::history(history),
        Action::Suggest(suggest) => look::suggest(suggest),
    };
    match outcome {
        Ok(code) => code,
        Err(BlockError::Call(CallError::Config(errors)) | BlockError::Input(errors)) => refuse(&errors),
        Err(error) => fail(&error),
    }
}

/// The body of an answer that is not a refusal.
fn accepted(answer: Answer) -> Result<Answer, BlockError> {
    if (200..300).contains(&answer.status) { Ok(answer) } else { Err(BlockError::Refused(explained(&answer))) }
}

fn get(at: &Where, path: &'static str, query: Vec<(&'static str, String)>) -> Result<String, BlockError> {
    let call = Call { method: "GET", path: path.into(), query, ..Call::default() };
    Ok(accepted(at.node(Role::Read)?.call(&call)?)?.body)
}

/// A part of what the node said, such as `/after/until`; `null` where there is none.
fn part<'a>(said: &'a Value, path: &str) -> &'a Value {
    said.pointer(path).unwrap_or(&Value::Null)
}

/// A network on the command line.
fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: gatehouse_shared::cidr::NetworkError| error.to_string())
}
