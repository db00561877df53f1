//! The regression suite that comes with the Core Rule Set: its cases, and the bytes that each of them sends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::yaml::{self, Yaml};

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// Such as `920100-4`.
    pub(crate) name: String,
    /// Sent one after the other, each with what is expected of it.
    pub(crate) stages: Vec<Stage>,
}

/// One request of a case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) message: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What must be so.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Rules that must be logged, and that must not.
    pub(crate) ids: Vec<u32>,
    pub(crate) no_ids: Vec<u32>,
    /// Expressions that the log must match, and must not.
    pub(crate) log: Option<String>,
    pub(crate) no_log: Option<String>,
    /// What the server answers, where nothing is said about the log.
    pub(crate) status: Option<u16>,
}

impl Expected {
    pub(crate) fn is_about_the_log(&self) -> bool {
        !(self.ids.is_empty() && self.no_ids.is_empty() && self.log.is_none() && self.no_log.is_none())
    }
}

/// The directory of a Core Rule Set with its suite, if the test data has it.
pub(crate) fn directory() -> Option<PathBuf> {
    // Beside the project, of which several crates have these tests.
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("shared/data"));
    let named = std::env::var_os("GATEHOUSE_TEST_DATA").map(PathBuf::from);
    let mut places = named.into_iter().chain(beside).map(|data| data.join("crs-4.28.0"));
    let found = places.find(|place| place.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: no Core Rule Set beside the project; set GATEHOUSE_TEST_DATA");
    }
    found
}

/// All cases, in the order of their files.
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Vec<Case>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(directory.join("tests/regression/tests"))? {
        let folder = folder?.path();
        if folder.is_dir() {
            for file in fs::read_dir(folder)? {
                files.push(file?.path());
            }
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort_by_key(|file| file.file_name().map(ToOwned::to_owned));
    let mut cases = Vec::new();
    for file in files {
        let document = yaml::parse(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
        let Some(rule) = document.text_of("rule_id") else { continue };
        for test in document.get("tests").map_or(&[][..], Yaml::list) {
            let name = format!("{rule}-{}", test.text_of("test_id").context("a case without a number")?);
            let stages = test.get("stages").map_or(&[][..], Yaml::list).iter().map(stage).collect::<Result<_, _>>();
            cases.push(Case { stages: stages.with_context(|| name.clone())?, name });
        }
    }
    Ok(cases)
}

fn stage(stage: &Yaml) -> anyhow::Result<Stage> {
    let input = stage.get("input").context("no input")?;
    let output = stage.get("output").context("no output")?;
    let log = output.get("log");
    let ids = |key| {
        let ids = log.and_then(|log| log.get(key)).map_or(&[][..], Yaml::list);
        ids.iter().map(|id| Ok(id.text().context("no number")?.parse()?)).collect::<anyhow::Result<Vec<u32>>>()
    };
    let text = |key| log.and_then(|log| log.text_of(key)).map(str::to_owned);
    let expected = Expected {
        ids: ids("expect_ids")?,
        no_ids: ids("no_expect_ids")?,
        log: text("match_regex"),
        no_log: text("no_match_regex"),
        status: output.text_of("status").map(str::parse).transpose()?,
    };
    ensure!(expected.is_about_the_log() || expected.status.is_some(), "nothing is expected");
    Ok(Stage { message: message(input)?, expected })
}

/// The bytes to send, as the public runner of the suite makes them of a case.
fn message(input: &Yaml) -> anyhow::Result<Vec<u8>> {
    if let Some(encoded) = input.text_of("encoded_request") {
        return base64(encoded);
    }
    let (method, version) = (input.text_of("method").unwrap_or("GET"), input.text_of("version").unwrap_or("HTTP/1.1"));
    let mut fields: Vec<(&str, String)> = Vec::new();
    for (name, value) in input.get("headers").map_or(&[][..], Yaml::entries) {
        fields.push((name, value.text().unwrap_or_default().to_owned()));
    }
    let completes = input.text_of("autocomplete_headers") != Some("false");
    let mut body = input.text_of("data").unwrap_or_default().to_owned();
    let find = |fields: &[(&str, String)], wanted: &str| {
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
    };
    if !body.is_empty() && completes {
        const FORM: &str = "application/x-www-form-urlencoded";
        let content_type = find(&fields, "content-type");
        if content_type.is_none() {
            fields.push(("Content-Type", FORM.to_owned()));
        }
        if content_type.is_none_or(|content_type| content_type == FORM) && !has_escapes(&body) {
            body = escaped_pairs(&body);
        }
    }
    if find(&fields, "content-type").is_some_and(|value| value.starts_with("multipart/form-data;")) {
        body = body.replace('\n', "\r\n");
    }
    if completes {
        if find(&fields, "connection").is_none() {
            fields.push(("Connection", "close".to_owned()));
        }
        let takes_body = method.starts_with("POST")
            || method.contains("PUT")
            || method.contains("PATCH")
            || method.ends_with("DELETE");
        if (!body.is_empty() || takes_body) && find(&fields, "content-length").is_none() {
            fields.push(("Content-Length", body.len().to_string()));
        }
    }
    let mut message = format!("{method} {} {version}\r\n", input.text_of("uri").unwrap_or("/"));
    for (name, value) in fields {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    message.push_str("\r\n");
    message.push_str(&body);
    Ok(message.into_bytes())
}

/// Whether decoding a form would change the text, or fail.
fn has_escapes(body: &str) -> bool {
    body.contains(['%', '+'])
}

fn escaped_pairs(body: &str) -> String {
    let pairs = body.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => format!("{}={}", escaped(name), escaped(value)),
        None => escaped(pair),
    });
    let escaped = pairs.collect::<Vec<_>>().join("&");
    // The runner leaves out what stands behind a last `&`.
    if body.ends_with('&') { escaped.trim_end_matches('&').to_owned() } else { escaped }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Decodes base64, blanks and line breaks aside.
pub(crate) fn base64(text: &str) -> anyhow::Result<Vec<u8>> {
    let (mut bytes, mut bits, mut kept) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => anyhow::bail!("{:?} in base64", char::from(other)),
        };
        bits = bits << 6 | u32::from(value);
        kept += 6;
        if kept >= 8 {
            kept -= 8;
            bytes.push(u8::try_from(bits >> kept & 0xff)?);
        }
    }
    Ok(bytes)
}
