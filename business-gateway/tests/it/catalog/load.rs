//! The catalog changes again and again while calls are served: no call fails, and none sees two catalogs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use business_gateway::store::catalog::objects::Objects;
use business_gateway::store::revision::change::{Author, Wanted};
use business_gateway::store::revision::edit::{Edit, IfMatch};
use gatehouse_shared::admin::Role;
use serde_json::json;

use super::{api, fleet_settings, service};
use crate::support::client::{BOTH, Edge};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{Site, catalog};

/// Changes; on a slow machine as many as there is time for, but not fewer than [`FEWEST`].
const CHANGES: u64 = 1_000;
const FEWEST: u64 = 50;
/// How long changes are made at most.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_under_load_fail_no_call_and_mix_no_generation() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let (left, right) = (Service::start().await, Service::start().await);
    let site = Site::with(&catalog(&[left.address], ""), &fleet_settings(&redis, dir.path())).await;
    let publish = async |objects: serde_json::Value| {
        let edit = Edit::Replace(Objects::from_json(objects).unwrap());
        let wanted = Wanted { edit, if_match: IfMatch::Something, force: false, what: None };
        let author = Author { by: "test".to_owned(), role: Role::Operate, why: None };
        site.gateway.revisions.change(&wanted, &author).await.unwrap()
    };
    // Which API takes a call and which service answers it change together, each time.
    let catalog = |number: u64| {
        let (name, address) = if number.is_multiple_of(2) { ("even", left.address) } else { ("odd", right.address) };
        json!({
            "service": [service(&format!("of-{name}"), address)],
            "api": [api(name, &format!("of-{name}"), "/{*rest}")],
        })
    };
    publish(catalog(0)).await;
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = [BOTH[0], BOTH[1], BOTH[0], BOTH[1]]
        .into_iter()
        .map(|protocol| {
            let (address, is_over, served) = (site.address, Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                let mut edge = Edge::connect(address, protocol).await;
                while !is_over.load(Ordering::Relaxed) {
                    let answer = edge.get("/x").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = tokio::time::Instant::now();
    let mut made = 0;
    while made < CHANGES && (made < FEWEST || began.elapsed() < PATIENCE) {
        made += 1;
        publish(catalog(made)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(site.gateway.live.current().value.written.revision(), made + 1);
    let served = served.load(Ordering::Relaxed);
    let lines = {
        let wanted = usize::try_from(served).unwrap();
        crate::support::until("every line of the access log", || {
            let lines = site.lines();
            (lines.len() >= wanted).then_some(lines)
        })
        .await
    };
    for line in lines {
        let address = if line["api"] == "even" { left.address } else { right.address };
        assert_eq!(line["service"], format!("of-{}", line["api"].as_str().unwrap()), "{line}");
        assert_eq!(line["endpoint"], address.to_string(), "{line}");
    }
    eprintln!("changes = {made}, calls = {served}, seconds = {:.1}", began.elapsed().as_secs_f64());
}
