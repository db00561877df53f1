//! The tools that make load, and how their words are read.
//!
//! wrk drives HTTP/1.1; h2load (of the nghttp2 project) drives HTTP/2 without TLS, over as many shared connections as the edge opens
//! to a node. A ratio is always made with one tool on both of its sides.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::settings::{FIELDS, Settings, TARGET, tool_path};

/// Shared connections of an HTTP/2 load, as the edge opens to one node.
const SHARED_CONNECTIONS: usize = 4;

/// Answers later than this count as errors.
const TIMEOUT_SECONDS: u64 = 10;

/// What makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// HTTP/1.1, one request at a time on every connection.
    Wrk,
    /// HTTP/1.1, a new connection for every request.
    WrkShort,
    /// HTTP/2 with prior knowledge, many streams over a few connections.
    H2load,
}

/// One run of a tool.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// What makes the load.
    pub(crate) tool: Tool,
    /// Where it goes.
    pub(crate) entry: SocketAddr,
    /// Requests at a time.
    pub(crate) concurrency: usize,
    /// How long it lasts, in seconds.
    pub(crate) seconds: u64,
    /// Header fields beside [`FIELDS`].
    pub(crate) fields: Vec<String>,
    /// Path and query.
    pub(crate) target: String,
    /// A file of JSON that is posted; wrk cannot.
    pub(crate) body: Option<PathBuf>,
}

/// What a run of a tool observed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// Requests answered.
    pub(crate) requests: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Median time to the end of an answer.
    pub(crate) p50: Duration,
    /// Time within which 99 of 100 answers ended.
    pub(crate) p99: Duration,
    /// Answers that were not 2xx, and connections that failed.
    pub(crate) errors: f64,
    /// The tool's own words about errors.
    pub(crate) complaint: String,
}

impl Load {
    /// The load of the rounds: a GET of [`TARGET`].
    pub(crate) fn bench(tool: Tool, entry: SocketAddr, concurrency: usize, seconds: u64) -> Self {
        Self { tool, entry, concurrency, seconds, fields: Vec::new(), target: TARGET.to_owned(), body: None }
    }

    /// Runs the tool on the load core.
    ///
    /// # Errors
    ///
    /// The tool fails or prints something unknown. Errors of the subject are part of the outcome.
    pub(crate) fn run(&self, settings: &Settings, directory: &Path) -> anyhow::Result<Outcome> {
        match self.tool {
            Tool::Wrk | Tool::WrkShort => read_wrk(&self.run_wrk(settings)?),
            Tool::H2load => {
                let log = directory.join("h2load.tsv");
                // h2load appends to it.
                if log.exists() {
                    std::fs::remove_file(&log)?;
                }
                let words = self.run_h2load(settings, &log)?;
                read_h2load(&words, &std::fs::read_to_string(&log)?)
            }
        }
    }

    fn run_wrk(&self, settings: &Settings) -> anyhow::Result<String> {
        let mut command = pinned(settings, "wrk")?;
        command.args([
            "-t1",
            &format!("-c{}", self.concurrency),
            &format!("-d{}s", self.seconds),
            &format!("--timeout={TIMEOUT_SECONDS}s"),
            "--latency",
        ]);
        if self.tool == Tool::WrkShort {
            command.args(["-H", "Connection: close"]);
        }
        self.finish(command)
    }

    fn run_h2load(&self, settings: &Settings, log: &Path) -> anyhow::Result<String> {
        let streams = self.concurrency.div_ceil(SHARED_CONNECTIONS);
        let mut command = pinned(settings, "h2load")?;
        command.args([
            "-t1",
            &format!("-c{SHARED_CONNECTIONS}"),
            &format!("-m{streams}"),
            &format!("-D{}", self.seconds),
        ]);
        command.arg(format!("--log-file={}", log.display()));
        if let Some(body) = &self.body {
            command.arg("-d").arg(body).args(["-H", "content-type: application/json"]);
        }
        self.finish(command)
    }

    fn finish(&self, mut command: Command) -> anyhow::Result<String> {
        for field in FIELDS.iter().copied().chain(self.fields.iter().map(String::as_str)) {
            command.args(["-H", field]);
        }
        let output = command.arg(format!("http://{}{}", self.entry, self.target)).output()?;
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("the load tool ended with {}: {words}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(words)
    }
}

/// A tool on the load core.
///
/// # Errors
///
/// The tool is missing.
pub(crate) fn pinned(settings: &Settings, tool: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &settings.load_core.to_string()])
        .arg(tool_path(tool).with_context(|| format!("{tool} is missing"))?);
    Ok(command)
}

/// Reads what wrk prints with `--latency`.
fn read_wrk(words: &str) -> anyhow::Result<Outcome> {
    let line_with = |part: &str| words.lines().find(|line| line.contains(part)).map(str::trim);
    let requests = line_with(" requests in ").and_then(|line| line.split_whitespace().next()?.parse().ok());
    let rate = line_with("Requests/sec:").and_then(|line| line.split_whitespace().last()?.parse().ok());
    let quantile = |name: &str| {
        let line =
            words.lines().map(str::trim).find(|line| line.starts_with(name) && line.split_whitespace().count() == 2)?;
        duration(line.split_whitespace().last()?)
    };
    let complaints: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("Non-2xx") || line.starts_with("Socket errors"))
        .collect();
    let complaint = complaints.join("; ");
    Ok(Outcome {
        requests: requests.with_context(|| unknown(words))?,
        rate: rate.with_context(|| unknown(words))?,
        p50: quantile("50%").with_context(|| unknown(words))?,
        p99: quantile("99%").with_context(|| unknown(words))?,
        errors: numbers(&complaint),
        complaint,
    })
}

/// Reads what h2load prints and its log: start, status and duration in microseconds of every request.
///
/// # Errors
///
/// It printed something unknown.
pub(crate) fn read_h2load(words: &str, log: &str) -> anyhow::Result<Outcome> {
    let line_from = |start: &str| words.lines().find(|line| line.starts_with(start)).with_context(|| unknown(words));
    let rate = line_from("finished in")?.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok());
    let requests = line_from("requests:")?;
    let statuses = line_from("status codes:")?;
    let count = |line: &str, what: &str| {
        let (_, counts) = line.split_once(": ")?;
        counts.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse::<f64>().ok())
    };
    let mut durations: Vec<u64> = log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    durations.sort_unstable();
    let quantile = |percent: usize| durations.get(durations.len() * percent / 100).copied().map(Duration::from_micros);
    let failed: Option<Vec<f64>> = [
        (requests, " failed"),
        (requests, " errored"),
        (requests, " timeout"),
        (statuses, " 3xx"),
        (statuses, " 4xx"),
        (statuses, " 5xx"),
    ]
    .into_iter()
    .map(|(line, what)| count(line, what))
    .collect();
    let errors = failed.with_context(|| unknown(words))?.into_iter().fold(0.0, |sum, number| sum + number);
    Ok(Outcome {
        requests: count(statuses, " 2xx").with_context(|| unknown(words))?,
        rate: rate.with_context(|| unknown(words))?,
        p50: quantile(50).with_context(|| unknown(words))?,
        p99: quantile(99).with_context(|| unknown(words))?,
        errors,
        complaint: if errors > 0.0 { format!("{requests}; {statuses}") } else { String::new() },
    })
}

fn unknown(words: &str) -> String {
    format!("the load tool printed something unknown: {words}")
}

/// The sum of the counts in wrk's error lines: `Non-2xx or 3xx responses: 5`, `Socket errors: connect 0, read 3, write 0, timeout 0`.
fn numbers(complaint: &str) -> f64 {
    complaint.split([' ', ',', ';']).filter_map(|word| word.parse::<f64>().ok()).fold(0.0, |sum, number| sum + number)
}

/// Reads wrk's durations: `873.00us`, `1.23ms`, `1.02s`, `1.00m`.
fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{read_h2load, read_wrk};

    #[test]
    fn reads_what_wrk_prints() {
        let words = "Running 1s test @ http://127.0.0.1:1/\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.00ms  50.00%   99.00us\n  Latency Distribution\n     50%  873.00us\n     75%    1.00ms\n     99%    1.23ms\n  28000 requests in 1.00s, 5MB read\n  Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 5\nRequests/sec:  28001.50\n";
        let outcome = read_wrk(words).unwrap();
        assert_eq!((outcome.requests, outcome.rate, outcome.errors), (28000.0, 28001.5, 9.0));
        assert_eq!((outcome.p50, outcome.p99), (Duration::from_micros(873), Duration::from_micros(1230)));
    }

    #[test]
    fn reads_what_h2load_prints_and_logs() {
        let words = "finished in 1.00s, 120.00 req/s, 1KB/s\nrequests: 121 total, 121 started, 120 done, 118 succeeded, 2 failed, 1 errored, 0 timeout\nstatus codes: 118 2xx, 0 3xx, 0 4xx, 2 5xx\n";
        let log: String = (1..=100).map(|duration| format!("1000\t200\t{duration}\n")).collect();
        let outcome = read_h2load(words, &log).unwrap();
        assert_eq!((outcome.requests, outcome.rate, outcome.errors), (118.0, 120.0, 5.0));
        assert_eq!((outcome.p50, outcome.p99), (Duration::from_micros(51), Duration::from_micros(100)));
    }
}
