use std::fs;
use std::path::Path;

use super::*;

fn start(path: &Path, queue: usize) -> LineWriter {
    LineWriter::start(&Config { sink: path.display().to_string(), queue }).unwrap()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = clock::now() + Duration::from_secs(20);
    while !condition() {
        assert!(clock::now() < deadline, "no {what} in time");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn make_pipe(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn writes_every_line_in_order_and_flushes_on_close() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let writer = start(&path, 8_192);
    for n in 0..1_000 {
        assert!(writer.push(format!("line {n}")));
    }
    writer.close();
    let expected: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!((writer.written(), writer.dropped()), (1_000, 0));
    assert!(!writer.push("late"));
    assert_eq!(writer.dropped(), 1);
}

#[test]
fn a_line_is_written_soon_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let writer = start(&path, 8_192);
    writer.push("one");
    wait_for("line", || fs::read_to_string(&path).unwrap() == "one\n");
    writer.close();
}

#[test]
fn a_relative_path_is_below_the_state_directory() {
    let below = |sink: &str| Config { sink: sink.to_owned(), queue: 7 }.below(Path::new("/var/lib/gate")).sink;
    assert_eq!(below("access.log"), "/var/lib/gate/access.log");
    assert_eq!(below("/var/log/access.log"), "/var/log/access.log");
    for name in ["stdout", "stderr", "off"] {
        assert_eq!(below(name), name);
    }
}

#[test]
fn flushing_waits_for_what_was_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let writer = start(&path, 8_192);
    for n in 1..=50 {
        writer.push("line");
        assert!(writer.flush());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), n);
    }
    writer.close();
    assert!(writer.flush());
}

#[test]
fn a_blocked_sink_drops_and_counts_but_never_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    make_pipe(&path);
    let writer = start(&path, 100);
    let started = clock::now();
    let line = "x".repeat(500);
    let taken = (0..10_000).filter(|_| writer.push(&line)).count();
    assert!(clock::now() - started < Duration::from_secs(2));
    assert!(taken <= 200, "the queue and at most one batch on its way");
    assert_eq!(writer.dropped(), 10_000 - u64::try_from(taken).unwrap());
    // A reader appears: what waits is written.
    let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
    writer.close();
    drop(writer);
    assert_eq!(reader.join().unwrap().lines().count(), taken);
}

#[test]
fn long_lines_are_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    make_pipe(&path);
    let writer = start(&path, 10);
    let line = "x".repeat(6_000);
    let taken = (0..100).filter(|_| writer.push(&line)).count();
    assert!((1..=2).contains(&taken), "{taken}");
    assert!(!writer.push("y".repeat(11_000)));
}

#[test]
fn reopens_after_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let rotated = dir.path().join("access.log.1");
    let writer = start(&path, 8_192);
    writer.push("before");
    wait_for("line", || writer.written() == 1);
    fs::rename(&path, &rotated).unwrap();
    writer.reopen();
    writer.push("after");
    writer.close();
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "before\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
}

#[test]
fn goes_on_in_another_sink_when_the_configuration_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.log"), dir.path().join("b.log"));
    let writer = start(&first, 8_192);
    writer.push("before");
    wait_for("line", || writer.written() == 1);
    writer.retarget(&Config { sink: "/nowhere/at/all".to_owned(), queue: 10 });
    writer.push("stays");
    wait_for("line", || writer.written() == 2);
    writer.retarget(&Config { sink: second.display().to_string(), queue: 10 });
    writer.push("after");
    writer.close();
    assert_eq!(fs::read_to_string(&first).unwrap(), "before\nstays\n");
    assert_eq!(fs::read_to_string(&second).unwrap(), "after\n");
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let writer = start(Path::new("/dev/full"), 100);
    writer.push("lost");
    wait_for("drop", || writer.dropped() == 1);
    assert!(writer.push("lost too"));
    writer.close();
    assert_eq!((writer.written(), writer.dropped()), (0, 2));
}

#[test]
fn dropping_the_last_handle_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let writer = start(&path, 8_192);
    let other = writer.clone();
    drop(writer);
    other.push("one");
    drop(other);
    wait_for("line", || fs::read_to_string(&path).unwrap() == "one\n");
}

#[test]
fn refuses_a_file_that_cannot_be_opened() {
    assert!(LineWriter::start(&Config { sink: "/nonexistent/access.log".into(), queue: 1 }).is_err());
}
