//! `local-certificate`: the certificate of the TLS listener that `make run` starts.
//!
//! Makes an authority that exists on this machine only, and a certificate for `localhost` and 127.0.0.1 signed by it. What
//! is there already stays, so that a browser which was told to trust the authority does so the next time too.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use gatehouse_tests::certificate::Authority;

/// Makes `authority.pem`, `localhost.pem` and `localhost.key`, unless they are there.
#[derive(Debug, Parser)]
#[command(name = "local-certificate")]
struct Arguments {
    /// Directory the three files go to.
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let directory = Arguments::parse().directory;
    let files = ["authority.pem", "localhost.pem", "localhost.key"].map(|name| directory.join(name));
    if files.iter().all(|file| file.is_file()) {
        return Ok(());
    }
    let authority = Authority::new("Gatehouse on this machine")?;
    let server = authority.server(&["localhost", "127.0.0.1"])?;
    server.write(&directory, "localhost").with_context(|| format!("cannot write to {}", directory.display()))?;
    let [authority_file, ..] = files;
    fs::write(authority_file, authority.pem())?;
    Ok(())
}
