use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::config::{ConfigError, ConfigErrors, Sources};
use crate::live::Loaded;

struct Text(String);

impl Load for Text {
    fn load(dir: &Path, _before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
        let mut sources = Sources::new(dir);
        let text = sources.read("a.toml")?.text;
        if text.contains("bad") {
            return Err(ConfigError::about_file("a.toml", "bad").into());
        }
        // `see PATH` reads a file outside the directory.
        if let Some(path) = text.strip_prefix("see ") {
            sources.read(path.trim())?;
        }
        Ok(Loaded::new(Text(text), sources))
    }
}

/// Quick, but with a content check so rare that only events and pokes can explain a reload.
const EVENTS: Timing =
    Timing { quiet: Duration::from_millis(20), quiet_max: Duration::from_secs(2), check: Duration::from_secs(3_600) };

fn start(dir: &Path, timing: Timing) -> (Arc<Live<Text>>, Watcher) {
    let live = Live::<Text>::start(dir).unwrap();
    let watcher = watch(Arc::clone(&live), timing).unwrap();
    (live, watcher)
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = clock::now() + Duration::from_secs(20);
    while !condition() {
        assert!(clock::now() < deadline, "no {what} in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A change made before the watch is in place is not an event, so the first change of a test is repeated until seen.
fn wait_until_watching(live: &Live<Text>, dir: &Path) {
    let counter = std::cell::Cell::new(0);
    wait_for("first reload", || {
        counter.set(counter.get() + 1);
        fs::write(dir.join("a.toml"), format!("first {}", counter.get())).unwrap();
        std::thread::park_timeout(Duration::from_millis(60));
        live.current().number > 1
    });
    wait_for("quiet", || live.current().value.0 == format!("first {}", counter.get()));
}

#[test]
fn sees_a_file_written_in_place_and_one_renamed_over_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "zero").unwrap();
    let (live, watcher) = start(dir.path(), EVENTS);
    wait_until_watching(&live, dir.path());
    fs::write(dir.path().join("a.toml"), "in place").unwrap();
    wait_for("reload", || live.current().value.0 == "in place");
    fs::write(dir.path().join(".a.toml.swp"), "renamed").unwrap();
    fs::rename(dir.path().join(".a.toml.swp"), dir.path().join("a.toml")).unwrap();
    wait_for("reload", || live.current().value.0 == "renamed");
    watcher.stop();
}

#[test]
fn sees_the_symbolic_link_that_kubernetes_swaps() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |version: &str| {
        let versioned = dir.path().join(format!("..{version}"));
        fs::create_dir(&versioned).unwrap();
        fs::write(versioned.join("a.toml"), version).unwrap();
        symlink(format!("..{version}"), dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    publish("v0");
    symlink("..data/a.toml", dir.path().join("a.toml")).unwrap();
    let (live, watcher) = start(dir.path(), EVENTS);
    let version = std::cell::Cell::new(0);
    wait_for("first reload", || {
        version.set(version.get() + 1);
        publish(&format!("v{}", version.get()));
        std::thread::park_timeout(Duration::from_millis(60));
        live.current().number > 1
    });
    publish("last");
    wait_for("reload", || live.current().value.0 == "last");
    watcher.stop();
}

#[test]
fn a_bad_file_never_stops_the_watcher() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "zero").unwrap();
    let (live, watcher) = start(dir.path(), EVENTS);
    wait_until_watching(&live, dir.path());
    let good = live.current().value.0.clone();
    for round in 1..=3 {
        fs::write(dir.path().join("a.toml"), format!("bad {round}")).unwrap();
        wait_for("failure", || live.status().failed_total >= round);
        assert_eq!(live.current().value.0, good);
    }
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    wait_for("failure", || live.status().failed_total >= 4);
    fs::write(dir.path().join("a.toml"), "good again").unwrap();
    wait_for("reload", || live.current().value.0 == "good again");
    assert_eq!(live.status().last_failure, None);
    watcher.stop();
}

#[test]
fn a_poke_reloads_what_no_event_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let certificate = outside.path().join("cert.pem");
    fs::write(&certificate, "one").unwrap();
    fs::write(dir.path().join("a.toml"), format!("see {}", certificate.display())).unwrap();
    let (live, watcher) = start(dir.path(), EVENTS);
    fs::write(&certificate, "two").unwrap();
    watcher.poke();
    wait_for("reload", || live.current().number == 2);
    watcher.stop();
}

#[test]
fn the_content_check_finds_a_replaced_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("config");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.toml"), "zero").unwrap();
    let timing = Timing { check: Duration::from_millis(50), ..EVENTS };
    let (live, watcher) = start(&dir, timing);
    fs::rename(&dir, root.path().join("old")).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.toml"), "replaced").unwrap();
    wait_for("reload", || live.current().value.0 == "replaced");
    fs::write(dir.join("a.toml"), "and again").unwrap();
    wait_for("reload", || live.current().value.0 == "and again");
    watcher.stop();
}
