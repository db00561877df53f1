//! Shutting a traffic group off, with the real binary: the command, the admin API, the file, the fleet.

use crate::support::client::{Answer, Edge, Protocol, empty, request};
use crate::support::process::Process;
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::until;
use crate::traffic_groups::catalog;

async fn call(node: &Process, method: &str) -> Answer {
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    edge.exchange(request(method, "/").body(empty()).unwrap()).await
}

/// Calls until the answer has this status.
async fn until_status(node: &Process, method: &str, status: u16) {
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while call(node, method).await.status != status {
        assert!(tokio::time::Instant::now() < deadline, "{method} is not answered with {status}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_shut_off_is_refused_over_a_restart_until_it_is_let_through() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Process::start(dir.path(), "a", &catalog(service.address, "size = 10", ""), "").await;
    let missing = node.command(&["group", "shed", "resd", "--for", "10m"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.error.contains("no traffic group \"resd\""), "{missing:?}");
    let shed = node.command(&["group", "shed", "rest", "--for", "10m", "--reason", "reports melt the database"]);
    assert_eq!(shed.code, Some(0), "{shed:?}");
    assert!(shed.out.starts_with("rest is shut off for 100 % of applications until "), "{shed:?}");

    let refused = call(&node, "POST").await;
    assert_eq!((refused.status, &*refused.code()), (503, "group_shed"));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((500..=601).contains(&seconds), "{seconds}");
    assert_eq!(call(&node, "GET").await.status, 200, "other groups are not concerned");
    let list = node.command(&["group", "list"]);
    let lines: Vec<&str> = list.out.lines().collect();
    assert_eq!(lines[0], "group\tcore\tratio 60\topen");
    assert!(lines[2].starts_with("group\trest\tratio 10\tshut off for 100 %\t"), "{list:?}");
    assert!(lines[2].ends_with("\treports melt the database"), "{list:?}");
    assert_eq!(lines[3], "pool\tsample\t0 of 10 under way\t0 waiting\tcore 0+0/6\treal-time 0+0/3\trest 0+0/1");

    node.restart().await;
    assert_eq!(call(&node, "POST").await.code(), "group_shed");
    let restored = node.command(&["group", "restore", "rest"]);
    assert_eq!((restored.code, &*restored.out), (Some(0), "rest is let through again\n"), "{restored:?}");
    assert_eq!(call(&node, "POST").await.status, 200);
    let again = node.command(&["group", "restore", "rest"]);
    assert!(again.code == Some(1) && again.error.contains("the group is not shut off"), "{again:?}");
    assert_eq!(node.audited(), ["group.shed", "group.restore"]);
    node.restart().await;
    assert_eq!(call(&node, "POST").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_of_a_fleet_share_pools_and_obey_also_when_the_store_was_away() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(&dir.path().join("redis")).await;
    let catalog = catalog(service.address, "size = 10", "");
    let first = Process::start(&dir.path().join("a"), "a", &catalog, &redis.toml()).await;
    let second = Process::start(&dir.path().join("b"), "b", &catalog, &redis.toml()).await;
    for node in [&first, &second] {
        let halves = || node.command(&["group", "list"]).out.contains("pool\tsample\t0 of 5 under way").then_some(());
        until("node that has half of the pool", halves).await;
    }
    assert_eq!(first.command(&["group", "shed", "rest", "--for", "1h"]).code, Some(0));
    assert_eq!(call(&first, "POST").await.code(), "group_shed");
    until_status(&second, "POST", 503).await;
    assert_eq!(second.command(&["group", "restore", "rest"]).code, Some(0));
    until_status(&first, "POST", 200).await;

    redis.kill();
    let alone = first.command(&["group", "shed", "real-time", "--for", "1h"]);
    assert_eq!(alone.code, Some(3), "{alone:?}");
    assert!(alone.error.contains("in force on this node only"), "{alone:?}");
    assert_eq!(call(&first, "PUT").await.code(), "group_shed");
    assert_eq!(call(&second, "PUT").await.status, 200);
    redis.restart().await;
    until_status(&second, "PUT", 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_applications_is_refused_and_a_class_may_belong_to_another_group() {
    const APPS: usize = 30;
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("config")).unwrap();
    std::fs::write(dir.path().join("config/api"), "k3y").unwrap();
    let app = |number: usize, class: &str| {
        format!(
            "[[app]]\nkey = \"app{number}\"\nclass = \"{class}\"\napi_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n"
        )
    };
    let apps: String = (0..APPS).map(|number| app(number, "iron")).chain([app(APPS, "gold")]).collect();
    let catalog = catalog(service.address, "size = 10", "") + apps.as_str();
    let mut node = Process::start(dir.path(), "a", &catalog, "").await;
    let shed = node.command(&["group", "shed", "rest", "--for", "10m", "--percent", "50"]);
    assert_eq!(shed.code, Some(0), "{shed:?}");

    let refused = refused_apps(&node, APPS).await;
    assert!((5..=25).contains(&refused.len()), "{refused:?}");
    assert_eq!(refused_apps(&node, APPS).await, refused, "always the same");
    node.restart().await;
    assert_eq!(refused_apps(&node, APPS).await, refused);
    node.command(&["group", "shed", "rest", "--for", "10m"]);
    assert_eq!(refused_apps(&node, APPS).await.len(), APPS);
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let gold = request("POST", "/").header("x-api-key", format!("app{APPS}.k3y")).body(empty()).unwrap();
    assert_eq!(edge.exchange(gold).await.status, 200);
}

/// Which of the applications are refused.
async fn refused_apps(node: &Process, apps: usize) -> Vec<usize> {
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let mut refused = Vec::new();
    for number in 0..apps {
        let call = request("POST", "/").header("x-api-key", format!("app{number}.k3y")).body(empty()).unwrap();
        let answer = edge.exchange(call).await;
        if answer.status != 200 {
            assert_eq!(answer.code(), "group_shed");
            refused.push(number);
        }
    }
    refused
}
