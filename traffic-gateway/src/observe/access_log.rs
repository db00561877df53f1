//! One JSON line for every request: what came, what was decided, where it went, how it ended.
//!
//! The line is put together by [`gatehouse_shared::telemetry::access_log::Line`], which escapes whatever a client can
//! influence, and handed to its writer thread; the request path neither waits nor does I/O. Fields that do not apply are
//! left out.

use std::{net::SocketAddr, time::Duration};

use gatehouse_shared::telemetry::access_log::Line;

/// What one line says.
#[derive(Debug)]
pub struct Entry<'a> {
    /// When the first byte of the request was read, Unix milliseconds.
    pub time_unix_ms: u64,
    /// The request id the client was told.
    pub request_id: &'a str,
    /// The W3C trace id, where the caller had begun the trace; that of any other is the request id.
    pub trace_id: Option<&'a str>,
    /// Name of this node.
    pub node: &'a str,
    /// The client as derived.
    pub client: SocketAddr,
    /// The other end of the socket, when that is not the client.
    pub peer: Option<SocketAddr>,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: &'a str,
    /// TLS version.
    pub tls: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// Authority as sent.
    pub host: &'a str,
    /// Raw target as sent.
    pub target: &'a str,
    /// The User-Agent header.
    pub user_agent: Option<&'a [u8]>,
    /// Status sent, 499 when the client left before one was, 0 when the connection was closed without one.
    pub status: u16,
    /// Code of the refusal or failure that this gate answered with.
    pub reason: Option<&'a str>,
    /// Body bytes received from the client.
    pub bytes_in: u64,
    /// Body bytes sent to the client.
    pub bytes_out: u64,
    /// From the first byte read to the last byte written.
    pub duration: Duration,
    /// From handing over to the head of the response.
    pub upstream: Option<Duration>,
    /// Name of the route.
    pub route: Option<&'a str>,
    /// Name of the cluster.
    pub cluster: Option<&'a str>,
    /// The node that answered, or was tried last.
    pub upstream_address: Option<SocketAddr>,
    /// Nodes tried.
    pub attempts: usize,
    /// `gateway` or `service`: who made the answer behind this tier.
    pub origin: Option<&'a str>,
    /// Whether memory had the answer: `hit`, `stale`, `miss`, `expired`, `uncacheable`.
    pub cache: Option<&'a str>,
    /// What the inner tier says of the caller: `anonymous`, `app`, `failed`.
    pub auth: Option<&'a str>,
    /// Internal cause of a failure, for operators.
    pub error: Option<&'a str>,
}

impl Entry<'_> {
    /// The line, without its line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = Line::begin(self.time_unix_ms);
        line.plain("request_id", self.request_id);
        line.optional_plain("trace_id", self.trace_id);
        line.utf8("node", self.node);
        line.address("client", self.client);
        if let Some(peer) = self.peer {
            line.address("peer", peer);
        }
        line.plain("protocol", self.protocol);
        line.optional_plain("tls", self.tls);
        line.utf8("method", self.method);
        line.utf8("host", self.host);
        line.utf8("target", self.target);
        line.optional("user_agent", self.user_agent);
        line.number("status", u64::from(self.status));
        line.optional_plain("reason", self.reason);
        if self.bytes_in > 0 {
            line.number("bytes_in", self.bytes_in);
        }
        line.number("bytes_out", self.bytes_out);
        line.millis("duration_ms", self.duration);
        if let Some(upstream) = self.upstream {
            line.millis("upstream_ms", upstream);
        }
        line.optional_utf8("route", self.route);
        line.optional_utf8("cluster", self.cluster);
        if let Some(address) = self.upstream_address {
            line.address("upstream", address);
            if self.attempts > 1 {
                line.number("attempts", self.attempts as u64);
            }
        }
        line.optional_plain("cache", self.cache);
        line.optional_plain("origin", self.origin);
        line.optional_plain("auth", self.auth);
        line.optional_utf8("error", self.error);
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            time_unix_ms: 1_795_169_880_042,
            request_id: "0123456789abcdef0123456789abcdef",
            trace_id: None,
            node: "edge-1",
            client: "192.0.2.7:5000".parse().unwrap(),
            peer: None,
            protocol: "HTTP/1.1",
            tls: None,
            method: "GET",
            host: "api.example.com",
            target: "/orders?a=1",
            user_agent: None,
            status: 200,
            reason: None,
            bytes_in: 0,
            bytes_out: 1234,
            duration: Duration::from_micros(1_042),
            upstream: None,
            route: None,
            cluster: None,
            upstream_address: None,
            attempts: 0,
            origin: None,
            cache: None,
            auth: None,
            error: None,
        }
    }

    #[test]
    fn is_one_line_of_json() {
        let line = entry().to_line();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2026-11-20T10:18:00.042Z");
        assert_eq!(value["duration_ms"], 1.042);
        assert_eq!(value["bytes_out"], 1234);
        assert!(value.get("trace_id").is_none());
    }

    #[test]
    fn escapes_whatever_a_client_may_send() {
        let agent = b"a\"b\\c\r\n{\"status\":200}\x00\x7f\xff\xe2\x80\xa8";
        let line = Entry { user_agent: Some(agent), target: "/\"}\n", ..entry() }.to_line();
        assert!(!line.contains(['\n', '\r', '\u{2028}']));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["status"], 200);
        assert_eq!(value["user_agent"], String::from_utf8_lossy(agent).as_ref());
    }
}
