//! An edge with everything that guards a site: a list of a million networks and 20 limits beside strict HTTP.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, ensure};

use crate::gatehouse::{self, AccessLog, Next};
use crate::lists;
use crate::proxies::Server;
use crate::settings::Settings;
use crate::subject::HandOff;

/// What limits count by: every kind, some of them twice in one key. Nobody comes near a limit.
const KEYS: [&str; 20] = [
    "\"client\"",
    "\"network\"",
    "\"client\", \"path\"",
    "\"client\", \"host\"",
    "\"client\", \"method\"",
    "\"client\", \"route\"",
    "\"host\"",
    "\"path\"",
    "\"route\"",
    "\"method\"",
    "\"network:16,32\"",
    "\"header:user-agent\"",
    "\"cookie:session\"",
    "\"query:page\"",
    "\"host\", \"path\"",
    "\"host\", \"path\", \"method\"",
    "\"route\", \"method\"",
    "\"network\", \"path\"",
    "\"client\", \"header:user-agent\"",
    "",
];

/// Starts it; it must turn away who is listed, and each limit must have counted.
///
/// # Errors
///
/// It does not start, or does not guard.
pub(crate) fn edge(name: &str, settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<Server> {
    let lists = directory.join("guarded");
    fs::create_dir_all(&lists)?;
    let mut more = gatehouse::denying(&lists::list_file(&lists)?);
    // Clients are told about the first limit, as they would be about the one that is meant for them.
    more.push_str("[limits]\nheaders = false\n");
    for (index, key) in KEYS.iter().enumerate() {
        let algorithm = if index % 2 == 0 { "token_bucket" } else { "sliding_window" };
        writeln!(
            more,
            "[[limit]]\nname = \"limit-{index}\"\nkey = [{key}]\nrate = \"100000000/60s\"\nalgorithm = \"{algorithm}\"\nheaders = {}",
            index == 0
        )?;
    }
    let next = Next::Service(service);
    let server = gatehouse::edge_with(name, settings, directory, next, HandOff::H2c, AccessLog::File, &more)?;
    lists::check_obeyed(server.address)?;
    let answer = ask(server.address).context("the guarded edge does not answer")?;
    ensure!(answer.contains("\"limit-0\";r=9999999"), "nobody is told about the limit: {answer}");
    Ok(server)
}

/// The head of the answer to one request.
fn ask(server: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    let request = "GET /bench?page=2 HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
