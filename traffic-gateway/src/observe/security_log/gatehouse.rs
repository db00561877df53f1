//! The fields under our own names; what does not apply is left out.

use gatehouse_shared::telemetry::access_log::Line;

use super::record::{Record, TARGET_MAX};
use crate::admit::{Entry, Evidence};

/// The line, without its line feed.
pub(super) fn line(record: &Record<'_>) -> String {
    let mut line = Line::begin(record.unix_ms);
    line.utf8("event", "denial");
    line.utf8("mode", record.mode.name());
    line.utf8("action", record.action.name());
    line.number("status", u64::from(record.status));
    line.utf8("stage", record.stage);
    line.utf8("reason", record.reason.code);
    line.optional("detail", record.bounded_detail());
    line.optional_utf8("request_id", record.request_id);
    line.optional_utf8("trace_id", record.trace_id);
    line.utf8("node", record.node);
    if let Some(client) = record.client {
        line.address("client", client);
    }
    if let Some(peer) = record.peer {
        line.address("peer", peer);
    }
    line.optional_utf8("protocol", record.protocol);
    line.optional_utf8("tls", record.tls);
    if let Some(asked) = record.asked {
        let bounded = asked.bounded();
        line.text("method", bounded.method);
        line.text("host", bounded.host);
        line.text("target", bounded.target);
        if asked.target.len() > TARGET_MAX {
            line.number("target_bytes", asked.target.len() as u64);
        }
        line.optional("user_agent", bounded.user_agent);
    }
    line.optional_utf8("route", record.route);
    if let Some(evidence) = record.evidence {
        push_evidence(&mut line, evidence);
    }
    if let Some((count, since)) = record.repeated {
        line.number("count", count);
        line.time("since", since);
    }
    line.end()
}

/// The rule, list or limit, its entry, and the value that matched.
pub(super) fn push_evidence(line: &mut Line, evidence: &Evidence) {
    line.utf8(evidence.source.name(), &evidence.name);
    if let Some(entry) = &evidence.entry {
        line.object("entry", |line| push_entry(line, entry));
    }
    if let Some(matched) = &evidence.matched {
        line.utf8("matched_in", &matched.what);
        line.text("matched", &matched.value);
        if matched.length > matched.value.len() {
            line.number("matched_bytes", matched.length as u64);
        }
    }
}

fn push_entry(line: &mut Line, entry: &Entry) {
    line.utf8("text", &entry.text);
    line.optional_utf8("file", entry.file.as_deref());
    if let Some(number) = entry.line {
        line.number("line", u64::from(number));
    }
    line.optional_utf8("owner", entry.owner.as_deref());
    line.optional_utf8("ticket", entry.ticket.as_deref());
    line.optional_utf8("reason", entry.reason.as_deref());
    if let Some(until) = entry.until_unix_ms {
        line.time("until", until);
    }
}

/// What the other formats have no names for, in an object of our own.
pub(super) fn push_rest(line: &mut Line, record: &Record<'_>) {
    line.object("gatehouse", |line| {
        line.utf8("mode", record.mode.name());
        line.utf8("action", record.action.name());
        line.utf8("stage", record.stage);
        line.utf8("reason", record.reason.code);
        line.optional("detail", record.bounded_detail());
        line.optional_utf8("route", record.route);
        if let Some(evidence) = record.evidence {
            push_evidence(line, evidence);
        }
        if let Some((count, since)) = record.repeated {
            line.number("count", count);
            line.time("since", since);
        }
    });
}
