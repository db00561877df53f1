use std::io::{Read, Write};
use std::net::TcpStream;

use super::harness::{Edge, status, until};

const CONNECTIONS: usize = 2_000;
/// Measured 3,300 (the aim was 12,288, bare Pingora holds 103,000); the rest is room for other allocators.
const BYTES_MAX: usize = 6_144;

/// Private memory of this process.
fn private_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024).sum()
}

fn request(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nCookie: a=b\r\n\r\n").unwrap();
    let mut answer = vec![0; 4_096];
    let count = stream.read(&mut answer).unwrap();
    answer.truncate(count);
    String::from_utf8(answer).unwrap()
}

/// Runs alone in its process (`cargo test -- --ignored idle_connections`), so that no other test's memory counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures the memory of the whole process"]
async fn idle_connections_are_cheap() {
    let edge = Edge::start_hosted("").await;
    let address = edge.address;
    let open = move |count: usize| {
        let streams = (0..count).map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            assert_eq!(status(&request(&mut stream)), "200");
            stream
        });
        streams.collect::<Vec<_>>()
    };
    let warm = tokio::task::spawn_blocking(move || open(200)).await.unwrap();
    let before = private_bytes();
    let many = tokio::task::spawn_blocking(move || open(CONNECTIONS)).await.unwrap();
    until("all are counted", || edge.connections.open() == CONNECTIONS + warm.len()).await;
    let each = (private_bytes() - before) / CONNECTIONS;
    #[expect(clippy::print_stdout, reason = "the figure is the point")]
    {
        println!("idle_connection_bytes = {each}");
    }
    assert!(each <= BYTES_MAX, "{each} bytes");
    drop(many);
}
