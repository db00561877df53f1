//! A body that is not as declared: what is told of it, and what it costs.

use bytes::Bytes;
use serde_json::{Value, json};

use super::node;
use crate::support::client::{Answer, BOTH, Edge, Protocol, by_hand, full, request};
use crate::support::process::Process;
use crate::support::service::Service;

/// What is read of a body, and how deep.
const BODY_MAX: u64 = 64 * 1024;
const DEPTH_MAX: usize = 20;

async fn start(dir: &tempfile::TempDir) -> (Service, Process) {
    let service = Service::start().await;
    let catalog = format!(
        "[[service]]\nname = \"s\"\nendpoints = [\"{}\"]\n[[api]]\nname = \"orders\"\nservice = \"s\"\npath = \"/orders/{{id}}\"\n\
         methods = [\"PUT\"]\naccess = \"open\"\nschemes = []\n[api.validate]\nbody_max = \"64KiB\"\ndepth_max = {DEPTH_MAX}\n\
         body = {{ type = \"object\", required = [\"sku\"], properties = {{ sku = {{ type = \"string\", pattern = \"^[A-Z]+$\" }}, \
         lines = {{ type = \"array\", items = {{ type = \"object\", properties = {{ \"a/b\" = {{ type = \"integer\", minimum = 1 }} }} }} }} }} }}\n",
        service.address
    );
    let node = node(dir.path(), &catalog, "\"*\"").await;
    (service, node)
}

async fn put(edge: &mut Edge, body: impl Into<Bytes>) -> Answer {
    let call = request("PUT", "/orders/7").header("content-type", "application/json");
    edge.exchange(call.body(full(body)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_body_is_answered_with_the_pointer_and_the_rule_of_all_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (service, node) = start(&dir).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(node.address, protocol).await;
        let answer = put(&mut edge, "{\"sku\":\"shoe\",\"lines\":[{\"a/b\":1},{\"a/b\":0},{\"a/b\":\"x\"}]}").await;
        assert_eq!((answer.status, answer.header("content-type")), (400, "application/problem+json"));
        let mut problem: Value = serde_json::from_slice(&answer.body).unwrap();
        problem.as_object_mut().unwrap().remove("request_id").unwrap();
        let error = |pointer: &str, rule: &str, message: &str| json!({ "in": "body", "pointer": pointer, "rule": rule, "message": message });
        let expected = [
            error("/sku", "pattern", "does not match the pattern that is declared"),
            error("/lines/1/a~1b", "minimum", "must be at least 1"),
            error("/lines/2/a~1b", "type", "must be integer"),
        ];
        assert_eq!(
            problem,
            json!({ "type": "urn:gatehouse:problem:request_invalid", "title": "Not as declared", "status": 400,
                "code": "request_invalid", "sub_code": "isv.invalid-request", "errors": expected })
        );
    }
    assert_eq!(service.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_mebibytes_and_ten_thousand_levels_cost_no_more_than_their_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let (service, node) = start(&dir).await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let before = node.peak_memory();

    // Levels are counted while the body is read: of ten thousand it sees one more than it may.
    let deep = format!("{{\"sku\":\"A\",\"lines\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = put(&mut edge, deep).await;
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, 400);
    let errors = problem["errors"].as_array().unwrap();
    let pointer = errors[0]["pointer"].as_str().unwrap();
    assert_eq!((errors.len(), &errors[0]["rule"]), (1, &json!("depth")));
    assert_eq!(pointer, format!("/lines{}", "/0".repeat(DEPTH_MAX - 1)));

    // Of each ten mebibytes no more is read than its bound and what the connection has read already.
    const CLIENTS: u64 = 20;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let address = node.address;
        clients.spawn(async move {
            let mut edge = Edge::connect(address, BOTH[usize::from(client % 2 == 1)]).await;
            let (sender, body) = by_hand();
            let sending = tokio::spawn(async move {
                let mut left = 10 * 1024 * 1024 / (16 * 1024);
                while left > 0 && sender.send(Bytes::from(vec![b' '; 16 * 1024])).await.is_ok() {
                    left -= 1;
                }
            });
            let call = request("PUT", "/orders/7").header("content-type", "application/json");
            let answer = edge.exchange(call.body(body).unwrap()).await;
            sending.abort();
            (answer.status, answer.code())
        });
    }
    for refused in clients.join_all().await {
        assert_eq!(refused, (413, "validated_body_too_large".to_owned()));
    }
    let read = crate::support::until("lines of what was refused", || {
        let lines = node.lines().into_iter().filter(|line| line["reason"] == "validated_body_too_large");
        let read: Vec<u64> = lines.map(|line| line["bytes_in"].as_u64().unwrap()).collect();
        (read.len() as u64 == CLIENTS).then_some(read)
    });
    for read in read.await {
        assert!((BODY_MAX..BODY_MAX + 512 * 1024).contains(&read), "{read} bytes were read");
    }
    let grown = node.peak_memory() - before;
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes for two hundred mebibytes of bodies");
    assert_eq!((service.requests(), node.metric("gatehouse_business_held_bytes")), (0, Some(0)));
}
