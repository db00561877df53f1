//! `run`: serve until a signal ends it.

use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::telemetry::{self, LogFormat};

use super::{ConfigDir, fail, refuse};
use crate::server::{self, Start, StartError};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigDir,
    /// Take the listening sockets over from the running process; `upgrade` does this
    #[arg(long)]
    upgrade: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    // What Pingora says of connections and requests is in the access log; its warnings concern the process.
    let _log = match telemetry::init_logging(LogFormat::Auto, "info,pingora_core=warn,pingora_proxy=error") {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    let start = if arguments.upgrade { Start::Upgrade } else { Start::Fresh };
    match server::run(&arguments.config.dir, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(errors)) => refuse(&errors),
        Err(error) => fail(&error),
    }
}
