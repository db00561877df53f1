use proptest::prelude::{prop_assert, proptest};
use serde_json::json;

use super::*;

fn event(target: &str) -> Event<'static> {
    Event {
        who: "operate",
        role: Some("operate"),
        node: "edge-1",
        action: "blocklist.add",
        target: target.to_owned(),
        why: Some("flood, \"hash\":\"\u{1}"),
        after: json!({ "owner": "soc", "api_token": "abc", "list": [{ "Password": "x" }] }),
        ..Event::default()
    }
}

/// A log of five lines, its directory and its text.
fn sample() -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path(), "edge-1").unwrap();
    log.append(&[event("192.0.2.1"), event("192.0.2.2")]).unwrap();
    drop(log);
    let log = AuditLog::open(dir.path(), "edge-1").unwrap();
    for target in ["192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        log.append(&[event(target)]).unwrap();
    }
    let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
    (dir, text.lines().map(str::to_owned).collect())
}

fn verified_after(dir: &Path, lines: &[String]) -> Result<Verified, Finding> {
    let mut text = lines.join("\n");
    text.push('\n');
    fs::write(dir.join(FILE), text).unwrap();
    verify(dir).unwrap()
}

#[test]
fn an_untouched_log_is_in_order_and_holds_no_secret() {
    let (dir, lines) = sample();
    let head = verify(dir.path()).unwrap().unwrap().head;
    assert_eq!((head.number, lines.len()), (5, 5));
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["target"], &line["before"], &line["number"]), (&json!("192.0.2.1"), &json!(null), &json!(1)));
    assert_eq!(
        line["after"],
        json!({ "owner": "soc", "api_token": "[redacted]", "list": [{ "Password": "[redacted]" }] })
    );
    let log = AuditLog::open(dir.path(), "edge-1").unwrap();
    assert_eq!(log.head(), head);
    let last = log.last(2, "blocklist.").unwrap();
    assert_eq!((last.len(), &last[0]["target"]), (2, &json!("192.0.2.5")));
}

#[test]
fn a_changed_line_is_named() {
    let (dir, mut lines) = sample();
    lines[2] = lines[2].replace("192.0.2.3", "192.0.2.9");
    assert_eq!(verified_after(dir.path(), &lines), Err(Finding::Changed(3)));
}

#[test]
fn a_line_with_a_hash_that_was_made_to_fit_breaks_the_next_one() {
    let (dir, mut lines) = sample();
    let changed = lines[2].replace("192.0.2.3", "192.0.2.9");
    let (hashed, _) = changed.rsplit_once(HASH_KEY).unwrap();
    lines[2] = format!("{hashed}{HASH_KEY}{}\"}}", sha256(hashed));
    assert_eq!(verified_after(dir.path(), &lines), Err(Finding::Order(4)));
    let (dir, mut lines) = sample();
    let changed = lines[4].replace("192.0.2.5", "192.0.2.9");
    let (hashed, _) = changed.rsplit_once(HASH_KEY).unwrap();
    lines[4] = format!("{hashed}{HASH_KEY}{}\"}}", sha256(hashed));
    assert_eq!(verified_after(dir.path(), &lines), Err(Finding::Head));
}

#[test]
fn missing_and_moved_lines_are_named() {
    let (dir, lines) = sample();
    let without = |place: usize| {
        let mut lines = lines.clone();
        lines.remove(place);
        lines
    };
    assert_eq!(verified_after(dir.path(), &without(0)), Err(Finding::Order(1)));
    assert_eq!(verified_after(dir.path(), &without(2)), Err(Finding::Order(3)));
    let mut moved = lines.clone();
    moved.swap(1, 3);
    assert_eq!(verified_after(dir.path(), &moved), Err(Finding::Order(2)));
    let mut twice = lines.clone();
    twice.insert(2, lines[1].clone());
    assert_eq!(verified_after(dir.path(), &twice), Err(Finding::Order(3)));
    assert_eq!(verified_after(dir.path(), &without(4)), Err(Finding::CutOff { found: 4, expected: 5 }));
}

#[test]
fn an_end_that_was_missing_at_a_start_stays_visible() {
    let (dir, lines) = sample();
    fs::write(dir.path().join(FILE), format!("{}\n", lines[..3].join("\n"))).unwrap();
    let log = AuditLog::open(dir.path(), "edge-1").unwrap();
    for number in 0..4 {
        log.append(&[event(&format!("198.51.100.{number}"))]).unwrap();
    }
    assert_eq!(verify(dir.path()).unwrap(), Err(Finding::CutOffBefore(4)));
}

#[test]
fn a_crash_in_the_middle_of_a_line_is_no_finding() {
    let (dir, lines) = sample();
    let mut text = lines.join("\n");
    text.push_str("\n{\"number\":6,\"time\":");
    fs::write(dir.path().join(FILE), text).unwrap();
    let log = AuditLog::open(dir.path(), "edge-1").unwrap();
    log.append(&[event("192.0.2.6")]).unwrap();
    assert_eq!(verify(dir.path()).unwrap().unwrap().head.number, 6);
}

#[test]
fn two_processes_write_one_chain() {
    let (dir, _) = sample();
    let logs = [AuditLog::open(dir.path(), "old").unwrap(), AuditLog::open(dir.path(), "new").unwrap()];
    for turn in [0, 1, 1, 0, 1] {
        logs[turn].append(&[event("192.0.2.6")]).unwrap();
    }
    assert_eq!(verify(dir.path()).unwrap().unwrap().head.number, 10);
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(place in 0usize..4_000, byte in 1u8..=255) {
        let (dir, lines) = sample();
        let mut bytes = lines.join("\n").into_bytes();
        bytes.push(b'\n');
        let place = place % bytes.len();
        bytes[place] ^= byte;
        fs::write(dir.path().join(FILE), &bytes).unwrap();
        // What is no text any more is an error of reading, which nobody takes for a log in order.
        prop_assert!(!matches!(verify(dir.path()), Ok(Ok(_))), "byte {}", place);
    }
}
