//! Watching the configuration directory: one thread that reloads when something has changed.
//!
//! It watches *directories*, not files, because editors rename and Kubernetes swaps a symbolic link; waits until nothing
//! has changed for 250 ms; compares all files every 30 s, those that were read by their content, in case an event was
//! lost; and reloads at once when poked (SIGHUP). A bad file is logged and counted and never stops it.

mod fingerprint;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;
use crate::live::{Live, Load, ReloadOutcome};
use fingerprint::{fingerprint, subdirectories};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// When changes lead to a reload.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Nothing may have changed for this long: half-written files are not read.
    pub quiet: Duration,
    /// A directory in which something changes all the time is read after this long all the same.
    pub quiet_max: Duration,
    /// How often the content of all files is compared.
    pub check: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(250), quiet_max: Duration::from_secs(5), check: Duration::from_secs(30) }
    }
}

/// Signals for one watcher.
enum Signal {
    Changed,
    Poke,
    Stop,
}

/// Signals that wait; more of them say nothing new.
const QUEUE: usize = 64;

/// A running watcher. Dropping it leaves it running until the process ends; [`Watcher::stop`] ends it.
#[derive(Debug)]
pub struct Watcher {
    poke: Poke,
    thread: JoinHandle<()>,
}

/// Asks a watcher to reload now; what the SIGHUP handler holds.
#[derive(Clone, Debug)]
pub struct Poke(SyncSender<Signal>);

impl Poke {
    /// Reload without waiting. Never blocks.
    pub fn poke(&self) {
        self.send(Signal::Poke);
    }

    fn send(&self, signal: Signal) {
        // A full queue holds signals that lead to the same reload; a watcher that has ended needs none.
        match self.0.try_send(signal) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Watcher {
    /// The handle for a signal handler.
    #[must_use]
    pub fn poke_handle(&self) -> Poke {
        self.poke.clone()
    }

    /// Reload without waiting.
    pub fn poke(&self) {
        self.poke.poke();
    }

    /// Ends the watcher and waits for a reload that is under way.
    pub fn stop(self) {
        // Blocks only while the queue is full, which the watcher empties.
        let _stopping = self.poke.0.send(Signal::Stop).is_ok();
        if self.thread.join().is_err() {
            tracing::error!("the configuration watcher had panicked");
        }
    }
}

/// Watches the directory of `live` and reloads when something in it changes.
///
/// # Errors
/// When the thread cannot be started. A directory that cannot be watched is only a warning: the content check and the
/// poke still work.
pub fn watch<T: Load>(live: Arc<Live<T>>, timing: Timing) -> io::Result<Watcher> {
    let (sender, signals) = sync_channel(QUEUE);
    let poke = Poke(sender);
    let watching = Watching { live, timing, changes: poke.clone(), watched: BTreeSet::new(), notifier: None };
    let thread = std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || watching.run(&signals))?;
    Ok(Watcher { poke, thread })
}

struct Watching<T> {
    live: Arc<Live<T>>,
    timing: Timing,
    changes: Poke,
    watched: BTreeSet<PathBuf>,
    notifier: Option<RecommendedWatcher>,
}

impl<T: Load> Watching<T> {
    fn run(mut self, signals: &Receiver<Signal>) {
        self.notifier = self.notifier();
        self.follow();
        // Nothing seen yet: a change between the first load and now is found by the first check.
        let mut seen = Vec::new();
        let mut next_check = clock::now() + self.timing.check;
        loop {
            let wait = next_check.saturating_duration_since(clock::now());
            let is_due = match signals.recv_timeout(wait) {
                Ok(Signal::Poke) => true,
                Ok(Signal::Changed) => match self.wait_until_quiet(signals) {
                    Quiet::Reached => true,
                    Quiet::Stopped => return,
                },
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.has_changed_unseen(&seen),
            };
            if is_due {
                // Taken before the reload: a change while it runs is seen at the next check.
                seen = self.fingerprint();
                self.reload();
            }
            self.follow();
            if clock::now() >= next_check {
                next_check = clock::now() + self.timing.check;
            }
        }
    }

    /// Compares the content of all files; when it changed without an event, the watches are made anew, because the
    /// directory itself may have been replaced.
    fn has_changed_unseen(&mut self, seen: &[u8]) -> bool {
        let is_changed = self.fingerprint() != seen;
        if is_changed && !seen.is_empty() {
            self.watched.clear();
            self.notifier = self.notifier();
        }
        is_changed
    }

    fn reload(&self) {
        match self.live.reload() {
            ReloadOutcome::Replaced(generation) => {
                let hash = self.live.current().source_hash.clone();
                tracing::info!(generation, source_hash = %hash, "configuration reloaded");
            }
            ReloadOutcome::Unchanged => tracing::debug!("configuration unchanged"),
            ReloadOutcome::Failed(errors) => {
                for error in errors.sorted().into_iter().take(20) {
                    tracing::error!(finding = %error, "configuration not reloaded: the last good one stays");
                }
            }
        }
    }

    fn wait_until_quiet(&self, signals: &Receiver<Signal>) -> Quiet {
        let deadline = clock::now() + self.timing.quiet_max;
        loop {
            let wait = self.timing.quiet.min(deadline.saturating_duration_since(clock::now()));
            match signals.recv_timeout(wait) {
                Ok(Signal::Changed) if clock::now() < deadline => {}
                Ok(Signal::Changed | Signal::Poke) | Err(RecvTimeoutError::Timeout) => return Quiet::Reached,
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Quiet::Stopped,
            }
        }
    }

    fn notifier(&self) -> Option<RecommendedWatcher> {
        let changes = self.changes.clone();
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading a file is no change; anything else, and a lost event, may be one.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                changes.send(Signal::Changed);
            }
        };
        notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "configuration changes are seen only by the periodic check"))
            .ok()
    }

    /// Watches the configuration directory, its subdirectories, and the directories of all files that were read.
    fn follow(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        let dir = self.live.dir();
        let mut wanted: BTreeSet<PathBuf> = subdirectories(dir).into_iter().collect();
        wanted.insert(dir.to_owned());
        for file in self.live.files() {
            wanted.extend(file.parent().filter(|parent| parent.is_dir()).map(Path::to_owned));
        }
        for gone in self.watched.difference(&wanted) {
            // It may have been deleted, which ended the watch.
            let _unwatched = notifier.unwatch(gone).is_ok();
        }
        for new in wanted.difference(&self.watched) {
            if let Err(error) = notifier.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %new.display(), %error, "changes here are seen only by the periodic check");
            }
        }
        self.watched = wanted;
    }

    fn fingerprint(&self) -> Vec<u8> {
        fingerprint(self.live.dir(), self.live.files())
    }
}

/// How waiting for quiet ended.
enum Quiet {
    Reached,
    Stopped,
}

#[cfg(test)]
mod tests;
