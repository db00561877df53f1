//! Which running node a command calls.

use std::path::PathBuf;

use clap::Args;
use gatehouse_shared::admin::Role;
use gatehouse_shared::config::{self, Sources};

use super::ConfigDir;
use crate::config::{Config, FILE};

pub(super) use gatehouse_shared::admin::client::{Answer, Call, CallError, Node, explained};

/// Which node is called, and as whom.
#[derive(Debug, Args)]
pub(super) struct Where {
    #[command(flatten)]
    config: ConfigDir,
    /// File with the admin token [default: admin-token-ROLE in the state directory]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Where {
    /// The node that runs with the configuration, called with the token of the file, or that of `role`.
    ///
    /// # Errors
    /// No such node, or no token.
    pub(super) fn node(&self, role: Role) -> Result<Node, CallError> {
        let file = Sources::new(&self.config.dir).read(FILE)?;
        let state_dir = config::parse::<Config>(&file)?.value.process.state_dir;
        Node::find(&state_dir, self.token_file.as_deref(), role)
    }
}
