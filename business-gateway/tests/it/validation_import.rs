//! `api import` through the real binary: shown, written to files, published to a fleet.

use std::path::Path;

use crate::support::client::{Edge, HOP_SECRET, Protocol, full, request};
use crate::support::process::{Outcome, Process};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::until;

fn document(service: &Service) -> String {
    format!(
        r##"
openapi: 3.1.0
info: {{ title: Shop, version: "1" }}
servers: [{{ url: "http://{}/shop" }}]
security: []
paths:
  /orders/{{id}}:
    put:
      operationId: putOrder
      parameters:
        - {{ name: id, in: path, required: true, schema: {{ type: integer }} }}
      requestBody:
        content: {{ application/json: {{ schema: {{ type: object, required: [sku] }} }} }}
  /files/{{id}}.pdf:
    get: {{ operationId: pdf }}
"##,
        service.address
    )
}

fn import(node: &Process, file: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["api", "import", file.to_str().unwrap(), "--service-from-servers"];
    arguments.extend_from_slice(more);
    node.command(&arguments)
}

async fn status(node: &Process, body: &'static str) -> u16 {
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let request = request("PUT", "/shop/orders/7").header("content-type", "application/json");
    edge.exchange(request.body(full(body)).unwrap()).await.status
}

#[tokio::test]
async fn an_import_is_shown_then_published_and_changes_nothing_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(&dir.path().join("redis")).await;
    let service = Service::start().await;
    let key = dir.path().join("catalog.key");
    std::fs::write(&key, "a signing key of the fleet, 32 bytes or more").unwrap();
    let settings = format!(
        "{}[catalog]\nsigning_keys = [{{ id = \"a\", secret = {{ file = {:?} }} }}]\npoll = \"50ms\"\n",
        redis.toml(),
        key.display().to_string()
    );
    let first = Process::start(&dir.path().join("a"), "a", "", &settings).await;
    let second = Process::start(&dir.path().join("b"), "b", "", &settings).await;
    let file = dir.path().join("shop.yaml");
    std::fs::write(&file, document(&service)).unwrap();

    let shown = import(&first, &file, &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in ["added\tschema\tshop\n", "added\tapi\tshop.putOrder\n", "added\tservice\tshop\n", "a dry run\n"] {
        assert!(shown.out.contains(line), "{line}: {shown:?}");
    }
    assert!(
        shown.error.contains("/paths/~1files~1{id}.pdf/get: the path \"/files/{id}.pdf\" is left out"),
        "{shown:?}"
    );
    assert_eq!(status(&first, "{}").await, 404, "nothing has changed");

    let done = import(&first, &file, &["--publish"]);
    assert!(done.code == Some(0) && done.out.contains("imported shop (revision 1)\n"), "{done:?}");
    for node in [&first, &second] {
        let deadline = tokio::time::Instant::now() + crate::support::SOON;
        while status(node, "{\"sku\":1}").await != 200 {
            assert!(tokio::time::Instant::now() < deadline, "the API is not in force");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(status(node, "{}").await, 400, "the schema has travelled with the catalog");
    }
    let again = import(&second, &file, &["--publish"]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "nothing changes\n"));

    // A newer document is one more revision, and says what differs.
    std::fs::write(&file, document(&service).replace("required: [sku]", "required: [name]")).unwrap();
    let newer = import(&second, &file, &["--publish", "--why", "names"]);
    assert!(newer.out.contains("changed\tschema\tshop\n") && newer.out.contains("(revision 2)"), "{newer:?}");
    let status = until("a refusal by the newer schema", || {
        let history = first.command(&["catalog", "history"]);
        history.out.starts_with("2\t").then_some(history)
    });
    assert!(status.await.out.contains("\tnames\n"));

    // A file beside the catalog does not travel.
    let put = dir.path().join("api.toml");
    std::fs::write(
        &put,
        "[[api]]\nname = \"f\"\nservice = \"shop\"\npath = \"/f\"\nvalidate = { schema = \"f.json\" }\n",
    )
    .unwrap();
    let refused = first.command(&["api", "put", put.to_str().unwrap()]);
    assert!(refused.code != Some(0) && refused.error.contains("put it into"), "{refused:?}");
}

#[tokio::test]
async fn an_import_into_files_counts_when_the_node_starts() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let file = dir.path().join("shop.yaml");
    std::fs::write(&file, document(&service)).unwrap();
    let mut node = Process::start(&dir.path().join("a"), "a", "", "").await;
    let config = dir.path().join("a/config");
    let running = import(&node, &file, &["--into", config.to_str().unwrap()]);
    assert!(running.code == Some(1) && running.error.contains("a node runs"), "{running:?}");

    // The same files, and nobody runs with them.
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("hop.key"), HOP_SECRET).unwrap();
    let text = format!(
        "[process]\nstate_dir = {:?}\n[hop]\nkeys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n",
        dir.path().join("nobody").display().to_string()
    );
    std::fs::write(other.join("business.toml"), text).unwrap();
    std::fs::create_dir(other.join("catalog.d")).unwrap();
    let done = import(&node, &file, &["--into", other.to_str().unwrap()]);
    assert!(done.code == Some(0) && done.out.ends_with("import shop: 3 changed in catalog.d\n"), "{done:?}");
    let again = import(&node, &file, &["--into", other.to_str().unwrap()]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "nothing changes\n"));

    // They mean what they should to a node that starts with them.
    std::fs::rename(other.join("catalog.d"), config.join("catalog.d")).unwrap();
    node.restart().await;
    assert_eq!((status(&node, "{\"sku\":1}").await, status(&node, "{}").await), (200, 400));
    let through = import(&node, &file, &["--publish"]);
    assert_eq!((through.code, through.out.as_str()), (Some(0), "nothing changes\n"));
}
