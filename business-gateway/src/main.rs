//! `business-gateway`: the inner tier of Gatehouse, from the command line.

use std::process::ExitCode;

use business_gateway::command::Command;
use clap::Parser;

/// The inner gate: decides who may call which API, and hands calls on to services.
#[derive(Debug, Parser)]
#[command(name = "business-gateway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    Arguments::parse().command.run()
}
