//! The subcommands, one file each.

mod run;
mod check;
mod schema;
mod token;
mod sign;
mod flow;
mod quota;
mod group;
mod cache;
mod registry;
mod split;
mod reference;
mod call;
mod api;
mod import;
mod catalog;
mod app;
mod route;
mod aggregate;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::config::ConfigErrors;

/// Exit code of an invalid configuration or a wrong use (`EX_USAGE`).
const INVALID: u8 = 64;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until a signal ends it
    Run(ConfigDir),
    /// Check the configuration; prints every error and exits with 64 if there is one
    Check(ConfigDir),
    /// Print the JSON schema of a configuration file, for editors
    Schema(schema::Arguments),
    /// Try flow rules on made-up calls
    #[command(subcommand)]
    Flow(flow::Command),
    /// Manage the tokens of the admin listener
    #[command(subcommand)]
    Token(token::Command),
    /// Look at objects of the catalog and change them: APIs, services and what else there is
    Api(api::Arguments),
    /// The whole catalog and its revisions
    Catalog(catalog::Arguments),
    /// Print a signed call as a curl command
    Sign(Box<sign::Arguments>),
    /// Show how much of their quotas callers have used
    #[command(subcommand)]
    Quota(quota::Command),
    /// Make, change and remove applications and their credentials
    App(Box<app::Arguments>),
    /// Show traffic groups and shut them off
    Group(group::Arguments),
    /// Show what is kept of answers, and purge it
    #[command(subcommand)]
    Cache(cache::Command),
    /// Look at calls that are made of several
    #[command(subcommand)]
    Aggregate(aggregate::Command),
    /// Show and change the endpoints that registered themselves
    Registry(registry::Arguments),
    /// Show which API a call means, and why
    #[command(subcommand)]
    Route(route::Command),
    /// Show how calls are divided among services, and change it
    Split(split::Arguments),
    /// Print a generated reference page
    #[command(hide = true)]
    Reference(reference::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigDir {
    /// Directory with business.toml and catalog.toml
    #[arg(long = "config", value_name = "DIR", default_value = "/etc/gatehouse/business")]
    dir: PathBuf,
}

impl Command {
    /// Does it; the exit code is 0, 1 for a failure and 64 for an invalid configuration.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Run(config) => run::run(&config.dir),
            Self::Check(config) => check::run(&config.dir),
            Self::Schema(arguments) => schema::run(&arguments),
            Self::Flow(command) => flow::run(&command),
            Self::Token(command) => token::run(&command),
            Self::Api(arguments) => api::run(&arguments),
            Self::Catalog(arguments) => catalog::run(&arguments),
            Self::Sign(arguments) => sign::run(&arguments),
            Self::Quota(command) => quota::run(&command),
            Self::App(arguments) => app::run(&arguments),
            Self::Group(arguments) => group::run(&arguments),
            Self::Cache(command) => cache::run(&command),
            Self::Aggregate(command) => aggregate::run(&command),
            Self::Registry(arguments) => registry::run(&arguments),
            Self::Route(command) => route::run(&command),
            Self::Split(arguments) => split::run(&arguments),
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
fn fail(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("business-gateway: {text}");
    ExitCode::FAILURE
}

/// Shows what is wrong with a configuration.
fn refuse(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(INVALID)
}
