//! Who calls: every scheme through a running gateway, and everything that is refused.

mod refusals;
mod replay;
mod schemes;
mod sign_command;
mod tokens;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use business_gateway::admit::app::digest::content_digest;
use business_gateway::admit::app::directory::{Asked, Directory, Lookup, SessionLookup};
use business_gateway::admit::app::signature::{Message, NewSignature, SigningKey, sign};
use business_gateway::store::apps::{ApiKeyHash, App, AppPublicKey, AppSecret, Scheme, Session, Status};
use gatehouse_shared::clock;
use gatehouse_shared::config::Secret;
use gatehouse_shared::hop;
use http::{HeaderMap, Request, Uri};
use ring::digest;

use crate::support::Site;
use crate::support::client::{AUTHORITY, Answer, Body, Edge, Said, empty, full, request_as};
use crate::support::service::Service;

pub(crate) const SECRET: &str = "a secret that two sides know";
const API_SECRET: &str = "k3y";

/// Applications in memory.
#[derive(Debug, Default)]
pub(crate) struct Known {
    apps: Mutex<HashMap<String, Arc<App>>>,
    sessions: Mutex<HashMap<(String, String), Arc<Session>>>,
    /// Nobody can say anything.
    is_away: AtomicBool,
}

impl Known {
    pub(crate) fn add(&self, app: App) {
        self.apps.lock().unwrap().insert(app.key.to_string(), Arc::new(app));
    }

    fn authorise(&self, app: &str, token: &str, user: &str, expires_unix: u64) {
        let session = Session { user: user.into(), scopes: vec!["orders.read".into()], expires_unix };
        self.sessions.lock().unwrap().insert((app.to_owned(), token.to_owned()), Arc::new(session));
    }

    fn answer(&self, found: Option<Arc<App>>) -> Lookup {
        match found {
            _ if self.is_away.load(Ordering::Relaxed) => Lookup::Unavailable,
            Some(app) => Lookup::Found(app),
            None => Lookup::Unknown,
        }
    }
}

impl Directory for Known {
    fn find<'a>(&'a self, key: &'a str, _now_unix: u64) -> Asked<'a, Lookup> {
        let found = self.apps.lock().unwrap().get(key).cloned();
        Box::pin(std::future::ready(self.answer(found)))
    }

    fn find_by_subject<'a>(&'a self, subject: &'a str, _now_unix: u64) -> Asked<'a, Lookup> {
        let apps = self.apps.lock().unwrap();
        let found = apps.values().find(|app| app.subjects.iter().any(|known| **known == *subject)).cloned();
        Box::pin(std::future::ready(self.answer(found)))
    }

    fn find_session<'a>(&'a self, app_key: &'a str, token: &'a str, _now_unix: u64) -> Asked<'a, SessionLookup> {
        let found = self.sessions.lock().unwrap().get(&(app_key.to_owned(), token.to_owned())).cloned();
        Box::pin(std::future::ready(found.map_or(SessionLookup::Unknown, SessionLookup::Found)))
    }

    fn api_key_hashes(&self, app_key: &str, secret: &[u8]) -> [[u8; 32]; 2] {
        [hash(app_key, secret); 2]
    }
}

fn hash(app_key: &str, secret: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, &[app_key.as_bytes(), b".", secret].concat());
    digest.as_ref().try_into().unwrap()
}

fn secret(id: &str, text: &str) -> AppSecret {
    AppSecret { id: id.into(), secret: Secret::new(text.into()), created_unix: 0, expires_unix: None }
}

/// An application with one of everything.
pub(crate) fn app(key: &str) -> App {
    App {
        key: key.into(),
        name: key.into(),
        owner: None,
        status: Status::Enabled,
        expires_unix: None,
        plan: None,
        class: None,
        packages: Vec::new(),
        networks: Vec::new(),
        field_level: 0,
        schemes: Scheme::ALL.to_vec(),
        secrets: vec![secret("one", "the one before"), secret("two", SECRET)],
        public_keys: Vec::new(),
        api_keys: vec![ApiKeyHash { id: "a".into(), hash: hash(key, API_SECRET.as_bytes()), expires_unix: None }],
        subjects: vec![format!("CN={key}").into()],
        platform_md5: true,
        version: 1,
    }
}

fn public_key(bytes: &[u8]) -> AppPublicKey {
    AppPublicKey { id: "ed".into(), bytes: bytes.try_into().unwrap() }
}

/// The APIs `any` (two paths), `plain`, `user` and `open` of one service; `more` is written to `any`.
fn catalog(service: &Service, more: &str) -> String {
    let api = |name: &str, path: &str, more: &str| {
        format!("[[api]]\nname = \"{name}\"\nservice = \"sample\"\npath = \"{path}\"\n{more}\n")
    };
    [
        format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", service.address),
        api("any", "/any", more),
        api("any-below", "/any/{*rest}", ""),
        api("plain", "/plain", ""),
        api("user", "/user", "access = \"user\""),
        api("open", "/open", "access = \"open\""),
        api("blind", "/blind", "access = \"open\"\nschemes = []"),
        api("passing", "/passing", "pass_credentials = true"),
        api("keys", "/keys", "schemes = [\"api-key\"]"),
        api("small", "/small", "signed_body_max = \"16B\""),
    ]
    .concat()
}

/// A gateway that knows the application `shop`.
pub(crate) async fn start(service: &Service, more: &str, settings: &str) -> (Site, Arc<Known>) {
    let site = Site::with(&catalog(service, more), settings).await;
    let known = Arc::new(Known::default());
    known.add(app("shop"));
    site.gateway.identity.know(Arc::clone(&known) as Arc<dyn Directory>);
    (site, known)
}

/// A call that is put together.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    method: &'static str,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Made {
    pub(crate) fn new(method: &'static str, target: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        Self { method, target: target.to_owned(), headers: map, body: body.into() }
    }

    /// Signed with HMAC by `key_id` with `secret`, `late` seconds ago.
    pub(crate) fn signed(mut self, key_id: &str, secret: &str, nonce: &str, late: u64) -> Self {
        if !self.body.is_empty() {
            self.headers.insert("content-digest", content_digest(&self.body).parse().unwrap());
        }
        let uri: Uri = self.target.parse().unwrap();
        let message = Message {
            method: self.method,
            scheme: hop::Scheme::Http,
            authority: AUTHORITY,
            uri: &uri,
            headers: &self.headers,
        };
        let new = NewSignature {
            key_id,
            created: clock::unix_ms() / 1000 - late,
            expires: None,
            nonce,
            headers: &[],
            has_body: !self.body.is_empty(),
        };
        let (input, signature) = sign(&message, &new, &SigningKey::Hmac(secret.into())).unwrap();
        self.headers.insert("signature-input", input.parse().unwrap());
        self.headers.insert("signature", signature.parse().unwrap());
        self
    }

    fn request(&self, subject: Option<&str>) -> Request<Body> {
        let said = Said { subject, ..Said::default() };
        let mut request = request_as(self.method, &self.target, said);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = if self.body.is_empty() { empty() } else { full(self.body.clone()) };
        request.body(body).unwrap()
    }

    pub(crate) async fn send(&self, edge: &mut Edge) -> Answer {
        edge.exchange(self.request(None)).await
    }
}

/// Status and code of an answer; `ok` for what a service answered.
fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, if answer.status == 200 { "ok".to_owned() } else { answer.code() })
}

/// A header that the service saw.
fn seen(answer: &Answer, name: &str) -> Option<String> {
    let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let found = echo["headers"].as_array().unwrap().iter().find(|pair| pair[0] == name)?;
    Some(found[1].as_str().unwrap().to_owned())
}

/// The target that the service saw.
fn seen_target(answer: &Answer) -> String {
    let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    echo["target"].as_str().unwrap().to_owned()
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}
