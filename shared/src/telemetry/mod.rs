//! What operators see: the process log, the access log, metrics.

pub mod access_log;
pub mod metrics;

use std::io::{self, IsTerminal};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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
    /// Logging was started before.
    #[error("logging has already been started")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts the process log on standard error, which also takes what libraries write through `log`.
///
/// `level` is a filter such as `info` or `info,traffic_gateway=debug`; the environment variable `RUST_LOG` goes before it.
///
/// # Errors
/// When the filter is not understood, or logging was started before.
pub fn init_logging(format: LogFormat, level: &str) -> Result<(), LoggingError> {
    let level = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty()).unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::builder().parse(&level).map_err(|cause| LoggingError::Level { level, cause })?;
    start(format, filter, io::stderr).map_err(LoggingError::Started)
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
}
