//! Parts of a service fail, and all of it; calls are counted at the services.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatehouse_shared::clock;

use super::{metric, of, states};
use crate::support::client::{Edge, Protocol};
use crate::support::process::Process;
use crate::support::switch::{HANGS, Switch};
use crate::support::{Site, until};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_that_fails_or_hangs_costs_clients_next_to_nothing() {
    for ill in [500, HANGS] {
        let services = four().await;
        let dir = tempfile::tempdir().unwrap();
        let more = CARE.to_owned() + "ejection = { time = \"1s\", time_max = \"1s\" }\n";
        let node = Process::start(dir.path(), "a", &at(&services, &more), "").await;
        assert_eq!(calls(node.address, 400).await, 0);
        services[1].answer(ill);
        let (before, began) = (services[1].requests(), clock::now());
        assert!(calls(node.address, 2_000).await <= 2, "{ill}: less than one in a thousand");
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

#[tokio::test]
async fn who_returns_starts_slowly() {
    let services = four().await;
    let more =
        CARE.to_owned() + "balance = { slow_start = \"1h\" }\nejection = { time = \"300ms\", time_max = \"300ms\" }\n";
    let site = Site::start(&at(&services, &more)).await;
    services[1].answer(500);
    assert_eq!(calls(site.address, 400).await, 0);
    assert_ne!(states(&site)[1], "Up");
    services[1].answer(200);
    let status = || site.service("sample").members.now().balance.status(clock::now())[1].clone();
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while states(&site)[1] != "Up" {
        assert_eq!(calls(site.address, 8).await, 0);
        assert!(tokio::time::Instant::now() < deadline, "{:?}", status());
    }
    assert_eq!(status().share_percent, 10);
    let before = services.each_ref().map(Switch::requests);
    assert_eq!(calls(site.address, 800).await, 0);
    let got: Vec<usize> = services.iter().zip(before).map(|(service, before)| service.requests() - before).collect();
    assert!(got[1] > 0 && got[1] < 100 && got.iter().sum::<usize>() == 800, "{got:?}");
}

#[tokio::test]
async fn a_retry_storm_is_bounded_and_ends_by_itself() {
    let services = four().await;
    // No reserve, so that the share alone decides; nobody is ejected, so that nobody is spared.
    let more = CARE.to_owned() + "retry_percent = 20\nretry_min_per_second = 0\nejection = { max_percent = 0 }\n";
    let site = Site::start(&at(&services, &more)).await;
    let mut made = 0;
    for ill in [2, 4] {
        services.iter().take(ill).for_each(|service| service.answer(500));
        assert!(calls(site.address, 2_000).await > 0);
        made += 2_000;
        let sent = services.iter().map(Switch::requests).sum::<usize>();
        assert!(sent > made && sent * 10 <= made * 12, "{ill} of four fail: {sent} sent for {made} calls");
        services.iter().for_each(|service| service.answer(200));
        assert_eq!(calls(site.address, 400).await, 0, "well again at once");
        made += 400;
    }
    assert!(metric(&site, "gatehouse_business_retry_budget_exhausted_total{service=\"sample\"}") > Some(0));
}

#[tokio::test]
async fn a_full_outage_opens_the_breaker_and_ends_without_anybody_doing_anything() {
    let services = four().await;
    let more = CARE.to_owned()
        + "retry_min_per_second = 0\nejection = { time = \"50ms\", time_max = \"50ms\" }\n\
           breaker = { requests_min = 20, window = \"1s\", open = \"100ms\", open_max = \"200ms\", probes = 2 }\n";
    let site = Site::start(&at(&services, &more)).await;
    assert_eq!(calls(site.address, 80).await, 0);
    services.iter().for_each(|service| service.answer(500));
    let state = || metric(&site, "gatehouse_business_breaker_state{service=\"sample\"}");
    while state() == Some(0) {
        assert!(calls(site.address, 16).await > 0);
    }
    let (before, open) = (services.iter().map(Switch::requests).sum::<usize>(), clock::now());
    assert_eq!(calls(site.address, 2_000).await, 2_000);
    let sent = services.iter().map(Switch::requests).sum::<usize>() - before;
    // Two probes at a time, and a new time to be open after each that fails.
    let probes = usize::try_from(open.elapsed().as_millis() / 100 + 1).unwrap() * 2;
    assert!(sent <= probes * 3, "{sent} sent, {probes} probes");
    services.iter().for_each(|service| service.answer(200));
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while calls(site.address, 8).await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", states(&site));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("a closed breaker", || (state() == Some(0)).then_some(())).await;
    assert_eq!(calls(site.address, 400).await, 0);
}
