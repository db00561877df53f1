//! `flow`: flow rules without a running node.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Args, Subcommand};
use gatehouse_shared::clock;
use gatehouse_shared::live::Load as _;

use super::{ConfigDir, fail, print, refuse};
use crate::admit::flow_rule::Stage;
use crate::admit::flow_rule::effect::Effects;
use crate::admit::flow_rule::input::{Field, FieldKind, Input, header, parameters};
use crate::admit::flow_rule::rule::{Action, Mode, OnError, Rule, RuleError};
use crate::admit::flow_rule::sample::{Prepared, Sample};
use crate::admit::flow_rule::script::Interpreter;
use crate::policy::Policy;

/// What to do with flow rules.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge a made-up call by a rule; shows what the rule looks at, what it decides and what that takes. Exits with 1 when the
    /// rule fails or is cut
    Test(Box<Arguments>),
}

/// Arguments of `flow test`. They go before what the sample says.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigDir,
    /// The rule
    rule: String,
    /// A TOML file with a call: app = { key, name, owner, plan, class, field_level }, user, scopes, client, api, level, method,
    /// host, path, query, headers = [["name", "value"]], unix_ms, status, response_headers
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// The URL, or its path and query
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The method
    #[arg(long)]
    method: Option<String>,
    /// A header, as in 'x-a: 1'
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The application's key
    #[arg(long, value_name = "KEY")]
    app: Option<String>,
    /// The application's plan
    #[arg(long)]
    plan: Option<String>,
    /// The application's class
    #[arg(long)]
    class: Option<String>,
    /// The API's name
    #[arg(long)]
    api: Option<String>,
    /// The user
    #[arg(long)]
    user: Option<String>,
    /// A scope; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<std::net::IpAddr>,
    /// When the call arrives, as in 2026-01-31T23:59:00Z. Default: now
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// The status of the service's answer, for rules on answers
    #[arg(long)]
    status: Option<u16>,
}

/// Why there is no call to judge.
#[derive(Debug, thiserror::Error)]
enum SampleFault {
    #[error("cannot read {0}")]
    Read(String, #[source] std::io::Error),
    #[error("{0} is not a sample")]
    Parse(String, #[source] toml::de::Error),
    #[error("{0:?} is not a header; write 'name: value'")]
    Header(String),
    #[error("{0:?} is not a time; write it as in 2026-01-31T23:59:00Z")]
    Time(String),
    #[error("the sample is not a call")]
    Call(#[source] crate::admit::flow_rule::sample::SampleError),
    #[error("no flow rule {0:?}; there are: {1}")]
    Rule(String, String),
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Test(arguments) = command;
    let policy = match Policy::load(&arguments.config.dir, None) {
        Ok(loaded) => loaded.value,
        Err(errors) => return refuse(&errors),
    };
    match test(arguments, &policy) {
        Ok((report, true)) => print(&report),
        Ok((report, false)) => {
            print(&report);
            ExitCode::FAILURE
        }
        Err(error) => fail(error.as_ref()),
    }
}

/// The report, and whether the rule came to an end of its own.
fn test(arguments: &Arguments, policy: &Policy) -> Result<(String, bool), Box<dyn Error>> {
    let rules = &policy.catalog.flow_rules;
    let rule = rules.find(&arguments.rule).ok_or_else(|| {
        let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
        SampleFault::Rule(arguments.rule.clone(), names.join(", "))
    })?;
    let call = call(arguments)?;
    let input = call.input(rule.stage);
    let mut report = String::new();
    describe(&mut report, rule, &input)?;
    let (outcome, steps) = judge(rule, &input, policy);
    write!(report, "\nresult\n")?;
    match &outcome {
        Ok(effects) => tell(&mut report, rule, effects)?,
        Err(error) => {
            let word = if matches!(error, RuleError::Cut(_)) { "cut" } else { "failed" };
            writeln!(report, "  {word}: {error}")?;
            let after = if rule.on_error == OnError::Deny { "the call is refused (503)" } else { "the call passes" };
            writeln!(report, "  on_error: {after}")?;
        }
    }
    write!(report, "\ntakes\n{steps}")?;
    Ok((report, outcome.is_ok()))
}

fn call(arguments: &Arguments) -> Result<Prepared, SampleFault> {
    let mut sample = match &arguments.sample {
        Some(file) => read(file)?,
        None => Sample::default(),
    };
    if sample.unix_ms == 0 {
        sample.unix_ms = clock::unix_ms();
    }
    if let Some(time) = &arguments.time {
        sample.unix_ms = clock::parse_rfc3339(time).ok_or_else(|| SampleFault::Time(time.clone()))?;
    }
    if let Some(url) = &arguments.url {
        let rest = match url.split_once("://") {
            Some((_, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                sample.host = host.to_owned();
                path
            }
            None => url,
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        sample.path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        sample.query = query.to_owned();
    }
    for written in &arguments.headers {
        let (name, value) = written.split_once(':').ok_or_else(|| SampleFault::Header(written.clone()))?;
        sample.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let take = |target: &mut String, given: &Option<String>| {
        if let Some(given) = given {
            target.clone_from(given);
        }
    };
    take(&mut sample.method, &arguments.method);
    take(&mut sample.app.key, &arguments.app);
    take(&mut sample.app.plan, &arguments.plan);
    take(&mut sample.app.class, &arguments.class);
    take(&mut sample.api, &arguments.api);
    take(&mut sample.user, &arguments.user);
    sample.scopes.extend(arguments.scopes.iter().cloned());
    sample.client = arguments.client.unwrap_or(sample.client);
    sample.status = arguments.status.unwrap_or(sample.status);
    sample.prepare().map_err(SampleFault::Call)
}

fn read(file: &Path) -> Result<Sample, SampleFault> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| SampleFault::Read(name(), error))?;
    toml::from_str(&text).map_err(|error| SampleFault::Parse(name(), error))
}

/// The rule, and the inputs it looks at.
fn describe(report: &mut String, rule: &Rule, input: &Input<'_>) -> Result<(), std::fmt::Error> {
    let stage = if rule.stage == Stage::Request { "request" } else { "response" };
    let mode = if rule.mode == Mode::Enforce { "enforce" } else { "observe" };
    writeln!(report, "rule {} (on the {stage}, {mode})\n\ninputs", rule.name)?;
    for field in Field::ALL.iter().copied().filter(|field| rule.looks_at(*field)) {
        let value = match field.kind() {
            FieldKind::Text => format!("{:?}", input.text(field)),
            FieldKind::Number => input.number(field, rule.zone()).to_string(),
            FieldKind::Texts => format!("{:?}", input.scopes),
            FieldKind::NumberDictionary => "nothing is known of limits here".to_owned(),
            FieldKind::Dictionary | FieldKind::ListDictionary => match input.header_map(field) {
                Some(headers) => {
                    let pairs =
                        headers.keys().map(|name| (name.as_str(), header(headers, name.as_str()).unwrap_or_default()));
                    format!("{:?}", pairs.collect::<Vec<_>>())
                }
                None => format!("{:?}", parameters(input.query).collect::<Vec<_>>()),
            },
        };
        writeln!(report, "  {} = {value}", field.name())?;
    }
    Ok(())
}

/// What the rule says, and what that takes.
fn judge(rule: &Rule, input: &Input<'_>, policy: &Policy) -> (Result<Effects, RuleError>, String) {
    let mut steps = String::new();
    if let Some(when) = &rule.when {
        steps.push_str(&format!("  when: at most {} steps of {}\n", when.cost(), policy.flow.cost_max));
    }
    if let Action::Script(script) = &rule.action {
        let (interpreter, used) = Interpreter::counting(&policy.flow);
        let outcome = rule.effects_by(input, Some(&script.with(interpreter)));
        let used = used.load(Ordering::Relaxed);
        steps.push_str(&format!("  script: {used} operations of {}\n", policy.flow.operations_max));
        return (outcome, steps);
    }
    let outcome = rule.effects(input);
    let cost: u64 = rule.expressions().map(|expression| expression.cost()).sum();
    steps.push_str(&format!("  effects: at most {cost} steps\n"));
    (outcome, steps)
}

/// The effects in words.
fn tell(report: &mut String, rule: &Rule, effects: &Effects) -> Result<(), std::fmt::Error> {
    if effects.is_empty() {
        return writeln!(report, "  pass: the rule does nothing to this call");
    }
    if rule.mode == Mode::Observe {
        writeln!(report, "  observed only; enforced it would be:")?;
    }
    if let Some(denial) = &effects.denial {
        let detail = denial.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        writeln!(report, "  deny {} {}{detail}", denial.status, denial.code)?;
    }
    for charge in &effects.charges {
        writeln!(report, "  charge {} by {}", charge.limit, charge.cost)?;
    }
    for (name, value) in &effects.headers {
        match value {
            Some(value) => writeln!(report, "  set the header {name}: {}", String::from_utf8_lossy(value.as_bytes()))?,
            None => writeln!(report, "  remove the header {name}")?,
        }
    }
    for (name, value) in &effects.query {
        match value {
            Some(value) => writeln!(report, "  set the parameter {name:?} to {value:?}")?,
            None => writeln!(report, "  remove the parameter {name:?}")?,
        }
    }
    for tag in &effects.tags {
        writeln!(report, "  tag {}={}", tag.name, tag.value)?;
    }
    if let Some(status) = effects.status {
        writeln!(report, "  set the status {}", status.as_u16())?;
    }
    Ok(())
}
