//! Which running node a command calls, and what comes of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::admin::Role;
use gatehouse_shared::config::{ConfigErrors, SourceFile, parse};
use serde_json::Value;

use super::{ConfigDir, fail, refuse};
use crate::config::{Config, FILE};

pub(super) use gatehouse_shared::admin::client::{Call, CallError, Node, explained};

/// Exit code of a change that is stored, but not in force everywhere yet.
pub(super) const NOT_EVERYWHERE: u8 = 3;

/// Which node is called, and as whom.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    #[command(flatten)]
    pub(super) config: ConfigDir,
    /// File with the admin token [default: admin-token-ROLE in the state directory]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why a command has not done what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The node was not reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It refused, or a file cannot be used.
    #[error("{0}")]
    Refused(String),
}

impl From<ConfigErrors> for CommandError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Call(CallError::Config(errors))
    }
}

impl Where {
    /// `business.toml` of the node; a catalog that is wrong is no hindrance.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub(super) fn business(&self) -> Result<Config, ConfigErrors> {
        Ok(parse::<Config>(&SourceFile::read(&self.config.dir, FILE)?)?.value)
    }

    /// The node that runs with the configuration, called with the token of the file, or that of `role`.
    ///
    /// # Errors
    /// No such node, or no token.
    pub(super) fn node(&self, role: Role) -> Result<Node, CallError> {
        Node::find(&self.business()?.process.state_dir, self.token_file.as_deref(), role)
    }

    /// Calls the node that runs with the configuration, with the token of the file, or that of `role`.
    ///
    /// # Errors
    /// No such node, no token, no answer, or a refusal.
    pub(super) fn call(&self, role: Role, call: &Call<'_>) -> Result<Value, CommandError> {
        let answer = self.node(role)?.call(call)?;
        if !(200..300).contains(&answer.status) {
            return Err(CommandError::Refused(explained(&answer)));
        }
        serde_json::from_str(&answer.body)
            .map_err(|error| CommandError::Refused(format!("the node's answer is not JSON: {error}")))
    }

    /// The same with `GET` and the role `read`.
    ///
    /// # Errors
    /// As [`Where::call`].
    pub(super) fn get(&self, path: &str, query: Vec<(&'static str, String)>) -> Result<Value, CommandError> {
        self.call(Role::Read, &Call { method: "GET", path: path.into(), query, ..Call::default() })
    }
}

/// The exit code of what a command did.
pub(super) fn ended(outcome: Result<ExitCode, CommandError>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(CommandError::Call(CallError::Config(errors))) => refuse(&errors),
        Err(error) => fail(&error),
    }
}
