//! The connection to Redis: pipelines, faults, and every way of running it.

use std::time::Duration;

use gatehouse_store::{Batch, Command, Key, Redis, RedisSettings, StoreError};
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::until::{SOON, until};
use tokio::time::Instant;

use crate::Passed;

fn settings(server: &RedisServer) -> anyhow::Result<RedisSettings> {
    RedisSettings::single(&server.url()).map_err(anyhow::Error::msg)
}

fn connect(server: &RedisServer) -> anyhow::Result<Redis> {
    Redis::new(&settings(server)?).map_err(anyhow::Error::msg)
}

async fn ping(redis: &Redis) -> Result<i64, StoreError> {
    redis.one(Command::on("EXISTS", &Key::block())).await
}

#[tokio::test]
async fn a_batch_is_answered_in_order() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let redis = connect(&server)?;
    let (first, second) = (Key::limit("a", 1)?, Key::limit("b", 1)?);
    let batch = Batch::new()
        .with(Command::on("HSET", &first).arg("edge-1").arg(7_u64))
        .with(Command::on("HSET", &second).arg("edge-1").arg(9_u64))
        .with(Command::on("HGETALL", &first))
        .with(Command::script("return redis.call('HGET', KEYS[1], ARGV[1])", &[&second]).arg("edge-1"));
    let mut replies = redis.run(&batch).await?;
    assert_eq!((replies.take::<u64>()?, replies.take::<u64>()?), (1, 1));
    assert_eq!(replies.take::<Vec<(String, u64)>>()?, [("edge-1".to_owned(), 7)]);
    assert_eq!(replies.take::<u64>()?, 9);
    assert!(matches!(replies.take::<u64>(), Err(StoreError::Unexpected(_))));
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_no_outage() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let redis = connect(&server)?;
    let wrong = redis.one::<u64>(Command::on("HSET", &Key::block())).await;
    assert!(matches!(wrong, Err(StoreError::Refused(_))), "{wrong:?}");
    assert!(redis.status().is_up);
    assert_eq!(ping(&redis).await, Ok(0));
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_named() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start_with(directory.path(), &["--requirepass", "secret"]).await?;
    let redis = connect(&server)?;
    let refused = ping(&redis).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("NOAUTH")));
    Ok(())
}

#[tokio::test]
async fn a_killed_redis_costs_no_waiting_and_is_found_again() -> Passed {
    let directory = tempfile::tempdir()?;
    let mut server = RedisServer::start(directory.path()).await?;
    let redis = connect(&server)?;
    assert_eq!(ping(&redis).await, Ok(0));
    server.kill()?;
    assert!(ping(&redis).await.is_err());
    let start = Instant::now();
    let mut refused = 0;
    for _ in 0..1_000 {
        refused += usize::from(ping(&redis).await.is_err());
    }
    assert_eq!(refused, 1_000);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?} for 1,000 calls", start.elapsed());
    assert!(!redis.status().is_up && redis.status().failures_total < 100, "{:?}", redis.status());
    server.restart().await?;
    until("an answer", SOON, async || ping(&redis).await.ok()).await?;
    assert!(redis.status().is_up);
    Ok(())
}

#[tokio::test]
async fn a_paused_redis_costs_one_timeout_and_is_found_again() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let redis = connect(&server)?;
    assert_eq!(ping(&redis).await, Ok(0));
    server.pause()?;
    let start = Instant::now();
    let lost = ping(&redis).await;
    assert!(matches!(lost, Err(StoreError::Lost(_))), "{lost:?}");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(matches!(ping(&redis).await, Err(StoreError::Away(_))), "the breaker is open");
    server.resume()?;
    until("an answer", SOON, async || ping(&redis).await.ok()).await?;
    Ok(())
}
