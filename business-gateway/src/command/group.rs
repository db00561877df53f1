//! `group`: how traffic groups stand, and shutting them off, through the admin API of the node that runs here.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::config::HumanDuration;
use serde_json::{Value, json};

use super::call::{Call, CommandError, NOT_EVERYWHERE, Where, ended};
use super::print;

/// Arguments of `group`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Refuse the calls of a group for a time, on all nodes of the fleet
    Shed(Shed),
    /// Let the calls of a group through again
    Restore(Restore),
    /// Show the groups and the pools of this node: sizes, shares, calls under way and waiting, and what is shut off
    List(Where),
}

#[derive(Debug, Args)]
struct Shed {
    /// The group, as `group list` shows it
    group: String,
    /// How long, such as 10m or 2h
    #[arg(long = "for", value_name = "DURATION")]
    lasting: HumanDuration,
    /// How many of a hundred applications are refused, always the same ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Restore {
    /// The group
    group: String,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    ended(match &arguments.action {
        Action::Shed(shed) => shed.run(),
        Action::Restore(restore) => change(&restore.at, "/groups/restore", &json!({ "group": restore.group })),
        Action::List(at) => list(at),
    })
}

impl Shed {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Self { group, lasting, percent, reason, owner, at } = self;
        let body = json!({
            "group": group, "for": lasting.to_string(), "percent": percent, "reason": reason, "owner": owner,
        });
        change(at, "/groups/shed", &body)
    }
}

fn change(at: &Where, path: &'static str, body: &Value) -> Result<ExitCode, CommandError> {
    let body = body.to_string();
    let call = Call {
        method: "POST",
        path: path.into(),
        content_type: "application/json",
        body: body.as_bytes(),
        ..Call::default()
    };
    let answer = at.call(Role::Operate, &call)?;
    let said = |pointer: &str| answer.pointer(pointer).cloned().unwrap_or_default();
    let group = shown(&said("/group"));
    let text = match said("/shed") {
        Value::Null => format!("{group} is let through again\n"),
        _ => format!(
            "{group} is shut off for {} % of applications until {}\n",
            said("/shed/percent"),
            shown(&said("/shed/until"))
        ),
    };
    let code = print(&text);
    if let Some(warning) = said("/warning").as_str() {
        eprintln!("business-gateway: {warning}");
        return Ok(ExitCode::from(NOT_EVERYWHERE));
    }
    Ok(code)
}

fn list(at: &Where) -> Result<ExitCode, CommandError> {
    let answer = at.get("/groups", Vec::new())?;
    let all = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for group in all("groups") {
        let said = |pointer: &str| group.pointer(pointer).cloned().unwrap_or_default();
        let mut columns = vec!["group".to_owned(), shown(&said("/name")), format!("ratio {}", said("/ratio"))];
        if said("/shed").is_object() {
            columns.push(format!("shut off for {} %", said("/shed/percent")));
            columns.extend(["until", "by", "owner", "reason"].map(|name| shown(&said(&format!("/shed/{name}")))));
        } else {
            columns.push("open".to_owned());
        }
        lines.push(columns);
    }
    for (kind, name) in [("pool", "pools"), ("api", "apis")] {
        for pool in all(name) {
            let said = |pointer: &str| pool.pointer(pointer).cloned().unwrap_or_default();
            let mut columns = vec![kind.to_owned(), shown(&said("/name"))];
            columns.push(format!("{} of {} under way", said("/in_flight"), said("/size")));
            columns.push(format!("{} waiting", said("/waiting")));
            for group in pool.get("groups").and_then(Value::as_array).into_iter().flatten() {
                let said = |pointer: &str| group.pointer(pointer).cloned().unwrap_or_default();
                columns.push(format!(
                    "{} {}+{}/{}",
                    shown(&said("/name")),
                    said("/in_flight"),
                    said("/waiting"),
                    said("/share")
                ));
            }
            lines.push(columns);
        }
    }
    let mut text = String::new();
    for columns in lines {
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = writeln!(text, "{}", columns.join("\t"));
    }
    Ok(print(&text))
}

fn shown(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
