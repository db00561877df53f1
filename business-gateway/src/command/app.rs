//! `app`: applications and their credentials, through the admin API of the node that runs here.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::encoded_part;
use gatehouse_shared::config::HumanDuration;
use serde_json::{Map, Value, json};

use super::call::{Call, CommandError, Where, ended};
use super::print;

/// Arguments of `app`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an application; prints its key and its secret, which cannot be shown again
    Create(Create),
    /// List applications: key, status, version, plan, name
    List(List),
    /// Show an application as JSON, without anything secret
    Show(One),
    /// Change what is given of an application
    Update(Update),
    /// Let an application call
    Enable(One),
    /// Refuse all calls of an application, on all nodes
    Disable(One),
    /// Remove an application
    Delete(One),
    /// Give an application a new secret and print it; it cannot be shown again
    RotateSecret(Rotate),
    /// Add and revoke API keys
    #[command(subcommand)]
    ApiKey(ApiKey),
    /// Add and remove Ed25519 keys that signatures are verified with
    #[command(subcommand)]
    PublicKey(PublicKey),
    /// Authorise an application for a user, and end that
    #[command(subcommand)]
    Session(Session),
}

#[derive(Debug, Args)]
struct One {
    /// Key of the application
    key: String,
    /// Only if this is its version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    at: Where,
}

/// What an application is.
#[derive(Debug, Args)]
struct Fields {
    /// Name, for people
    #[arg(long)]
    name: Option<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// When it may call no more, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Plan that sets its quotas
    #[arg(long)]
    plan: Option<String>,
    /// Class of customer, by which traffic groups choose
    #[arg(long)]
    class: Option<String>,
    /// Packages of APIs it may call, with commas
    #[arg(long, value_delimiter = ',')]
    packages: Option<Vec<String>>,
    /// Networks it may call from, with commas
    #[arg(long, value_delimiter = ',')]
    networks: Option<Vec<String>>,
    /// How much of an answer it may see
    #[arg(long, value_name = "N")]
    field_level: Option<u8>,
    /// Schemes switched on, with commas: signature, platform, api-key, jwt, basic, mtls
    #[arg(long, value_delimiter = ',')]
    schemes: Option<Vec<String>>,
    /// Subject of a client certificate; may be given again
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Option<Vec<String>>,
    /// Whether it may sign with MD5 in the platform scheme
    #[arg(long, value_name = "BOOL")]
    platform_md5: Option<bool>,
}

impl Fields {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        // An empty text takes a value away.
        let text = |text: &Option<String>| {
            text.as_ref().map(|text| if text.is_empty() { Value::Null } else { Value::from(text.as_str()) })
        };
        let list = |list: &Option<Vec<String>>| {
            list.as_ref().map(|list| list.iter().filter(|one| !one.is_empty()).cloned().collect::<Value>())
        };
        set("name", self.name.as_ref().map(|name| name.as_str().into()));
        set("owner", text(&self.owner));
        set("expires", text(&self.expires));
        set("plan", text(&self.plan));
        set("class", text(&self.class));
        set("packages", list(&self.packages));
        set("networks", list(&self.networks));
        set("field_level", self.field_level.map(Value::from));
        set("schemes", list(&self.schemes));
        set("subjects", list(&self.subjects));
        set("platform_md5", self.platform_md5.map(Value::from));
        body
    }

    fn is_about_credentials(&self) -> bool {
        self.schemes.is_some() || self.subjects.is_some() || self.platform_md5.is_some()
    }
}

#[derive(Debug, Args)]
struct Create {
    /// Its key [default: one that is made, with a checksum by which guesses are told]
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct List {
    /// Begin behind this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    most: u16,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Update {
    /// Key of the application
    key: String,
    #[command(flatten)]
    fields: Fields,
    /// Only if this is its version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Rotate {
    /// How long the secret before still counts, such as 24h; without, it ends at once
    #[arg(long, value_name = "DURATION")]
    keep_old_for: Option<HumanDuration>,
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Subcommand)]
enum ApiKey {
    /// Make an API key and print it; it cannot be shown again
    Add(AddApiKey),
    /// End an API key
    Revoke(Part),
}

#[derive(Debug, Args)]
struct AddApiKey {
    /// When it ends, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Subcommand)]
enum PublicKey {
    /// Add a key
    Add(AddPublicKey),
    /// Remove a key
    Remove(Part),
}

#[derive(Debug, Args)]
struct AddPublicKey {
    /// Key of the application
    key: String,
    /// Name of the public key
    id: String,
    /// Its 32 bytes in Base64
    bytes: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Args)]
struct Part {
    /// Key of the application
    key: String,
    /// Which one, by its id
    id: String,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Subcommand)]
enum Session {
    /// Authorise an application for a user and print the token; it cannot be shown again
    Add(AddSession),
    /// End an authorisation
    Revoke(Part),
}

#[derive(Debug, Args)]
struct AddSession {
    /// Key of the application
    key: String,
    /// The user
    #[arg(long)]
    user: String,
    /// What the application may use, with commas
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// How long, such as 30d
    #[arg(long = "for", value_name = "DURATION")]
    lasting: HumanDuration,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.action {
        Action::Create(create) => create.run(),
        Action::List(list) => list.run(),
        Action::Show(one) => ask(&one.at, "GET", Role::Read, path(&one.key, ""), None, None).map(|app| pretty(&app)),
        Action::Update(update) => update.run(),
        Action::Enable(one) => one.run("POST", "/enable"),
        Action::Disable(one) => one.run("POST", "/disable"),
        Action::Delete(one) => one.run("DELETE", ""),
        Action::RotateSecret(rotate) => rotate.run(),
        Action::ApiKey(ApiKey::Add(add)) => add.run(),
        Action::ApiKey(ApiKey::Revoke(part)) => part.end("api-keys"),
        Action::PublicKey(PublicKey::Add(add)) => add.run(),
        Action::PublicKey(PublicKey::Remove(part)) => part.end("public-keys"),
        Action::Session(Session::Add(add)) => add.run(),
        Action::Session(Session::Revoke(part)) => part.end("sessions"),
    };
    ended(outcome.map(|text| print(&text)))
}

impl One {
    fn run(&self, method: &'static str, what: &str) -> Result<String, CommandError> {
        let app = ask(&self.at, method, Role::Operate, path(&self.key, what), self.if_version, None)?;
        Ok(summary(&app))
    }
}

impl Create {
    fn run(&self) -> Result<String, CommandError> {
        let mut body = self.fields.body();
        if let Some(key) = &self.key {
            body.insert("key".to_owned(), key.as_str().into());
        }
        let app = ask(&self.at, "POST", Role::Secrets, "/apps".to_owned(), None, Some(body.into()))?;
        Ok(format!("key\t{}\nsecret\t{}\n", text(&app, "/key"), text(&app, "/secret/secret")))
    }
}

impl List {
    fn run(&self) -> Result<String, CommandError> {
        let mut query = vec![("most", self.most.to_string())];
        query.extend(self.after.iter().map(|after| ("after", after.clone())));
        let answer = self.at.get("/apps", query)?;
        let apps = answer.get("apps").and_then(Value::as_array).into_iter().flatten();
        Ok(apps.map(summary).collect())
    }
}

impl Update {
    fn run(&self) -> Result<String, CommandError> {
        let role = if self.fields.is_about_credentials() { Role::Secrets } else { Role::Operate };
        let body = Some(self.fields.body().into());
        Ok(summary(&ask(&self.at, "PATCH", role, path(&self.key, ""), self.if_version, body)?))
    }
}

impl Rotate {
    fn run(&self) -> Result<String, CommandError> {
        let One { key, if_version, at } = &self.one;
        let body = match self.keep_old_for {
            Some(keep) => json!({ "keep_old_for": keep.to_string() }),
            None => json!({}),
        };
        let app = ask(at, "POST", Role::Secrets, path(key, "/rotate-secret"), *if_version, Some(body))?;
        Ok(format!("secret\t{}\n", text(&app, "/secret/secret")))
    }
}

impl AddApiKey {
    fn run(&self) -> Result<String, CommandError> {
        let One { key, if_version, at } = &self.one;
        let body = json!({ "expires": self.expires });
        let app = ask(at, "POST", Role::Secrets, path(key, "/api-keys"), *if_version, Some(body))?;
        Ok(format!("id\t{}\napi-key\t{}\n", text(&app, "/api_key/id"), text(&app, "/api_key/key")))
    }
}

impl AddPublicKey {
    fn run(&self) -> Result<String, CommandError> {
        let body = json!({ "id": self.id, "key": self.bytes });
        Ok(summary(&ask(&self.at, "POST", Role::Secrets, path(&self.key, "/public-keys"), None, Some(body))?))
    }
}

impl AddSession {
    fn run(&self) -> Result<String, CommandError> {
        let body = json!({ "user": self.user, "scopes": self.scopes, "for": self.lasting.to_string() });
        let session = ask(&self.at, "POST", Role::Secrets, path(&self.key, "/sessions"), None, Some(body))?;
        Ok(format!("id\t{}\ntoken\t{}\n", text(&session, "/id"), text(&session, "/token")))
    }
}

impl Part {
    fn end(&self, kind: &str) -> Result<String, CommandError> {
        let path = path(&self.key, &format!("/{kind}/{}", encoded_part(&self.id)));
        ask(&self.at, "DELETE", Role::Secrets, path, None, None)?;
        Ok(format!("{} of {} is no more\n", self.id, self.key))
    }
}

fn path(key: &str, what: &str) -> String {
    format!("/apps/{}{what}", encoded_part(key))
}

fn ask(
    at: &Where,
    method: &'static str,
    role: Role,
    path: String,
    if_match: Option<u64>,
    body: Option<Value>,
) -> Result<Value, CommandError> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let (path, content_type, body) = (path.into(), "application/json", body.as_bytes());
    at.call(role, &Call { method, path, query: Vec::new(), if_match, content_type, body })
}

fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// One line about an application.
fn summary(app: &Value) -> String {
    let mut line = text(app, "/key");
    if app.get("removed").is_some() {
        line.push_str("\tremoved\n");
        return line;
    }
    for column in ["/status", "/version", "/plan", "/origin", "/name"] {
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = write!(line, "\t{}", text(app, column));
    }
    line.push('\n');
    line
}

fn pretty(app: &Value) -> String {
    format!("{app:#}\n")
}
