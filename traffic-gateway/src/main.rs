//! `traffic-gateway`: the outer tier of Gatehouse, from the command line.

use std::process::ExitCode;

use clap::Parser;
use traffic_gateway::command::Command;

/// The outer gate: takes traffic from clients and hands it on to the business tier.
#[derive(Debug, Parser)]
#[command(name = "traffic-gateway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    Arguments::parse().command.run()
}
