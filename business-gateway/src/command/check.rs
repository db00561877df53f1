//! `check`: everything that is wrong with a configuration, before anybody runs it.

use std::path::Path;
use std::process::ExitCode;

use gatehouse_shared::live::Load as _;

use super::{print, refuse};
use crate::policy::Policy;

pub(super) fn run(dir: &Path) -> ExitCode {
    match Policy::load(dir, None) {
        Ok(loaded) => {
            let catalog = &loaded.value.catalog;
            let (services, apis) = (catalog.services.len(), catalog.apis.len());
            print(&format!("valid: {services} services, {apis} APIs, hash {}\n", loaded.source_hash))
        }
        Err(errors) => refuse(&errors),
    }
}
