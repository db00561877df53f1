//! What happens to the blocklist while Redis is away, and afterwards.

use gatehouse_tests::load::Load;

use super::*;

/// Waits until all edges block exactly these networks.
async fn wait_for_agreement(site: &Site, expected: &[&str]) -> anyhow::Result<()> {
    for edge in &site.edges {
        let mut last = Vec::new();
        let agreed = until("agreement", SOON, async || {
            last = networks(edge).await.ok()?;
            (last == expected).then_some(())
        });
        let agreed = agreed.await;
        anyhow::ensure!(agreed.is_ok(), "{} blocks {last:?}, not {expected:?}", edge.name);
    }
    Ok(())
}

async fn wait_until_redis_is_missed(site: &Site) -> anyhow::Result<()> {
    for edge in &site.edges {
        until("the outage", SOON, async || status(edge).await.ok().filter(|status| status["is_up"] == false)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_empty_loses_nothing_and_disturbs_nobody() -> Passed {
    let (_directory, mut redis, site) = fleet(3).await?;
    for network in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        assert_eq!(add(&site.edges[0], network, json!({ "for": "1h" })).await?.status, 201);
    }
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.2", "203.0.113.3"]).await?;
    let load = Load::new(Target::plain(site.edges[1].address()?), 4, 200, "/products").start();
    redis.kill()?;
    wait_until_redis_is_missed(&site).await?;
    // Each node goes on and takes changes, which count there at once.
    let told = add(&site.edges[0], "203.0.113.10", json!({ "for": "1h" })).await?;
    assert_eq!((told.status.as_u16(), &told.json()?["reach"]), (202, &json!("this_node_only")), "{}", told.text());
    assert!(told.json()?["warning"].as_str().is_some_and(|warning| warning.contains("this node only")));
    assert_eq!(remove(&site.edges[1], "203.0.113.2").await?.status, 202);
    assert_eq!(add(&site.edges[2], "203.0.113.3", json!({ "until": "never", "replace": true })).await?.status, 202);
    assert!(is_blocked(&site.edges[0], "203.0.113.10").await? && !is_blocked(&site.edges[1], "203.0.113.10").await?);
    assert!(!is_blocked(&site.edges[1], "203.0.113.2").await? && is_blocked(&site.edges[2], "203.0.113.2").await?);
    assert_eq!(status(&site.edges[0]).await?["pending"], 1);
    redis.restart().await?;
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.3", "203.0.113.10"]).await?;
    for edge in &site.edges {
        let admin = edge.admin()?;
        until("the later change to be everywhere", SOON, async || {
            let entry = admin.get("/blocklist?network=203.0.113.3").await.ok()?.json().ok()?;
            (entry["until"] == Value::Null).then_some(())
        })
        .await?;
        until("nothing pending", SOON, async || status(edge).await.ok().filter(|status| status["pending"] == 0))
            .await?;
    }
    let report = load.stop().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_disturbs_nobody() -> Passed {
    let (_directory, redis, site) = fleet(2).await?;
    assert_eq!(add(&site.edges[0], "203.0.113.1", json!({ "for": "1h" })).await?.status, 201);
    wait_for_agreement(&site, &["203.0.113.1"]).await?;
    let load = Load::new(Target::plain(site.edges[1].address()?), 4, 200, "/products").start();
    redis.pause()?;
    let start = Instant::now();
    let told = add(&site.edges[0], "203.0.113.2", json!({ "for": "1h" })).await?;
    assert_eq!(told.status, 202, "{}", told.text());
    assert!(start.elapsed() < Duration::from_secs(20), "the answer took {:?}", start.elapsed());
    wait_until_redis_is_missed(&site).await?;
    assert!(is_blocked(&site.edges[1], "203.0.113.1").await?);
    redis.resume()?;
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.2"]).await?;
    let report = load.stop().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_memory_was_wiped_is_filled_again() -> Passed {
    let (_directory, redis, site) = fleet(2).await?;
    for network in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(add(&site.edges[0], network, json!({ "for": "1h" })).await?.status, 201);
    }
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.2"]).await?;
    redis.command(&["FLUSHALL"]).await?;
    until("the entries in Redis", SOON, async || {
        let fields = redis.command(&["HKEYS", "gh:e:{block}"]).await.ok()?;
        (fields.contains("203.0.113.1") && fields.contains("203.0.113.2")).then_some(())
    })
    .await?;
    assert_eq!(add(&site.edges[1], "203.0.113.3", json!({ "for": "1h" })).await?.status, 201);
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.2", "203.0.113.3"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_without_redis_uses_what_it_knew_last() -> Passed {
    let (_directory, mut redis, mut site) = fleet(2).await?;
    assert_eq!(add(&site.edges[0], "203.0.113.1", json!({ "for": "1h" })).await?.status, 201);
    wait_for_agreement(&site, &["203.0.113.1"]).await?;
    redis.kill()?;
    assert_eq!(add(&site.edges[0], "203.0.113.2", json!({ "for": "1h" })).await?.status, 202);
    for edge in &mut site.edges {
        edge.kill()?;
        edge.restart().await?;
    }
    // Before anything else could tell it: last good on the one, a change of its own as well on the other.
    assert_eq!(networks(&site.edges[1]).await?, ["203.0.113.1"]);
    assert_eq!(networks(&site.edges[0]).await?, ["203.0.113.1", "203.0.113.2"]);
    assert!(is_blocked(&site.edges[1], "203.0.113.1").await?);
    redis.restart().await?;
    wait_for_agreement(&site, &["203.0.113.1", "203.0.113.2"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_left_loses_nothing() -> Passed {
    let (_directory, redis, site) = fleet(2).await?;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    let told = add(&site.edges[0], "203.0.113.1", json!({ "for": "1h" })).await?;
    assert_eq!(told.status, 202, "{}", told.text());
    assert!(told.text().contains("OOM"), "{}", told.text());
    assert!(is_blocked(&site.edges[0], "203.0.113.1").await? && !is_blocked(&site.edges[1], "203.0.113.1").await?);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    wait_for_agreement(&site, &["203.0.113.1"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_keeps_nobody_from_starting_and_is_named() -> Passed {
    let directory = tempfile::tempdir()?;
    let redis = RedisServer::start_with(directory.path(), &["--requirepass", "secret"]).await?;
    let store =
        format!("[store]\nkind = \"redis\"\nurls = [\"{}\"]\npassword = {{ file = \"password\" }}\n", redis.url());
    let site = Site::plan().edge(TRUSTING.to_owned() + &store).edge_file("password", "guess").start().await?;
    let edge = &site.edges[0];
    let error = until("the error", SOON, async || {
        status(edge).await.ok()?["error"].as_str().filter(|error| error.contains("uthentication")).map(str::to_owned)
    });
    error.await?;
    assert_eq!(add(edge, "203.0.113.1", json!({ "for": "1h" })).await?.status, 202);
    assert!(is_blocked(edge, "203.0.113.1").await?);
    Ok(())
}
