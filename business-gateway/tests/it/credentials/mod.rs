//! Who calls: every scheme through a running gateway, and everything that is refused.

mod refusals;
mod replay;
mod schemes;
mod sign_command;
mod tokens;

use std::path::Path;

use business_gateway::admit::app::digest::content_digest;
use business_gateway::admit::app::signature::{Message, NewSignature, SigningKey, sign};
use gatehouse_shared::clock;
use gatehouse_shared::hop;
use gatehouse_shared::live::ReloadOutcome;
use http::{HeaderMap, Request, Uri};

use crate::support::Site;
use crate::support::client::{AUTHORITY, Answer, Body, Edge, Said, empty, full, request_as};
use crate::support::service::Service;

pub(crate) const SECRET: &str = "a secret that two sides know";
const API_SECRET: &str = "k3y";

/// An application with one of everything; `more` are further keys.
fn app(key: &str, more: &str) -> String {
    format!(
        "[[app]]\nkey = \"{key}\"\nsubjects = [\"CN={key}\"]\nplatform_md5 = true\npackages = [\"all\"]\n\
         secrets = [{{ id = \"one\", secret = {{ file = \"one\" }} }}, {{ id = \"two\", secret = {{ file = \"two\" }} }}]\n\
         api_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n{more}\n"
    )
}

/// The application `shop` with this public key.
fn app_with_key(public: &[u8]) -> String {
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.encode(public);
    app("shop", &format!("public_keys = [{{ id = \"ed\", key = \"{public}\" }}]"))
}

/// Gives a site another catalog, and the secrets of its applications.
fn publish(site: &Site, catalog: &str) {
    for (name, text) in [("one", "the one before"), ("two", SECRET), ("api", API_SECRET)] {
        site.write(name, text);
    }
    site.write("catalog.toml", catalog);
    let outcome = site.gateway.live.reload();
    assert!(matches!(outcome, ReloadOutcome::Replaced(_)), "{outcome:?}");
}

/// The APIs `any` (two paths), `plain`, `user` and `open` of one service; `more` is written to `any`.
fn catalog(service: &Service, more: &str) -> String {
    let api = |name: &str, path: &str, more: &str| {
        format!("[[api]]\nname = \"{name}\"\nservice = \"sample\"\npath = \"{path}\"\n{more}\n")
    };
    [
        format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", service.address),
        "[[package]]\nname = \"all\"\napis = [\"*\"]\n".to_owned(),
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
pub(crate) async fn start(service: &Service, more: &str, settings: &str) -> Site {
    start_with(&(catalog(service, more) + &*app("shop", "")), settings).await
}

async fn start_with(catalog: &str, settings: &str) -> Site {
    let site = Site::with("", settings).await;
    publish(&site, catalog);
    site
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
