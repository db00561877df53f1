//! `schema`: the JSON schema of `edge.toml`, for editors that complete and check while one types.

use std::process::ExitCode;

use super::{fail, print};
use crate::config::Config;

pub(super) fn run() -> ExitCode {
    match serde_json::to_string_pretty(&schemars::schema_for!(Config)) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error),
    }
}
