//! `sample-service`: the service behind the gates in tests, in benches and in `make run`.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use gatehouse_shared::process::listen;
use gatehouse_tests::sample::Sample;

/// A small HTTP/1.1 and h2c service that behaves well or badly on demand.
#[derive(Debug, Parser)]
#[command(name = "sample-service")]
struct Arguments {
    /// Address to listen on; port 0 takes a free one. The address taken is printed as `listening on ADDRESS`.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Name returned in the header `x-served-by`.
    #[arg(long, default_value = "sample")]
    name: String,
    /// File that executed request ids (`x-ledger-id`) are appended to, one a line.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Threads that serve requests.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let sample = Arc::new(Sample::new(&arguments.name, arguments.ledger.as_deref()).context("cannot start")?);
    let runtime = match arguments.threads.get() {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
    .context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = listen(arguments.listen).with_context(|| format!("cannot listen on {}", arguments.listen))?;
        writeln!(stdout(), "listening on {}", listener.local_addr()?)?;
        stdout().flush()?;
        sample.serve(listener).await;
        Ok(())
    })
}
