//! `cache`: shows how much a node keeps of answers to anonymous reads, and has it give some up.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use serde_json::{Value, json};

use super::call::{Call, CallError, Where, explained};
use super::{fail, print, refuse};

/// Arguments of `cache`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show how many answers the node keeps, and their bytes
    Stats(Where),
    /// Have the node give up answers; others keep theirs
    Purge(Purge),
}

#[derive(Debug, Args)]
struct Purge {
    /// The beginning of the targets, as clients write them; / is everything
    prefix: String,
    /// The host as clients write it; without, every host
    #[arg(long)]
    host: Option<String>,
    #[command(flatten)]
    at: Where,
}

/// Why a command has not done what it should.
#[derive(Debug, thiserror::Error)]
enum CacheError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Refused(String),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.action {
        Action::Stats(at) => stats(at),
        Action::Purge(purge) => purge.run(),
    };
    match outcome {
        Ok(code) => code,
        Err(CacheError::Call(CallError::Config(errors))) => refuse(&errors),
        Err(error) => fail(&error),
    }
}

fn stats(at: &Where) -> Result<ExitCode, CacheError> {
    let answer = call_node(at, Role::Read, &Call { method: "GET", path: "/cache".into(), ..Call::default() })?;
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    Ok(print(&format!("{} answers, {} bytes\n", number("entries"), number("bytes"))))
}

impl Purge {
    fn run(&self) -> Result<ExitCode, CacheError> {
        let body = json!({ "host": self.host, "prefix": self.prefix }).to_string();
        let call = Call {
            method: "POST",
            path: "/cache/purge".into(),
            content_type: "application/json",
            body: body.as_bytes(),
            ..Call::default()
        };
        let answer = call_node(&self.at, Role::Operate, &call)?;
        let purged = answer.get("purged").and_then(Value::as_u64).unwrap_or_default();
        Ok(print(&format!("{purged} answers given up\n")))
    }
}

fn call_node(at: &Where, role: Role, call: &Call<'_>) -> Result<Value, CacheError> {
    let answer = at.node(role)?.call(call)?;
    if !(200..300).contains(&answer.status) {
        return Err(CacheError::Refused(explained(&answer)));
    }
    Ok(serde_json::from_str(&answer.body).unwrap_or_default())
}
