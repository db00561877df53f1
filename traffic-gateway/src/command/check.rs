//! `check`: everything that is wrong with a configuration, before anybody runs it.

use std::{path::Path, process::ExitCode};

use gatehouse_shared::live::Load as _;

use super::{print, refuse};
use crate::policy::Policy;

pub(super) fn run(dir: &Path) -> ExitCode {
    match Policy::load(dir, None) {
        Ok(loaded) => {
            let policy = &loaded.value;
            print(&format!(
                "valid: {} listeners, {} routes, {} clusters, hash {}\n",
                policy.process.listener.len(),
                policy.routes.all().len(),
                policy.clusters.len(),
                loaded.source_hash,
            ))
        }
        Err(errors) => refuse(&errors),
    }
}
