//! Applications through both tiers: made with a command, kept in Redis, known to every inner gate, and told apart by the edge.

use gatehouse_tests::client::{Answer, empty};
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use http::Request;

use crate::Passed;

const CATALOG: &str = r#"
[[service]]
name = "sample"
endpoints = {endpoints}

[[api]]
name = "products"
service = "sample"
path = "/products"
limits = ["day"]

[[package]]
name = "shop"
apis = ["products"]

[[limit]]
name = "day"
by = ["app"]
rate = "40/1d"
"#;

/// The value behind `name` in the lines that a command has printed.
fn printed(site: &Site, arguments: &[&str], name: &str) -> anyhow::Result<String> {
    let output = site.business[0].command(arguments)?;
    let text = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    Ok(value.ok_or_else(|| anyhow::anyhow!("no {name} in {text}"))?.to_owned())
}

async fn call(site: &Site, api_key: &str) -> anyhow::Result<Answer> {
    let request = Request::get("/products").header("host", "shop.test").header("x-api-key", api_key).body(empty())?;
    site.target().exchange(request).await
}

#[tokio::test]
async fn an_application_is_known_counted_and_cut_off_on_every_node() -> Passed {
    let directory = tempfile::tempdir()?;
    let redis = RedisServer::start(directory.path()).await?;
    let settings = format!(
        "[store]\nkind = \"redis\"\nurls = [\"{}\"]\nconnect_timeout = \"20s\"\ncommand_timeout = \"20s\"\n\
         [apps]\nsealing_keys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\ncheck_key = {{ file = \"hop.key\" }}\n",
        redis.url()
    );
    let site = Site::plan().business(2).business_settings(settings).catalog(CATALOG).start().await?;

    let stranger = site.target().get("/products").await?;
    assert_eq!((stranger.status.as_u16(), stranger.code()), (401, "credentials_missing".to_owned()));
    let key = printed(&site, &["app", "create", "--name", "Shop", "--packages", "shop"], "key")?;
    let api_key = printed(&site, &["app", "api-key", "add", &key], "api-key")?;
    let mut admitted = 0;
    for _call in 0..60 {
        let answer = call(&site, &api_key).await?;
        match answer.status.as_u16() {
            200 => admitted += 1,
            status => assert_eq!((status, answer.code()), (429, "quota_app".to_owned())),
        }
    }
    assert!((1..=40).contains(&admitted), "{admitted} of 40, counted by two nodes");
    for node in &site.business {
        until("both nodes to have answered", SOON, async || {
            let lines = node.access_log().ok()?;
            lines.iter().any(|line| line["app"] == *key && line["status"] == 200).then_some(())
        })
        .await?;
    }

    let disabled = site.business[1].command(&["app", "disable", &key])?;
    assert!(disabled.status.success(), "{}", String::from_utf8_lossy(&disabled.stderr));
    until("every node to refuse it", SOON, async || {
        for _node in 0..4 {
            let answer = call(&site, &api_key).await.ok()?;
            if answer.code() != "app_disabled" {
                return None;
            }
        }
        Some(())
    })
    .await?;
    Ok(())
}
