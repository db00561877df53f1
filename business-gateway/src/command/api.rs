//! `api`: looks at objects of the catalog and changes them, through a running node or, with `--offline`, in the files of one
//! that is stopped.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::{Call, encoded_part};
use gatehouse_shared::audit::{AuditLog, Event};
use gatehouse_shared::process::{Ports, host_name};
use serde_json::{Value, json};

use super::call::{CommandError, NOT_EVERYWHERE, Where, ended};
use super::import::Import;
use super::print;
use crate::store::catalog::objects::{Object, Objects, name_of, tag};
use crate::store::file;
use crate::store::revision::change::{Done, change_files};
use crate::store::revision::edit::{Edit, IfMatch, Refusal};

/// Arguments of `api`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the objects of a kind
    List(List),
    /// Print an object as it was written, as TOML
    Show(Show),
    /// Add an object, or replace one
    Put(Put),
    /// Remove an object
    Delete(Delete),
    /// Make APIs of an OpenAPI document, and show what changes
    Import(Box<Import>),
}

#[derive(Debug, Args)]
struct Kind {
    /// What kind of object: api, service, … (`schema catalog` shows all)
    #[arg(long, default_value = "api")]
    kind: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    kind: Kind,
}

#[derive(Debug, Args)]
struct Show {
    /// Its name
    name: String,
    #[command(flatten)]
    kind: Kind,
}

/// What a change is based on, and why it is made.
#[derive(Debug, Args)]
struct Base {
    /// Only if it still is what `show` said at its end
    #[arg(long, value_name = "TAG")]
    if_match: Option<u64>,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    /// Edit the files of a node that is stopped
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Args)]
struct Put {
    /// TOML (as in catalog.toml, one object) or JSON; - for standard input
    file: PathBuf,
    /// Replace it where it is there already
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    base: Base,
    #[command(flatten)]
    kind: Kind,
}

#[derive(Debug, Args)]
struct Delete {
    /// Its name
    name: String,
    #[command(flatten)]
    base: Base,
    #[command(flatten)]
    kind: Kind,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    ended(match &arguments.action {
        Action::List(list) => list.run(),
        Action::Show(show) => show.run(),
        Action::Put(put) => put.run(),
        Action::Delete(delete) => delete.run(),
        Action::Import(import) => import.run(),
    })
}

impl List {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Kind { kind, at } = &self.kind;
        let answer = at.get(&format!("/catalog/{}", encoded_part(kind)), Vec::new())?;
        let mut text = String::new();
        for object in answer.get("objects").and_then(Value::as_array).into_iter().flatten() {
            let Some(object) = object.as_object() else { continue };
            let shown = |key: &str| object.get(key).map(word).filter(|text| !text.is_empty());
            let columns = ["service", "methods", "hosts", "path", "endpoints"].iter().filter_map(|key| shown(key));
            let columns: Vec<String> = std::iter::once(name_of(kind, object).to_owned()).chain(columns).collect();
            text.push_str(&columns.join("\t"));
            text.push('\n');
        }
        Ok(print(&text))
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Kind { kind, at } = &self.kind;
        let object = at.get(&path_of(kind, &self.name), Vec::new())?;
        let tag = tag(&object);
        let Value::Object(object) = object else { return Err(CommandError::Refused("no object".to_owned())) };
        let text = file::text_of(kind, &object).map_err(CommandError::Refused)?;
        Ok(print(&format!("{text}# --if-match {tag}\n")))
    }
}

impl Put {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Kind { kind, at } = &self.kind;
        let object = read_object(&self.file, kind)?;
        let name = name_of(kind, &object).to_owned();
        if self.base.offline {
            let edit = Edit::Put { kind: kind.clone(), name, object };
            return self.base.offline(at, &edit, self.replace);
        }
        let path = path_of(kind, &name);
        let mut if_match = self.base.if_match;
        if self.replace && if_match.is_none() {
            let known = at.get(&format!("/catalog/{}", encoded_part(kind)), Vec::new())?;
            let known = known.get("objects").and_then(Value::as_array).into_iter().flatten();
            let mut known = known.filter(|known| known.as_object().is_some_and(|known| name_of(kind, known) == name));
            if_match = known.next().map(tag);
        }
        let body = Value::Object(object).to_string();
        self.base.change(at, "PUT", &path, if_match, body.as_bytes(), &format!("{kind} {name}"))
    }
}

impl Delete {
    fn run(&self) -> Result<ExitCode, CommandError> {
        let Kind { kind, at } = &self.kind;
        if self.base.offline {
            let edit = Edit::Delete { kind: kind.clone(), name: self.name.clone() };
            return self.base.offline(at, &edit, true);
        }
        let path = path_of(kind, &self.name);
        let if_match = match self.base.if_match {
            Some(tag) => tag,
            None => tag(&at.get(&path, Vec::new())?),
        };
        self.base.change(at, "DELETE", &path, Some(if_match), b"", &format!("{kind} {}", self.name))
    }
}

impl Base {
    fn change(
        &self,
        at: &Where,
        method: &'static str,
        path: &str,
        if_match: Option<u64>,
        body: &[u8],
        what: &str,
    ) -> Result<ExitCode, CommandError> {
        let query = self.why.iter().map(|why| ("why", why.clone())).collect();
        let call = Call { method, path: path.into(), query, if_match, content_type: "application/json", body };
        let answer = at.call(Role::Operate, &call)?;
        let done = match (answer.get("before"), answer.get("after")) {
            (_, Some(Value::Null)) => "deleted",
            (Some(Value::Null), _) => "added",
            (before, after) if before == after => "unchanged:",
            _ => "replaced",
        };
        Ok(told(&format!("{done} {what}"), &answer))
    }

    /// Makes the change in the files of a node that is stopped.
    fn offline(&self, at: &Where, edit: &Edit, replace: bool) -> Result<ExitCode, CommandError> {
        let if_match = match self.if_match {
            Some(tag) => IfMatch::Tag(tag),
            None if replace && is_known(&at.config.dir, edit)? => IfMatch::Something,
            None => IfMatch::Unsaid,
        };
        offline(at, edit, if_match, self.why.as_deref(), &edit.what()).map(|done| print(&done))
    }
}

/// Makes a change in the files of a node that is stopped; what is done is told as `what`.
pub(super) fn offline(
    at: &Where,
    edit: &Edit,
    if_match: IfMatch,
    why: Option<&str>,
    what: &str,
) -> Result<String, CommandError> {
    let refused = |refusal: &dyn std::fmt::Display| CommandError::Refused(refusal.to_string());
    let config = at.business()?;
    let state_dir = &config.process.state_dir;
    if !config.catalog.signing_keys.is_empty() {
        return Err(refused(&"the catalog is in Redis: change it through a running node"));
    }
    let is_running = Ports::read(state_dir)
        .is_ok_and(|ports| TcpStream::connect_timeout(&ports.admin, Duration::from_secs(1)).is_ok());
    if is_running {
        return Err(refused(&"a node runs with this configuration: leave --offline out, or use --publish"));
    }
    // Who may write these files may change all of it.
    let done = change_files(&at.config.dir, None, edit, if_match, Role::Secrets).map_err(|refusal| match refusal {
        Refusal::Invalid { errors, .. } => CommandError::from(errors),
        Refusal::ConditionMissing(tag) => refused(&format!("it is there already; --replace, or --if-match {tag}")),
        refusal => refused(&refusal),
    })?;
    let node = config.process.node.clone().unwrap_or_else(host_name);
    audit(state_dir, &node, why, &done).map_err(|error| refused(&format!("the audit log: {error}")))?;
    Ok(format!("{what}: {} changed in {}\n", done.differences.len(), file::FOLDER))
}

/// Whether the object of a change is there.
fn is_known(dir: &Path, edit: &Edit) -> Result<bool, CommandError> {
    let (Edit::Put { kind, name, .. } | Edit::Delete { kind, name }) = edit else { return Ok(true) };
    let (_, objects) = file::read_all(&mut gatehouse_shared::config::Sources::new(dir))?;
    Ok(objects.get(kind, name).is_some())
}

fn audit(state_dir: &Path, node: &str, why: Option<&str>, done: &Done) -> std::io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let log = AuditLog::open(state_dir, node)?;
    let events = done.differences.iter().map(|one| Event {
        who: "offline",
        node,
        action: "catalog.offline",
        target: format!("{} {}", one.kind, one.name),
        why,
        before: one.before.clone(),
        after: one.after.clone(),
        ..Event::default()
    });
    log.append(&events.collect::<Vec<_>>()).map(|_head| ())
}

/// Says what was done; the exit code tells whether it is in force.
pub(super) fn told(done: &str, answer: &Value) -> ExitCode {
    let revision = answer.get("revision").and_then(Value::as_u64);
    let revision = revision.map(|revision| format!(" (revision {revision})")).unwrap_or_default();
    let code = print(&format!("{done}{revision}\n"));
    match answer.get("warning").and_then(Value::as_str) {
        Some(warning) => {
            eprintln!("business-gateway: {warning}");
            ExitCode::from(NOT_EVERYWHERE)
        }
        None => code,
    }
}

fn path_of(kind: &str, name: &str) -> String {
    format!("/catalog/{}/{}", encoded_part(kind), encoded_part(name))
}

/// The one object of this kind in a file: TOML as in catalog.toml, or the object itself as TOML or JSON.
fn read_object(path: &Path, kind: &str) -> Result<Object, CommandError> {
    let document = read_document(path)?;
    let refused = |message: &str| CommandError::Refused(format!("{}: {message}", path.display()));
    let Value::Object(mut fields) = document else { return Err(refused("this is no object")) };
    match fields.get(kind) {
        Some(Value::Array(_)) if fields.len() == 1 => {}
        _ => return Ok(fields),
    }
    match fields.remove(kind) {
        Some(Value::Array(objects)) => match <[Value; 1]>::try_from(objects) {
            Ok([Value::Object(object)]) => Ok(object),
            _ => Err(refused("there must be exactly one object; `catalog import` takes more")),
        },
        _ => Err(refused("this is no object")),
    }
}

/// A text of a file, or of standard input.
pub(super) fn read_text(path: &Path) -> Result<String, CommandError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text).map(|_length| ()),
        false => std::fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| CommandError::Refused(format!("{}: {error}", path.display())))?;
    Ok(text)
}

/// A document in TOML or JSON.
pub(super) fn read_document(path: &Path) -> Result<Value, CommandError> {
    let text = read_text(path)?;
    let refused = |error: &dyn std::fmt::Display| CommandError::Refused(format!("{}: {error}", path.display()));
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| refused(&error));
    }
    let table: toml::Table = text.parse().map_err(|error| refused(&error))?;
    Ok(file::json_of(toml::Value::Table(table)))
}

/// A value in a column: lists by commas.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(","),
        Value::Object(fields) => fields.get("address").map(word).unwrap_or_default(),
        value => value.to_string(),
    }
}

/// A whole document that is to be published or checked.
pub(super) fn read_catalog(path: Option<&Path>, at: &Where) -> Result<Value, CommandError> {
    match path {
        Some(path) => read_document(path),
        None => {
            let (_, objects): (_, Objects) =
                file::read_all(&mut gatehouse_shared::config::Sources::new(&at.config.dir))?;
            Ok(json!(objects.to_json()))
        }
    }
}
