//! Batches through a running gateway.

mod answers;
mod bounds;
mod detours;
mod items;
mod text;

use std::fmt::Write as _;

use gatehouse_shared::live::ReloadOutcome;
use serde_json::{Value, json};

use crate::support::Site;
use crate::support::client::{Answer, Edge, Protocol, full, request};
use crate::support::service::Service;

/// The header that proves to be the application of this name.
pub(crate) fn key(app: &str) -> (&'static str, String) {
    ("x-api-key", format!("{app}.k3y"))
}

/// A service, a batch, and APIs: `echo`, `slow`, `hang`, `upload` and `status` are batchable, `alone` is not, `secret` is in no package of `poor`.
/// `batch` goes into its table, `echo` to that API, `more` to the end.
fn catalog(service: &Service, batch: &str, echo: &str, more: &str) -> String {
    let mut text = format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", service.address);
    let mut api = |name: &str, path: &str, more: &str| {
        writeln!(text, "[[api]]\nname = \"{name}\"\npath = \"{path}\"\n{more}").unwrap();
    };
    api("batch", "/batch", &format!("methods = [\"POST\"]\nbatch = {{ {batch} }}"));
    for name in ["slow", "hang", "upload", "status", "secret", "stall"] {
        api(name, &format!("/{name}"), "service = \"sample\"\nbatchable = true");
    }
    api("echo", "/echo", &format!("service = \"sample\"\nbatchable = true\n{echo}"));
    api("rest", "/echo/{*rest}", "service = \"sample\"\nbatchable = true");
    api("posted", "/posted", "service = \"sample\"\nbatchable = true\nmethods = [\"POST\"]");
    api("alone", "/alone", "service = \"sample\"");
    api("signed", "/signed", "service = \"sample\"\nbatchable = true\nschemes = [\"signature\"]");
    api("user", "/user", "service = \"sample\"\nbatchable = true\naccess = \"user\"");
    api("open", "/open", "service = \"sample\"\nbatchable = true\naccess = \"open\"");
    api("blind", "/blind", "service = \"sample\"\nbatchable = true\naccess = \"open\"\nschemes = []");
    for (app, package) in [("shop", "all"), ("poor", "few")] {
        writeln!(
            text,
            "[[app]]\nkey = \"{app}\"\npackages = [\"{package}\"]\nplatform_md5 = true\n\
             secrets = [{{ id = \"s\", secret = {{ file = \"secret\" }} }}]\n\
             api_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n[[package]]\nname = \"{package}\"\napis = [{}]",
            if package == "all" { "\"*\"" } else { "\"batch\", \"echo\", \"slow\"" }
        )
        .unwrap();
    }
    text + more
}

/// The secret of both applications.
const SECRET: &str = "a secret that two sides know";

async fn start(batch: &str, echo: &str, more: &str) -> (Service, Site) {
    start_with(batch, echo, more, "").await
}

async fn start_with(batch: &str, echo: &str, more: &str, settings: &str) -> (Service, Site) {
    let service = Service::start().await;
    let site = Site::with("", settings).await;
    site.write("api", "k3y");
    site.write("secret", SECRET);
    site.write("catalog.toml", &catalog(&service, batch, echo, more));
    let outcome = site.gateway.live.reload();
    assert!(matches!(outcome, ReloadOutcome::Replaced(_)), "{outcome:?}");
    (service, site)
}

async fn connect(site: &Site) -> Edge {
    Edge::connect(site.address, Protocol::Http1).await
}

/// `GET target` as an item.
fn get(target: &str) -> Value {
    json!({ "method": "GET", "path": target })
}

/// A batch as an application sends it.
async fn send(edge: &mut Edge, app: &str, items: &Value) -> Answer {
    send_text(edge, app, items.to_string(), &[]).await
}

async fn send_text(edge: &mut Edge, app: &str, text: String, headers: &[(&str, &str)]) -> Answer {
    let (name, value) = key(app);
    let mut request = request("POST", "/batch").header(name, value);
    let has_type = headers.iter().any(|(name, _)| *name == "content-type");
    if !has_type {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    edge.exchange(request.body(full(text)).unwrap()).await
}

/// The answers to the items of a batch.
fn answers(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// Status and code of each answer; `ok` where there is no code.
fn outcomes(answer: &Answer) -> Vec<(u64, String)> {
    let outcome = |item: &Value| {
        let code = item["body"]["code"].as_str().unwrap_or("ok");
        (item["status"].as_u64().unwrap(), code.to_owned())
    };
    answers(answer).iter().map(outcome).collect()
}

fn outcome(status: u64, code: &str) -> (u64, String) {
    (status, code.to_owned())
}
