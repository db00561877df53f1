//! `split`: how calls are divided among services, and changing it, through the admin API of the node that runs here.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::encoded_part;
use gatehouse_shared::problem;
use serde_json::{Value, json};

use super::api::told;
use super::call::{Call, CommandError, Where, ended, explained};
use super::print;
use crate::store::catalog::objects::tag;
use crate::store::file;

/// Arguments of `split`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the splits with their branches
    List(Where),
    /// Show a split, and how its branches do on this node since it says what it says
    Show(Show),
    /// Change the shares of branches, as in canary=5%
    Set(Set),
    /// Show the last changes of a split
    History(History),
}

#[derive(Debug, Args)]
struct Show {
    /// The split, or api=NAME for that of an API
    split: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Set {
    /// The split, or api=NAME for that of an API
    split: String,
    /// A branch and its new share, such as canary=5%
    #[arg(required = true, value_name = "BRANCH=SHARE", value_parser = share)]
    shares: Vec<(String, f64)>,
    /// The level that is changed, where several give the branch a share; `split show` numbers them
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct History {
    /// The split, or api=NAME for that of an API
    split: String,
    /// Revisions to look through, or lines of the audit log
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    at: Where,
}

/// `canary=5%`, or `canary=5`.
fn share(text: &str) -> Result<(String, f64), String> {
    let form = "a branch and its share, as in canary=5%";
    let (branch, share) = text.split_once('=').ok_or(form)?;
    let percent: f64 = share.strip_suffix('%').unwrap_or(share).trim().parse().map_err(|_none| form)?;
    if !(0.0..=100.0).contains(&percent) {
        return Err("a share is 0% to 100%".to_owned());
    }
    Ok((branch.to_owned(), percent))
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    ended(match &arguments.action {
        Action::List(at) => list(at),
        Action::Show(show) => show.run(),
        Action::Set(set) => set.run(),
        Action::History(history) => history.run(),
    })
}

/// The name of a split; that of an API is looked up.
fn name_of(split: &str, at: &Where) -> Result<String, CommandError> {
    let Some(api) = split.strip_prefix("api=") else { return Ok(split.to_owned()) };
    let object = at.get(&format!("/catalog/api/{}", encoded_part(api)), Vec::new())?;
    let name = object.get("split").and_then(Value::as_str).map(str::to_owned);
    name.ok_or_else(|| CommandError::Refused(format!("the API {api:?} has no split")))
}

fn list(at: &Where) -> Result<ExitCode, CommandError> {
    let answer = at.get("/splits", Vec::new())?;
    let mut text = String::new();
    for split in all(&answer, "splits") {
        let branches = all(split, "branches").map(|branch| said(branch, "name")).collect::<Vec<_>>();
        let apis = all(split, "apis").map(shown).collect::<Vec<_>>();
        let columns = [said(split, "name"), format!("by {}", said(split, "key")), branches.join(","), apis.join(",")];
        line(&mut text, &columns.join("\t"));
    }
    Ok(print(&text))
}

impl Show {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let name = name_of(&self.split, &self.at)?;
        let answer = self.at.get(&format!("/splits/{}", encoded_part(&name)), Vec::new())?;
        let apis = all(&answer, "apis").map(shown).collect::<Vec<_>>().join(",");
        let mut text = String::new();
        line(
            &mut text,
            &format!("split\t{name}\tby {}\tof {apis}\tsince {}", said(&answer, "key"), said(&answer, "since")),
        );
        for level in all(&answer, "levels") {
            let columns = ["level", "when", "branch"].map(|key| said(level, key));
            line(&mut text, &format!("level\t{}", columns.join("\t")));
        }
        line(&mut text, "branch\tname\tservice\trequests\terrors\terror %\tp50 ms\tp99 ms");
        for branch in all(&answer, "branches") {
            let number = |key: &str| branch.get(key).and_then(Value::as_f64);
            let errors = number("errors").zip(number("requests").filter(|requests| *requests > 0.0));
            let ratio = errors.map_or("-".to_owned(), |(errors, requests)| format!("{:.2}", 100.0 * errors / requests));
            let millis = |key: &str| number(key).map_or("-".to_owned(), |millis| format!("{millis:.1}"));
            let service = branch.get("service").and_then(Value::as_str).unwrap_or("that of the API");
            let counted = [said(branch, "requests"), said(branch, "errors"), ratio, millis("p50_ms"), millis("p99_ms")];
            line(&mut text, &format!("branch\t{}\t{service}\t{}", said(branch, "name"), counted.join("\t")));
        }
        Ok(print(&text))
    }
}

/// A change of a share.
struct Changed {
    /// The level, from 1.
    level: usize,
    branch: String,
    before: f64,
    after: f64,
}

impl Set {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let at = &self.at;
        let name = name_of(&self.split, at)?;
        let path = format!("/catalog/split/{}", encoded_part(&name));
        let mut object = at.get(&path, Vec::new())?;
        let if_match = Some(tag(&object));
        let changed = self.change(&mut object).map_err(CommandError::Refused)?;
        let body = object.to_string();
        let query = self.why.iter().map(|why| ("why", why.clone())).collect();
        let call = Call {
            method: "PUT",
            path: path.into(),
            query,
            if_match,
            content_type: "application/json",
            body: body.as_bytes(),
        };
        let answer = at.node(Role::Operate)?.call(&call)?;
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if !(200..300).contains(&answer.status) {
            let is_in_file = said.get("code").and_then(Value::as_str) == Some(problem::ADMIN_OBJECT_READ_ONLY.code);
            let refusal = if is_in_file { to_edit(&name, at, &changed) } else { explained(&answer) };
            return Err(CommandError::Refused(refusal));
        }
        let what = changed.iter().map(|one| format!("{} {} % (was {} %)", one.branch, one.after, one.before));
        Ok(told(&format!("{name}: {}", what.collect::<Vec<_>>().join(", ")), &said))
    }

    /// Writes the shares into the split.
    fn change(&self, object: &mut Value) -> Result<Vec<Changed>, String> {
        let mut levels: Vec<&mut Value> =
            object.get_mut("levels").and_then(Value::as_array_mut).into_iter().flatten().collect();
        let mut changed = Vec::with_capacity(self.shares.len());
        for (branch, percent) in &self.shares {
            let is_meant = |(place, level): &(usize, &&mut Value)| {
                level.get("branch").and_then(Value::as_str) == Some(branch)
                    && level.get("percent").is_some()
                    && self.level.is_none_or(|wanted| wanted == place + 1)
            };
            let found: Vec<usize> = levels.iter().enumerate().filter(is_meant).map(|(place, _)| place).collect();
            let [place] = found.as_slice() else {
                return Err(match found.as_slice() {
                    [] => format!(
                        "no level gives the branch {branch:?} a share; add {{ percent = {percent}, branch = {branch:?} }} to its levels"
                    ),
                    several => {
                        let numbers: Vec<String> = several.iter().map(|place| (place + 1).to_string()).collect();
                        format!(
                            "the levels {} give the branch {branch:?} a share: say which with --level",
                            numbers.join(", ")
                        )
                    }
                });
            };
            let Some(level) = levels.get_mut(*place).and_then(|level| level.as_object_mut()) else { continue };
            let before = level.insert("percent".to_owned(), number(*percent));
            changed.push(Changed {
                level: place + 1,
                branch: branch.clone(),
                before: before.as_ref().and_then(Value::as_f64).unwrap_or_default(),
                after: *percent,
            });
        }
        Ok(changed)
    }
}

/// A share as people write it: 5, not 5.0.
fn number(percent: f64) -> Value {
    percent.to_string().parse::<u64>().map_or_else(|_fraction| json!(percent), Value::from)
}

/// What to edit by hand, where a split stands in the file that people edit.
fn to_edit(name: &str, at: &Where, changed: &[Changed]) -> String {
    let file = at.config.dir.join(file::CATALOG);
    let mut text = format!("the split {name:?} stands in {}, which people edit. Write there:", file.display());
    for Changed { level, branch, before, after } in changed {
        line(&mut text, &format!("\n  level {level} (branch {branch:?}): percent = {after}   # now {before}"));
    }
    text.push_str("it is in force as soon as the file is saved");
    text
}

impl History {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let name = name_of(&self.split, &self.at)?;
        let path = format!("/splits/{}/history", encoded_part(&name));
        let answer = self.at.get(&path, vec![("limit", self.limit.to_string())])?;
        let mut text = String::new();
        for change in all(&answer, "changes") {
            let columns = ["revision", "time", "by", "node", "change", "why"].map(|key| said(change, key));
            line(&mut text, &columns.join("\t"));
            for field in all(change, "fields") {
                line(&mut text, &format!("\t{}", ["path", "before", "after"].map(|key| said(field, key)).join("\t")));
            }
        }
        Ok(print(&text))
    }
}

fn all<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn said(value: &Value, key: &str) -> String {
    value.get(key).map_or("-".to_owned(), shown)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

fn line(text: &mut String, line: &str) {
    #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
    let _ = writeln!(text, "{line}");
}
