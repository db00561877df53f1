//! The bare references of the bench: what a forwarder costs before a gateway does anything.
//!
//! They are as fast as their libraries allow: one thread, no work stealing, no logging, no policy, nothing parsed that the
//! library does not parse itself. A gateway that costs little more than these cannot be made much cheaper without leaving its library.

mod hyper_forwarder;
mod pingora_proxy;

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};

/// The allocator of both gates, and a tenth cheaper for a bare Pingora proxy than glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A protocol between two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1 over pooled keepalive connections.
    Http1,
    /// HTTP/2 without TLS, with prior knowledge, over a few shared connections.
    H2c,
}

/// Bare forwarders to compare gateways with.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Server {
    /// A Pingora proxy without any filter.
    Pingora(pingora_proxy::Config),
    /// A forwarder on hyper and the pooling client of hyper-util.
    Hyper(hyper_forwarder::Config),
}

/// Where a reference listens and where it forwards to.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Ends {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Address every request is forwarded to.
    #[arg(long)]
    upstream: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().server {
        Server::Pingora(config) => pingora_proxy::run(&config),
        Server::Hyper(config) => hyper_forwarder::run(&config),
    }
}
