//! Counts of a fleet in Redis: what nodes tell, and what they hear of each other.

use std::sync::Arc;

use gatehouse_shared::limit::Key;
use gatehouse_store::limit::{Heard, LimitCounts, Told};
use gatehouse_store::{Redis, RedisSettings};
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::until::SOON;

use crate::Passed;

fn node(server: &RedisServer, name: &str) -> anyhow::Result<LimitCounts> {
    let settings = RedisSettings::single(&server.url()).map_err(anyhow::Error::msg)?.timeout(SOON);
    Ok(LimitCounts::new(Arc::new(Redis::new(&settings).map_err(anyhow::Error::msg)?), name))
}

/// What is told of one limit: key, window and total of each.
fn told(limit: &str, counts: &[(u32, u64, u32)]) -> Vec<Told> {
    let told = |&(key, window, total): &(u32, u64, u32)| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&key.to_be_bytes());
        let window_end_unix_ms = (window + 1) * 60_000;
        Told { limit: limit.into(), window, window_end_unix_ms, key: Key::from_bytes(bytes), total }
    };
    counts.iter().map(told).collect()
}

#[tokio::test]
async fn each_node_hears_what_all_others_have_counted() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let (first, second, third) = (node(&server, "edge-1")?, node(&server, "edge-2")?, node(&server, "edge-3")?);
    let heard = first.exchange(&told("a", &[(1, 7, 10), (2, 7, 5)])).await?;
    assert_eq!(heard, Heard { live_nodes: 1, others: vec![0, 0] });
    let both = [told("a", &[(1, 7, 3)]), told("b", &[(1, 7, 1)])].concat();
    assert_eq!(second.exchange(&both).await?, Heard { live_nodes: 2, others: vec![10, 0] });
    // Another window, and another limit, are counted apart.
    let heard = third.exchange(&told("a", &[(1, 8, 1), (1, 7, 0), (2, 7, 0)])).await?;
    assert_eq!(heard, Heard { live_nodes: 3, others: vec![0, 13, 5] });
    // What is told again counts once; a total may go down when something was given back.
    for _ in 0..3 {
        assert_eq!(first.exchange(&told("a", &[(1, 7, 10)])).await?.others, [3]);
    }
    first.exchange(&told("a", &[(1, 7, 8)])).await?;
    assert_eq!(second.exchange(&told("a", &[(1, 7, 3)])).await?.others, [8]);
    // A node that starts again begins at nothing; what it had counted before is not forgotten.
    let restarted = node(&server, "edge-1")?;
    assert_eq!(restarted.exchange(&told("a", &[(1, 7, 1)])).await?, Heard { live_nodes: 3, others: vec![11] });
    Ok(())
}

#[tokio::test]
async fn thousands_of_keys_are_exchanged_at_once() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let (first, second) = (node(&server, "edge-1")?, node(&server, "edge-2")?);
    let counts: Vec<(u32, u64, u32)> = (0..4_000).map(|number| (number, 1, number)).collect();
    let all = told("many", &counts);
    assert_eq!(first.exchange(&all).await?.others, vec![0; 4_000]);
    assert_eq!(second.exchange(&all).await?.others, (0..4_000).collect::<Vec<u64>>());
    Ok(())
}
