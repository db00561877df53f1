//! `business-gateway`: the inner tier of Gatehouse, from the command line.

use std::process::ExitCode;

use business_gateway::command::Command;
use clap::Parser;

/// A request makes and frees some dozens of small things; this allocator does that in half the instructions of glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
