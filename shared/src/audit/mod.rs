//! Who changed what, when and why: an append-only file that shows when somebody has edited it.
//!
//! Each change is a line of JSON in `audit.jsonl` that ends with the SHA-256 of everything before it in the line, and names
//! the hash of the line before: a line that was changed, removed, added or moved does not fit ([`verify()`]). The line is on
//! the disk before whoever made the change hears of it. `audit.head` holds number and hash of the last line, so that lines
//! cut off at the end show as well.
//!
//! What it cannot show: that somebody who may write both files has written them anew, all of it, with hashes that fit. Send
//! the lines to another machine, or note the hash of the last one there, where that matters. Secrets never stand in it: the
//! values of keys that sound like one are replaced.

mod verify;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock;
use crate::process::write_atomically;

pub use verify::{Finding, Verified, verify};

/// The file of lines, in the state directory.
pub const FILE: &str = "audit.jsonl";
/// The file with number and hash of the last line.
pub const HEAD_FILE: &str = "audit.head";
/// What stands before the hash at the end of a line.
const HASH_KEY: &str = ",\"hash\":\"";
/// Only the owner reads it.
const PERMISSIONS: u32 = 0o600;
/// Bytes at the end of the file in which its last line is looked for; no line is longer.
const LINE_MAX: u64 = 1 << 20;

/// A change to be written down.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event<'a> {
    /// The name of the token, or of the part of the gateway that acted by itself.
    pub who: &'a str,
    /// The role of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// Where the call came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The node that was told.
    pub node: &'a str,
    /// What was done, such as `blocklist.add`.
    pub action: &'a str,
    /// To what, such as a network.
    pub target: String,
    /// Why, in the words of who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    /// As it was; `null`: not there.
    pub before: Value,
    /// As it is now; `null`: gone.
    pub after: Value,
}

/// Number and hash of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 1 for the first line; 0: there is none.
    pub number: u64,
    /// Its hash, 64 hexadecimal digits; empty before the first.
    pub hash: String,
}

/// The audit log of a node.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    /// Held for one write, so that lines do not mix; only changes take it.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    head: Head,
    /// Bytes up to the end of the head's line. An upgrade's two processes write to one file.
    length: u64,
}

impl AuditLog {
    /// Opens the log of a state directory, which is made on first use. Where the file ends earlier than its head says, a
    /// line says so.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn open(dir: &Path, node: &str) -> io::Result<Self> {
        let path = dir.join(FILE);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(PERMISSIONS).open(&path)?;
        let head = last_line(&mut file)?;
        let kept = read_head(dir);
        let length = file.metadata()?.len();
        let log = Self { dir: dir.to_owned(), inner: Mutex::new(Inner { file, head: head.clone(), length }) };
        // A crash may come between a line and its head.
        if kept.number > head.number {
            tracing::error!(lines = kept.number - head.number, "the audit log has been cut off at its end");
            let missing = serde_json::to_value(&kept)?;
            let event = Event { who: "gatehouse", node, action: verify::CUT_OFF, before: missing, ..Event::default() };
            log.append(&[event])?;
        }
        Ok(log)
    }

    /// Writes changes and returns when they are on the disk.
    ///
    /// # Errors
    /// They may be written or not; whoever made the changes must not be told that all is well.
    pub fn append(&self, events: &[Event<'_>]) -> io::Result<Head> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.file.lock()?;
        let appended = inner.append(events);
        let head = match appended {
            Ok(()) => write_head(&self.dir, &inner.head).map(|()| inner.head.clone()),
            Err(error) => Err(error),
        };
        inner.file.unlock()?;
        head
    }

    /// The last line.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).head.clone()
    }

    /// The last lines as JSON, the newest first: at most so many of those whose action begins with `action`, out of the last
    /// mebibyte.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last(&self, most: usize, action: &str) -> io::Result<Vec<Value>> {
        let text = tail(&mut File::open(self.dir.join(FILE))?)?;
        let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_wanted =
            |line: &Value| line.get("action").and_then(Value::as_str).is_some_and(|is| is.starts_with(action));
        Ok(lines.filter(is_wanted).take(most).collect())
    }
}

impl Inner {
    fn append(&mut self, events: &[Event<'_>]) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        if end != self.length {
            self.head = last_line(&mut self.file)?;
        }
        let mut head = self.head.clone();
        let mut text = String::new();
        for event in events {
            let line = line(event, &head)?;
            head = Head { number: head.number + 1, hash: hash_of(&line).unwrap_or_default().to_owned() };
            text.push_str(&line);
            text.push('\n');
        }
        if let Err(error) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Half a line would make the next one unreadable.
            let _cut = self.file.set_len(end).is_ok();
            return Err(error);
        }
        (self.head, self.length) = (head, self.file.metadata()?.len());
        Ok(())
    }
}

/// A line without its end.
fn line(event: &Event<'_>, before: &Head) -> io::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        number: u64,
        time: String,
        #[serde(flatten)]
        event: &'a Event<'a>,
        previous: &'a str,
    }
    let event = Event { before: redacted(&event.before), after: redacted(&event.after), ..event.clone() };
    let line = Line {
        number: before.number + 1,
        time: clock::rfc3339(clock::unix_ms()),
        event: &event,
        previous: &before.hash,
    };
    let text = serde_json::to_string(&line)?;
    let open = text.strip_suffix('}').unwrap_or(&text);
    Ok(format!("{open}{HASH_KEY}{}\"}}", sha256(open)))
}

/// The hash at the end of a line, where there is one.
fn hash_of(line: &str) -> Option<&str> {
    let (_, hash) = line.rsplit_once(HASH_KEY)?;
    hash.strip_suffix("\"}").filter(|hash| hash.len() == 64)
}

fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same without the values of keys that sound like secrets.
fn redacted(value: &Value) -> Value {
    const SECRET: [&str; 6] = ["secret", "password", "token", "authorization", "credential", "private"];
    match value {
        Value::Object(fields) => {
            let is_secret = |key: &str| SECRET.iter().any(|secret| key.to_ascii_lowercase().contains(secret));
            let field = |(key, value): (&String, &Value)| {
                let value = if is_secret(key) && !value.is_null() { "[redacted]".into() } else { redacted(value) };
                (key.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(values) => values.iter().map(redacted).collect(),
        _ => value.clone(),
    }
}

/// Number and hash of the last whole line; what is cut off behind it was never acknowledged and is removed.
fn last_line(file: &mut File) -> io::Result<Head> {
    let text = tail(file)?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let cut_off = u64::try_from(text.len() - whole).unwrap_or(0);
    if cut_off > 0 {
        tracing::warn!(bytes = cut_off, "the audit log ended in the middle of a line");
        file.set_len(file.metadata()?.len() - cut_off)?;
    }
    let Some(line) = text.get(..whole).and_then(|text| text.lines().last()) else { return Ok(Head::default()) };
    let number = serde_json::from_str::<Value>(line).ok();
    let number = number.as_ref().and_then(|line| line.get("number")).and_then(Value::as_u64);
    // A damaged last line stays and is found by whoever verifies; the next one follows it by its real hash.
    Ok(Head { number: number.unwrap_or(0), hash: hash_of(line).unwrap_or_default().to_owned() })
}

/// The end of a file, from the start of a line.
fn tail(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LINE_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let start = if from == 0 { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
    Ok(text.get(start..).unwrap_or_default().to_owned())
}

fn write_head(dir: &Path, head: &Head) -> io::Result<()> {
    write_atomically(&dir.join(HEAD_FILE), &serde_json::to_vec(head)?, PERMISSIONS)
}

fn read_head(dir: &Path) -> Head {
    let bytes = fs::read(dir.join(HEAD_FILE)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
