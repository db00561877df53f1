//! `quota`: how much of their quotas callers have used, asked of the running node.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use serde_json::Value;

use super::call::{Call, CallError, Where, explained};
use super::{fail, print, refuse};

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what an application, an API, a user or a client has used, of one limit or of all that count by what is given
    Show(Show),
}

/// Arguments of `quota show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The limit [default: all that count by what is given]
    #[arg(long)]
    limit: Option<String>,
    /// The key of the application
    #[arg(long)]
    app: Option<String>,
    /// The name of the API
    #[arg(long)]
    api: Option<String>,
    /// The user
    #[arg(long)]
    user: Option<String>,
    /// The client's address
    #[arg(long)]
    client: Option<IpAddr>,
    /// The value of the limit's expression
    #[arg(long)]
    key: Option<String>,
    /// The plan of the application
    #[arg(long)]
    plan: Option<String>,
    /// A moment in the window, such as 2026-11-20T10:15:30Z [default: now]
    #[arg(long)]
    at: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at_node: Where,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum ShowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Refused(String),
    #[error("the node answered something that is not JSON")]
    Json(#[from] serde_json::Error),
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Show(arguments) = command;
    match show(arguments) {
        Ok(text) => print(&text),
        Err(ShowError::Call(CallError::Config(errors))) => refuse(&errors),
        Err(error) => fail(&error),
    }
}

fn show(arguments: &Show) -> Result<String, ShowError> {
    let node = arguments.at_node.node(Role::Read)?;
    let client = arguments.client.map(|client| client.to_string());
    let given = [
        ("limit", &arguments.limit),
        ("app", &arguments.app),
        ("api", &arguments.api),
        ("user", &arguments.user),
        ("client", &client),
        ("key", &arguments.key),
        ("plan", &arguments.plan),
        ("at", &arguments.at),
    ];
    let query = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let answer = node.call(&Call { method: "GET", path: "/quota".into(), query, ..Call::default() })?;
    if answer.status != 200 {
        return Err(ShowError::Refused(explained(&answer)));
    }
    if arguments.json {
        return Ok(answer.body);
    }
    Ok(table(&serde_json::from_str(&answer.body)?))
}

/// One line for each quota: limit, subject, used of how many, held by nodes, as of when, and the window.
fn table(shown: &Value) -> String {
    let mut text = String::new();
    let quotas = shown.get("quotas").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if quotas.is_empty() {
        text.push_str("no limit counts by what is given\n");
    }
    for quota in quotas {
        let word = |name: &str| quota.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| quota.get(name).and_then(Value::as_u64).unwrap_or_default();
        let of_window =
            |name: &str| quota.pointer(&format!("/window/{name}")).and_then(Value::as_str).unwrap_or_default();
        // Writing into a String cannot fail.
        let _written = writeln!(
            text,
            "{}\t{}\tused {} of {} as of {}\tleased {}\tfrom {} to {}",
            word("limit"),
            word("subject"),
            number("used"),
            number("most"),
            word("as_of"),
            number("leased"),
            of_window("begins"),
            of_window("ends"),
        )
        .is_ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_is_one_line() {
        let shown = json!({ "quotas": [{
            "limit": "app-day", "subject": "app=shop", "used": 7, "most": 100, "leased": 3, "as_of": "now",
            "window": { "begins": "a", "ends": "b" },
        }] });
        assert_eq!(table(&shown), "app-day\tapp=shop\tused 7 of 100 as of now\tleased 3\tfrom a to b\n");
        assert_eq!(table(&json!({ "quotas": [] })), "no limit counts by what is given\n");
    }
}
