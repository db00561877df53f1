//! The subcommands, one file each.

mod run;
mod check;
mod schema;
mod upgrade;
mod token;
mod call;
mod block;
mod route;
mod cache;
mod rules;
mod audit;
mod reference;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

/// Exit code of an invalid configuration or a wrong use (`EX_USAGE`).
const INVALID: u8 = 64;

/// Exit code of a change that counts on this node, but not yet on the others.
const THIS_NODE_ONLY: u8 = 3;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until a signal ends it
    Run(run::Arguments),
    /// Check the configuration; prints every error and exits with 64 if there is one
    Check(ConfigDir),
    /// Print the JSON schema of edge.toml, for editors
    Schema,
    /// Replace the running process by a new one without refusing a connection
    Upgrade(ConfigDir),
    /// Manage the tokens of the admin listener
    Token(token::Arguments),
    /// Change and show the dynamic blocklist
    Block(block::Arguments),
    /// Stop and start routes at once
    Route(route::Arguments),
    /// Show and purge the answers that a node keeps
    Cache(cache::Arguments),
    /// Check, try and tune the rules of the web application firewall
    Rules(rules::Arguments),
    /// Check the audit log
    Audit(audit::Arguments),
    /// Print a generated reference page
    #[command(hide = true)]
    Reference(reference::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigDir {
    /// Directory with edge.toml
    #[arg(long = "config", value_name = "DIR", default_value = "/etc/gatehouse/edge")]
    dir: PathBuf,
}

impl Command {
    /// Does it; the exit code is 0, 1 for a failure and 64 for an invalid configuration.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Run(arguments) => run::run(&arguments),
            Self::Check(config) => check::run(&config.dir),
            Self::Schema => schema::run(),
            Self::Upgrade(config) => upgrade::run(&config.dir),
            Self::Token(arguments) => token::run(&arguments),
            Self::Block(arguments) => block::run(&arguments),
            Self::Route(arguments) => route::run(&arguments),
            Self::Cache(arguments) => cache::run(&arguments),
            Self::Rules(arguments) => rules::run(&arguments),
            Self::Audit(arguments) => audit::run(&arguments),
            Self::Reference(arguments) => reference::run(&arguments),
        }
    }
}

/// Writes to standard output; a closed pipe is the reader's choice.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Shows an error with its causes.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("traffic-gateway: {text}");
    ExitCode::FAILURE
}

/// Shows what is wrong with a configuration.
fn refuse(errors: &gatehouse_shared::config::ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(INVALID)
}
