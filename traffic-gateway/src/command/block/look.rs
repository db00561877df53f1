//! Commands that show something.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{BlockError, Where, get, part};
use crate::command::print;

/// Entries fetched at once.
const PAGE: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct List {
    /// As JSON, one entry a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// At most so many changes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// As JSON, one change a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Suggest {
    /// At most so many candidates
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    at: Where,
}

pub(super) fn list(list: &List) -> Result<ExitCode, BlockError> {
    let (mut text, mut after) = (String::new(), None);
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.map(|after| ("after", after)));
        let page = json(&get(&list.at, "/blocklist", query)?);
        for entry in items(&page, "/entries") {
            if list.json {
                line(&mut text, &[entry.to_string()]);
            } else {
                let columns = ["/network", "/until", "/owner", "/ticket", "/by", "/reason"];
                line(&mut text, &columns.map(|name| shown(part(entry, name))));
            }
        }
        after = part(&page, "/next").as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(print(&text));
        }
    }
}

pub(super) fn export(at: &Where) -> Result<ExitCode, BlockError> {
    Ok(print(&get(at, "/blocklist/export", Vec::new())?))
}

pub(super) fn history(history: &History) -> Result<ExitCode, BlockError> {
    let answer = json(&get(&history.at, "/blocklist/history", vec![("limit", history.limit.to_string())])?);
    let mut text = String::new();
    for change in items(&answer, "/changes") {
        if history.json {
            line(&mut text, &[change.to_string()]);
            continue;
        }
        let what = match (part(change, "/before"), part(change, "/after")) {
            (_, Value::Null) => "removed",
            (Value::Null, _) => "added",
            _ => "replaced",
        };
        let columns = ["/time", "/by", "/node", "/network"].map(|name| shown(part(change, name)));
        let reason = shown(part(change, "/after/reason"));
        line(&mut text, &[columns.join("\t"), what.to_owned(), reason]);
    }
    if part(&answer, "/source") == "node" {
        eprintln!("traffic-gateway: these are the changes that this node was told, from its audit log");
    }
    Ok(print(&text))
}

pub(super) fn suggest(suggest: &Suggest) -> Result<ExitCode, BlockError> {
    let answer = json(&get(&suggest.at, "/blocklist/suggest", vec![("limit", suggest.limit.to_string())])?);
    let mut text = String::new();
    let count = |candidate: &Value, name: &str| match part(candidate, "/error").as_u64() {
        None | Some(0) => part(candidate, name).to_string(),
        Some(error) => format!("{} (at most {error} too high)", part(candidate, name)),
    };
    for candidate in items(&answer, "/candidates") {
        let refusals = format!("{} refused", count(candidate, "/refusals"));
        line(&mut text, &[shown(part(candidate, "/network")), refusals, shown(part(candidate, "/reason"))]);
    }
    for candidate in items(&answer, "/crawlers") {
        let connections = format!("{} connections", count(candidate, "/connections"));
        line(&mut text, &[shown(part(candidate, "/network")), connections, "nobody has logged in".to_owned()]);
    }
    Ok(print(&text))
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    part(answer, name).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn line(text: &mut String, columns: &[String]) {
    #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
    let _ = writeln!(text, "{}", columns.join("\t"));
}
