//! Connection management: thousands of client connections, a handful behind.

use std::time::Duration;

use anyhow::Context as _;
use gatehouse_tests::client::{Connection, Raw, empty};
use gatehouse_tests::load::Load;
use gatehouse_tests::process::connections_to_port;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::tally::compare;
use gatehouse_tests::until::{SOON, until};
use http::Method;
use tokio::task::JoinSet;

use crate::Passed;

/// The most that a share may be away from an even one.
const TOLERANCE: f64 = 0.05;

fn assert_even(what: &str, counts: &[usize]) {
    let even = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    for count in counts {
        let off = (*count as f64 - even).abs() / even;
        assert!(off <= TOLERANCE, "{what}: {counts:?} is {:.1} % off", off * 100.0);
    }
}

#[tokio::test]
async fn ten_thousand_requests_on_one_connection_spread_over_nodes_and_endpoints_on_a_handful_of_connections() -> Passed
{
    for handoff in Handoff::BOTH {
        let site = Site::plan().business(2).services(2).handoff(handoff).alone().start().await?;
        let target = site.target();
        let mut connection = Connection::open(&target).await?;
        for _ in 0..10_000 {
            let answer = connection.fetch(target.request(Method::GET, "/bench")?.body(empty())?).await?;
            assert_eq!(answer.status, 200);
        }
        // The last answer says that it is the last: the limit of requests per connection is exactly this.
        let lines = until("all access log lines", SOON, async || {
            let mut counts = Vec::new();
            for node in &site.business {
                counts.push(node.access_log().ok()?.len());
            }
            (counts.iter().sum::<usize>() == 10_000).then_some(counts)
        })
        .await?;
        assert_even("business nodes", &lines);
        let mut requests = Vec::new();
        for service in &site.services {
            let stats = service.stats().await?;
            requests.push(usize::try_from(stats.requests)?);
            // One question of ours is among them.
            assert!(stats.opened <= 2 + 1, "{handoff:?}: {} connections to {}", stats.opened, service.name);
        }
        assert_eq!(requests.iter().sum::<usize>(), 10_000);
        assert_even("endpoints", &requests);
        for node in &site.business {
            let open = connections_to_port(node.address()?.port())?;
            // A probe may be among them.
            assert!(open <= 4 + 1, "{handoff:?}: {open} connections to {}", node.name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn sixty_four_simultaneous_first_requests_open_no_more_connections_than_the_bounds() -> Passed {
    for (handoff, bound) in [(Handoff::H2c, 2), (Handoff::Http1, 16)] {
        let site = Site::plan()
            .handoff(handoff)
            .edge(format!(
                "[[cluster]]\nname = \"business\"\nnodes = {{nodes}}\nprotocol = \"{}\"\nconnections_per_node = {bound}\n",
                handoff.name()
            ))
            .catalog(
                "[[service]]\nname = \"sample\"\nendpoints = {endpoints}\nconnections_max = 8\n\
                 [[api]]\nname = \"all\"\naccess = \"open\"\nservice = \"sample\"\nmethods = [\"GET\"]\npath = \"/{*rest}\"\n",
            )
            .start()
            .await?;
        let mut clients = JoinSet::new();
        for _ in 0..64 {
            let target = site.target();
            clients.spawn(async move { target.get("/slow?ms=200").await });
        }
        while let Some(answer) = clients.join_next().await {
            let answer = answer??;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let opened = site.services[0].stats().await?.opened - 1;
        assert!((1..=8).contains(&opened), "{handoff:?}: {opened} connections to the service");
        let wanted = opened as f64..=opened as f64;
        let name = "gatehouse_business_upstream_connections_total";
        let counted = site.business[0].admin()?.counted(name, &[], wanted).await;
        counted.with_context(|| format!("{handoff:?}: the metric and the service disagree"))?;
        let open = connections_to_port(site.business[0].address()?.port())?;
        assert!((1..=bound + 1).contains(&open), "{handoff:?}: {open} connections to the business node");
        let counted = site.edges[0].admin()?.metrics().await?.sum("gatehouse_edge_node_connections_opened_total", &[]);
        assert!(counted >= 1.0 && counted <= bound as f64, "{handoff:?}: {counted} connections by the metric");
    }
    Ok(())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().business(2).services(2).handoff(handoff).start().await?;
        let mut raw = Raw::open(&site.target()).await?;
        let mut bytes = Vec::new();
        for number in 0..20 {
            // The earlier the request, the longer it takes.
            let path = if number == 0 { "/slow?ms=200".into() } else { format!("/echo/{number}") };
            let (method, body) =
                if number % 5 == 4 { ("POST", "Content-Length: 4\r\n\r\nbody") } else { ("GET", "\r\n") };
            bytes.extend(format!("{method} {path} HTTP/1.1\r\nHost: pipeline\r\n{body}").into_bytes());
        }
        raw.write(&bytes).await?;
        for number in 0..20 {
            let answer = raw.final_answer().await?;
            assert_eq!(answer.status, 200, "{handoff:?}, request {number}: {}", answer.text());
            if number > 0 {
                let echo: serde_json::Value = serde_json::from_slice(&answer.body)?;
                assert_eq!(echo["path"], format!("/echo/{number}"), "{handoff:?}");
                assert_eq!(echo["body"]["length"], if number % 5 == 4 { 4 } else { 0 }, "{handoff:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_and_a_thousand_concurrent_clients_see_no_error() -> Passed {
    for handoff in Handoff::BOTH {
        let all = "[accept]\nconnections_per_client = 0\n";
        let site = Site::plan().edge(all).business(2).services(2).handoff(handoff).alone().start().await?;
        for (clients, total) in [(200, 4_000), (1_000, 6_000)] {
            // Due faster than anything can answer: every client always has a request under way.
            let load = Load::new(site.target(), clients, 1_000_000, "/echo").post_every(10).total(total);
            let report = load.start().finish().await;
            let tally = compare(&report, &site.executions().await?);
            assert_eq!(report.failed().count(), 0, "{handoff:?}, {clients} clients: {}", report.failures());
            assert_eq!(tally.answered, usize::try_from(total)?);
            assert!(tally.lost.is_empty() && tally.duplicated.is_empty(), "{tally:?}");
            let longest = report.quantile(1.0);
            assert!(longest < Duration::from_secs(30), "{handoff:?}, {clients} clients: {longest:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn at_the_cap_of_connections_those_that_are_open_are_served_and_the_admin_listener_answers() -> Passed {
    let site = Site::plan().edge("[process]\nmax_connections = 20\n").start().await?;
    let request = "GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(&site.target()).await?;
        assert_eq!(raw.exchange(request).await?.status, 200);
        open.push(raw);
    }
    for _ in 0..5 {
        let mut raw = Raw::open(&site.target()).await?;
        let refused = match raw.exchange(request).await {
            Ok(answer) => answer.status == 503 && answer.code() == "too_many_connections",
            Err(_closed) => true,
        };
        assert!(refused, "a connection beyond the cap was served");
    }
    for raw in &mut open {
        assert_eq!(raw.exchange(request).await?.status, 200);
    }
    assert!(site.edges[0].admin()?.is_ready().await);
    drop(open);
    until("room for new connections", SOON, async || {
        site.target().get("/products").await.ok().filter(|answer| answer.status == 200)
    })
    .await?;
    Ok(())
}
