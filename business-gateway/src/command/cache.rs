//! `cache`: what is kept of answers of services, through the admin API of the node that runs here.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use serde_json::{Value, json};

use super::call::{Call, CommandError, NOT_EVERYWHERE, Where, ended};
use super::print;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Purge answers, on all nodes of the fleet
    Purge(Purge),
    /// Show how much this node keeps, and what the cache did with calls
    Stats(Stats),
}

/// Arguments of `cache stats`.
#[derive(Debug, Args)]
pub struct Stats {
    #[command(flatten)]
    at: Where,
}

/// Arguments of `cache purge`.
#[derive(Debug, Args)]
pub struct Purge {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Answers with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// All answers of an API
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// The answer under this key, as Cache-Status shows it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// All answers
    #[arg(long)]
    all: bool,
}

pub(super) fn run(command: &Command) -> ExitCode {
    ended(match command {
        Command::Purge(purge) => purge.run(),
        Command::Stats(stats) => show(&stats.at),
    })
}

impl Purge {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let What { tag, api, key, all } = &self.what;
        let body = json!({ "tag": tag, "api": api, "key": key, "all": all }).to_string();
        let call = Call {
            method: "POST",
            path: "/cache/purge".into(),
            content_type: "application/json",
            body: body.as_bytes(),
            ..Call::default()
        };
        let answer = self.at.call(Role::Operate, &call)?;
        let said = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let what = match said("name") {
            "" => "everything".to_owned(),
            name => format!("{} {name}", said("purged")),
        };
        let code = print(&format!("{what} is purged\n"));
        if let Some(warning) = answer.get("warning").and_then(Value::as_str) {
            eprintln!("business-gateway: {warning}");
            return Ok(ExitCode::from(NOT_EVERYWHERE));
        }
        Ok(code)
    }
}

fn show(at: &Where) -> Result<ExitCode, CommandError> {
    let answer = at.get("/cache", Vec::new())?;
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut text = String::new();
    let mut line = |columns: Vec<String>| {
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = writeln!(text, "{}", columns.join("\t"));
    };
    line(vec![
        "memory".to_owned(),
        format!("{} of {} bytes", number(&answer, "bytes"), number(&answer, "bytes_max")),
        format!("{} keys", number(&answer, "keys")),
        format!("{} evicted", number(&answer, "evicted")),
        format!("{} purges", number(&answer, "purges")),
    ]);
    if let Some(fleet) = answer.get("fleet").filter(|fleet| fleet.is_object()) {
        let heard = match fleet.get("heard_ms_ago").and_then(Value::as_u64) {
            Some(millis) => format!("heard of purges {millis} ms ago"),
            None => "has not heard of purges yet".to_owned(),
        };
        let mut columns = vec!["fleet".to_owned(), heard];
        columns.extend(counts(fleet.get("counts")));
        line(columns);
    }
    for api in answer.get("apis").and_then(Value::as_array).into_iter().flatten() {
        let name = api.get("name").and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut columns = vec!["api".to_owned(), name];
        columns.extend(counts(api.get("outcomes")));
        columns.push(format!("{} stored", number(api, "stored")));
        line(columns);
    }
    Ok(print(&text))
}

/// The counts that are not 0.
fn counts(counts: Option<&Value>) -> Vec<String> {
    let counts = counts.and_then(Value::as_object).into_iter().flatten();
    let counts = counts.filter_map(|(name, count)| Some((name, count.as_u64().filter(|count| *count > 0)?)));
    counts.map(|(name, count)| format!("{count} {name}")).collect()
}
