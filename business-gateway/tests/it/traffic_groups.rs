//! Who goes first: pools, groups and caps, over real connections to a real service. What is judged is counted, not timed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::client::{Answer, Edge, Protocol, Said, empty, request, request_as};
use crate::support::service::Service;
use crate::support::{Site, until};

/// One service, and an API for each group: `GET` is core, `PUT` real-time, `POST` the rest, but core for applications of the
/// class `gold`. `pool` goes to the `[[pool]]` and `core` to the first API.
pub(crate) fn catalog(service: SocketAddr, pool: &str, core: &str) -> String {
    let api = |name: &str, method: &str, more: &str| {
        format!(
            "[[api]]\nname = \"{name}\"\nservice = \"sample\"\naccess = \"open\"\nmethods = [\"{method}\"]\npath = \"/{{*rest}}\"\n{more}\n"
        )
    };
    let group = |name: &str, ratio: u32, when: &str| format!("[[group]]\nname = \"{name}\"\nratio = {ratio}\n{when}\n");
    [
        format!("[[service]]\nname = \"sample\"\nendpoints = [\"{service}\"]\n"),
        format!("[[pool]]\nname = \"sample\"\n{pool}\n"),
        group("core", 60, "when = [{ level = \"core\" }, { class = \"gold\" }]"),
        group("real-time", 30, "when = [{ level = \"real-time\" }]"),
        group("rest", 10, ""),
        api("orders", "GET", &format!("level = \"core\"\n{core}")),
        api("prices", "PUT", "level = \"real-time\""),
        api("reports", "POST", ""),
    ]
    .concat()
}

async fn call(edge: &mut Edge, method: &str, target: &str) -> Answer {
    edge.exchange(request(method, target).body(empty()).unwrap()).await
}

async fn connect(site: &Site) -> Edge {
    Edge::connect(site.address, Protocol::Http1).await
}

/// Calls under way in the pool, and waiting.
fn standing(site: &Site) -> (usize, usize) {
    let generation = site.gateway.live.current();
    let (_, status) = generation.value.catalog.traffic.pools(1).next().unwrap();
    (status.in_flight, status.groups.iter().map(|group| group.waiting).sum())
}

async fn until_standing(site: &Site, expected: (usize, usize)) {
    until(&format!("pool with {expected:?} under way and waiting"), || (standing(site) == expected).then_some(()))
        .await;
}

fn metric(site: &Site, name: &str) -> u64 {
    let text = site.gateway.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// A call whose answer never comes; it goes on until the handle is aborted.
fn hanging(site: &Site, method: &'static str) -> tokio::task::JoinHandle<Answer> {
    let address = site.address;
    tokio::spawn(async move { call(&mut Edge::connect(address, Protocol::Http1).await, method, "/hang").await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_core_passes_the_queue_and_the_service_never_gets_more_than_it_can_take() {
    const SIZE: usize = 8;
    let service = Service::start().await;
    let site = Site::start(&catalog(service.address, &format!("size = {SIZE}\nqueue_max = 30"), "")).await;
    let (is_over, served, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let rest = |_| {
        let (address, is_over, served, refused) =
            (site.address, Arc::clone(&is_over), Arc::clone(&served), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut edge = Edge::connect(address, Protocol::Http1).await;
            while !is_over.load(Ordering::Relaxed) {
                let answer = call(&mut edge, "POST", "/slow?ms=20").await;
                if answer.status == 200 {
                    served.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                assert_eq!((answer.status, &*answer.code()), (503, "service_overloaded"));
                assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    // 8 slots, 30 places in the queue, 50 who want.
    let flood: Vec<_> = (0..50).map(rest).collect();
    until("overload", || (standing(&site).1 >= 25 && served.load(Ordering::Relaxed) > 50).then_some(())).await;

    let mut edge = connect(&site).await;
    let before = served.load(Ordering::Relaxed);
    const CALLS: usize = 60;
    for _ in 0..CALLS {
        let answer = call(&mut edge, "GET", "/slow?ms=20").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let passed = served.load(Ordering::Relaxed) - before;
    is_over.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.unwrap();
    }
    // A core call waits for the next free slot and is served: about one and then seven of the rest end meanwhile. Behind the
    // queue it would have been 30 more.
    assert!(passed < CALLS * 2 * SIZE, "{passed} calls of the rest were served during {CALLS} of core");
    assert!(refused.load(Ordering::Relaxed) > 0);
    assert_eq!(service.seen.most_under_way.load(Ordering::SeqCst), SIZE, "all of it is used, and no more");
    until_standing(&site, (0, 0)).await;
    assert_eq!(metric(&site, "gatehouse_business_group_admitted_total{group=\"core\"} "), CALLS as u64);
    assert!(metric(&site, "gatehouse_business_group_refused_total{group=\"rest\",reason=\"queue_full\"} ") > 0);
    assert!(metric(&site, "gatehouse_business_group_wait_seconds_count{group=\"rest\"} ") > 0);
    assert_eq!(metric(&site, "gatehouse_business_pool_size{pool=\"sample\"} "), SIZE as u64);
    let line = site.line(|line| line["group"] == "core" && line["queued_ms"].is_number()).await;
    assert_eq!(line["api"], "orders");
}

#[tokio::test]
async fn a_slot_is_held_to_the_end_of_the_answer_and_free_when_the_client_goes() {
    let service = Service::start().await;
    let site = Site::start(&catalog(service.address, "size = 1\nwait_max = \"0s\"", "")).await;
    let mut first = connect(&site).await;
    let answer = first.send(request("GET", "/stall").body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut second = connect(&site).await;
    let refused = call(&mut second, "GET", "/").await;
    assert_eq!((refused.status, &*refused.code()), (503, "service_overloaded"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.result().cost, 0, "nothing was executed");
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["sub_code"], "isp.service-overloaded");
    let line = site.line(|line| line["reason"] == "service_overloaded").await;
    assert_eq!(line["group"], "core");
    drop((answer, first));
    until_standing(&site, (0, 0)).await;
    assert_eq!(call(&mut second, "GET", "/").await.status, 200);

    // The same when the client goes before the answer has begun, and when the call fails.
    let hanging = hanging(&site, "GET");
    until_standing(&site, (1, 0)).await;
    hanging.abort();
    until_standing(&site, (0, 0)).await;
    assert_eq!(call(&mut second, "GET", "/raw/garbage").await.status, 502);
    until_standing(&site, (0, 0)).await;
    assert_eq!(call(&mut second, "GET", "/").await.status, 200);
}

#[tokio::test]
async fn who_waits_goes_on_when_a_slot_is_free_and_leaves_no_trace_when_he_goes() {
    let service = Service::start().await;
    let site = Site::start(&catalog(service.address, "size = 1\nwait_max = \"60s\"", "")).await;
    let first = hanging(&site, "GET");
    until_standing(&site, (1, 0)).await;
    let gone = hanging(&site, "GET");
    until_standing(&site, (1, 1)).await;
    let address = site.address;
    let waiting =
        tokio::spawn(async move { call(&mut Edge::connect(address, Protocol::Http1).await, "GET", "/").await.status });
    until_standing(&site, (1, 2)).await;
    gone.abort();
    until_standing(&site, (1, 1)).await;
    first.abort();
    assert_eq!(waiting.await.unwrap(), 200);
    until_standing(&site, (0, 0)).await;
    assert_eq!(service.requests(), 2, "who went while waiting was never sent");
}

#[tokio::test]
async fn a_wait_ends_with_the_deadline_of_the_call() {
    let service = Service::start().await;
    let site = Site::start(&catalog(service.address, "size = 1\nwait_max = \"60s\"", "")).await;
    let first = hanging(&site, "GET");
    until_standing(&site, (1, 0)).await;
    let said = Said { left: Duration::from_millis(50), ..Said::default() };
    let answer = connect(&site).await.exchange(request_as("GET", "/", said).body(empty()).unwrap()).await;
    assert_eq!((answer.status, &*answer.code()), (503, "service_overloaded"));
    assert_eq!(metric(&site, "gatehouse_business_group_refused_total{group=\"core\",reason=\"waited_out\"} "), 1);
    until_standing(&site, (1, 0)).await;
    first.abort();
}

#[tokio::test]
async fn a_hanging_api_fills_its_cap_and_not_its_pool() {
    let service = Service::start().await;
    let site = Site::start(&catalog(service.address, "size = 4\nwait_max = \"0s\"", "concurrency = 2")).await;
    let hanging = [hanging(&site, "GET"), hanging(&site, "GET")];
    until_standing(&site, (2, 0)).await;
    let mut edge = connect(&site).await;
    let busy = call(&mut edge, "GET", "/").await;
    assert_eq!((busy.status, &*busy.code()), (503, "api_busy"));
    for method in ["PUT", "POST"] {
        assert_eq!(call(&mut edge, method, "/").await.status, 200);
    }
    assert_eq!(metric(&site, "gatehouse_business_group_refused_total{group=\"core\",reason=\"api_busy\"} "), 1);
    for task in hanging {
        task.abort();
    }
    until_standing(&site, (0, 0)).await;
    assert_eq!(call(&mut edge, "GET", "/").await.status, 200);
}

#[tokio::test]
async fn the_reserve_is_closed_to_the_lowest_group_and_a_larger_pool_takes_who_waits() {
    let service = Service::start().await;
    let pool = |size: usize| format!("size = {size}\nreserve_percent = 50\nwait_max = \"60s\"");
    let site = Site::start(&catalog(service.address, &pool(4), "")).await;
    let calls: Vec<_> = (0..3).map(|_| hanging(&site, "POST")).collect();
    until_standing(&site, (2, 1)).await;
    assert_eq!(call(&mut connect(&site).await, "GET", "/").await.status, 200);
    until_standing(&site, (2, 1)).await;
    site.write("catalog.toml", &catalog(service.address, &pool(6), ""));
    site.gateway.live.reload();
    until_standing(&site, (3, 0)).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until_standing(&site, (0, 0)).await;
}
