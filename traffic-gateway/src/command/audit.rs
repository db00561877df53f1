//! `audit`: whether the log of changes is as it was written.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::audit;
use gatehouse_shared::config::{self, ConfigErrors, Sources};

use super::{ConfigDir, fail, print, refuse};
use crate::config::{Config, FILE};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check every line; names the first that was changed, removed or moved and exits with 1
    Verify {
        /// Directory with audit.jsonl [default: the state directory of the configuration]
        #[arg(long = "dir", value_name = "DIR")]
        state_dir: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigDir,
    },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Action::Verify { state_dir: given, config } = &arguments.action;
    let dir = match given.clone().map_or_else(|| state_dir(config), Ok) {
        Ok(dir) => dir,
        Err(errors) => return refuse(&errors),
    };
    match audit::verify(&dir) {
        Ok(Ok(verified)) => {
            let audit::Head { number, hash } = verified.head;
            print(&format!("in order: {number} lines, the last one {hash}\n"))
        }
        Ok(Err(finding)) => fail(&finding),
        Err(error) => fail(&error),
    }
}

fn state_dir(config: &ConfigDir) -> Result<PathBuf, ConfigErrors> {
    let file = Sources::new(&config.dir).read(FILE)?;
    Ok(config::parse::<Config>(&file)?.value.process.state_dir)
}
