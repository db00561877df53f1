//! Lines for the access log, written by a thread of their own; the edge's security log and the process log are written in the
//! same way.
//!
//! [`LineWriter::push`] copies a line into a bounded buffer and never waits for the sink: when the buffer is full, because
//! the sink is slow, blocked or full, the line is dropped and counted. The thread takes the whole buffer at a time, so that
//! many lines cost one system call and one wake-up. [`Line`] puts a line together.

mod line;
mod sink;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock;
pub use line::Line;
pub use line::push_ip;
pub(crate) use line::{are_plain, push_address, push_json_string, push_number};
use sink::Sink;

/// The access log as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where lines go: `"stdout"`, `"stderr"`, `"off"`, or the path of a file or pipe, which is reopened on SIGHUP. A
    /// relative path is below the state directory.
    #[schemars(example = "/var/log/gatehouse/edge-access.log")]
    pub sink: String,
    /// Lines that may wait for a slow sink; beyond it they are dropped and counted. 1 to 1000000.
    #[schemars(example = 8192)]
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { sink: "stdout".to_owned(), queue: 8192 }
    }
}

impl Config {
    /// The same, with the path of a file made absolute: a relative one is below `state_dir`.
    #[must_use]
    pub fn below(&self, state_dir: &Path) -> Self {
        let sink = match Destination::new(&self.sink) {
            Destination::File(path) => state_dir.join(path).to_string_lossy().into_owned(),
            Destination::Stdout | Destination::Stderr | Destination::Off => self.sink.clone(),
        };
        Self { sink, queue: self.queue }
    }

    fn queue_size(&self) -> usize {
        self.queue.clamp(1, 1_000_000)
    }
}

/// Bytes that may wait for each line of the queue, on average.
const BYTES_PER_LINE: usize = 1024;
/// Lines are gathered for this long before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// How long flushing and closing wait for a sink that does not take what is left.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// What the pushing side and the thread share.
#[derive(Debug)]
struct Shared {
    queue: AtomicUsize,
    /// The sink that takes the place of the present one; held while it is put in or taken out.
    next: Mutex<Option<String>>,
    /// Held while a line is copied or the buffers are swapped, never while something is written.
    pending: Mutex<Pending>,
    filled: Condvar,
    /// Told when a batch has been written and when the thread ends.
    drained: Condvar,
    reopen: AtomicBool,
    dropped: AtomicU64,
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    lines: usize,
    /// The thread is writing a batch.
    is_writing: bool,
    /// Somebody waits for the lines to be written: nothing is gathered.
    is_urgent: bool,
    /// Nothing is taken any more.
    is_closing: bool,
    /// The thread has ended.
    is_closed: bool,
}

/// A handle to the writer; clones share it. When the last one is dropped, the thread writes what waits and ends.
#[derive(Clone, Debug)]
pub struct LineWriter {
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.filled.notify_one();
    }
}

impl LineWriter {
    /// Opens the sink and starts the thread.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started. A pipe is opened by the thread, because opening one
    /// waits for a reader.
    pub fn start(config: &Config) -> io::Result<Self> {
        let sink = Sink::open(&config.sink)?;
        let shared = Arc::new(Shared {
            queue: AtomicUsize::new(config.queue_size()),
            next: Mutex::default(),
            pending: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            reopen: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || for_thread.run(sink))?;
        Ok(Self { writer: Arc::new(Writer { shared, thread: Mutex::new(Some(thread)) }) })
    }

    /// Hands a line over, without its line feed; false when it was dropped. Never waits for the sink.
    pub fn push(&self, line: impl AsRef<[u8]>) -> bool {
        let line = line.as_ref();
        let shared = &*self.writer.shared;
        let mut pending = shared.lock();
        let queue = shared.queue.load(Ordering::Relaxed);
        let is_full = pending.lines >= queue
            || pending.bytes.len().saturating_add(line.len()) > queue.saturating_mul(BYTES_PER_LINE);
        if is_full || pending.is_closing {
            drop(pending);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let was_empty = pending.lines == 0;
        pending.bytes.extend_from_slice(line);
        pending.bytes.push(b'\n');
        pending.lines += 1;
        drop(pending);
        if was_empty {
            shared.filled.notify_one();
        }
        true
    }

    /// Lines dropped: the queue was full, or the sink refused them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.shared.dropped.load(Ordering::Relaxed)
    }

    /// Lines the sink has taken.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.shared.written.load(Ordering::Relaxed)
    }

    /// Lines waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writer.shared.lock().lines
    }

    /// Opens the file anew before the next write: after log rotation has renamed it.
    pub fn reopen(&self) {
        self.writer.shared.reopen.store(true, Ordering::Release);
        self.writer.shared.filled.notify_one();
    }

    /// Writes to another sink from the next write on, and lets another number of lines wait: the configuration has changed.
    /// A sink that cannot be opened is a warning, and the present one stays.
    pub fn retarget(&self, config: &Config) {
        let shared = &*self.writer.shared;
        shared.queue.store(config.queue_size(), Ordering::Relaxed);
        *shared.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.sink.clone());
        self.reopen();
    }

    /// Waits until what was handed over is written; false when the sink did not take it within two seconds.
    pub fn flush(&self) -> bool {
        let shared = &*self.writer.shared;
        let mut pending = shared.lock();
        pending.is_urgent = true;
        shared.filled.notify_one();
        let must_wait = |pending: &mut Pending| !pending.is_closed && (pending.lines > 0 || pending.is_writing);
        let waited = shared.drained.wait_timeout_while(pending, FLUSH_WAIT, must_wait);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Takes no more lines and writes what waits; gives up after two seconds when the sink does not take it.
    pub fn close(&self) {
        let shared = &*self.writer.shared;
        let mut pending = shared.lock();
        pending.is_closing = true;
        shared.filled.notify_one();
        let waited = shared.drained.wait_timeout_while(pending, FLUSH_WAIT, |pending| !pending.is_closed);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            tracing::warn!(lines = self.waiting(), "the sink of the log is blocked: waiting lines are lost");
            return;
        }
        let thread = self.writer.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the log had panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        let mut next_warning = clock::now();
        while let Some(lines) = self.take(&mut batch) {
            if self.reopen.swap(false, Ordering::AcqRel) {
                self.reopen(&mut sink);
            }
            if lines > 0 {
                self.write(&mut sink, &batch, lines, &mut next_warning);
            }
            self.lock().is_writing = false;
            self.drained.notify_all();
        }
        self.lock().is_closed = true;
        self.drained.notify_all();
    }

    fn reopen(&self, sink: &mut Sink) {
        let Some(next) = self.next.lock().unwrap_or_else(PoisonError::into_inner).take() else { return sink.reopen() };
        match Sink::open(&next) {
            Ok(opened) => *sink = opened,
            Err(error) => tracing::warn!(%error, sink = next, "the new sink of the log cannot be opened"),
        }
    }

    fn write(&self, sink: &mut Sink, batch: &[u8], lines: u64, next_warning: &mut Instant) {
        let Err(error) = sink.write(batch) else {
            self.written.fetch_add(lines, Ordering::Relaxed);
            return;
        };
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        if clock::now() >= *next_warning {
            *next_warning = clock::now() + Duration::from_secs(60);
            tracing::warn!(%error, sink = sink.name(), lines, "log lines are lost");
        }
    }

    /// Waits for lines, gathers for a moment, and swaps the buffers; `None` when closed and empty.
    fn take(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let must_wait =
            |pending: &mut Pending| pending.lines == 0 && !pending.is_closing && !self.reopen.load(Ordering::Acquire);
        let pending = self.filled.wait_while(self.lock(), must_wait).unwrap_or_else(PoisonError::into_inner);
        let may_gather = |pending: &mut Pending| {
            !pending.is_closing && !pending.is_urgent && pending.lines < self.queue.load(Ordering::Relaxed) / 2
        };
        let gathered = self.filled.wait_timeout_while(pending, GATHER, may_gather);
        let mut pending = gathered.unwrap_or_else(PoisonError::into_inner).0;
        if pending.lines == 0 && pending.is_closing {
            return None;
        }
        pending.is_writing = true;
        pending.is_urgent = false;
        batch.clear();
        std::mem::swap(batch, &mut pending.bytes);
        Some(u64::try_from(std::mem::take(&mut pending.lines)).unwrap_or(u64::MAX))
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Stdout,
    Stderr,
    Off,
    File(PathBuf),
}

impl Destination {
    fn new(sink: &str) -> Self {
        match sink {
            "stdout" => Destination::Stdout,
            "stderr" => Destination::Stderr,
            "off" => Destination::Off,
            path => Destination::File(PathBuf::from(path)),
        }
    }
}

#[cfg(test)]
mod tests;
