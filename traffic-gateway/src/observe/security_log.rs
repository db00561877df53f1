//! One JSON line for every denial by any stage: malformed messages and refused connections as well as lists and limits.
//!
//! A line says who, what, which rule and which value; [`record`] are the facts, the formats are different names for them.
//! Whatever a client has sent is bounded and escaped. Lines go through a bounded queue to a thread of their own; the request
//! path neither waits nor does I/O, and what the queue does not take is counted.
//!
//! Denied requests get a line each. Connections that are refused before anything is read of them would let a flood fill the
//! disk: of those, each client gets one line at once, then one line for each [`Config::repeat_window`] that says how many
//! there were, and the number of clients that are told apart is bounded (`repeats`).

mod ecs;
mod gatehouse;
mod modsecurity;
pub mod record;
mod repeats;

use std::{
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use gatehouse_shared::{
    clock,
    config::{ConfigErrors, HumanDuration, Positions},
    telemetry::access_log::{self, LineWriter},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use record::Record;
use repeats::{Repeat, Repeats};

use crate::{
    accept::Connection,
    admit::{Denial, destination},
};

/// `[security_log]`: one JSON line for every denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where lines go: `"stdout"`, `"stderr"`, `"off"`, or the path of a file or pipe, which is reopened on SIGHUP. A
    /// relative path is below the state directory.
    #[schemars(example = "/var/log/gatehouse/edge-security.log")]
    pub sink: String,
    /// Lines that may wait for a slow sink; beyond it they are dropped and counted. 1 to 1000000.
    #[schemars(example = 8192)]
    pub queue: usize,
    /// Names of the fields.
    pub format: Format,
    /// Whether requests that no route matches are written as well: scanners make very many of them.
    pub unknown_routes: bool,
    /// Refused connections of one client within this time are one line that says how many they were. 1s to 1h.
    pub repeat_window: HumanDuration,
    /// Clients (IPv6: /64 networks) whose refused connections are told apart in that time; those of all others together are
    /// one line. 1 to 100000.
    #[schemars(example = 256)]
    pub repeat_clients: usize,
}

/// Names of the fields of a line; see docs/DENIALS.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Gatehouse's own.
    #[default]
    Gatehouse,
    /// The JSON audit log of libmodsecurity 3.
    Modsecurity,
    /// The Elastic Common Schema.
    Ecs,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sink: "stdout".to_owned(),
            queue: 8192,
            format: Format::default(),
            unknown_routes: false,
            repeat_window: HumanDuration::from_secs(10),
            repeat_clients: 256,
        }
    }
}

/// `[security_log]`, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sink and queue.
    pub lines: access_log::Config,
    format: Format,
    unknown_routes: bool,
    repeat_window: Duration,
    repeat_clients: usize,
}

impl Settings {
    /// Compiles `[security_log]`.
    ///
    /// # Errors
    ///
    /// Every value out of its bounds, at its position.
    pub fn compile(config: &Config, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |is_good: bool, field: &str, message: &str| {
            if !is_good {
                errors.push(positions.error(&format!("security_log.{field}"), message, None));
            }
        };
        let repeat_window = config.repeat_window.get();
        let windows = Duration::from_secs(1)..=Duration::from_secs(3600);
        check((1..=1_000_000).contains(&config.queue), "queue", "queue must be 1 to 1000000");
        check(windows.contains(&repeat_window), "repeat_window", "repeat_window must be 1s to 1h");
        check((1..=100_000).contains(&config.repeat_clients), "repeat_clients", "repeat_clients must be 1 to 100000");
        errors.into_result(Self {
            lines: access_log::Config { sink: config.sink.clone(), queue: config.queue },
            format: config.format,
            unknown_routes: config.unknown_routes,
            repeat_window,
            repeat_clients: config.repeat_clients,
        })
    }

    /// The same, with the path of a file made absolute: a relative one is below `state_dir`.
    #[must_use]
    pub fn below(&self, state_dir: &Path) -> Self {
        Self { lines: self.lines.below(state_dir), ..self.clone() }
    }

    fn is_on(&self) -> bool {
        self.lines.sink != "off"
    }
}

/// The security log of a running process.
#[derive(Debug)]
pub struct SecurityLog {
    node: Box<str>,
    writer: LineWriter,
    settings: ArcSwap<Settings>,
    /// Held for one look-up of a refused connection; lines are put together outside.
    repeats: Mutex<Repeats>,
    repeated: AtomicU64,
}

impl SecurityLog {
    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn start(node: Box<str>, settings: Settings) -> io::Result<Self> {
        Ok(Self {
            node,
            writer: LineWriter::start(&settings.lines)?,
            settings: ArcSwap::from_pointee(settings),
            repeats: Mutex::default(),
            repeated: AtomicU64::new(0),
        })
    }

    /// The writer of its lines.
    #[must_use]
    pub fn writer(&self) -> &LineWriter {
        &self.writer
    }

    /// Refused connections that got no line of their own.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// The configuration has changed.
    pub fn retarget(&self, settings: &Settings) {
        if self.settings.load().lines != settings.lines {
            self.writer.retarget(&settings.lines);
        }
        self.settings.store(settings.clone().into());
    }

    /// Whether a denial gets a line. What failed without anybody refusing it gets none.
    #[must_use]
    pub fn wants(&self, denial: &Denial) -> bool {
        let settings = self.settings.load();
        settings.is_on()
            && match denial.stage {
                None => false,
                Some(destination::NAME) => settings.unknown_routes,
                Some(_) => true,
            }
    }

    /// Writes the line of a denied request.
    pub fn write(&self, record: &Record<'_>) {
        let settings = self.settings.load();
        if settings.is_on() {
            self.push(record, settings.format);
        }
    }

    /// A connection was refused before anything was read of a request.
    pub fn turned_away(&self, connection: &Connection, denial: &Denial) {
        let settings = self.settings.load();
        if !settings.is_on() {
            return;
        }
        let (now, unix_ms) = (clock::now(), clock::unix_ms());
        let first = self.lock().note(connection, denial, now, unix_ms, settings.repeat_clients);
        match first {
            Some(first) => self.push(&first.first(&self.node), settings.format),
            None => {
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes what windows that are over have counted; to be called about once a second.
    pub fn write_repeats(&self, now: Instant) {
        let settings = self.settings.load();
        let over = self.lock().over(now, settings.repeat_window);
        self.write_all(&over, settings.format);
    }

    /// Writes what is still counted and queued; nothing is written afterwards.
    pub fn close(&self) {
        let counted = self.lock().drain();
        self.write_all(&counted, self.settings.load().format);
        self.writer.close();
    }

    fn write_all(&self, repeats: &[Repeat], format: Format) {
        let unix_ms = clock::unix_ms();
        for repeat in repeats {
            self.push(&repeat.further(&self.node, unix_ms), format);
        }
    }

    fn push(&self, record: &Record<'_>, format: Format) {
        // A full queue is counted there.
        let _is_taken = self.writer.push(match format {
            Format::Gatehouse => gatehouse::line(record),
            Format::Modsecurity => modsecurity::line(record),
            Format::Ecs => ecs::line(record),
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
