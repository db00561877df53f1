//! Endpoints that register themselves, over a real Redis.

use std::net::SocketAddr;
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_store::{Command, Key, Redis};

use super::found_in_dns::catalog;
use super::{endpoints, get, metric};
use crate::support::process::Process;
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{Site, until};

const NETWORKS: &str = "[upstream.discovery]\nnetworks = [\"127.0.0.0/8\"]\n";

/// What a service does to register itself and to go on living.
async fn beat(redis: &Redis, member: &str, lasting: Duration) {
    let end = clock::unix_ms() + u64::try_from(lasting.as_millis()).unwrap();
    let command = Command::on("ZADD", &Key::registry("orders").unwrap()).arg(end).arg(member);
    redis.one::<u64>(command).await.unwrap();
}

async fn until_endpoints(site: &Site, expected: &[SocketAddr]) {
    let mut expected = expected.to_vec();
    expected.sort();
    until("the endpoints", || (endpoints(site) == expected).then_some(())).await;
}

#[tokio::test]
async fn who_registers_gets_calls_until_its_heartbeat_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path()).await;
    let client = redis.client();
    let (first, second) = (Service::start().await, Service::start().await);
    let source = "registry = { name = \"orders\", interval = \"20ms\" }";
    let settings = redis.toml() + NETWORKS;
    let site = Site::with(&catalog(source, "strategy = \"weighted_round_robin\""), &settings).await;
    let hour = Duration::from_secs(3_600);

    beat(&client, &format!("{} weight=3 zone=a", first.address), hour).await;
    beat(&client, &second.address.to_string(), Duration::from_millis(1_500)).await;
    beat(&client, "10.0.0.1:1", hour).await;
    beat(&client, "not an endpoint", hour).await;
    beat(&client, "127.0.0.9:9", 100 * 24 * hour).await;
    until_endpoints(&site, &[first.address, second.address]).await;
    let of_first = {
        let set = site.service("sample");
        let set = set.members.now();
        set.specs.iter().find(|spec| spec.address == first.address).cloned().unwrap()
    };
    assert_eq!((of_first.weight, of_first.zone.as_deref()), (3, Some("a")));
    let left_out = "gatehouse_business_discovery_left_out_total{reason=\"refused\",service=\"sample\"}";
    until("what is left out", || (metric(&site, left_out) >= Some(2)).then_some(())).await;
    assert_eq!(get(site.address).await.status, 200);

    // The second one stops telling that it lives; the first one says something else.
    until_endpoints(&site, &[first.address]).await;
    beat(&client, &format!("{} weight=5", first.address), 2 * hour).await;
    until("the new weight", || (site.service("sample").members.now().specs[0].weight == 5).then_some(())).await;

    // Without the store the last ones stay, and after it came back empty, too.
    redis.kill();
    let failed = "gatehouse_business_discovery_answers_total{result=\"failed\",service=\"sample\"}";
    until("a failure", || (metric(&site, failed) > Some(0)).then_some(())).await;
    assert_eq!(get(site.address).await.status, 200);
    redis.restart().await;
    let empty = "gatehouse_business_discovery_answers_total{result=\"empty\",service=\"sample\"}";
    until("an empty registry", || (metric(&site, empty) > Some(0)).then_some(())).await;
    assert_eq!(endpoints(&site), [first.address]);
    assert_eq!(get(site.address).await.status, 200);
    beat(&redis.client(), &second.address.to_string(), hour).await;
    until_endpoints(&site, &[second.address]).await;
    assert_eq!(site.gateway.live.current().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_and_change_the_registry() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(&dir.path().join("redis")).await;
    let service = Service::start().await;
    let source = "registry = { name = \"orders\", interval = \"20ms\" }";
    let settings = redis.toml() + NETWORKS + "start_wait = \"1ms\"\n";
    let node = Process::start(dir.path(), "a", &catalog(source, ""), &settings).await;
    let address = service.address.to_string();
    let refused = node.command(&["registry", "register", "orders", &address, "--ttl", "48h"]);
    assert!(refused.code == Some(1) && refused.error.contains("24h"), "{refused:?}");
    let registered =
        node.command(&["registry", "register", "orders", &address, "--ttl", "1h", "--weight", "2", "--zone", "b"]);
    assert_eq!(registered.code, Some(0), "{registered:?}");
    let list = node.command(&["registry", "list"]);
    assert!(list.out.starts_with(&format!("orders\t{address}\tweight 2\tzone b\t")), "{list:?}");
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while get(node.address).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the endpoint gets no call");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let removed = node.command(&["registry", "remove", "orders", &address]);
    assert_eq!((removed.code, removed.out.as_str()), (Some(0), ""), "{removed:?}");
    assert_eq!(node.command(&["registry", "list", "orders"]).out, "");
    let again = node.command(&["registry", "remove", "orders", &address]);
    assert!(again.code == Some(1) && again.error.contains("not registered"), "{again:?}");
    assert_eq!(get(node.address).await.status, 200, "an empty registry takes the last endpoint from nobody");
    assert_eq!(node.audited(), ["registry.register", "registry.remove"]);
}
