//! One JSON line for every request: what came, what was decided, where it went, how it ended.
//!
//! The line is written here, by hand, into one string, and handed to the writer thread of
//! [`gatehouse_shared::telemetry::access_log`]; the request path neither waits nor does I/O. Whatever a client can
//! influence is escaped, so that a line is always one line of valid JSON. Fields that do not apply are left out.

use std::{cell::RefCell, fmt::Write as _, net::SocketAddr, time::Duration};

/// What one line says.
#[derive(Debug)]
pub struct Entry<'a> {
    /// When the first byte of the request was read, Unix milliseconds.
    pub time_unix_ms: u64,
    /// The request id the client was told.
    pub request_id: &'a str,
    /// The W3C trace id.
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
    /// What the inner tier says of the caller: `anonymous`, `app`, `failed`.
    pub auth: Option<&'a str>,
    /// Internal cause of a failure, for operators.
    pub error: Option<&'a str>,
}

impl Entry<'_> {
    /// Calls `take` with the line, without its line feed. The buffer belongs to the thread and is used again.
    pub fn with_line<T>(&self, take: impl FnOnce(&str) -> T) -> T {
        thread_local! {
            static LINE: RefCell<String> = RefCell::new(String::with_capacity(1024));
        }
        LINE.with_borrow_mut(|text| {
            text.clear();
            self.write(&mut Line(text));
            take(text)
        })
    }

    fn write(&self, line: &mut Line<'_>) {
        line.0.push_str("{\"time\":\"");
        push_time(line.0, self.time_unix_ms);
        line.0.push('"');
        line.text("request_id", self.request_id);
        line.optional("trace_id", self.trace_id);
        line.text("node", self.node);
        line.display("client", self.client);
        if let Some(peer) = self.peer {
            line.display("peer", peer);
        }
        line.text("protocol", self.protocol);
        line.optional("tls", self.tls);
        line.text("method", self.method);
        line.text("host", self.host);
        line.text("target", self.target);
        if let Some(agent) = self.user_agent {
            line.key("user_agent");
            push_escaped(line.0, agent);
        }
        line.number("status", u64::from(self.status));
        line.optional("reason", self.reason);
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        line.millis("duration_ms", self.duration);
        if let Some(upstream) = self.upstream {
            line.millis("upstream_ms", upstream);
        }
        line.optional("route", self.route);
        line.optional("cluster", self.cluster);
        if let Some(address) = self.upstream_address {
            line.display("upstream", address);
            line.number("attempts", self.attempts as u64);
        }
        line.optional("origin", self.origin);
        line.optional("auth", self.auth);
        line.optional("error", self.error);
        line.0.push('}');
    }
}

struct Line<'a>(&'a mut String);

impl Line<'_> {
    fn key(&mut self, key: &str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_escaped(self.0, value.as_bytes());
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn display(&mut self, key: &str, value: SocketAddr) {
        self.key(key);
        self.write(format_args!("\"{value}\""));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_number(self.0, value);
    }

    /// Milliseconds with three decimals.
    fn millis(&mut self, key: &str, value: Duration) {
        self.key(key);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_number(self.0, micros / 1000);
        self.0.push('.');
        push_padded(self.0, micros % 1000, 3);
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = self.0.write_fmt(arguments);
    }
}

fn push_number(out: &mut String, value: u64) {
    push_padded(out, value, 1);
}

/// Decimal digits, at least `width` of them.
fn push_padded(out: &mut String, value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = value;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        if rest == 0 && used >= width {
            break;
        }
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
    }
    let start = digits.len() - used;
    out.extend(digits.iter().skip(start).map(|digit| char::from(*digit)));
}

/// A JSON string. Bytes that are not UTF-8 are shown as U+FFFD, control bytes as `\u00xx`.
fn push_escaped(out: &mut String, bytes: &[u8]) {
    out.push('"');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.bytes().any(needs_escape) => out.push_str(text),
        Ok(text) => push_each_escaped(out, text),
        Err(_) => push_each_escaped(out, &String::from_utf8_lossy(bytes)),
    }
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f
}

fn push_each_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                let code = u32::from(control);
                out.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(char::from_digit((code >> shift) & 0xf, 16).unwrap_or('0'));
                }
            }
            other => out.push(other),
        }
    }
}

/// `2026-11-20T10:18:00.123Z`. The part up to the second is kept a thread long, since it changes once a second.
fn push_time(out: &mut String, unix_ms: u64) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = unix_ms / 1000;
    SECOND.with_borrow_mut(|(cached, text)| {
        if *cached != second {
            *cached = second;
            text.clear();
            push_second(text, second);
        }
        out.push_str(text);
    });
    out.push('.');
    push_padded(out, unix_ms % 1000, 3);
    out.push('Z');
}

/// Date and time of a Unix second in the proleptic Gregorian calendar, by counting days from 0000-03-01.
fn push_second(out: &mut String, second: u64) {
    let days = second / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let time = second % 86_400;
    for (value, width, after) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (time / 3600, 2, ':'),
        (time / 60 % 60, 2, ':'),
    ] {
        push_padded(out, value, width);
        out.push(after);
    }
    push_padded(out, time % 60, 2);
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
            auth: None,
            error: None,
        }
    }

    #[test]
    fn is_one_line_of_json() {
        let line = entry().with_line(str::to_owned);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2026-11-20T10:18:00.042Z");
        assert_eq!(value["duration_ms"], 1.042);
        assert_eq!(value["bytes_out"], 1234);
        assert!(value.get("trace_id").is_none());
    }

    #[test]
    fn escapes_whatever_a_client_may_send() {
        let agent = b"a\"b\\c\r\n{\"status\":200}\x00\x7f\xff\xe2\x80\xa8";
        let line = Entry { user_agent: Some(agent), target: "/\"}\n", ..entry() }.with_line(str::to_owned);
        assert!(!line.contains(['\n', '\r', '\u{2028}']));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["status"], 200);
        assert_eq!(value["user_agent"], String::from_utf8_lossy(agent).as_ref());
    }

    #[test]
    fn knows_the_calendar() {
        for (second, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
        ] {
            let mut text = String::new();
            push_second(&mut text, second);
            assert_eq!(text, expected);
        }
    }
}
