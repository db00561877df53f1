//! The dynamic blocklist: what is blocked on one node is blocked on all, at once, whatever becomes of Redis.

mod api;
mod commands;
mod outage;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_tests::client::{Answer, Target, empty};
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::site::{Plan, Site};
use gatehouse_tests::until::{SOON, until};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Passed;

/// A load balancer whose `X-Forwarded-For` is believed.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// A client that connects by itself.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

const TRUSTING: &str = "[client]\ntrusted_proxies = [\"127.0.0.9\"]\n";

/// A Redis and so many edges that share it.
async fn fleet(edges: usize) -> anyhow::Result<(tempfile::TempDir, RedisServer, Site)> {
    fleet_of(Site::plan().edges(edges)).await
}

/// A Redis and a site whose edges share it.
async fn fleet_of(plan: Plan) -> anyhow::Result<(tempfile::TempDir, RedisServer, Site)> {
    let directory = tempfile::tempdir()?;
    let redis = RedisServer::start(directory.path()).await?;
    let store = format!("[store]\nkind = \"redis\"\nurls = [\"{}\"]\n", redis.url());
    let site = plan.edge(TRUSTING.to_owned() + &store).start().await?;
    for edge in &site.edges {
        until(format!("{} to see Redis", edge.name), SOON, async || {
            status(edge).await.ok().filter(|status| status["is_up"] == true)
        })
        .await?;
    }
    Ok((directory, redis, site))
}

/// What an edge says about its blocklist.
async fn status(edge: &Node) -> anyhow::Result<Value> {
    Ok(edge.admin()?.policy().await?["blocklist"].clone())
}

/// `GET /products` by `client` through the balancer.
async fn ask(edge: &Node, client: &str) -> anyhow::Result<Answer> {
    let target = Target::plain(edge.address()?).from(BALANCER);
    let request = target.request(Method::GET, "/products")?.header("x-forwarded-for", client);
    target.exchange(request.body(empty())?).await
}

async fn is_blocked(edge: &Node, client: &str) -> anyhow::Result<bool> {
    let answer = ask(edge, client).await?;
    match (answer.status.as_u16(), answer.code().as_str()) {
        (200, _) => Ok(false),
        (403, "client_blocked") => Ok(true),
        other => anyhow::bail!("{client} at {}: {other:?}", edge.name),
    }
}

/// Adds an entry; `more` are further members of the body.
async fn add(edge: &Node, network: &str, more: Value) -> anyhow::Result<Answer> {
    let mut body = json!({ "network": network });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    edge.admin_as("operate")?.call(Method::POST, "/blocklist", &[], body.to_string()).await
}

async fn remove(edge: &Node, network: &str) -> anyhow::Result<Answer> {
    edge.admin_as("operate")?.call(Method::DELETE, &format!("/blocklist?network={network}"), &[], "").await
}

/// The networks that an edge blocks.
async fn networks(edge: &Node) -> anyhow::Result<Vec<String>> {
    let answer = edge.admin()?.get("/blocklist?limit=1000").await?.json()?;
    let entries = answer["entries"].as_array().cloned().unwrap_or_default();
    Ok(entries.iter().filter_map(|entry| entry["network"].as_str()).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_blocks_the_others_block_within_a_second() -> Passed {
    let (_directory, _redis, site) = fleet_of(Site::plan().edges(3).alone()).await?;
    let mut delays = Vec::new();
    // The longest that this machine lets a request wait which nobody else is waiting for.
    let mut hiccup = Duration::ZERO;
    for number in 0..100 {
        let client = format!("203.0.113.{number}");
        let teller = &site.edges[number % 3];
        let others = [&site.edges[(number + 1) % 3], &site.edges[(number + 2) % 3]];
        let asked = Instant::now();
        assert!(!is_blocked(teller, &client).await? && !is_blocked(others[0], &client).await?);
        hiccup = hiccup.max(asked.elapsed());
        let answer = add(teller, &client, json!({ "for": "1h", "reason": "a test" })).await?;
        let told = Instant::now();
        assert_eq!((answer.status.as_u16(), &answer.json()?["reach"]), (201, &json!("fleet")), "{}", answer.text());
        assert!(is_blocked(teller, &client).await?, "the answer came before the entry was in force");
        for other in others {
            until(format!("{client} at {}", other.name), SOON, async || {
                is_blocked(other, &client).await.ok().filter(|is_blocked| *is_blocked)
            })
            .await?;
        }
        delays.push(told.elapsed());
    }
    delays.sort();
    eprintln!(
        "from the answer until all nodes obey: median {:?}, p99 {:?}, worst {:?}; two requests took {hiccup:?} at most",
        delays[50], delays[98], delays[99]
    );
    assert!(delays[50] < Duration::from_secs(1), "median {:?}", delays[50]);
    assert!(delays[98] < Duration::from_secs(1) + 2 * hiccup, "p99 {:?}", delays[98]);
    // And back again.
    assert_eq!(remove(&site.edges[1], "203.0.113.7").await?.status, 200);
    for edge in &site.edges {
        until("the client back", SOON, async || is_blocked(edge, "203.0.113.7").await.ok().filter(|is| !is)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_ends_exactly_when_it_says() -> Passed {
    let (_directory, _redis, site) = fleet(2).await?;
    let end = clock::unix_ms() / 1_000 + 4;
    let until = clock::rfc3339(end * 1_000);
    assert_eq!(add(&site.edges[0], "203.0.113.7", json!({ "until": until })).await?.status, 201);
    gatehouse_tests::until::until("the other node", SOON, async || {
        is_blocked(&site.edges[1], "203.0.113.7").await.ok().filter(|is_blocked| *is_blocked)
    })
    .await?;
    let (mut before, mut after) = (0, 0);
    while after < 50 {
        for edge in &site.edges {
            let start = clock::unix_ms();
            let blocked = is_blocked(edge, "203.0.113.7").await?;
            let over = clock::unix_ms();
            if over < end * 1_000 {
                assert!(blocked, "{} ms too early", end * 1_000 - over);
                before += 1;
            } else if start >= end * 1_000 {
                assert!(!blocked, "{} ms too late", start - end * 1_000);
                after += 1;
            }
        }
    }
    assert!(before > 10, "only {before} requests before the end");
    assert_eq!(networks(&site.edges[0]).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_blocked_peer_is_turned_away_before_anything_is_read() -> Passed {
    let site = Site::plan().edge(TRUSTING).start().await?;
    let edge = &site.edges[0];
    let direct = Target::plain(edge.address()?).from(STRANGER);
    assert_eq!(direct.get("/products").await?.status, 200);
    let more = json!({ "for": "1h", "owner": "soc", "ticket": "SEC-7", "reason": "floods", "force": true });
    assert_eq!(add(edge, "127.0.0.0/25", more).await?.status, 201);
    assert!(direct.get("/products").await.is_err(), "the connection was served");
    let line = edge.security_line("the peer", |line| line["reason"] == "client_blocked").await?;
    assert_eq!((&line["stage"], &line["entry"]["text"]), (&json!("blocklist"), &json!("127.0.0.0/25")), "{line}");
    assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.66:")), "{line}");
    // The balancer is in the network too, but carries others' requests.
    let request = Target::plain(edge.address()?).from(BALANCER);
    let through = request.request(Method::GET, "/products")?.header("x-forwarded-for", "192.0.2.1").body(empty())?;
    assert_eq!(request.exchange(through).await?.status, 200);
    let behind = ask(edge, "127.0.0.77").await?;
    assert_eq!((behind.status.as_u16(), behind.code()), (403, "client_blocked".to_owned()));
    let id = behind.header("x-request-id").to_owned();
    let line = edge.security_line("the request", |line| line["request_id"] == id.as_str()).await?;
    let text = line.to_string();
    for part in ["127.0.0.0/25", "soc", "SEC-7", "floods", "127.0.0.77"] {
        assert!(text.contains(part), "{part} in {line}");
    }
    Ok(())
}

#[tokio::test]
async fn one_node_needs_no_redis_and_keeps_its_list_over_a_restart() -> Passed {
    let mut site = Site::plan().edge(TRUSTING).start().await?;
    let answer = add(&site.edges[0], "203.0.113.7", json!({ "until": "never", "owner": "soc" })).await?;
    assert_eq!((answer.status.as_u16(), &answer.json()?["reach"]), (201, &json!("node")));
    add(&site.edges[0], "203.0.113.8", json!({ "for": "1h" })).await?;
    assert_eq!(remove(&site.edges[0], "203.0.113.8").await?.status, 200);
    // As a power cut would: what was acknowledged is on the disk.
    site.edges[0].kill()?;
    site.edges[0].restart().await?;
    assert_eq!(networks(&site.edges[0]).await?, ["203.0.113.7"]);
    assert!(is_blocked(&site.edges[0], "203.0.113.7").await? && !is_blocked(&site.edges[0], "203.0.113.8").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_longer_than_the_log_of_changes_reaches_the_others() -> Passed {
    let (_directory, _redis, site) = fleet(2).await?;
    let operate = site.edges[0].admin_as("operate")?;
    let lines: String = (0..12_000_u32).map(|n| format!("64.{}.{}.1\n", n / 250, n % 250)).collect();
    let start = Instant::now();
    let answer = operate.call(Method::POST, "/blocklist/import?for=1h", &[], lines).await?;
    assert_eq!(answer.json()?["added"], 12_000, "{}", answer.text());
    let imported = start.elapsed();
    let other = site.edges[1].admin()?;
    until("12,000 entries", SOON, async || {
        let page = other.get("/blocklist?limit=1").await.ok()?.json().ok()?;
        (page["total"] == 12_000).then_some(())
    })
    .await?;
    eprintln!("12,000 entries: imported in {imported:?}, known to the other node after {:?}", start.elapsed());
    for edge in &site.edges {
        until("the revision", SOON, async || status(edge).await.ok().filter(|status| status["revision"] == 12_000))
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_keeps_the_list_and_the_chain_of_the_audit_log() -> Passed {
    let site = Site::plan().edge(TRUSTING).start().await?;
    let edge = &site.edges[0];
    assert_eq!(add(edge, "203.0.113.1", json!({ "for": "1h" })).await?.status, 201);
    let before = edge.serving_pid();
    edge.upgrade().await?;
    until("the new process", SOON, async || (edge.serving_pid() != before).then_some(())).await?;
    assert!(is_blocked(edge, "203.0.113.1").await?);
    assert_eq!(add(edge, "203.0.113.2", json!({ "for": "1h" })).await?.status, 201);
    // For some seconds both processes listen; whichever was told, the new one knows.
    let started = edge.serving_pid();
    until("the end of the old process", SOON, async || is_gone(before).then_some(())).await?;
    assert_eq!(edge.serving_pid(), started);
    assert_eq!(networks(edge).await?, ["203.0.113.1", "203.0.113.2"]);
    let verified = edge.command(&["audit", "verify"])?;
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(text.starts_with("in order: 2 lines"), "{text} {}", String::from_utf8_lossy(&verified.stderr));
    Ok(())
}

/// Whether a process has ended, be it waited for or not.
fn is_gone(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
}
