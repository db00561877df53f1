//! `registry`: the endpoints that registered themselves in the store, through the admin API of the node that runs here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::config::HumanDuration;
use serde_json::{Value, json};

use super::call::{Call, CommandError, Where, ended};
use super::print;

/// Arguments of `registry`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the endpoints registered under a name, or under all that the catalog looks for
    List(List),
    /// Register an endpoint, or let it last longer
    Register(Register),
    /// Take an endpoint out
    Remove(Remove),
}

#[derive(Debug, Args)]
struct List {
    /// The name [default: all that the catalog looks for]
    name: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Register {
    /// The name, as `registry` of the service says
    name: String,
    /// IP address and port
    address: SocketAddr,
    /// How long it lasts unless it is registered again
    #[arg(long, value_name = "DURATION")]
    ttl: HumanDuration,
    /// Its part of the calls, compared with the others, where the strategy weighs: 1 to 1000
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Where it is
    #[arg(long)]
    zone: Option<String>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Remove {
    /// The name
    name: String,
    /// IP address and port
    address: SocketAddr,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    ended(match &arguments.action {
        Action::List(list) => list.run(),
        Action::Register(register) => register.run(),
        Action::Remove(remove) => {
            let body = json!({ "name": remove.name, "address": remove.address });
            change(&remove.at, "/registry/remove", &body)
        }
    })
}

impl List {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let query = self.name.iter().map(|name| ("name", name.clone())).collect();
        let answer = self.at.get("/registry", query)?;
        let names = answer.get("names").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(print(&names.iter().map(lines).collect::<String>()))
    }
}

impl Register {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Self { name, address, ttl, weight, zone, at } = self;
        let body = json!({ "name": name, "address": address.to_string(), "ttl": ttl.to_string(), "weight": weight, "zone": zone });
        change(at, "/registry/register", &body)
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
    Ok(print(&lines(&at.call(Role::Operate, &call)?)))
}

/// The endpoints of a name, a line each.
fn lines(name: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut lines = String::new();
    for endpoint in name.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        let number = |key: &str| endpoint.get(key).and_then(Value::as_u64).unwrap_or(0);
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = writeln!(
            lines,
            "{}\t{}\tweight {}\tzone {}\t{} s left",
            text(name.get("name")),
            text(endpoint.get("address")),
            number("weight"),
            text(endpoint.get("zone")),
            number("left_ms") / 1_000
        );
    }
    lines
}
