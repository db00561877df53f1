//! Which business node gets a request: weights, stickiness by client and by authority, zones, early return, slow start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use gatehouse_tests::client::Target;
use gatehouse_tests::load::Load;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::{SOON, until};
use serde_json::Value;

use crate::Passed;

/// The cluster over nodes with `each(index)` in their tables; `more` are further keys.
fn cluster(site: &Site, handoff: Handoff, each: impl Fn(usize) -> String, more: &str) -> anyhow::Result<String> {
    let mut nodes = Vec::new();
    for (index, node) in site.business.iter().enumerate() {
        nodes.push(format!("{{ address = \"{}\"{} }}", node.address()?, each(index)));
    }
    let (nodes, protocol) = (nodes.join(", "), handoff.name());
    Ok(format!("[[cluster]]\nname = \"business\"\nprotocol = \"{protocol}\"\nnodes = [{nodes}]\n{more}\n"))
}

/// Requests that each business node has answered.
async fn answered(site: &Site) -> anyhow::Result<Vec<f64>> {
    let mut counts = Vec::new();
    for node in &site.business {
        counts.push(node.admin()?.metrics().await?.sum("gatehouse_business_requests_total", &[("status", "2xx")]));
    }
    Ok(counts)
}

/// What the edge knows of its nodes.
async fn nodes(edge: &Node) -> anyhow::Result<Vec<Value>> {
    let policy = edge.admin()?.policy().await?;
    Ok(policy["clusters"][0]["nodes"].as_array().cloned().unwrap_or_default())
}

async fn wait_for_state(site: &Site, index: usize, wanted: &[&str]) -> anyhow::Result<()> {
    until(format!("node {index} to be {wanted:?}"), SOON, async || {
        let state = nodes(site.edge().ok()?).await.ok()?[index]["state"].as_str()?.to_owned();
        wanted.contains(&state.as_str()).then_some(())
    })
    .await
}

/// `GET /products` from each target in turn, and the node that answered; everything must be answered well.
async fn served_by(site: &Site, targets: &[Target]) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for target in targets {
        let answer = target.get("/products").await?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        ids.push(answer.header("x-request-id").to_owned());
    }
    until("access log lines of all requests", SOON, async || {
        let lines = site.edge().ok()?.access_log().ok()?;
        let by_id: BTreeMap<&str, &str> =
            lines.iter().filter_map(|line| Some((line["request_id"].as_str()?, line["upstream"].as_str()?))).collect();
        ids.iter().map(|id| by_id.get(id.as_str()).map(|node| (*node).to_owned())).collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_decide_how_many_requests_a_node_gets() -> Passed {
    for handoff in Handoff::BOTH {
        let mut site = Site::plan().business(3).handoff(handoff).start().await?;
        let weights = [5, 1, 1];
        let settings = cluster(
            &site,
            handoff,
            |index| format!(", weight = {}", weights[index]),
            "strategy = \"weighted_round_robin\"",
        )?;
        site.edge_mut()?.reconfigure(&settings).await?;
        let before = answered(&site).await?;
        let report = Load::new(site.target(), 8, 1_000, "/products").total(700).start().finish().await;
        assert_eq!(report.failed().count(), 0, "{}", report.failures());
        let after = answered(&site).await?;
        let counts: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        // While connections are opened a request may look for one twice, and each look is a turn.
        for (count, expected) in counts.iter().zip([500.0, 100.0, 100.0]) {
            assert!((count - expected).abs() <= 15.0, "{handoff:?}: {counts:?}");
        }
        let described = nodes(site.edge()?).await?;
        assert_eq!((&described[0]["weight"], &described[2]["weight"]), (&5.into(), &1.into()), "{described:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_stays_at_its_node_and_moves_only_while_that_one_is_dead() -> Passed {
    for handoff in Handoff::BOTH {
        let mut site = Site::plan().business(3).handoff(handoff).start().await?;
        let more = "strategy = \"source_hash\"\nejection = { time = \"1s\" }\nprobe = { interval = \"100ms\" }";
        let settings = cluster(&site, handoff, |_| String::new(), more)?;
        site.edge_mut()?.reconfigure(&settings).await?;
        let target = site.target();
        let clients: Vec<Target> =
            (10..34).map(|host| target.clone().from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)))).collect();
        let homes = served_by(&site, &clients).await?;
        for _ in 0..3 {
            assert_eq!(served_by(&site, &clients).await?, homes, "{handoff:?}: a client has moved");
        }
        assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");

        let dead = site.business.iter().position(|node| node.address().is_ok_and(|it| it.to_string() == homes[0]));
        let dead = dead.unwrap();
        site.business[dead].kill()?;
        let meanwhile = served_by(&site, &clients).await?;
        for (now, home) in meanwhile.iter().zip(&homes) {
            assert_eq!(now == home, *home != homes[0], "{handoff:?}: {now} instead of {home}");
        }
        assert_eq!(served_by(&site, &clients).await?, meanwhile, "{handoff:?}: no settled place meanwhile");

        site.business[dead].restart().await?;
        wait_for_state(&site, dead, &["up"]).await?;
        assert_eq!(served_by(&site, &clients).await?, homes, "{handoff:?}: not everybody came back");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_stays_at_its_node_up_to_a_bound() -> Passed {
    let mut site = Site::plan().business(2).services(1).start().await?;
    let settings = cluster(&site, Handoff::H2c, |_| String::new(), "strategy = \"destination_hash\"")?;
    site.edge_mut()?.reconfigure(&settings).await?;
    let target = site.target();
    let shops: Vec<Target> = (0..12).map(|number| target.clone().authority(&format!("shop-{number}.test"))).collect();
    let homes = served_by(&site, &shops).await?;
    let others: Vec<Target> =
        shops.iter().map(|shop| shop.clone().from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77)))).collect();
    assert_eq!(served_by(&site, &others).await?, homes, "the client makes no difference");
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 2, "{homes:?}");

    // Twenty at once on one authority: 1.25 times ten at most on its home.
    site.services[0].behave("ms=3000").await?;
    let before = answered(&site).await?;
    let report = Load::new(shops[0].clone(), 20, 1_000, "/products").total(20).start().finish().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    let after = answered(&site).await?;
    let counts: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert!(counts.iter().all(|count| (7.0..=13.0).contains(count)), "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn the_own_zone_goes_first_until_nobody_is_left_there() -> Passed {
    let mut site = Site::plan().business(2).edge("[process]\nzone = \"a\"\n").start().await?;
    let zones = ["b", "a"];
    let more = "ejection = { time = \"1s\" }\nprobe = { interval = \"100ms\" }";
    let settings = cluster(&site, Handoff::H2c, |index| format!(", zone = \"{}\"", zones[index]), more)?;
    site.edge_mut()?.reconfigure(&settings).await?;
    let targets = vec![site.target(); 20];
    let (other, own) = (site.business[0].address()?.to_string(), site.business[1].address()?.to_string());
    assert_eq!(served_by(&site, &targets).await?, vec![own; 20]);
    site.business[1].kill()?;
    assert_eq!(served_by(&site, &targets).await?, vec![other; 20]);
    let cluster = [("cluster", "business")];
    site.edge()?.admin()?.counted("gatehouse_edge_cluster_zone_overflow_total", &cluster, 20.0..).await?;
    Ok(())
}

#[tokio::test]
async fn good_probes_end_an_ejection_before_its_time() -> Passed {
    let mut site = Site::plan().business(2).start().await?;
    // Probes alone never take the node out, and its ejection would last longer than this test may.
    let more =
        "ejection = { time = \"1h\", time_max = \"1h\" }\nprobe = { interval = \"100ms\", fall = 1000, rise = 2 }";
    let settings = cluster(&site, Handoff::H2c, |_| String::new(), more)?;
    site.edge_mut()?.reconfigure(&settings).await?;
    site.business[1].kill()?;
    until("the dead node to be ejected", SOON, async || {
        site.target().get("/products").await.ok().filter(|answer| answer.status == 200)?;
        let nodes = nodes(site.edge().ok()?).await.ok()?;
        (nodes[1]["state"] == "ejected").then_some(())
    })
    .await?;
    site.business[1].restart().await?;
    wait_for_state(&site, 1, &["up"]).await?;
    site.edge()?.admin()?.counted("gatehouse_edge_node_early_returns_total", &[], 1.0..=1.0).await?;
    let own = site.business[1].address()?.to_string();
    assert!(served_by(&site, &vec![site.target(); 4]).await?.contains(&own), "it takes part again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_returns_begins_with_a_small_share() -> Passed {
    let mut site = Site::plan().business(2).start().await?;
    let more = "ejection = { time = \"1s\" }\nprobe = { interval = \"100ms\" }\nbalance = { slow_start = \"1h\" }";
    let settings = cluster(&site, Handoff::H2c, |_| String::new(), more)?;
    site.edge_mut()?.reconfigure(&settings).await?;
    site.business[1].kill()?;
    wait_for_state(&site, 1, &["down", "ejected"]).await?;
    site.business[1].restart().await?;
    wait_for_state(&site, 1, &["up"]).await?;
    assert_eq!(nodes(site.edge()?).await?[1]["share_percent"], 10);
    let before = answered(&site).await?;
    let report = Load::new(site.target(), 8, 1_000, "/products").total(800).start().finish().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    let after = answered(&site).await?;
    // A tenth of its half, plus or minus four standard deviations.
    let returned = after[1] - before[1];
    assert!((15.0..=65.0).contains(&returned), "{returned} of 800");
    let share = site.edge()?.admin()?.metrics().await?;
    let node = site.business[1].address()?.to_string();
    assert!((share.sum("gatehouse_edge_node_share_percent", &[("node", &node)]) - 10.0).abs() < f64::EPSILON);
    Ok(())
}
