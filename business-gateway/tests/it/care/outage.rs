//! Parts of a service fail, and all of it, behind the real binary; calls are counted at the services.
//!
//! Times are those that the gate itself writes down, with room for a machine that has other things to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatehouse_shared::clock;
use serde_json::Value;

use super::of;
use crate::support::client::{Edge, Protocol};
use crate::support::process::Process;
use crate::support::switch::{HANGS, Switch};
use crate::support::{began_ms, took_ms, until};

/// So many calls, eight at a time; how many were not answered with 200.
async fn calls(address: std::net::SocketAddr, count: usize) -> usize {
    let failed = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let failed = Arc::clone(&failed);
            tokio::spawn(async move {
                let mut edge = Edge::connect(address, Protocol::Http1).await;
                for _ in 0..count / 8 {
                    if edge.get("/x").await.status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    failed.load(Ordering::Relaxed)
}

async fn four() -> [Switch; 4] {
    [Switch::start(200).await, Switch::start(200).await, Switch::start(200).await, Switch::start(200).await]
}

fn at(four: &[Switch; 4], more: &str) -> String {
    of(&[&four[0], &four[1], &four[2], &four[3]], more)
}

/// What a service with several endpoints is best given.
const CARE: &str = "server_errors_count = true\nretry_statuses = [500]\ntry_timeout = \"500ms\"\ntimeout = \"20s\"\n";

async fn start(dir: &tempfile::TempDir, services: &[Switch; 4], more: &str) -> Process {
    Process::start(dir.path(), "a", &at(services, more), "").await
}

/// A figure of one endpoint.
fn of_endpoint(node: &Process, name: &str, service: &Switch) -> Option<u64> {
    let labels = format!("endpoint=\"{}\",service=\"sample\"", service.address);
    node.metric(&format!("gatehouse_business_endpoint_{name}{{{labels}}}"))
}

/// A figure of the service.
fn of_service(node: &Process, name: &str) -> Option<u64> {
    node.metric(&format!("gatehouse_business_{name}{{service=\"sample\"}}"))
}

fn sent(services: &[Switch; 4]) -> usize {
    services.iter().map(Switch::requests).sum()
}

/// When each try at an endpoint began that was not answered well.
fn ill_tries(lines: &[Value], service: &Switch) -> Vec<f64> {
    let address = service.address.to_string();
    let mut began = Vec::new();
    for line in lines {
        let mut at = began_ms(line);
        for attempt in line["tries"].as_array().into_iter().flatten() {
            if attempt["endpoint"] == *address && attempt["status"] != 200 {
                began.push(at);
            }
            at += attempt["ms"].as_f64().unwrap();
        }
        // A call with one try has no list of them.
        if line.get("tries").is_none() && line["endpoint"] == *address && line["status"] != 200 {
            began.push(at);
        }
    }
    began
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_that_fails_or_hangs_is_out_within_two_seconds() {
    for ill in [500, HANGS] {
        let services = four().await;
        let dir = tempfile::tempdir().unwrap();
        let node =
            start(&dir, &services, &(CARE.to_owned() + "ejection = { time = \"1h\", time_max = \"1h\" }\n")).await;
        assert_eq!(calls(node.address, 400).await, 0);
        services[1].answer(ill);
        let failed = calls(node.address, 2_000).await;
        assert!(failed < 2, "{ill}: {failed} of 2000, less than one in a thousand may fail");
        assert_eq!(of_endpoint(&node, "up", &services[1]), Some(0));
        assert_eq!(of_endpoint(&node, "ejections_total", &services[1]), Some(1));
        // It is out for an hour, so whatever it got it got before.
        let lines = until("lines of all calls", || Some(node.lines()).filter(|lines| lines.len() == 2_400)).await;
        let began = ill_tries(&lines, &services[1]);
        let first = began.iter().copied().fold(f64::INFINITY, f64::min);
        let last = began.iter().copied().fold(0.0, f64::max);
        assert!(began.len() >= 3 && last - first < 2_000.0, "{ill}: {} tries in {} ms", began.len(), last - first);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_that_comes_and_goes_costs_clients_next_to_nothing() {
    for ill in [500, HANGS] {
        let services = four().await;
        let dir = tempfile::tempdir().unwrap();
        let node =
            start(&dir, &services, &(CARE.to_owned() + "ejection = { time = \"1s\", time_max = \"1s\" }\n")).await;
        assert_eq!(calls(node.address, 400).await, 0);
        services[1].answer(ill);
        let (before, began) = (services[1].requests(), clock::now());
        let failed = calls(node.address, 2_000).await;
        assert!(failed < 2, "{ill}: {failed} of 2000, less than one in a thousand may fail");
        // Half of its share until it was out at most, and what tries it each time that its ejection ends.
        let got = services[1].requests() - before;
        let ejections = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!(got < 250 + 30 * ejections, "{ill}: {got} of 2000 went to the endpoint that fails");
        services[1].answer(200);
        let deadline = tokio::time::Instant::now() + crate::support::SOON;
        loop {
            let before = services[1].requests();
            assert_eq!(calls(node.address, 80).await, 0);
            if services[1].requests() - before >= 15 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{ill}: it does not get its share again");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_returns_starts_slowly() {
    let services = four().await;
    let more =
        CARE.to_owned() + "balance = { slow_start = \"1h\" }\nejection = { time = \"300ms\", time_max = \"300ms\" }\n";
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &services, &more).await;
    services[1].answer(500);
    assert_eq!(calls(node.address, 400).await, 0);
    assert!(of_endpoint(&node, "ejections_total", &services[1]) >= Some(1));
    services[1].answer(200);
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while of_endpoint(&node, "up", &services[1]) != Some(1)
        || of_endpoint(&node, "share_percent", &services[1]) != Some(10)
    {
        assert_eq!(calls(node.address, 8).await, 0);
        assert!(tokio::time::Instant::now() < deadline, "it does not return");
    }
    let before = services.each_ref().map(Switch::requests);
    assert_eq!(calls(node.address, 800).await, 0);
    let got: Vec<usize> = services.iter().zip(before).map(|(service, before)| service.requests() - before).collect();
    assert!(got[1] > 0 && got[1] < 100 && got.iter().sum::<usize>() == 800, "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_storm_is_bounded_and_ends_by_itself() {
    let services = four().await;
    // No reserve, so that the share alone decides; nobody is ejected, so that nobody is spared.
    let more = CARE.to_owned() + "retry_percent = 20\nretry_min_per_second = 0\nejection = { max_percent = 0 }\n";
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &services, &more).await;
    let mut made = 0;
    for ill in [2, 4] {
        services.iter().take(ill).for_each(|service| service.answer(500));
        assert!(calls(node.address, 2_000).await > 0);
        made += 2_000;
        let sent = sent(&services);
        assert!(sent > made && sent * 10 <= made * 12, "{ill} of four fail: {sent} sent for {made} calls");
        services.iter().for_each(|service| service.answer(200));
        assert_eq!(calls(node.address, 400).await, 0, "well again at once");
        made += 400;
    }
    assert!(of_service(&node, "retry_budget_exhausted_total") > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outage_opens_the_breaker_and_ends_without_anybody_doing_anything() {
    let services = four().await;
    let more = CARE.to_owned()
        + "retry_min_per_second = 0\nejection = { time = \"50ms\", time_max = \"50ms\" }\n\
           breaker = { requests_min = 20, window = \"1s\", open = \"100ms\", open_max = \"200ms\", probes = 2 }\n";
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &services, &more).await;
    assert_eq!(calls(node.address, 80).await, 0);
    services.iter().for_each(|service| service.answer(500));
    while of_service(&node, "breaker_state") == Some(0) {
        assert!(calls(node.address, 16).await > 0);
    }
    let (before, open) = (sent(&services), clock::now());
    assert_eq!(calls(node.address, 2_000).await, 2_000);
    let sent = sent(&services) - before;
    // Two probes at a time, and a new time to be open after each that fails.
    let probes = usize::try_from(open.elapsed().as_millis() / 100 + 1).unwrap() * 2;
    assert!(sent <= probes * 3, "{sent} sent, {probes} probes");
    let refused = |lines: &[Value]| -> Vec<f64> {
        let refused = lines.iter().filter(|line| line["reason"] == "service_circuit_open");
        // Nobody was asked, so nothing was waited for but the processor.
        refused
            .inspect(|line| assert!(line.get("endpoint").is_none() && line.get("tries").is_none(), "{line}"))
            .map(took_ms)
            .collect()
    };
    let refused = || Some(refused(&node.lines())).filter(|refused| refused.len() + sent >= 2_000);
    let mut took = until("lines of what was refused", refused).await;
    // What one of them costs the gate, from the head of the request to the end of the answer. Other processes of a busy machine may
    // come between in some of them, but not in nine of ten.
    took.sort_unstable_by(f64::total_cmp);
    let most = took[took.len() * 9 / 10];
    assert!(most < 5.0, "nine of ten took {most} ms at most");
    services.iter().for_each(|service| service.answer(200));
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while calls(node.address, 8).await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "it stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("a closed breaker", || (of_service(&node, "breaker_state") == Some(0)).then_some(())).await;
    assert_eq!(calls(node.address, 400).await, 0);
}
