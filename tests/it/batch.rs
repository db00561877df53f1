//! Batches through both tiers: what their items cost at the edge, and what the edge makes of their bodies.

use std::net::{IpAddr, Ipv4Addr};

use gatehouse_tests::client::{Answer, Target, full};
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use http::Method;
use serde_json::{Value, json};

use crate::Passed;

const CATALOG: &str = r#"
[[service]]
name = "sample"
endpoints = {endpoints}

[[api]]
name = "batch"
path = "/batch"
methods = ["POST"]
access = "open"
batch = {}

[[api]]
name = "everything"
access = "open"
service = "sample"
path = "/{*rest}"
batchable = true
"#;

async fn send(target: &Target, items: &Value, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let mut request = target.request(Method::POST, "/batch")?.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    target.exchange(request.body(full(items.to_string()))?).await
}

fn reads(count: usize) -> Value {
    (0..count).map(|number| json!({ "id": number, "method": "GET", "path": format!("/echo?{number}") })).collect()
}

#[tokio::test]
async fn a_batch_costs_at_the_edge_as_many_requests_as_it_has_items() -> Passed {
    let limit = "[[limit]]\nname = \"items\"\nkey = [\"client\"]\nrate = \"25/1h\"\ncount = \"cost\"\n";
    let site = Site::plan().edge(limit).catalog(CATALOG).start().await?;
    let client = |last| site.target().from(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)));
    for _batch in 0..2 {
        let answer = send(&client(1), &reads(20), &[]).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answers: Vec<Value> = serde_json::from_str(&answer.text())?;
        assert!(answers.len() == 20 && answers.iter().all(|answer| answer["status"] == 200), "{answers:?}");
        assert_eq!(answer.header("x-gatehouse-result"), "", "that is between the tiers");
    }
    // What it costs is counted when the answer is over, which its client may see a little earlier.
    until("a refusal, after forty items of 25", SOON, async || {
        let refused = send(&client(1), &reads(1), &[]).await.ok()?;
        (refused.status == 429 && refused.code() == "rate_limit_exceeded").then_some(())
    })
    .await?;
    assert_eq!(send(&client(2), &reads(1), &[]).await?.status, 200, "another client");
    Ok(())
}

#[tokio::test]
async fn items_know_the_real_client_and_answers_come_as_lines() -> Passed {
    let site = Site::plan().catalog(CATALOG).start().await?;
    let client = site.target().from(IpAddr::V4(Ipv4Addr::new(127, 0, 1, 7)));
    let items =
        json!([{ "id": "a", "method": "GET", "path": "/echo" }, { "id": "b", "method": "GET", "path": "/echo/../x" }]);
    let answer =
        send(&client, &items, &[("accept", "application/x-ndjson"), ("x-forwarded-for", "203.0.113.1")]).await?;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"));
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |id: &str| lines.iter().find(|line| line["id"] == id).cloned().unwrap_or_default();
    assert_eq!((&of("a")["status"], &of("b")["status"]), (&200.into(), &400.into()), "{text}");
    assert!(of("a")["body"].to_string().contains("127.0.1.7") && !text.contains("203.0.113.1"), "{text}");
    Ok(())
}
