//! `token`: the tokens of the admin listener. They are kept as hashes in the state directory of the node; a running node sees a
//! change with the next request.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::{self, Role};
use gatehouse_shared::config::{ConfigErrors, SourceFile, parse};

use super::{ConfigDir, fail, print, refuse};
use crate::config::{self, Config};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it; it cannot be shown again
    Add(Add),
    /// List names, roles and times of creation
    List(ConfigDir),
    /// Make a token useless
    Revoke(Revoke),
}

/// Arguments of `token add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Name of the token, for the audit log
    name: String,
    /// What it allows: read, operate or secrets
    #[arg(long, default_value = "read")]
    role: Role,
    #[command(flatten)]
    config: ConfigDir,
}

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Name of the token
    name: String,
    #[command(flatten)]
    config: ConfigDir,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let config = match command {
        Command::Add(add) => &add.config,
        Command::List(config) => config,
        Command::Revoke(revoke) => &revoke.config,
    };
    let state_dir = match state_dir(&config.dir) {
        Ok(state_dir) => state_dir,
        Err(errors) => return refuse(&errors),
    };
    let outcome = match command {
        Command::Add(add) => admin::add(&state_dir, &add.name, add.role).map(|token| format!("{token}\n")),
        Command::List(_) => admin::list(&state_dir).map(|tokens| {
            tokens.iter().map(|token| format!("{}\t{}\t{}\n", token.name, token.role, token.created)).collect()
        }),
        Command::Revoke(revoke) => admin::revoke(&state_dir, &revoke.name).map(|()| String::new()),
    };
    match outcome {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

/// Only the state directory is needed, so a catalog that is wrong is no hindrance.
fn state_dir(dir: &Path) -> Result<PathBuf, ConfigErrors> {
    let written = parse::<Config>(&SourceFile::read(dir, config::FILE)?)?;
    Ok(written.value.process.state_dir)
}
