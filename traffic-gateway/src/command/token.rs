//! `token`: who may call the admin listener. Tokens are kept as hashes; in clear each is shown once, when it is made.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use clap::{Args, Subcommand};
use gatehouse_shared::{
    admin::{self, Role, TokenError},
    live::Load as _,
};

use super::{ConfigDir, fail, print, refuse};
use crate::policy::Policy;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and show it, once
    Add {
        /// Name for logs
        name: String,
        /// What it allows: read, operate or secrets
        #[arg(long, default_value = "read")]
        role: Role,
        #[command(flatten)]
        config: ConfigDir,
    },
    /// Show names, roles and dates
    List(ConfigDir),
    /// Remove a token; a running process refuses it from its next call on
    Revoke {
        /// Name of the token
        name: String,
        #[command(flatten)]
        config: ConfigDir,
    },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match &arguments.action {
        Action::Add { config, .. } | Action::List(config) | Action::Revoke { config, .. } => config,
    };
    let policy = match Policy::load(&config.dir, None) {
        Ok(loaded) => loaded.value,
        Err(errors) => return refuse(&errors),
    };
    match act(&arguments.action, &policy.process.state_dir) {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

fn act(action: &Action, state_dir: &Path) -> Result<String, TokenError> {
    match action {
        Action::Add { name, role, .. } => admin::add(state_dir, name, *role).map(|token| format!("{token}\n")),
        Action::Revoke { name, .. } => admin::revoke(state_dir, name).map(|()| format!("revoked {name}\n")),
        Action::List(_) => {
            let mut text = String::new();
            for record in admin::list(state_dir)? {
                #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
                let _ = writeln!(text, "{}\t{}\t{}", record.name, record.role, record.created);
            }
            Ok(text)
        }
    }
}
