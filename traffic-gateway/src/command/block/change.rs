//! Commands that change the list.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::admin::Role;
use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_shared::config::HumanDuration;
use serde_json::{Value, json};

use super::{BlockError, Call, THIS_NODE_ONLY, Where, accepted, network, part};
use crate::admit::access::import;
use crate::command::print;

/// Bytes of a list sent at once; the admin listener takes 1 MiB.
const PART: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Address or network, such as 192.0.2.7 or 2001:db8::/48
    #[arg(value_parser = network)]
    network: Network,
    #[command(flatten)]
    end: RequiredEnd,
    #[command(flatten)]
    texts: Texts,
    /// Even where it overlaps an allowed network or a trusted proxy, or is very broad
    #[arg(long)]
    force: bool,
    /// Even where the network is blocked already: the new entry takes the old one's place
    #[arg(long)]
    replace: bool,
    /// Only if the entry still has this revision
    #[arg(long, value_name = "N", conflicts_with = "replace")]
    if_revision: Option<u64>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RequiredEnd {
    /// How long, such as 30m, 12h or 7d
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<HumanDuration>,
    /// Until when, such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Until somebody removes it
    #[arg(long)]
    permanent: bool,
}

#[derive(Debug, Args)]
struct Texts {
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// Ticket or case
    #[arg(long)]
    ticket: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The network exactly as it is listed
    #[arg(value_parser = network)]
    network: Network,
    /// Only if the entry still has this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// File to read; - is the standard input
    file: PathBuf,
    /// How long entries count whose lines do not say; without, until somebody removes them
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<HumanDuration>,
    #[command(flatten)]
    texts: Texts,
    /// Even where entries overlap an allowed network or a trusted proxy, or are very broad
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    at: Where,
}

pub(super) fn add(add: &Add) -> Result<ExitCode, BlockError> {
    let until = if add.end.permanent { Some("never".to_owned()) } else { add.end.until.clone() };
    let body = json!({
        "network": add.network,
        "for": add.end.lasting.map(|lasting| lasting.to_string()),
        "until": until,
        "owner": add.texts.owner,
        "ticket": add.texts.ticket,
        "reason": add.texts.reason,
        "force": add.force,
        "replace": add.replace,
    });
    let body = body.to_string();
    let call = Call {
        method: "POST",
        path: "/blocklist".into(),
        if_match: add.if_revision,
        content_type: "application/json",
        body: body.as_bytes(),
        ..Call::default()
    };
    let answer: Value = said(&accepted(add.at.node(Role::Operate)?.call(&call)?)?.body);
    let until =
        part(&answer, "/after/until").as_str().map_or("until somebody removes it".to_owned(), |t| format!("until {t}"));
    Ok(done(&answer, &format!("blocked {} {until} (revision {})\n", add.network, part(&answer, "/after/revision"))))
}

pub(super) fn remove(remove: &Remove) -> Result<ExitCode, BlockError> {
    let call = Call {
        method: "DELETE",
        path: "/blocklist".into(),
        query: vec![("network", remove.network.to_string())],
        if_match: remove.if_revision,
        ..Call::default()
    };
    let answer: Value = said(&accepted(remove.at.node(Role::Operate)?.call(&call)?)?.body);
    Ok(done(&answer, &format!("removed {}\n", remove.network)))
}

/// Reads the whole file before anything is sent: a mistake on its last line imports nothing.
pub(super) fn import(import: &Import) -> Result<ExitCode, BlockError> {
    let name = import.file.display().to_string();
    let parts = parts(&import.file).map_err(|error| match error {
        ReadError::Open(error) => BlockError::File(name, error),
        ReadError::Lines(errors) => BlockError::Input(errors),
    })?;
    let node = import.at.node(Role::Operate)?;
    let mut query: Vec<(&'static str, String)> = Vec::new();
    let lasting = import.lasting.map(|lasting| lasting.to_string());
    let texts = &import.texts;
    for (key, value) in [
        ("for", &lasting),
        ("owner", &texts.owner),
        ("ticket", &texts.ticket),
        ("reason", &texts.reason),
        ("force", &import.force.then(|| "true".to_owned())),
    ] {
        query.extend(value.clone().map(|value| (key, value)));
    }
    query.push(("format", "list".to_owned()));
    let (mut added, mut replaced, mut unchanged) = (0, 0, 0);
    let mut last = Value::Null;
    for lines in &parts {
        let call = Call {
            method: "POST",
            path: "/blocklist/import".into(),
            query: query.clone(),
            content_type: "text/plain",
            body: lines.as_bytes(),
            ..Call::default()
        };
        let answer = accepted(node.call(&call)?).map_err(|error| match (error, added + replaced) {
            (BlockError::Refused(why), so_far @ 1..) => BlockError::Refused(format!("{why}\n{so_far} entries are in")),
            (error, _) => error,
        })?;
        last = said(&answer.body);
        let count = |name: &str| part(&last, name).as_u64().unwrap_or(0);
        added += count("/added");
        replaced += count("/replaced");
        unchanged += count("/unchanged");
    }
    Ok(done(&last, &format!("{added} added, {replaced} replaced, {unchanged} unchanged\n")))
}

/// Why a list cannot be read.
enum ReadError {
    Open(io::Error),
    Lines(gatehouse_shared::config::ConfigErrors),
}

/// The entries of a file as lines of our own format, in parts that can be sent.
fn parts(file: &Path) -> Result<Vec<String>, ReadError> {
    let from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(ReadError::Open)?)
    };
    let mut parts = vec![String::new()];
    let now = clock::unix_ms() / 1_000;
    import::read(&file.display().to_string(), from, None, now, |line| {
        let line = line.to_string();
        match parts.last_mut() {
            Some(part) if part.len() + line.len() < PART => {
                part.push_str(&line);
                part.push('\n');
            }
            _ => parts.push(line + "\n"),
        }
    })
    .map_err(ReadError::Lines)?;
    Ok(parts)
}

/// An answer of the node; `null` for what is no JSON, which it never is.
fn said(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

/// Says that it is done, and where it counts.
fn done(answer: &Value, text: &str) -> ExitCode {
    let code = print(text);
    match part(answer, "/warning").as_str() {
        Some(warning) => {
            eprintln!("traffic-gateway: {warning}");
            ExitCode::from(THIS_NODE_ONLY)
        }
        None => code,
    }
}
