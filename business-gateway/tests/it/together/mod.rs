//! What the inner gate promises of services and answers, asserted through the real binary, and its features at the same time.

mod bodies;
mod calls_in_one;
mod fields;
mod kept_and_split;
mod traps;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::{Answer, Edge, Protocol, empty, full, request};
use crate::support::process::Process;

/// Applications with their field levels; the key of each is its name and `.k3y`. They may call everything, `few` only what `few` holds.
const APPS: [(&str, u8); 4] = [("low", 1), ("middle", 2), ("high", 3), ("few", 0)];

/// A node with these applications; `few` are the APIs that the application of this name may call, in quotes.
async fn node(dir: &Path, catalog: &str, few: &str) -> Process {
    std::fs::create_dir_all(dir.join("config")).unwrap();
    std::fs::write(dir.join("config/api"), "k3y").unwrap();
    let app = |(key, level): (&str, u8)| {
        let package = if key == "few" { "few" } else { "all" };
        format!(
            "[[app]]\nkey = {key:?}\npackages = [{package:?}]\nfield_level = {level}\n\
             api_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n"
        )
    };
    let packages =
        format!("[[package]]\nname = \"all\"\napis = [\"*\"]\n[[package]]\nname = \"few\"\napis = [{few}]\n");
    let catalog = [catalog, &packages, &APPS.map(app).concat()].concat();
    Process::start(dir, "a", &catalog, "").await
}

/// `GET target` in the name of an application, or of nobody.
async fn get_as(address: SocketAddr, app: &str, target: &str) -> Answer {
    let mut call = request("GET", target);
    if !app.is_empty() {
        call = call.header("x-api-key", format!("{app}.k3y"));
    }
    Edge::connect(address, Protocol::Http1).await.exchange(call.body(empty()).unwrap()).await
}

/// What becomes of the items of a batch.
async fn batch_as(address: SocketAddr, app: &str, items: &Value) -> Vec<Value> {
    let call =
        request("POST", "/batch").header("x-api-key", format!("{app}.k3y")).header("content-type", "application/json");
    let call = call.body(full(items.to_string())).unwrap();
    let answer = Edge::connect(address, Protocol::Http1).await.exchange(call).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// `GET target` as an item of a batch.
fn get(target: &str) -> Value {
    json!({ "method": "GET", "path": target })
}

/// Status and code of each item; no code where it has none.
fn outcomes(items: &[Value]) -> Vec<(u64, &str)> {
    items.iter().map(|item| (item["status"].as_u64().unwrap(), item["body"]["code"].as_str().unwrap_or(""))).collect()
}
