//! The connection to Redis: pipelines, faults, and every way of running it.

mod blocks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{Positions, Sources};
use gatehouse_shared::limit;
use gatehouse_store::cut::RedisCuts;
use gatehouse_store::limit::{LimitCounts, Told};
use gatehouse_store::{Batch, Command, Config, Key, Redis, RedisSettings, Settings, StoreError};
use gatehouse_tests::certificate::Authority;
use gatehouse_tests::redis::RedisServer;
use gatehouse_tests::until::{SOON, until};
use tokio::time::Instant;

use crate::Passed;

fn connect(server: &RedisServer) -> anyhow::Result<Redis> {
    connect_within(server, SOON)
}

fn connect_within(server: &RedisServer, timeout: Duration) -> anyhow::Result<Redis> {
    let settings = RedisSettings::single(&server.url()).map_err(anyhow::Error::msg)?.timeout(timeout);
    Redis::new(&settings).map_err(anyhow::Error::msg)
}

/// More patience than by default, where it is not what a test is about.
const PATIENT: &str = "connect_timeout = \"20s\"\ncommand_timeout = \"20s\"\n";

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
    assert!(start.elapsed() < Duration::from_secs(60), "{:?} for 1,000 calls", start.elapsed());
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
    let redis = connect_within(&server, Duration::from_secs(2))?;
    assert_eq!(ping(&redis).await, Ok(0));
    server.pause()?;
    let start = Instant::now();
    let lost = ping(&redis).await;
    assert!(matches!(lost, Err(StoreError::Lost(_))), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(matches!(ping(&redis).await, Err(StoreError::Away(_))), "the breaker is open");
    server.resume()?;
    until("an answer", SOON, async || ping(&redis).await.ok()).await?;
    Ok(())
}

/// What a `[store]` table in `directory` reaches.
fn configured(directory: &Path, table: &str) -> anyhow::Result<Redis> {
    let config: Config = toml::from_str(&format!("{table}\n{PATIENT}"))?;
    let compiled = config.compile("store", &mut Sources::new(directory), &Positions::default());
    let Settings::Redis(settings) = compiled.map_err(|errors| anyhow::anyhow!("{errors}"))? else {
        anyhow::bail!("not Redis")
    };
    Redis::new(&settings).map_err(anyhow::Error::msg)
}

/// What limits and stopped routes do with Redis.
async fn limits_and_stopped_routes(redis: &Arc<Redis>) -> anyhow::Result<()> {
    let told = Told { limit: "a".into(), window: 1, window_end_unix_ms: 2_000, key: limit::Key::default(), total: 3 };
    let heard = LimitCounts::new(Arc::clone(redis), "edge-1").exchange(&[told]).await?;
    assert_eq!((heard.live_nodes, heard.others), (1, vec![0]));
    assert_eq!(RedisCuts::new(Arc::clone(redis)).exchange(&[], 1).await?, []);
    Ok(())
}

#[tokio::test]
async fn an_edge_user_reaches_its_own_keys_only() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let rights = [
        "ACL",
        "SETUSER",
        "edge",
        "on",
        ">secret",
        "~gh:e:*",
        "-@all",
        "+@read",
        "+@write",
        "+@connection",
        "+eval",
        "+time",
    ];
    assert!(server.command(&rights).await?.starts_with("+OK"));
    std::fs::write(directory.path().join("password"), "secret\n")?;
    let table = "kind = \"redis\"\nurls = [\"URL\"]\nusername = \"edge\"\npassword = { file = \"password\" }";
    let redis = configured(directory.path(), &table.replace("URL", &server.url()))?;
    assert_eq!(ping(&redis).await, Ok(0));
    let refused = redis.one::<u64>(Command::on("EXISTS", &Key::bloom())).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("NoPerm")), "{refused:?}");
    let redis = Arc::new(redis);
    limits_and_stopped_routes(&redis).await?;
    blocks::the_whole_life(redis).await?;
    Ok(())
}

#[tokio::test]
async fn redis_over_tls_shows_a_certificate_of_the_configured_authority() -> Passed {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new("gatehouse test")?;
    authority.server(&["localhost"])?.write(directory.path(), "redis")?;
    std::fs::write(directory.path().join("ca.pem"), authority.pem())?;
    std::fs::write(directory.path().join("other.pem"), Authority::new("somebody else")?.pem())?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key, ca) = (path("redis.pem"), path("redis.key"), path("ca.pem"));
    let arguments = [
        "--tls-port",
        "{port}",
        "--bind",
        "127.0.0.1",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ];
    let (_server, port) = RedisServer::start_on_a_port(directory.path(), &arguments).await?;
    let table = format!("kind = \"redis\"\nurls = [\"rediss://localhost:{port}\"]\nca = \"CA\"");
    let redis = configured(directory.path(), &table.replace("CA", "ca.pem"))?;
    assert_eq!(ping(&redis).await, Ok(0));
    let other = configured(directory.path(), &table.replace("CA", "other.pem"))?;
    assert!(matches!(ping(&other).await, Err(StoreError::Away(_))));
    Ok(())
}

#[tokio::test]
async fn a_cluster_takes_a_batch_whose_keys_have_many_places() -> Passed {
    let directory = tempfile::tempdir()?;
    let arguments = ["--port", "{port}", "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", "0"];
    let bus = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let arguments = arguments.map(|argument| if argument == "0" { bus.as_str() } else { argument });
    let (server, port) = RedisServer::start_on_a_port(directory.path(), &arguments).await?;
    assert!(server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await?.starts_with("+OK"));
    until("the cluster", SOON, async || {
        server.command(&["CLUSTER", "INFO"]).await.ok()?.contains("cluster_state:ok").then_some(())
    })
    .await?;
    let table = format!("kind = \"redis\"\nmode = \"cluster\"\nurls = [\"redis://127.0.0.1:{port}\"]");
    let redis = configured(directory.path(), &table)?;
    let mut batch = Batch::new();
    for window in 0..20_u64 {
        batch.push(Command::on("HSET", &Key::limit(&format!("limit-{window}"), 1)?).arg("edge-1").arg(window));
        batch.push(Command::on("HGET", &Key::limit(&format!("limit-{window}"), 1)?).arg("edge-1"));
    }
    let mut replies = redis.run(&batch).await?;
    for window in 0..20_u64 {
        assert_eq!((replies.take::<u64>()?, replies.take::<u64>()?), (1, window));
    }
    let redis = Arc::new(redis);
    limits_and_stopped_routes(&redis).await?;
    blocks::the_whole_life(redis).await?;
    Ok(())
}

#[tokio::test]
async fn sentinels_say_who_the_master_is() -> Passed {
    let directory = tempfile::tempdir()?;
    let (master, sentinels) = (directory.path().join("master"), directory.path().join("sentinel"));
    let (server, port) = RedisServer::start_on_a_port(&master, &["--port", "{port}", "--bind", "127.0.0.1"]).await?;
    std::fs::create_dir_all(&sentinels)?;
    let file = sentinels.join("sentinel.conf");
    std::fs::write(&file, format!("sentinel monitor gatehouse 127.0.0.1 {port} 1\n"))?;
    let file = file.display().to_string();
    let arguments = [file.as_str(), "--sentinel", "--port", "{port}", "--bind", "127.0.0.1"];
    let (_sentinel, sentinel_port) = RedisServer::start_on_a_port(&sentinels, &arguments).await?;
    let table = format!(
        "kind = \"redis\"\nmode = \"sentinel\"\nsentinel_master = \"gatehouse\"\nurls = [\"redis://127.0.0.1:{sentinel_port}\"]"
    );
    let redis = configured(directory.path(), &table)?;
    assert_eq!(ping(&redis).await, Ok(0));
    drop(server);
    assert!(ping(&redis).await.is_err());
    Ok(())
}
