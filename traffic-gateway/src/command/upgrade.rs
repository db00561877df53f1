//! `upgrade`: replace the running process by a new one without refusing a connection; see [`crate::server::upgrade`].

use std::{path::Path, process::ExitCode};

use gatehouse_shared::live::Load as _;

use super::{fail, print, refuse};
use crate::{policy::Policy, server::upgrade};

pub(super) fn run(dir: &Path) -> ExitCode {
    let policy = match Policy::load(dir, None) {
        Ok(loaded) => loaded.value,
        Err(errors) => return refuse(&errors),
    };
    match upgrade::replace(dir, &policy.process.state_dir, &policy.process.upgrade_socket()) {
        Ok(pid) => print(&format!("process {pid} has taken over\n")),
        Err(error) => fail(&error),
    }
}
