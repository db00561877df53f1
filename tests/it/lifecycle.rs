//! Drain, reload and upgrade of the edge under load.

use gatehouse_tests::client::Raw;
use gatehouse_tests::client::raw::End;
use gatehouse_tests::load::Load;
use gatehouse_tests::process::{Signal, send};
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::tally::compare;
use gatehouse_tests::until::{SOON, until};
use tokio::time::{Instant, timeout};

use crate::Passed;

const REQUEST: &str = "GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n";

#[tokio::test]
async fn parked_connections_do_not_delay_a_drain() -> Passed {
    let mut site = Site::plan().edge("[drain]\ndeadline = \"60s\"\n").start().await?;
    let mut parked = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::open(&site.target()).await?;
        assert_eq!(raw.exchange(REQUEST).await?.status, 200);
        parked.push(raw);
    }
    let start = Instant::now();
    site.edges[0].process.signal(Signal::TERM)?;
    for raw in &mut parked {
        let (bytes, end) = timeout(SOON, raw.rest()).await??;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(end, End::Closed);
    }
    let status = site.edges[0].process.wait_for_exit(SOON).await?;
    assert!(status.success(), "{status}");
    assert!(start.elapsed() < SOON, "the drain took {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_drain_lets_what_is_under_way_finish_and_says_that_it_is_not_ready() -> Passed {
    let mut site = Site::plan().edge("[drain]\ndelay = \"3s\"\ndeadline = \"60s\"\n").start().await?;
    let mut active = Raw::open(&site.target()).await?;
    active.write("GET /slow?ms=5000 HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
    until("the request to arrive", SOON, async || {
        site.services[0].stats().await.ok().filter(|stats| stats.requests == 1)
    })
    .await?;
    let admin = site.edge()?.admin()?;
    site.edges[0].process.signal(Signal::TERM)?;
    until("readiness to go", SOON, async || (!admin.is_ready().await).then_some(())).await?;
    // During the delay a balancer has not looked yet and still sends requests.
    assert_eq!(site.target().get("/products").await?.status, 200);
    let answer = active.answer().await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(site.edges[0].process.wait_for_exit(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_client_that_has_just_connected_when_the_drain_begins_is_still_answered() -> Passed {
    let mut site = Site::plan().start().await?;
    let mut fresh = Raw::open(&site.target()).await?;
    let admin = site.edge()?.admin()?;
    until("the connection to be accepted", SOON, async || {
        let open = admin.metrics().await.ok()?.sum("gatehouse_edge_connections", &[]);
        (open >= 1.0).then_some(())
    })
    .await?;
    site.edges[0].process.signal(Signal::TERM)?;
    until("readiness to go", SOON, async || (!admin.is_ready().await).then_some(())).await?;
    let answer = fresh.exchange(REQUEST).await?;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(site.edges[0].process.wait_for_exit(SOON).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_drains_under_load_without_a_failed_request() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().edges(2).handoff(handoff).edge("[drain]\ndelay = \"3s\"\n").alone().start().await?;
        // A balancer in front: new connections go to the other edge once this one says that it is not ready.
        let targets = |site: &Site, edges: &[usize]| -> Vec<_> {
            edges
                .iter()
                .filter_map(|edge| site.edges[*edge].address().ok())
                .map(gatehouse_tests::client::Target::plain)
                .collect()
        };
        let mut site = site;
        let draining = Load::new(site.target(), 16, 300, "/slow?ms=5").over(targets(&site, &[0])).post_every(5).start();
        draining.answers(200).await?;
        let admin = site.edges[0].admin()?;
        site.edges[0].process.signal(Signal::TERM)?;
        until("readiness to go", SOON, async || (!admin.is_ready().await).then_some(())).await?;
        // A balancer looks every so often: until it does, this edge still gets requests and answers them.
        draining.answers(120).await?;
        let report = draining.stop().await;
        let other = Load::new(site.target(), 16, 300, "/slow?ms=5").over(targets(&site, &[1])).post_every(5).total(300);
        let other = other.start().finish().await;
        for report in [&report, &other] {
            assert_eq!(report.failed().count(), 0, "{handoff:?}: {}", report.failures());
            let tally = compare(report, &site.executions().await?);
            assert_eq!((tally.lost.len(), tally.duplicated.len()), (0, 0), "{handoff:?}: {tally:?}");
        }
        assert!(site.edges[0].process.wait_for_exit(SOON).await?.success());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_in_a_row_of_both_tiers_fail_no_request() -> Passed {
    let site = Site::plan().business(2).services(2).alone().start().await?;
    let load = Load::new(site.target(), 16, 400, "/slow?ms=5").post_every(5).start();
    load.answers(50).await?;
    for node in [&site.edges[0], &site.business[0]] {
        let good = node.settings.to_string();
        let (main, section) =
            if std::ptr::eq(node, &site.edges[0]) { ("edge.toml", "accept") } else { ("business.toml", "accept") };
        let admin = node.admin()?;
        for number in 0..100_u64 {
            let generation = admin.generation().await?;
            if number % 3 == 0 {
                let failures = crate::config::failures(&admin).await?;
                node.write(main, &format!("{good}\n[{section}]\nhaed_timeout = \"{number}s\"\n"))?;
                node.poke()?;
                until(format!("reload {number} of {} to be refused", node.name), SOON, async || {
                    (crate::config::failures(&admin).await.ok()? > failures).then_some(())
                })
                .await?;
                assert_eq!(admin.generation().await?, generation, "an invalid file was loaded");
            } else {
                node.write(main, &format!("{good}\n[{section}]\nhead_timeout = \"{}s\"\n", 10 + number % 7))?;
                node.poke()?;
                node.wait_for_generation(generation + 1).await?;
            }
        }
    }
    let report = load.stop().await;
    let tally = compare(&report, &site.executions().await?);
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    assert_eq!(report.repeated(), 0, "reloads cut connections");
    assert_eq!((tally.lost.len(), tally.duplicated.len(), tally.repeated_gets), (0, 0, 0), "{tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_upgrade_under_load_fails_no_request() -> Passed {
    for handoff in Handoff::BOTH {
        let mut site = Site::plan().business(2).services(2).handoff(handoff).alone().start().await?;
        let kept = Load::new(site.target(), 16, 300, "/slow?ms=5").start();
        let fresh = Load::new(site.target(), 8, 100, "/slow?ms=5").without_keepalive().post_every(3).start();
        kept.answers(100).await?;
        let first = site.edges[0].serving_pid();
        let mut current = first;
        for _ in 0..3 {
            site.edges[0].upgrade().await?;
            let before = current;
            current = until("another process to serve", SOON, async || {
                Some(site.edges[0].serving_pid()).filter(|pid| *pid != before)
            })
            .await?;
            kept.answers(200).await?;
            until("the old process to end", SOON, async || has_ended(before, &mut site.edges[0].process).then_some(()))
                .await?;
            kept.answers(100).await?;
        }
        assert_ne!(first, current);
        for (what, load) in [("keepalive", kept), ("fresh", fresh)] {
            let report = load.stop().await;
            let tally = compare(&report, &site.executions().await?);
            assert_eq!(report.failed().count(), 0, "{handoff:?}, {what}: {}", report.failures());
            assert_eq!((tally.lost.len(), tally.duplicated.len()), (0, 0), "{handoff:?}, {what}: {tally:?}");
        }
        send(current, Signal::TERM)?;
        until("the last process to end", SOON, async || (!is_running(current)).then_some(())).await?;
    }
    Ok(())
}

/// Whether the process `pid` has ended; reaps it when it is `ours`.
fn has_ended(pid: u32, ours: &mut gatehouse_tests::process::Process) -> bool {
    if pid == ours.id() { ours.exit_status().is_some() } else { !is_running(pid) }
}

/// Whether there is a process `pid` that is not just a zombie.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}
