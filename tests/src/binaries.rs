//! Where the binaries under test are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The environment variable that names the directory of the binaries, instead of the one this test was built into.
pub const DIRECTORY_VARIABLE: &str = "GATEHOUSE_BIN_DIR";

/// The program called `name`.
///
/// # Errors
/// It has not been built.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let directory = directory()?;
    let program = directory.join(name);
    if !program.is_file() {
        bail!("{} is missing: build it with `cargo build --workspace --bins`", program.display());
    }
    Ok(program)
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

fn directory() -> anyhow::Result<PathBuf> {
    if let Some(directory) = env::var_os(DIRECTORY_VARIABLE) {
        return Ok(directory.into());
    }
    // target/debug/deps/it-0123456789abcdef, or target/debug/bench
    let this = env::current_exe().context("cannot find the running program")?;
    let directory = this.parent().context("the running program has no directory")?;
    let directory = if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    Ok(directory.to_owned())
}
