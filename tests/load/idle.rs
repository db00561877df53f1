//! What an idle keepalive connection costs in private memory.
//!
//! Every subject starts afresh, answers some requests so that it has allocated what it allocates once, and then gets 2,000
//! connections that carry one request each and stay. Afterwards each of them must still answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use gatehouse_shared::clock;

use crate::child::Child;
use crate::gatehouse::{self, AccessLog, Next};
use crate::proxies::{self, Server};
use crate::report::{Report, note};
use crate::service::Service;
use crate::settings::{FIELDS, Settings, TARGET};
use crate::subject::HandOff;

/// Idle connections held.
const CONNECTIONS: u16 = 2000;

/// Connections made and closed before the first reading.
const WARM_UP: u16 = 200;

/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long the memory may take to stand still.
const SETTLE_DEADLINE: Duration = Duration::from_secs(3);

/// Measures the edge beside what it is compared with.
///
/// # Errors
///
/// A subject does not start, or drops an idle connection.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note("idle connections");
    let directory = &directory.join("idle");
    std::fs::create_dir_all(directory)?;
    let service = Service::start(settings, directory)?;
    let address = service.address;
    for name in ["edge", "nginx", "haproxy", "bare_pingora"] {
        if !settings.wants(name) {
            continue;
        }
        let server = match name {
            "edge" => {
                gatehouse::edge(name, settings, directory, Next::Service(address), HandOff::Http1, AccessLog::File)
            }
            "nginx" => proxies::nginx(settings, directory, address),
            "haproxy" => proxies::haproxy(settings, directory, address),
            _ => proxies::reference(name, settings, directory, address, &["pingora"]),
        }?;
        match bytes_per_connection(&server) {
            Ok(bytes) => report.figure(format!("{name}_idle_connection_bytes"), bytes.round()),
            Err(error) => report.fail(format!("idle connections of {name}: {error:#}")),
        }
    }
    Ok(())
}

fn bytes_per_connection(server: &Server) -> anyhow::Result<f64> {
    for _ in 0..WARM_UP {
        ask(&mut connect(server.address)?)?;
    }
    let before = settled_memory(&server.child)?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = connect(server.address)?;
        ask(&mut connection)?;
        connections.push(connection);
    }
    let after = settled_memory(&server.child)?;
    for connection in &mut connections {
        ask(connection).context("an idle connection answers no more")?;
    }
    Ok((after - before) / f64::from(CONNECTIONS))
}

/// Private memory once two readings 100 ms apart agree.
pub(crate) fn settled_memory(child: &Child) -> anyhow::Result<f64> {
    let deadline = clock::now() + SETTLE_DEADLINE;
    let mut last = child.private_bytes()?;
    loop {
        std::thread::park_timeout(Duration::from_millis(100));
        let bytes = child.private_bytes()?;
        if (bytes - last).abs() < 1.0 || clock::now() >= deadline {
            return Ok(bytes);
        }
        last = bytes;
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the request of the bench and reads its answer to the end.
fn ask(stream: &mut TcpStream) -> anyhow::Result<()> {
    let request = format!("GET {TARGET} HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", stream.peer_addr()?, FIELDS.join("\r\n"));
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    while !is_whole(&answer) {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            bail!("the connection was closed");
        }
        answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("unexpected answer: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Whether the answer has its head and the 100 bytes of its body.
fn is_whole(answer: &[u8]) -> bool {
    const BODY: usize = 100;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    head.is_some_and(|end| answer.len() >= end + 4 + BODY)
}
