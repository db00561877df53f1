//! `catalog`: the whole catalog of a fleet and its revisions, through a running node.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::Call;
use serde_json::Value;

use super::api::{read_catalog, told};
use super::call::{CommandError, Where, ended};
use super::print;
use crate::store::catalog::objects::tag;

/// Arguments of `catalog`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show where the catalog of the node comes from, and what Redis has
    Show(Where),
    /// List the last revisions: number, time, who, where, what, why
    History(History),
    /// Show what differs between two revisions
    Diff(Diff),
    /// Publish an old revision as a new one
    Rollback(Rollback),
    /// Publish what the node has once more
    Publish(Publish),
    /// Print the whole catalog
    Export(Export),
    /// Publish a whole catalog, such as catalog.toml
    Import(Import),
    /// Show everything that is wrong with a whole catalog; changes nothing
    Check(Check),
}

#[derive(Debug, Args)]
struct History {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Diff {
    /// The earlier revision [default: the one before TO]
    from: Option<u64>,
    /// The later revision [default: the one in force]
    to: Option<u64>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Rollback {
    /// Which revision
    revision: u64,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Publish {
    /// Whatever Redis has, as when it has lost revisions; run it on the node with the greatest one
    #[arg(long)]
    force_revision: bool,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Export {
    /// As TOML, as in catalog.toml
    #[arg(long)]
    toml: bool,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Import {
    /// TOML or JSON; - for standard input [default: catalog.toml and catalog.d of the configuration]
    file: Option<PathBuf>,
    /// Replace what is there already
    #[arg(long)]
    replace: bool,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Check {
    /// TOML or JSON; - for standard input [default: catalog.toml and catalog.d of the configuration]
    file: Option<PathBuf>,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    ended(match &arguments.action {
        Action::Show(at) => at.get("/catalog/status", Vec::new()).map(|status| print(&format!("{status:#}\n"))),
        Action::History(history) => history.run(),
        Action::Diff(diff) => diff.run(),
        Action::Rollback(rollback) => rollback.run(),
        Action::Publish(publish) => publish.run(),
        Action::Export(export) => export.run(),
        Action::Import(import) => import.run(),
        Action::Check(check) => check.run(),
    })
}

impl History {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let answer = self.at.get("/catalog/history", vec![("limit", self.limit.to_string())])?;
        let mut text = String::new();
        for revision in list(&answer, "revisions") {
            let said = |key: &str| revision.get(key).map_or("-".to_owned(), shown);
            let columns = match revision.get("damaged") {
                Some(why) => vec![said("revision"), format!("not to be believed: {}", shown(why))],
                None => ["revision", "time", "by", "node", "what", "why"].map(said).into(),
            };
            line(&mut text, &columns.join("\t"));
        }
        Ok(print(&text))
    }
}

impl Diff {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let number = |name, number: Option<u64>| number.map(|number| (name, number.to_string()));
        let query = [number("from", self.from), number("to", self.to)].into_iter().flatten().collect();
        Ok(print(&differences(&self.at.get("/catalog/diff", query)?)))
    }
}

impl Rollback {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let query = [("revision", self.revision.to_string())].into_iter().chain(why(self.why.as_ref())).collect();
        let if_match = Some(tag(&self.at.get("/catalog", Vec::new())?));
        let call = Call { method: "POST", path: "/catalog/rollback".into(), query, if_match, ..json(b"") };
        let answer = self.at.call(Role::Operate, &call)?;
        Ok(told(&format!("{}rolled back to {}", differences(&answer), self.revision), &answer))
    }
}

impl Publish {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let query = [("force", self.force_revision.to_string())].into_iter().chain(why(self.why.as_ref())).collect();
        let call = Call { method: "POST", path: "/catalog/publish".into(), query, ..json(b"") };
        let answer = self.at.call(Role::Operate, &call)?;
        Ok(told("published", &answer))
    }
}

impl Export {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let document = self.at.get("/catalog", Vec::new())?;
        let text = match self.toml {
            true => toml::to_string_pretty(&document)
                .map_err(|error| CommandError::Refused(format!("TOML cannot say this: {error}")))?,
            false => format!("{document:#}\n"),
        };
        Ok(print(&text))
    }
}

impl Import {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let body = read_catalog(self.file.as_deref(), &self.at)?.to_string();
        // Before the first revision the catalog in force is that of the files, which is what is imported.
        let status = self.at.get("/catalog/status", Vec::new())?;
        let is_first = status.get("revision").and_then(Value::as_u64) == Some(0)
            && status.get("source").and_then(Value::as_str) == Some("redis");
        let if_match = match self.replace || is_first {
            true => Some(self.at.get("/catalog", Vec::new())?),
            false => None,
        };
        let if_match = if_match.filter(|known| known.as_object().is_some_and(|kinds| !kinds.is_empty()));
        let if_match = if_match.as_ref().map(tag);
        let query = why(self.why.as_ref()).collect();
        let call = Call { method: "PUT", path: "/catalog".into(), query, if_match, ..json(body.as_bytes()) };
        let answer = self.at.call(Role::Operate, &call)?;
        Ok(told(&format!("{}imported", differences(&answer)), &answer))
    }
}

impl Check {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let body = read_catalog(self.file.as_deref(), &self.at)?.to_string();
        let call = Call { method: "POST", path: "/catalog/check".into(), ..json(body.as_bytes()) };
        let answer = self.at.call(Role::Read, &call)?;
        Ok(print(&format!("{}valid\n", differences(&answer))))
    }
}

fn json(body: &[u8]) -> Call<'_> {
    Call { content_type: "application/json", body, ..Call::default() }
}

fn why(why: Option<&String>) -> impl Iterator<Item = (&'static str, String)> {
    why.cloned().map(|why| ("why", why)).into_iter()
}

/// Objects that differ, a line each, and below each the fields.
pub(super) fn differences(answer: &Value) -> String {
    let mut text = String::new();
    for one in list(answer, "differences") {
        let said = |key: &str| one.get(key).map(shown).unwrap_or_default();
        line(&mut text, &format!("{}\t{}\t{}", said("change"), said("kind"), said("name")));
        for field in list(one, "fields") {
            let said = |key: &str| field.get(key).map_or("-".to_owned(), shown);
            line(&mut text, &format!("\t{}\t{}\t{}", said("path"), said("before"), said("after")));
        }
    }
    text
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn line(text: &mut String, line: &str) {
    #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
    let _ = writeln!(text, "{line}");
}

/// The longest text in a column; a document is a field, too.
const SHOWN: usize = 200;

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > SHOWN || text.contains('\n') => {
            let first: String = text.lines().next().unwrap_or_default().chars().take(SHOWN / 4).collect();
            format!("{first}… ({} bytes, tag {})", text.len(), tag(value))
        }
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}
