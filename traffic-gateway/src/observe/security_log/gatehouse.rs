//! The fields under our own names; what does not apply is left out.

use gatehouse_shared::telemetry::access_log::Line;

use super::record::{Record, TARGET_MAX};
use crate::admit::{Entry, Evidence, Finding};

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
    if let Some(findings) = &evidence.findings {
        if let Some((score, threshold)) = findings.score {
            line.number("score", u64::from(score));
            line.number("threshold", u64::from(threshold));
        }
        line.objects("rules", &findings.rules, push_finding);
    }
}

fn push_finding(line: &mut Line, finding: &Finding) {
    line.number("id", u64::from(finding.id));
    line.utf8("message", &finding.message);
    line.number("score", u64::from(finding.score));
    line.optional_utf8("severity", finding.severity.map(severity_name));
    line.texts("tags", &finding.tags);
    line.utf8("file", &finding.place.0);
    line.number("line", u64::from(finding.place.1));
    line.utf8("matched_in", &finding.matched.what);
    line.text("matched", &finding.matched.value);
    if finding.matched.length > finding.matched.value.len() {
        line.number("matched_bytes", finding.matched.length as u64);
    }
}

/// The names of syslog's severities, which rules use.
fn severity_name(severity: u8) -> &'static str {
    const NAMES: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
    NAMES.get(usize::from(severity)).copied().unwrap_or("debug")
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
