//! `route`: stops and starts routes of the fleet at once.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::config::HumanDuration;
use serde_json::{Value, json};

use super::call::{Call, CallError, Where, explained};
use super::{THIS_NODE_ONLY, fail, print, refuse};

/// Arguments of `route`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Refuse the requests of a route for a time, on all nodes of the fleet
    Stop(Stop),
    /// Let a stopped route serve again
    Start(Start),
    /// Show the routes: name, cluster, and for how many clients, until when, by whom and why it is stopped
    List(Where),
}

#[derive(Debug, Args)]
struct Stop {
    /// The route, as `route list` shows it
    route: String,
    /// How long, such as 10m or 2h
    #[arg(long = "for", value_name = "DURATION")]
    lasting: HumanDuration,
    /// How many of a hundred clients are refused, always the same ones
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
struct Start {
    /// The route
    route: String,
    #[command(flatten)]
    at: Where,
}

/// Why a command has not done what it should.
#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Refused(String),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.action {
        Action::Stop(stop) => stop.run(),
        Action::Start(start) => change(&start.at, "/routes/start", &json!({ "route": start.route })),
        Action::List(at) => list(at),
    };
    match outcome {
        Ok(code) => code,
        Err(RouteError::Call(CallError::Config(errors))) => refuse(&errors),
        Err(error) => fail(&error),
    }
}

impl Stop {
    fn run(&self) -> Result<ExitCode, RouteError> {
        let Self { route, lasting, percent, reason, owner, at } = self;
        let body = json!({
            "route": route, "for": lasting.to_string(), "percent": percent, "reason": reason, "owner": owner,
        });
        change(at, "/routes/stop", &body)
    }
}

fn change(at: &Where, path: &'static str, body: &Value) -> Result<ExitCode, RouteError> {
    let body = body.to_string();
    let call = Call {
        method: "POST",
        path: path.into(),
        content_type: "application/json",
        body: body.as_bytes(),
        ..Call::default()
    };
    let answer = call_node(at, Role::Operate, &call)?;
    let said = |pointer: &str| answer.pointer(pointer).cloned().unwrap_or_default();
    let route = shown(&said("/route"));
    let text = match said("/stopped") {
        Value::Null => format!("{route} serves again\n"),
        _ => format!(
            "{route} is stopped for {} % of clients until {}\n",
            said("/stopped/percent"),
            shown(&said("/stopped/until"))
        ),
    };
    let code = print(&text);
    if let Some(warning) = said("/warning").as_str() {
        eprintln!("traffic-gateway: {warning}");
        return Ok(ExitCode::from(THIS_NODE_ONLY));
    }
    Ok(code)
}

fn list(at: &Where) -> Result<ExitCode, RouteError> {
    let answer = call_node(at, Role::Read, &Call { method: "GET", path: "/routes".into(), ..Call::default() })?;
    let mut text = String::new();
    for route in answer.get("routes").and_then(Value::as_array).into_iter().flatten() {
        let said = |pointer: &str| route.pointer(pointer).cloned().unwrap_or_default();
        let mut columns = vec![shown(&said("/name")), shown(&said("/cluster"))];
        if said("/stopped").is_object() {
            columns.push(format!("stopped for {} %", said("/stopped/percent")));
            columns.extend(["until", "by", "owner", "reason"].map(|name| shown(&said(&format!("/stopped/{name}")))));
        } else {
            columns.push("serves".to_owned());
        }
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = writeln!(text, "{}", columns.join("\t"));
    }
    Ok(print(&text))
}

fn call_node(at: &Where, role: Role, call: &Call<'_>) -> Result<Value, RouteError> {
    let answer = at.node(role)?.call(call)?;
    if !(200..300).contains(&answer.status) {
        return Err(RouteError::Refused(explained(&answer)));
    }
    Ok(serde_json::from_str(&answer.body).unwrap_or_default())
}

fn shown(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
