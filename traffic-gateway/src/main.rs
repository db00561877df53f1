//! `traffic-gateway`: the outer tier of Gatehouse, from the command line.

use std::process::ExitCode;

use clap::Parser;
use traffic_gateway::command::Command;

/// A request makes and frees some dozens of small things; this allocator does that in half the instructions of glibc's, and
/// does not give memory back to the kernel only to fault it in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
