//! What a run is asked for through the environment, and what it finds on the machine.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Path and query every subject is asked for: a product list's shape, answered with 100 bytes.
pub(crate) const TARGET: &str = "/bench?symbol=BTC-USD&limit=50";

/// Header fields of every request: a browser's user agent and a cookie, as real clients send them.
pub(crate) const FIELDS: [&str; 3] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Accept: application/json",
    "Cookie: sid=0123456789abcdef; theme=dark",
];

/// Concurrent requests of the rounds.
pub(crate) const CONCURRENCY: [usize; 2] = [16, 64];

/// Descriptors the sweep needs at least: 2,000 clients, as many upstream connections, and some.
const DESCRIPTORS: u64 = 8192;

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Interleaved rounds (`BENCH_ROUNDS`, default 15).
    pub(crate) rounds: usize,
    /// Seconds of load a round gives a subject (`BENCH_SECONDS`, default 1; at most 12, as a signed hop lives 15).
    pub(crate) seconds: u64,
    /// Core of the servers under test (`BENCH_SUBJECT_CORE`, default 1).
    pub(crate) subject_core: usize,
    /// Core of load and sample service (`BENCH_LOAD_CORE`, default 0).
    pub(crate) load_core: usize,
    /// Only subjects whose name contains one of these words (`BENCH_ONLY`, separated by commas, default all). Figures that need a
    /// subject left out are left out too.
    only: Vec<String>,
    /// Programs of this workspace run under callgrind, which writes into this directory.
    counted_into: Option<PathBuf>,
    /// Directory of the binaries of this workspace (`BENCH_BINARIES`, default where this program lies).
    binaries: PathBuf,
}

impl Settings {
    /// Reads the settings and makes sure that every tool is there.
    ///
    /// # Errors
    ///
    /// A variable that is not a number, or a missing tool or core.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("no path of this program")?;
        let beside = program.parent().context("this program has no directory")?;
        let settings = Self {
            rounds: number("BENCH_ROUNDS", 15)?,
            seconds: number("BENCH_SECONDS", 1)?,
            subject_core: number("BENCH_SUBJECT_CORE", 1)?,
            load_core: number("BENCH_LOAD_CORE", 0)?,
            only: std::env::var("BENCH_ONLY").unwrap_or_default().split(',').map(str::to_owned).collect(),
            counted_into: None,
            binaries: std::env::var_os("BENCH_BINARIES").map_or_else(|| beside.to_path_buf(), PathBuf::from),
        };
        if !(1..=12).contains(&settings.seconds) || settings.rounds == 0 {
            bail!("BENCH_SECONDS is 1 to 12 and BENCH_ROUNDS at least 1");
        }
        let cores = std::thread::available_parallelism()?.get();
        if settings.subject_core.max(settings.load_core) >= cores {
            bail!(
                "cores {} and {} are needed, there are {cores}: set BENCH_SUBJECT_CORE and BENCH_LOAD_CORE",
                settings.subject_core,
                settings.load_core
            );
        }
        for (tool, package) in [
            ("wrk", "wrk"),
            ("h2load", "nghttp2-client"),
            ("nginx", "nginx-light"),
            ("haproxy", "haproxy"),
            ("taskset", "util-linux"),
            ("setpriv", "util-linux"),
        ] {
            if tool_path(tool).is_none() {
                bail!("{tool} is missing: apt-get install {package}");
            }
        }
        Ok(settings)
    }

    /// Path of a binary of this workspace.
    ///
    /// # Errors
    ///
    /// It was not built.
    pub(crate) fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.binaries.join(name);
        if !path.is_file() {
            bail!(
                "{} is missing: build the whole workspace with the release profile, as make bench does",
                path.display()
            );
        }
        Ok(path)
    }

    /// The same for these subjects alone, under callgrind, with so many seconds of load.
    pub(crate) fn counting(&self, subjects: &[&str], seconds: u64, directory: &Path) -> Self {
        let only = subjects.iter().map(|&name| name.to_owned()).collect();
        Self { seconds, only, counted_into: Some(directory.to_owned()), binaries: self.binaries.clone(), ..*self }
    }

    /// How a program of this workspace is started: by itself, or by callgrind, which writes `PID.1`.
    ///
    /// # Errors
    ///
    /// valgrind is missing.
    pub(crate) fn command_line(&self, program: PathBuf, arguments: &[&str]) -> anyhow::Result<(PathBuf, Vec<String>)> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let Some(directory) = &self.counted_into else { return Ok((program, arguments.collect())) };
        let valgrind = tool_path("valgrind").context("valgrind is missing: apt-get install valgrind")?;
        let options = [
            "--tool=callgrind".to_owned(),
            "--instr-atstart=no".to_owned(),
            format!("--callgrind-out-file={}/%p", directory.display()),
            program.display().to_string(),
        ];
        Ok((valgrind, options.into_iter().chain(arguments).collect()))
    }

    /// Whether `BENCH_ONLY` has this very word.
    pub(crate) fn names(&self, what: &str) -> bool {
        self.only.iter().any(|word| word == what)
    }

    /// Whether the subject is wanted.
    pub(crate) fn wants(&self, subject: &str) -> bool {
        self.only.iter().any(|word| subject.contains(word))
    }
}

/// Where a program is found: `PATH`, then the directories of system programs that a user's `PATH` may lack.
pub(crate) fn tool_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Lets this process and its children open as many files as the machine allows.
///
/// # Errors
///
/// The hard limit is too low for the sweep.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        bail!("a process may open {} files at most, the sweep needs {DESCRIPTORS}", limit.maximum.unwrap_or_default());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the descriptor limit")
}

/// Ticks of all processors since the machine started: those in which they worked for it, and those in which they would have but
/// were taken by others on the same host.
///
/// # Errors
///
/// `/proc/stat` is not as it is on Linux.
pub(crate) fn machine_ticks() -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("cpu ")).context("no line of all processors in /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen, ..] = *ticks else {
        bail!("/proc/stat says nothing of stolen time");
    };
    Ok((user + nice + system + interrupts + soft_interrupts, stolen))
}

/// The share of the time in which processors had work that was taken by others, between two readings of [`machine_ticks`].
pub(crate) fn stolen_share(before: (u64, u64), after: (u64, u64)) -> f64 {
    let ticks = |before: u64, after: u64| u32::try_from(after.saturating_sub(before)).map_or(f64::MAX, f64::from);
    let (worked, stolen) = (ticks(before.0, after.0), ticks(before.1, after.1));
    stolen / (worked + stolen).max(1.0)
}

fn number<N: FromStr>(variable: &str, default: N) -> anyhow::Result<N> {
    match std::env::var(variable) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().ok().with_context(|| format!("{variable}={text} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::stolen_share;

    #[test]
    fn what_others_took_is_a_part_of_the_time_there_was_work() {
        assert!((stolen_share((100, 10), (400, 110)) - 0.25).abs() < 1e-9);
        assert!(stolen_share((100, 10), (100, 10)).abs() < 1e-9);
    }
}
