//! `route`: which API a call means, and why.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::live::Load as _;
use serde_json::Value;

use super::call::{Call, CommandError, Where, ended};
use super::print;
use crate::admit::route::explain::{Sample, explain};
use crate::policy::Policy;

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every API that a call could mean, in the order in which they are asked, which predicate lets it pass or not, and the
    /// request as the service would get it. Nothing is called. Exits with 1 when no API takes it
    Explain(Box<Arguments>),
}

/// Arguments of `route explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The method
    method: String,
    /// The URL, or its path and query
    url: String,
    /// A header, as in 'x-a: 1'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// A file with the body; - for standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// When the call is made, as in 2026-01-31T23:59:00Z. Default: now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The key of the application that calls, where something is made of it
    #[arg(long, value_name = "KEY")]
    app: Option<String>,
    /// Look into the files and not at the node that runs with them
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: Where,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Explain(arguments) = command;
    ended(arguments.run())
}

impl Arguments {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let sample = self.sample()?;
        let explanation = if self.offline {
            let loaded = Policy::load(&self.node.config.dir, None)?;
            let explanation =
                explain(&loaded.value, &sample).map_err(|error| CommandError::Refused(error.to_string()))?;
            json(&explanation)?
        } else {
            let body = json(&sample)?.to_string();
            let call = Call {
                method: "POST",
                path: "/routes/explain".into(),
                content_type: "application/json",
                body: body.as_bytes(),
                ..Call::default()
            };
            self.node.call(Role::Read, &call)?
        };
        let text = if self.json { format!("{explanation:#}\n") } else { told(&explanation) };
        let code = print(&text);
        let is_taken = explanation.get("refused").is_none_or(Value::is_null);
        Ok(if is_taken { code } else { ExitCode::FAILURE })
    }

    fn sample(&self) -> Result<Sample, CommandError> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for written in &self.headers {
            let (name, value) = written
                .split_once(':')
                .ok_or_else(|| CommandError::Refused(format!("{written:?} is not a header; write 'name: value'")))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let body = match &self.body {
            None => None,
            Some(file) => {
                let mut text = String::new();
                let read = if file.as_os_str() == "-" {
                    std::io::stdin().read_to_string(&mut text)
                } else {
                    std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
                };
                let fault = |error| CommandError::Refused(format!("cannot read {}: {error}", file.display()));
                read.map_err(fault)?;
                Some(text)
            }
        };
        let Self { method, url, client, at, app, .. } = self;
        let (method, url) = (method.clone(), url.clone());
        Ok(Sample { method, url, headers, client: *client, at: at.clone(), body, app: app.clone() })
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Value, CommandError> {
    serde_json::to_value(value).map_err(|error| CommandError::Refused(error.to_string()))
}

/// An explanation for people.
fn told(explanation: &Value) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _written = tell(&mut text, explanation);
    text
}

fn tell(out: &mut String, explanation: &Value) -> std::fmt::Result {
    let said = |pointer: &str| explanation.pointer(pointer).map(word).unwrap_or_default();
    let list = |name: &str| explanation.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    writeln!(out, "{} {}{}", said("/method"), said("/authority"), said("/path"))?;
    writeln!(out, "  from {} at {}", said("/client"), said("/at"))?;
    for hint in list("hints") {
        writeln!(out, "  note: {}", word(hint))?;
    }
    writeln!(out, "\nconsidered, in this order")?;
    if list("considered").is_empty() {
        writeln!(out, "  no API has this host and path")?;
    }
    for (index, api) in list("considered").iter().enumerate() {
        tell_api(out, index + 1, api)?;
    }
    match explanation.get("api").and_then(Value::as_str) {
        Some(api) => writeln!(out, "\napi: {api}")?,
        None => writeln!(out, "\napi: none")?,
    }
    if explanation.get("refused").is_some_and(Value::is_object) {
        writeln!(out, "refused: {} {}", said("/refused/status"), said("/refused/code"))?;
    }
    for pair in list("parameters") {
        let part = |index: usize| pair.get(index).map(word).unwrap_or_default();
        writeln!(out, "parameter {} = {}", part(0), part(1))?;
    }
    for name in ["service", "split"] {
        if let Some(value) = explanation.get(name).and_then(Value::as_str) {
            writeln!(out, "{name}: {value}")?;
        }
    }
    let Some(request) = explanation.get("request").filter(|request| request.is_object()) else { return Ok(()) };
    let said = |name: &str| request.get(name).map(word).unwrap_or_default();
    writeln!(out, "\nthe service gets (before flow rules, and with credentials)")?;
    writeln!(out, "  {} {} {}", said("method"), said("target"), said("version"))?;
    for pair in request.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let part = |index: usize| pair.get(index).map(word).unwrap_or_default();
        writeln!(out, "  {}: {}", part(0), part(1))?;
    }
    Ok(())
}

fn tell_api(out: &mut String, number: usize, api: &Value) -> std::fmt::Result {
    let said = |name: &str| api.get(name).map(word).unwrap_or_default();
    let list = |name: &str| api.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let joined = |name: &str, any: &str| {
        let words: Vec<String> = list(name).iter().map(word).collect();
        if words.is_empty() { any.to_owned() } else { words.join(",") }
    };
    let outcome = match said("outcome").as_str() {
        "chosen" => "takes it",
        "other_method" => "another method",
        "passed" => "does not take it",
        "undecided" => "only the body could say",
        _ => "not asked any more",
    };
    let priority = match said("priority").as_str() {
        "0" => String::new(),
        priority => format!(", priority {priority}"),
    };
    writeln!(
        out,
        "  {number}. {}: {} {} {}{priority}: {outcome}",
        said("api"),
        joined("methods", "any method"),
        joined("hosts", "any host"),
        said("path")
    )?;
    for judged in list("predicates") {
        let said = |name: &str| judged.get(name).map(word).unwrap_or_default();
        let holds = judged.get("holds").and_then(Value::as_bool).unwrap_or_default();
        writeln!(out, "       {} {} ({})", if holds { "yes" } else { "no " }, said("predicate"), said("saw"))?;
    }
    Ok(())
}

/// A text as it is, anything else as JSON.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
