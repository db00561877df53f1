//! The three attacks of slowhttptest with 2,000 connections each: a client beside them notices nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatehouse_tests::load::Load;
use gatehouse_tests::process::{connections_to_port, private_bytes};
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::Passed;

/// Where attackers come from.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Where the innocent client comes from.
const INNOCENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Connections of an attacker.
const CONNECTIONS: usize = 2_000;

/// What 2,000 slow connections may add to the edge's private memory: 80 KiB each, or 800 KiB for each of the 200 that may have
/// an answer under way: the window of its stream to tier two (256 KiB), nine frames on their way to the client (144 KiB),
/// and as much again for what the allocator keeps.
const MEMORY_MAX: u64 = 160 << 20;

const BOUNDS: &str = "[accept]\nhead_timeout = \"2s\"\nbody_idle_timeout = \"2s\"\nwrite_timeout = \"1s\"\n";

/// One connection of an attacker; its receive buffer is as small as the kernel allows.
async fn connect(site: &Site) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(1)?;
    socket.bind((ATTACKER, 0).into())?;
    Ok(socket.connect(site.address(0)).await?)
}

/// Sends `start`, then `piece` ten times a second until the edge ends the connection; returns what came.
async fn drip(mut stream: TcpStream, start: &'static str, piece: &'static [u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    drop(stream.write_all(start.as_bytes()).await);
    let mut pause = interval(Duration::from_millis(100));
    loop {
        let mut buffer = [0; 1024];
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
                _ => return answer,
            },
            _ = pause.tick() => drop(stream.write_all(piece).await),
        }
    }
}

/// Runs `attack` on 2,000 connections beside an innocent client, which must notice nothing.
async fn beside_an_innocent_client<T>(
    site: &Site,
    attack: impl AsyncFnOnce(Vec<TcpStream>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let load = Load::new(site.target().from(INNOCENT), 2, 50, "/products").start();
    load.answers(5).await?;
    let pid = site.edges[0].serving_pid();
    let before = private_bytes(pid)?;
    let mut most = before;
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        streams.push(connect(site).await?);
    }
    let mut attack = std::pin::pin!(timeout(2 * SOON, attack(streams)));
    let mut pause = interval(Duration::from_millis(200));
    let outcome = loop {
        tokio::select! {
            outcome = &mut attack => break outcome??,
            _ = pause.tick() => most = most.max(private_bytes(pid)?),
        }
    };
    load.answers(5).await?;
    let report = load.stop().await;
    assert_eq!((report.failed().count(), report.repeated()), (0, 0), "{}", report.failures());
    let growth = most - before;
    eprintln!("slow clients took {} KiB in all; p99 of the innocent one: {:?}", growth >> 10, report.quantile(0.99));
    assert!(growth < MEMORY_MAX, "{growth} bytes for {CONNECTIONS} slow connections");
    Ok(outcome)
}

/// Lets all of `streams` drip; returns what they read.
async fn drip_all(streams: Vec<TcpStream>, start: &'static str, piece: &'static [u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut attacks = JoinSet::new();
    for stream in streams {
        attacks.spawn(drip(stream, start, piece));
    }
    Ok(attacks.join_all().await)
}

fn assert_all(answers: &[Vec<u8>], start: &str) {
    assert_eq!(answers.len(), CONNECTIONS);
    for answer in answers {
        assert!(answer.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_answered_408_and_harm_nobody() -> Passed {
    let site = Site::plan().edge(format!("{BOUNDS}connections_per_client = 0\n")).alone().start().await?;
    let start = "GET /products HTTP/1.1\r\nHost: shop.test\r\n";
    let answers =
        beside_an_innocent_client(&site, async |streams| drip_all(streams, start, b"X-A: b\r\n").await).await?;
    assert_all(&answers, "HTTP/1.1 408 ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_answered_408_and_harm_nobody() -> Passed {
    let site = Site::plan().edge(format!("{BOUNDS}connections_per_client = 0\n")).alone().start().await?;
    let start = "POST /upload HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4096\r\n\r\n";
    let answers = beside_an_innocent_client(&site, async |streams| drip_all(streams, start, b"x").await).await?;
    assert_all(&answers, "HTTP/1.1 408 ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_are_let_go_and_harm_nobody() -> Passed {
    // Each holds a stream to tier two, and a connection from there to a service (of which there are 256), until it is let
    // go. An edge that clients reach directly bounds what one of them may hold; without that bound the innocent client is
    // served all the same, but may have to wait for its turn.
    let bounds = format!("{BOUNDS}idle_timeout = \"2s\"\nconnections_per_client = 200\n");
    let site = Site::plan().edge(bounds).alone().start().await?;
    let port = site.address(0).port();
    beside_an_innocent_client(&site, async |mut streams| {
        for stream in &mut streams {
            // More than the kernel takes for a client on the loopback interface; nothing of it is read.
            drop(stream.write_all(b"GET /stream/4000000 HTTP/1.1\r\nHost: shop.test\r\n\r\n").await);
        }
        let few = async || connections_to_port(port).ok().filter(|count| *count < CONNECTIONS / 10);
        until("the edge to give up", 2 * SOON, few).await
    })
    .await?;
    Ok(())
}
