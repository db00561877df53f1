//! Records what the way in refuses before there is a request to carry: malformed messages and connections.

use std::time::Duration;

use gatehouse_shared::clock;

use super::{
    Observer,
    access_log::Entry,
    observer::protocol,
    security_log::{Record, record::Asked},
};
use crate::{
    accept::{self, Connection, Refusal, Refusals, fields_of},
    admit::{Denial, Mode},
};

impl Refusals for Observer {
    fn refused(&self, refusal: &Refusal<'_>) {
        self.metrics.request(None, refusal.reason.status, Some(refusal.reason), Duration::ZERO);
        if let Some(refused) = self.refused.get() {
            refused.count(refusal.connection.source.ip(), refusal.reason, clock::now());
        }
        let (asked, is_http_1_0) = asked(refusal.head);
        let protocol = protocol(refusal.connection, is_http_1_0);
        self.security.write(&security_record(&self.node, refusal, asked, protocol));
        if self.logs() {
            self.log.push(access_line(&self.node, refusal, &asked, protocol));
        }
    }

    /// There was no request, so there is no line in the access log: the security log has them, and not one by one.
    fn turned_away(&self, connection: &Connection, denial: &Denial) {
        if denial.mode == Mode::Enforce {
            let reason = denial.reason;
            self.metrics.request(None, reason.status, Some(reason), Duration::ZERO);
        }
        self.security.turned_away(connection, denial);
    }
}

/// What a refused head asks for, as far as it can be read, and whether it speaks HTTP/1.0.
fn asked(head: &[u8]) -> (Asked<'_>, bool) {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ');
    let asked = Asked {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        host: fields_of(head, "host").next().unwrap_or_default(),
        user_agent: fields_of(head, "user-agent").next(),
    };
    (asked, words.next() == Some(b"HTTP/1.0"))
}

fn security_record<'a>(
    node: &'a str,
    refusal: &'a Refusal<'_>,
    asked: Asked<'a>,
    protocol: &'static str,
) -> Record<'a> {
    let connection = refusal.connection;
    Record {
        unix_ms: refusal.unix_ms,
        request_id: Some(refusal.request_id.as_str()),
        trace_id: None,
        node,
        client: Some(connection.source),
        peer: (connection.peer != connection.source).then_some(connection.peer),
        local: connection.local,
        protocol: Some(protocol),
        tls: connection.tls.as_deref().map(|tls| tls.version),
        asked: (!refusal.head.is_empty()).then_some(asked),
        route: None,
        stage: accept::STAGE,
        reason: refusal.reason,
        detail: None,
        mode: Mode::Enforce,
        action: refusal.action,
        status: refusal.status,
        evidence: None,
        repeated: None,
    }
}

fn access_line(node: &str, refusal: &Refusal<'_>, asked: &Asked<'_>, protocol: &str) -> String {
    let connection = refusal.connection;
    let text = |bytes| String::from_utf8_lossy(bytes);
    let entry = Entry {
        time_unix_ms: refusal.unix_ms,
        request_id: refusal.request_id.as_str(),
        trace_id: None,
        node,
        client: connection.source,
        peer: (connection.peer != connection.source).then_some(connection.peer),
        protocol,
        tls: connection.tls.as_deref().map(|tls| tls.version),
        method: &text(asked.method),
        host: &text(asked.host),
        target: &text(asked.target),
        user_agent: asked.user_agent,
        status: refusal.status,
        reason: Some(refusal.reason.code),
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        upstream: None,
        route: None,
        cluster: None,
        upstream_address: None,
        attempts: 0,
        origin: None,
        cache: None,
        auth: None,
        error: None,
    };
    entry.to_line()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_can_of_a_malformed_head() {
        let (asked, is_http_1_0) = asked(b"GET /a?b HTTP/1.0\r\nhost : x\r\nHost: y\r\nUSER-AGENT: curl\nrest");
        assert!(is_http_1_0);
        assert_eq!((asked.method, asked.target, asked.host), (&b"GET"[..], &b"/a?b"[..], &b"y"[..]));
        assert_eq!(asked.user_agent, Some(&b"curl"[..]));
    }

    #[test]
    fn nothing_is_made_up() {
        for head in [&b""[..], b"\n", b"\xff\xfe\0"] {
            let (asked, is_http_1_0) = asked(head);
            assert!(!is_http_1_0 && asked.target.is_empty() && asked.host.is_empty() && asked.user_agent.is_none());
        }
    }
}
