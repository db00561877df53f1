//! One configuration generation at a time.
//!
//! A tier implements [`Load`] once; `run`, `check`, the watcher and the tests all call it. [`Live`] holds the current
//! [`Generation`] and replaces it whole; who took a generation keeps it to the end of its work. A load that fails leaves
//! the last good generation in place and is remembered for `/policy` and the metrics.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::clock;
use crate::config::{ConfigError, ConfigErrors, Sources};

/// What a tier implements once: everything from the files of a directory to one complete, checked value.
pub trait Load: Sized + Send + Sync + 'static {
    /// Loads from `dir`; `before` is the running value, so that counters and health survive.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn load(dir: &Path, before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors>;
}

/// The outcome of a load.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What was loaded.
    pub value: T,
    /// The first 16 hexadecimal digits of the SHA-256 over everything the load read.
    pub source_hash: String,
    /// The files read; the watcher also looks at those outside the configuration directory.
    pub files: Vec<PathBuf>,
}

impl<T> Loaded<T> {
    /// A value and what it was read from.
    #[must_use]
    pub fn new(value: T, sources: Sources) -> Self {
        let (source_hash, files) = sources.finish();
        Self { value, source_hash, files }
    }
}

/// One configuration, complete and immutable.
#[derive(Debug)]
pub struct Generation<T> {
    /// 1 for the one the process started with, then one more each time.
    pub number: u64,
    /// The first 16 hexadecimal digits of the SHA-256 over everything it was read from.
    pub source_hash: String,
    /// When it was loaded, in Unix milliseconds.
    pub loaded_unix_ms: u64,
    /// What was compiled from it.
    pub value: T,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// A new generation, with its number, is in place.
    Replaced(u64),
    /// Nothing the load reads has changed; the generation stays.
    Unchanged,
    /// The configuration is not valid; the last good generation stays.
    Failed(ConfigErrors),
}

/// How reloading goes, for `/policy` and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadStatus {
    /// The number of the current generation.
    pub generation: u64,
    /// The hash of its sources.
    pub source_hash: String,
    /// When the configuration was last found valid, changed or not, in Unix milliseconds.
    pub last_success_unix_ms: u64,
    /// The last failed reload, if none has succeeded since.
    pub last_failure: Option<ReloadFailure>,
    /// Loads that gave a new generation, the first one included.
    pub succeeded_total: u64,
    /// Loads that found errors.
    pub failed_total: u64,
}

/// A reload that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadFailure {
    /// When, in Unix milliseconds.
    pub unix_ms: u64,
    /// What was wrong, one finding each; at most 100.
    pub errors: Vec<String>,
}

/// Findings kept of a failed reload.
const MAX_ERRORS_KEPT: usize = 100;

struct Record {
    status: ReloadStatus,
    files: Vec<PathBuf>,
}

/// The current generation and the way to replace it.
pub struct Live<T> {
    dir: PathBuf,
    current: ArcSwap<Generation<T>>,
    /// Held during a load, so that two reloads do not race; the request path never takes it.
    loading: Mutex<()>,
    /// Held while a few fields are copied.
    record: Mutex<Record>,
}

impl<T: Load> Live<T> {
    /// Loads the first generation.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration: a process does not start without a valid one.
    pub fn start(dir: impl Into<PathBuf>) -> Result<Arc<Self>, ConfigErrors> {
        let dir = dir.into();
        let loaded = T::load(&dir, None)?;
        let generation = generation(1, loaded.source_hash, loaded.value);
        let status = ReloadStatus {
            generation: 1,
            source_hash: generation.source_hash.clone(),
            last_success_unix_ms: generation.loaded_unix_ms,
            last_failure: None,
            succeeded_total: 1,
            failed_total: 0,
        };
        Ok(Arc::new(Self {
            dir,
            current: ArcSwap::from_pointee(generation),
            loading: Mutex::new(()),
            record: Mutex::new(Record { status, files: loaded.files }),
        }))
    }

    /// Loads again and replaces the generation when anything has changed and everything is valid.
    pub fn reload(&self) -> ReloadOutcome {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        match load_guarded(&self.dir, &before.value) {
            Ok(loaded) if loaded.source_hash == before.source_hash => {
                self.update_record(|record| {
                    record.status.last_success_unix_ms = clock::unix_ms();
                    record.status.last_failure = None;
                });
                ReloadOutcome::Unchanged
            }
            Ok(loaded) => ReloadOutcome::Replaced(self.replace(before.number + 1, loaded)),
            Err(errors) => {
                let unix_ms = clock::unix_ms();
                let kept = errors.sorted().into_iter().take(MAX_ERRORS_KEPT).map(ToString::to_string).collect();
                self.update_record(|record| {
                    record.status.failed_total += 1;
                    record.status.last_failure = Some(ReloadFailure { unix_ms, errors: kept });
                });
                ReloadOutcome::Failed(errors)
            }
        }
    }

    fn replace(&self, number: u64, loaded: Loaded<T>) -> u64 {
        let generation = generation(number, loaded.source_hash, loaded.value);
        let (source_hash, loaded_unix_ms) = (generation.source_hash.clone(), generation.loaded_unix_ms);
        self.current.store(Arc::new(generation));
        self.update_record(|record| {
            record.files = loaded.files;
            record.status.generation = number;
            record.status.source_hash = source_hash;
            record.status.last_success_unix_ms = loaded_unix_ms;
            record.status.last_failure = None;
            record.status.succeeded_total += 1;
        });
        number
    }
}

impl<T> Live<T> {
    /// The current generation. Cheap enough for every request: no lock, one reference count.
    #[must_use]
    pub fn current(&self) -> Arc<Generation<T>> {
        self.current.load_full()
    }

    /// The directory it is loaded from.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How reloading goes.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    /// The files the current generation was read from.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).files.clone()
    }

    fn update_record(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A load that panics is a bug, but no reason to lose the watcher.
fn load_guarded<T: Load>(dir: &Path, before: &T) -> Result<Loaded<T>, ConfigErrors> {
    // What a panic may leave half changed is dropped with it: a load changes nothing that exists.
    let load = AssertUnwindSafe(|| T::load(dir, Some(before)));
    std::panic::catch_unwind(load).unwrap_or_else(|_panic| {
        let message = "loading the configuration panicked; this is a bug, see the process log";
        Err(ConfigError::about_file(dir.display().to_string(), message).into())
    })
}

fn generation<T>(number: u64, source_hash: String, value: T) -> Generation<T> {
    Generation { number, source_hash, loaded_unix_ms: clock::unix_ms(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(u64, u64);

    impl Load for Number {
        fn load(dir: &Path, before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
            let mut sources = Sources::new(dir);
            let text = sources.read("number")?.text;
            assert_ne!(text, "panic");
            let number = text.trim().parse().map_err(|error| ConfigError::about_file("number", format!("{error}")))?;
            Ok(Loaded::new(Number(number, before.map_or(0, |before| before.1 + 1)), sources))
        }
    }

    #[test]
    fn keeps_the_last_good_generation() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("number"), text).unwrap();
        assert!(Live::<Number>::start(dir.path()).is_err());
        write("7");
        let live = Live::<Number>::start(dir.path()).unwrap();
        let held = live.current();
        assert_eq!(live.reload(), ReloadOutcome::Unchanged);
        write("eight");
        assert!(matches!(live.reload(), ReloadOutcome::Failed(_)));
        assert_eq!(live.current().value.0, 7);
        let status = live.status();
        assert_eq!((status.generation, status.succeeded_total, status.failed_total), (1, 1, 1));
        assert_eq!(status.last_failure.unwrap().errors, ["number: invalid digit found in string"]);
        write("panic");
        assert!(matches!(live.reload(), ReloadOutcome::Failed(_)));
        assert_eq!(live.status().failed_total, 2);
        write("8");
        assert_eq!(live.reload(), ReloadOutcome::Replaced(2));
        let current = live.current();
        assert_eq!((current.number, current.value.0, current.value.1), (2, 8, 1));
        assert_eq!((held.number, held.value.0), (1, 7), "who took a generation keeps it");
        assert_eq!(live.status().last_failure, None);
        assert_eq!(live.files(), [dir.path().join("number")]);
    }
}
