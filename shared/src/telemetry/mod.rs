//! What operators see: the process log, the access log, metrics.

pub mod access_log;
pub mod metrics;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use access_log::LineWriter;

/// How the process log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is not understood.
    #[error("the log level \"{level}\" is not understood")]
    Level {
        /// What was given.
        level: String,
        /// What the parser says.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before, or its thread cannot be started.
    #[error("logging cannot be started")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The process log as long as it is held: when it is dropped, what waits is written.
#[derive(Debug)]
pub struct LogGuard(LineWriter);

impl Drop for LogGuard {
    fn drop(&mut self) {
        // What a blocked standard error does not take within two seconds is lost.
        let _is_written = self.0.flush();
    }
}

/// The process log, for its metrics.
static LOG: OnceLock<LineWriter> = OnceLock::new();

/// Lines of the process log that may wait.
const LOG_QUEUE: usize = 4_096;

/// Starts the process log on standard error, which also takes what libraries write through `log`.
///
/// `level` is a filter such as `info` or `info,traffic_gateway=debug`; the environment variable `RUST_LOG` goes before it.
/// Lines are written by a thread of their own, so that a blocked standard error never holds a request up; hold the guard
/// until the process ends, so that the last ones are written too.
///
/// # Errors
/// When the filter is not understood, or logging was started before.
pub fn init_logging(format: LogFormat, level: &str) -> Result<LogGuard, LoggingError> {
    let level = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty()).unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::builder().parse(&level).map_err(|cause| LoggingError::Level { level, cause })?;
    let config = access_log::Config { sink: "stderr".to_owned(), queue: LOG_QUEUE };
    let writer = LineWriter::start(&config).map_err(|error| LoggingError::Started(Box::new(error)))?;
    let for_events = writer.clone();
    start(format, filter, move || EventWriter(for_events.clone())).map_err(LoggingError::Started)?;
    let writer = LOG.get_or_init(|| writer);
    Ok(LogGuard(writer.clone()))
}

/// Lines of the process log that were lost because standard error was slow, blocked or closed.
#[must_use]
pub fn lost_log_lines() -> u64 {
    LOG.get().map_or(0, LineWriter::dropped)
}

/// Hands one event over; the formatter writes each event at once.
struct EventWriter(LineWriter);

impl io::Write for EventWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // A full queue is counted there.
        let _is_taken = self.0.push(event.strip_suffix(b"\n").unwrap_or(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start<W>(format: LogFormat, filter: EnvFilter, writer: W) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if is_text {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_not_understood_is_named() {
        let error = EnvFilter::builder()
            .parse("info,=")
            .map(|_| ())
            .map_err(|cause| LoggingError::Level { level: "info,=".to_owned(), cause }.to_string());
        assert_eq!(error, Err("the log level \"info,=\" is not understood".to_owned()));
    }

    #[test]
    fn the_process_log_takes_events_and_what_libraries_log() {
        let guard = init_logging(LogFormat::Json, "info").unwrap();
        let before = guard.0.written();
        tracing::info!(answer = 42, "hello");
        log::info!("from a library");
        assert!(guard.0.flush());
        assert!(guard.0.written() >= before + 2);
        assert_eq!(lost_log_lines(), 0);
        assert!(init_logging(LogFormat::Json, "info").is_err());
        assert!(matches!(init_logging(LogFormat::Json, "info,="), Err(LoggingError::Level { .. })));
    }
}
