//! Calls from the command line to the admin listener of the node that runs here.

use std::borrow::Cow;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Role;
use crate::config::ConfigErrors;
use crate::process::Ports;

/// Longest wait for a connection, and for each piece of the answer: longer than the listener takes for anything.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer: an export of a full list.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The configuration is not valid.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// No node runs with it.
    #[error("no node runs with this configuration: {} cannot be read", .0.display())]
    NotRunning(PathBuf, #[source] io::Error),
    /// There is no token to call it with.
    #[error("the admin token in {} cannot be read", .0.display())]
    Token(PathBuf, #[source] io::Error),
    /// It does not answer.
    #[error("the node at {0} does not answer")]
    Node(SocketAddr, #[source] io::Error),
    /// It answers with something that is not HTTP.
    #[error("the node at {0} answers with something that is not HTTP")]
    Answer(SocketAddr),
}

/// The admin listener of a running node.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    token: String,
}

/// What it said.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// One call.
#[derive(Debug, Default)]
pub struct Call<'a> {
    /// The method.
    pub method: &'static str,
    /// The path, percent-encoded where it must be ([`encoded`]).
    pub path: Cow<'a, str>,
    /// Names and values of the query, as they are.
    pub query: Vec<(&'static str, String)>,
    /// The revision that a change is based on.
    pub if_match: Option<u64>,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body; empty for none.
    pub body: &'a [u8],
}

impl Node {
    /// The node that runs with this state directory, called with the token in `token_file` or that of `role`.
    ///
    /// # Errors
    /// No such node, or no token.
    pub fn find(state_dir: &Path, token_file: Option<&Path>, role: Role) -> Result<Self, CallError> {
        let ports = Ports::read(state_dir).map_err(|error| CallError::NotRunning(Ports::path(state_dir), error))?;
        let usual = state_dir.join(format!("admin-token-{role}"));
        let path = token_file.unwrap_or(&usual);
        let token = std::fs::read_to_string(path).map_err(|error| CallError::Token(path.to_owned(), error))?;
        let ip = match ports.admin.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(Self { address: SocketAddr::new(ip, ports.admin.port()), token: token.trim().to_owned() })
    }

    /// Calls it.
    ///
    /// # Errors
    /// There is no answer, or none that is HTTP.
    pub fn call(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        let bytes = self.exchange(call).map_err(|error| CallError::Node(self.address, error))?;
        answer(&bytes).ok_or(CallError::Answer(self.address))
    }

    fn exchange(&self, call: &Call<'_>) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(self.head(call).as_bytes())?;
        stream.write_all(call.body)?;
        let mut bytes = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn head(&self, call: &Call<'_>) -> String {
        let pairs = call.query.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let mut head = format!(
            "{} {}{mark}{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
            call.method, call.path, self.address, self.token
        );
        if let Some(revision) = call.if_match {
            head.push_str(&format!("If-Match: \"{revision}\"\r\n"));
        }
        if !matches!(call.method, "GET" | "HEAD") {
            head.push_str(&format!("Content-Type: {}\r\nContent-Length: {}\r\n", call.content_type, call.body.len()));
        }
        head.push_str("\r\n");
        head
    }
}

/// What a refusal says, for people.
#[must_use]
pub fn explained(answer: &Answer) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(&answer.body) else {
        return format!("the node answered {}", answer.status);
    };
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let title = text("title").unwrap_or("refused");
    let code = text("code").unwrap_or_default();
    match text("detail") {
        Some(detail) => format!("{title} ({code}): {detail}"),
        None => format!("{title} ({code})"),
    }
}

/// Reads an answer whose connection was closed behind it.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
    let is_whole = head.headers.iter().all(|field| {
        !field.name.eq_ignore_ascii_case("content-length")
            || str::from_utf8(field.value).ok().and_then(|length| length.parse().ok()) == Some(bytes.len() - length)
    });
    let body = str::from_utf8(bytes.get(length..)?).ok().filter(|_| is_whole)?;
    Some(Answer { status: head.code?, body: body.to_owned() })
}

/// Percent-encodes whatever a query may not hold. For a part of a path, encode `/` too: [`encoded_part`].
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'/' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The same for one segment of a path.
#[must_use]
pub fn encoded_part(text: &str) -> String {
    encoded(text).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let read = answer(whole).unwrap();
        assert_eq!((read.status, read.body.as_str()), (200, "hello"));
        assert!((0..whole.len()).all(|end| answer(&whole[..end]).is_none()));
    }

    #[test]
    fn a_refusal_is_explained_by_its_detail() {
        let body = r#"{"title":"Blocked already","code":"block_entry_exists","detail":"192.0.2.1 is blocked"}"#;
        let answer = Answer { status: 409, body: body.to_owned() };
        assert_eq!(explained(&answer), "Blocked already (block_entry_exists): 192.0.2.1 is blocked");
        assert_eq!(explained(&Answer { status: 500, body: "x".to_owned() }), "the node answered 500");
        assert_eq!(encoded("a b/ä&"), "a%20b/%C3%A4%26");
    }
}
