//! The fields of the JSON audit log that libmodsecurity 3 writes (`Transaction::toJSON`), parts A, B, F and H.
//!
//! Numbers of rules are texts there, so a reason's code takes that place; times are written the way `ctime` does, in UTC.
//! What has no field there stands in an object of our own at the end.

use std::net::SocketAddr;

use gatehouse_shared::{clock, telemetry::access_log::Line};

use super::{gatehouse::push_rest, record::Record};
use crate::admit::{Evidence, Finding, Mode};

/// What libmodsecurity calls the severity of a critical finding.
const CRITICAL: &str = "2";

/// The line, without its line feed.
pub(super) fn line(record: &Record<'_>) -> String {
    let mut line = Line::bare();
    line.object("transaction", |line| {
        push_address(line, ["client_ip", "client_port"], record.client);
        line.utf8("time_stamp", &ctime(record.unix_ms));
        line.utf8("server_id", record.node);
        push_address(line, ["host_ip", "host_port"], Some(record.local));
        line.utf8("unique_id", record.request_id.unwrap_or_default());
        line.object("request", |line| push_request(line, record));
        line.object("response", |line| {
            line.number("http_code", u64::from(record.status));
            line.object("headers", |_| {});
        });
        line.object("producer", |line| {
            line.utf8("modsecurity", concat!("Gatehouse ", env!("CARGO_PKG_VERSION")));
            line.utf8("connector", "traffic-gateway");
            line.utf8(
                "secrules_engine",
                match record.mode {
                    Mode::Enforce => "Enabled",
                    Mode::Observe => "DetectionOnly",
                },
            );
            line.texts("components", [""; 0]);
        });
        match record.evidence.and_then(|evidence| evidence.findings.as_deref()) {
            Some(findings) => line.objects("messages", &findings.rules, push_finding),
            None => line.objects("messages", [record], |line, record| {
                line.utf8("message", record.reason.title);
                line.object("details", |line| push_details(line, record));
            }),
        }
    });
    push_rest(&mut line, record);
    line.end()
}

fn push_address(line: &mut Line, [ip, port]: [&'static str; 2], address: Option<SocketAddr>) {
    match address {
        Some(address) => {
            line.ip(ip, address.ip());
            line.number(port, u64::from(address.port()));
        }
        None => line.utf8(ip, ""),
    }
}

fn push_request(line: &mut Line, record: &Record<'_>) {
    let Some(asked) = record.asked else { return };
    let asked = asked.bounded();
    line.text("method", asked.method);
    line.literal(
        "http_version",
        match record.protocol {
            Some("HTTP/2") => "2.0",
            Some("HTTP/1.0") => "1.0",
            _ => "1.1",
        },
    );
    line.text("uri", asked.target);
    line.object("headers", |line| {
        line.text("Host", asked.host);
        line.optional("User-Agent", asked.user_agent);
    });
}

fn push_details(line: &mut Line, record: &Record<'_>) {
    let entry = record.evidence.and_then(|evidence| evidence.entry.as_ref());
    let matched = record.evidence.and_then(|evidence| evidence.matched.as_ref());
    line.utf8("match", &record.evidence.map(what_matched).unwrap_or_default());
    line.utf8("reference", "");
    line.utf8("ruleId", record.reason.code);
    line.utf8("file", entry.and_then(|entry| entry.file.as_deref()).unwrap_or_default());
    line.utf8("lineNumber", &entry.and_then(|entry| entry.line).unwrap_or_default().to_string());
    line.text("data", matched.map(|matched| &*matched.value).unwrap_or_default());
    line.utf8("severity", CRITICAL);
    line.utf8("ver", "");
    line.utf8("rev", "");
    line.texts("tags", ["gatehouse", record.stage]);
    line.utf8("maturity", "0");
    line.utf8("accuracy", "0");
}

/// A rule of the WAF, in the fields that rules have there.
fn push_finding(line: &mut Line, finding: &Finding) {
    line.utf8("message", &finding.message);
    line.object("details", |line| {
        line.utf8("match", &format!("Matched rule `{}' against `{}'", finding.id, finding.matched.what));
        line.utf8("reference", "");
        line.utf8("ruleId", &finding.id.to_string());
        line.utf8("file", &finding.place.0);
        line.utf8("lineNumber", &finding.place.1.to_string());
        line.text("data", &finding.matched.value);
        line.utf8("severity", &finding.severity.map(|severity| severity.to_string()).unwrap_or_default());
        line.utf8("ver", "");
        line.utf8("rev", "");
        line.texts("tags", &finding.tags);
        line.utf8("maturity", "0");
        line.utf8("accuracy", "0");
    });
}

fn what_matched(evidence: &Evidence) -> String {
    let mut text = format!("Matched {} `{}'", evidence.source.name(), evidence.name);
    if let Some(entry) = &evidence.entry {
        text.push_str(&format!(" entry `{}'", entry.text));
    }
    if let Some(matched) = &evidence.matched {
        text.push_str(&format!(" against `{}'", matched.what));
    }
    text
}

/// `Fri Nov 20 10:18:00 2026`.
fn ctime(unix_ms: u64) -> String {
    // The first day of Unix time was a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = clock::rfc3339(unix_ms);
    let part = |start: usize, end: usize| text.get(start..end).unwrap_or_default();
    let index = |text: &str| text.parse::<usize>().unwrap_or_default();
    let weekday = usize::try_from(unix_ms / 86_400_000 % 7).unwrap_or_default();
    let day = DAYS.get(weekday).unwrap_or(&"");
    let month = MONTHS.get(index(part(5, 7)).wrapping_sub(1)).unwrap_or(&"");
    format!("{day} {month} {:>2} {} {}", index(part(8, 10)), part(11, 19), part(0, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_ctime_does() {
        assert_eq!(ctime(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ctime(1_795_169_880_042), "Fri Nov 20 10:18:00 2026");
        assert_eq!(ctime(1_709_164_799_999), "Wed Feb 28 23:59:59 2024");
    }
}
