//! The fields of the Elastic Common Schema, as nested objects.
//!
//! `event.kind`, `.category`, `.type` and `.outcome` take values that the schema allows: a denial is an alert of intrusion
//! detection on the network, `denied` or, in observe mode, `allowed`. `source` is the other end of the socket, `client` whom
//! we took it for, as the schema wants it behind proxies. What has no field there stands in an object of our own.

use std::net::SocketAddr;

use gatehouse_shared::telemetry::access_log::Line;

use super::{gatehouse::push_rest, record::Record};
use crate::admit::{Action, Mode};

/// The version whose fields these are; all of them are in every later one.
const VERSION: &str = "8.11.0";

/// The line, without its line feed.
pub(super) fn line(record: &Record<'_>) -> String {
    let mut line = Line::bare();
    line.time("@timestamp", record.unix_ms);
    line.object("ecs", |line| line.utf8("version", VERSION));
    line.utf8("message", record.reason.title);
    line.object("event", |line| push_event(line, record));
    push_http(&mut line, record);
    push_address(&mut line, "source", record.peer.or(record.client));
    push_address(&mut line, "client", record.client);
    push_address(&mut line, "destination", Some(record.local));
    if let (Some(client), Some(_)) = (record.client, record.peer) {
        line.object("network", |line| line.ip("forwarded_ip", client.ip()));
    }
    if let Some(evidence) = record.evidence {
        line.object("rule", |line| {
            line.utf8("name", &evidence.name);
            line.utf8("category", evidence.source.name());
            line.utf8("ruleset", record.stage);
            line.optional_utf8("id", evidence.entry.as_ref().map(|entry| &*entry.text));
            if let Some(findings) = &evidence.findings {
                line.texts("uuid", findings.rules.iter().map(|finding| finding.id.to_string()));
            }
        });
    }
    if let Some(trace_id) = record.trace_id {
        line.object("trace", |line| line.utf8("id", trace_id));
    }
    if let Some(version) = record.tls {
        line.object("tls", |line| line.utf8("version", version));
    }
    line.object("observer", |line| {
        line.utf8("name", record.node);
        line.utf8("vendor", "Gatehouse");
        line.utf8("product", "traffic-gateway");
        line.utf8("version", env!("CARGO_PKG_VERSION"));
        line.utf8("type", "proxy");
    });
    push_rest(&mut line, record);
    line.end()
}

fn push_event(line: &mut Line, record: &Record<'_>) {
    let (kind, action) = match (record.mode, record.action) {
        (Mode::Observe, _) => ("allowed", "observed"),
        (Mode::Enforce, Action::Page) => ("denied", "denied"),
        (Mode::Enforce, Action::Drop) => ("denied", "dropped"),
        (Mode::Enforce, Action::Redirect) => ("denied", "redirected"),
    };
    line.utf8("kind", "alert");
    line.texts("category", ["intrusion_detection", "network"]);
    line.texts("type", [kind]);
    line.utf8("action", action);
    if record.mode == Mode::Enforce {
        // What was to be kept out was kept out.
        line.utf8("outcome", "success");
    }
    line.utf8("code", record.reason.code);
    line.text("reason", record.bounded_detail().unwrap_or(record.reason.title.as_bytes()));
    line.utf8("provider", record.stage);
    line.utf8("module", "gatehouse");
    line.utf8("dataset", "gatehouse.security");
}

fn push_http(line: &mut Line, record: &Record<'_>) {
    let asked = record.asked.map(super::record::Asked::bounded);
    line.object("http", |line| {
        if let Some(version) = record.protocol.and_then(|protocol| protocol.strip_prefix("HTTP/")) {
            line.utf8("version", version);
        }
        line.object("request", |line| {
            line.optional_utf8("id", record.request_id);
            line.optional("method", asked.map(|asked| asked.method));
        });
        if record.status > 0 {
            line.object("response", |line| line.number("status_code", u64::from(record.status)));
        }
    });
    let Some(asked) = asked else { return };
    line.object("url", |line| {
        line.text("original", asked.target);
        line.text("domain", without_port(asked.host));
        let mut parts = asked.target.splitn(2, |byte| *byte == b'?');
        line.optional("path", parts.next());
        line.optional("query", parts.next());
    });
    if let Some(agent) = asked.user_agent {
        line.object("user_agent", |line| line.text("original", agent));
    }
}

/// An authority without its port.
fn without_port(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let parts = colon.and_then(|colon| Some((authority.get(..colon)?, authority.get(colon + 1..)?)));
    match parts {
        Some((host, port)) if port.iter().all(u8::is_ascii_digit) => host,
        _ => authority,
    }
}

fn push_address(line: &mut Line, key: &'static str, address: Option<SocketAddr>) {
    if let Some(address) = address {
        line.object(key, |line| {
            line.ip("ip", address.ip());
            line.number("port", u64::from(address.port()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_no_port() {
        for (authority, domain) in
            [("a.example:8443", "a.example"), ("a.example", "a.example"), ("[2001:db8::1]:80", "[2001:db8::1]")]
        {
            assert_eq!(without_port(authority.as_bytes()), domain.as_bytes());
        }
        assert_eq!(without_port(b"[2001:db8::a]"), b"[2001:db8::a]");
    }
}
