//! The engine alone: what the rules log about a message.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use gatehouse_waf::RuleSet;
use gatehouse_waf::body::Limits;
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::{self, files::Disk, files::Files as _};
use gatehouse_waf::transaction::{Mode, Report, Start, Transaction, Verdict};

use crate::suite::base64;

/// What the suite needs, as its README says.
const SETTINGS: &str = "SecAction \"id:900005,phase:1,nolog,pass,setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,\
    setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,\
    setvar:tx.combined_file_sizes=65535\"\n";

/// Rules, ready to be shown messages.
pub(crate) struct Engine {
    rules: Arc<RuleSet>,
    mode: Mode,
}

/// What became of a message.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) ids: BTreeSet<u32>,
    /// A line for each rule, in the form of ModSecurity's.
    pub(crate) log: String,
    pub(crate) refused: bool,
}

impl Engine {
    /// All rules at paranoia 4, which refuse nothing, with the settings of the suite.
    ///
    /// # Errors
    ///
    /// The rules do not load.
    pub(crate) fn detecting(directory: &Path) -> anyhow::Result<Self> {
        let options = Options {
            blocking_paranoia: 4,
            detection_paranoia: 4,
            response_body_access: true,
            response_body_types: ["text/plain", "text/html", "text/xml", "application/json"]
                .map(str::to_owned)
                .to_vec(),
            ..Options::default()
        };
        let set = directory.join("crs-setup.conf.example");
        let rules = compile(&[&set, &directory.join("rules/*.conf")], SETTINGS, &options)?;
        Ok(Self { rules, mode: Mode::Detect })
    }

    /// All rules at paranoia 1, which refuse, behind some more.
    ///
    /// # Errors
    ///
    /// The rules do not load.
    pub(crate) fn blocking(directory: &Path, before: &str) -> anyhow::Result<Self> {
        let limits = Limits { arguments: 10_000, parts: 200, ..Limits::default() };
        Self::with(directory, before, &Options { limits, ..Options::default() })
    }

    /// Rules that refuse, with a text behind the setup.
    ///
    /// # Errors
    ///
    /// The rules do not load.
    pub(crate) fn with(directory: &Path, before: &str, options: &Options) -> anyhow::Result<Self> {
        let set = directory.join("crs-setup.conf.example");
        let rules = compile(&[&set, &directory.join("rules/*.conf")], before, options)?;
        Ok(Self { rules, mode: Mode::Block })
    }

    /// Shows a message; answers as the service of the suite does.
    pub(crate) fn show(&self, message: &[u8]) -> Outcome {
        self.show_as(message, "regression")
    }

    /// The same with a request id.
    pub(crate) fn show_as(&self, message: &[u8], unique_id: &str) -> Outcome {
        let start = Start {
            client: ([127, 0, 0, 1], 40_000).into(),
            server: ([127, 0, 0, 1], 80).into(),
            unique_id,
            unix_time: 1_795_000_000,
            random: 0,
        };
        let mut transaction = Transaction::new(Arc::clone(&self.rules), self.mode, start);
        let message = Message::read(message);
        if request(&mut transaction, &message) {
            answer(&mut transaction, &message);
        }
        let report = transaction.finish();
        let ids = report.matches.iter().map(|found| found.id).collect();
        Outcome { ids, log: log(&report), refused: report.decision.is_some_and(|decided| decided != Verdict::Pass) }
    }
}

/// Compiles files, and a text behind the first one.
fn compile(files: &[&Path], text: &str, options: &Options) -> anyhow::Result<Arc<RuleSet>> {
    let mut program = seclang::ast::Program::default();
    for (index, file) in files.iter().enumerate() {
        match seclang::parse(&Disk, &[file]) {
            Ok((parsed, _)) => program.append(parsed),
            Err(errors) => bail!("{errors:?}"),
        }
        if index == 0 {
            match seclang::parse_text(&Disk, "settings", text) {
                Ok((parsed, _)) => program.append(parsed),
                Err(errors) => bail!("{errors:?}"),
            }
        }
    }
    let mut read = |name: &str| Disk.read(Path::new(name)).map_err(|error| error.to_string());
    match RuleSet::compile(&program, &mut read, options) {
        Ok(rules) => Ok(Arc::new(rules)),
        Err(errors) => bail!("{errors:?}"),
    }
}

/// A message as a server takes it that refuses nothing.
struct Message<'a> {
    method: &'a [u8],
    target: &'a [u8],
    protocol: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
    body: Vec<u8>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let end = find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
        let (head, rest) = (&bytes[..end], bytes.get(end + 4..).unwrap_or_default());
        let mut lines = split(head, b"\r\n").into_iter();
        let line = lines.next().unwrap_or_default();
        let (method, behind) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let behind = behind.get(1..).unwrap_or_default();
        let (target, protocol) = match behind.iter().rposition(|byte| *byte == b' ') {
            Some(at) => (&behind[..at], &behind[at + 1..]),
            None => (behind, &b""[..]),
        };
        let fields: Vec<(&[u8], &[u8])> = lines
            .filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                Some((&line[..colon], line[colon + 1..].trim_ascii()))
            })
            .collect();
        let value =
            |wanted: &[u8]| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
        let body = if value(b"transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            unchunked(rest)
        } else {
            let length = value(b"content-length").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            rest[..rest.len().min(length.unwrap_or(0))].to_vec()
        };
        Self { method, target, protocol, fields, body }
    }
}

/// Whether the request passes.
fn request(transaction: &mut Transaction, message: &Message<'_>) -> bool {
    transaction.request_line(message.method, message.target, message.protocol);
    for (name, value) in &message.fields {
        transaction.request_header(name, value);
    }
    if transaction.request_head_end() != Verdict::Pass {
        return false;
    }
    if !message.body.is_empty()
        && transaction.wants_request_body()
        && transaction.request_body(&message.body) != Verdict::Pass
    {
        return false;
    }
    transaction.request_end() == Verdict::Pass
}

/// Answers: `POST /reflect` with what it was sent, everything else with nothing.
fn answer(transaction: &mut Transaction, message: &Message<'_>) {
    let reflected = (message.target == b"/reflect").then(|| serde_json::from_slice(&message.body).ok()).flatten();
    let reflected: serde_json::Value = reflected.unwrap_or_default();
    let status = reflected["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body = match (&reflected["body"], &reflected["encodedBody"]) {
        (serde_json::Value::String(text), _) => text.clone().into_bytes(),
        (_, serde_json::Value::String(encoded)) => base64(encoded).unwrap_or_default(),
        _ => Vec::new(),
    };
    transaction.response_head(b"HTTP/1.1", status, b"");
    let mut has_type = false;
    for (name, value) in reflected["headers"].as_object().into_iter().flatten() {
        has_type |= name.eq_ignore_ascii_case("content-type");
        let value = value.as_str().unwrap_or_default();
        transaction.response_header(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
    }
    if !has_type && !body.is_empty() {
        transaction.response_header(b"content-type", b"text/plain; charset=utf-8");
    }
    transaction.response_head_end();
    if transaction.wants_response_body() {
        transaction.response_body(&body);
    }
    transaction.response_end();
}

fn log(report: &Report) -> String {
    let lines = report.matches.iter().map(|found| {
        let (id, message, data) = (found.id, &found.message, &found.data);
        format!("[id \"{id}\"] [msg \"{message}\"] [data \"{}\"]\n", escaped(data))
    });
    lines.collect()
}

/// Control characters as `\xhh`.
fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter {
        control if control.is_ascii_control() => format!("\\x{:02x}", u32::from(control)),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn split<'a>(mut bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, by) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + by.len()..];
    }
    parts.push(bytes);
    parts
}

/// The content of chunks, as far as they are whole.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = find(rest, b"\r\n") {
        let length =
            std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let Some(length) = length.filter(|length| *length > 0) else { break };
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
    body
}
