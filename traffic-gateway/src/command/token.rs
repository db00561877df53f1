//! stub
use std::process::ExitCode;
use clap::Args;
/// x
#[derive(Debug, Args)]
pub struct Arguments {}
pub(super) fn run(_a: &Arguments) -> ExitCode { ExitCode::SUCCESS }
