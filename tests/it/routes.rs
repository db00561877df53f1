//! Stopping a route: at once, on all nodes, for all clients or a share of them, until it ends or somebody starts it again.

use std::process::Output;

use gatehouse_tests::client::Target;
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::site::Site;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::until::{SOON, until};

use crate::Passed;

const ROUTES: &str = "[[route]]\npath_prefix = \"/products\"\ncluster = \"business\"\n\
                      [[route]]\npath_prefix = \"/\"\ncluster = \"business\"\n";

/// `traffic-gateway route …` for a node.
fn route(edge: &Node, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let Output { status, stdout, stderr } = edge.command(&[&["route"], arguments].concat())?;
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    Ok((status.code().unwrap_or(-1), said))
}

async fn status(edge: &Node, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = Target::plain(edge.address()?).get(path).await?;
    let code = if answer.status == 200 { String::new() } else { answer.code() };
    Ok((answer.status.as_u16(), code))
}

#[tokio::test]
async fn a_stopped_route_refuses_on_all_nodes_until_it_is_started() -> Passed {
    let directory = tempfile::tempdir()?;
    let redis = RedisServer::start(directory.path()).await?;
    let store = format!("[store]\nkind = \"redis\"\nurls = [\"{}\"]\n", redis.url());
    let site = Site::plan().edges(2).edge(ROUTES.to_owned() + &store).start().await?;
    let [first, second] = &site.edges[..] else { unreachable!("two edges were planned") };
    let stopped = (503, "route_stopped".to_owned());

    let (code, said) = route(first, &["stop", "*/products", "--for", "10m", "--reason", "melts", "--owner", "shop"])?;
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("*/products is stopped for 100 % of clients until 20"), "{said}");
    assert_eq!(status(first, "/products").await?, stopped);
    assert_eq!(status(first, "/users/1").await?.0, 200, "another route");
    until("the other node to know", SOON, async || {
        status(second, "/products").await.ok().filter(|answer| *answer == stopped)
    })
    .await?;
    let answer = Target::plain(second.address()?).get("/products").await?;
    let seconds: u64 = answer.header("retry-after").parse()?;
    assert!((590..=600).contains(&seconds), "{seconds}");
    let id = answer.header("x-request-id").to_owned();
    let line = second.security_line("the refusal", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!((line["stage"].as_str(), line["entry"]["owner"].as_str()), (Some("cut"), Some("shop")), "{line}");
    let (_, list) = route(second, &["list"])?;
    assert!(list.lines().any(|line| line.starts_with("*/products\t") && line.ends_with("\tshop\tmelts")), "{list}");
    assert!(list.lines().any(|line| line.starts_with("*/\t") && line.ends_with("\tserves")), "{list}");

    let (code, said) = route(second, &["start", "*/products"])?;
    assert_eq!((code, said.as_str()), (0, "*/products serves again\n"));
    until("the first node to serve again", SOON, async || {
        status(first, "/products").await.ok().filter(|(status, _)| *status == 200)
    })
    .await?;
    let (code, said) = route(second, &["start", "*/products"])?;
    assert!(code == 1 && said.contains("admin_route_not_stopped"), "{code}: {said}");
    let (code, said) = route(second, &["stop", "*/nothing", "--for", "1m"])?;
    assert!(code == 1 && said.contains("admin_route_missing"), "{code}: {said}");
    Ok(())
}

#[tokio::test]
async fn a_stop_ends_by_itself_survives_a_restart_and_reaches_the_others_after_an_outage() -> Passed {
    let directory = tempfile::tempdir()?;
    let mut redis = RedisServer::start(directory.path()).await?;
    let store = format!("[store]\nkind = \"redis\"\nurls = [\"{}\"]\n", redis.url());
    let mut site = Site::plan().edges(2).edge(ROUTES.to_owned() + &store).start().await?;
    redis.kill()?;
    let (code, said) = route(&site.edges[0], &["stop", "*/", "--for", "1h"])?;
    assert!(code == 3 && said.contains("this node only"), "{code}: {said}");
    assert_eq!(status(&site.edges[0], "/users/1").await?.0, 503);
    assert_eq!(status(&site.edges[1], "/users/1").await?.0, 200);
    site.edges[0].restart().await?;
    assert_eq!(status(&site.edges[0], "/users/1").await?.0, 503, "kept over a restart");
    redis.restart().await?;
    until("the other node to know", SOON, async || {
        status(&site.edges[1], "/users/1").await.ok().filter(|(status, _)| *status == 503)
    })
    .await?;
    let (code, _) = route(&site.edges[1], &["stop", "*/", "--for", "1s"])?;
    assert_eq!(code, 0);
    for edge in &site.edges {
        until("the end of the stop", SOON, async || {
            status(edge, "/users/1").await.ok().filter(|(status, _)| *status == 200)
        })
        .await?;
    }
    Ok(())
}
