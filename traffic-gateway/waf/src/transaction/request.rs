//! The head of a request, split into the values rules look at.

use crate::body::{Fault, Outcome, cookies, query_in};
use crate::rules::RuleSet;

use super::members::Member;
use super::state::State;

impl State {
    /// The request line. The target may be a path, a whole URL, an authority or `*`.
    pub(super) fn set_request_line(&mut self, rules: &RuleSet, method: &[u8], target: &[u8], protocol: &[u8]) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        for (index, part) in [method, target, protocol].into_iter().enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(part);
        }
        self.body.head_length += text.len() as u64 + 2;
        self.members.scalars.line = Some(self.texts.add(&text));
        self.members.scalars.method = Some(self.texts.add(method));
        self.members.scalars.protocol = Some(self.texts.add(protocol));
        self.members.scalars.uri_raw = Some(self.texts.add(target));
        let local = without_origin(target);
        text.clear();
        decode_path(local, &mut text);
        self.members.scalars.uri = Some(self.texts.add(&text));
        let end = memchr::memchr(b'?', local).unwrap_or(local.len());
        let (path, query) = local.split_at_checked(end).unwrap_or((local, &[]));
        text.clear();
        decode_path(path, &mut text);
        self.members.scalars.filename = Some(self.texts.add(&text));
        let base = text.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or(&[]);
        self.members.scalars.basename = Some(self.texts.add(base));
        self.scratch = text;
        let query = query.strip_prefix(b"?").unwrap_or(query);
        self.members.scalars.query = Some(self.texts.add(query));
        self.add_query(rules, query);
    }

    fn add_query(&mut self, rules: &RuleSet, bytes: &[u8]) {
        let Self { texts, members, buffers, .. } = self;
        let outcome = query_in(buffers, bytes, &rules.settings.limits, |name, value| {
            let id = rules.name_id(name);
            let name = texts.add(name);
            members.arguments.push(Member { name, id, value: texts.add(value) });
        });
        self.members.of_query = self.members.arguments.len();
        self.invalid_escape |= outcome.faults.contains(Fault::InvalidEscape);
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        if let Some(malformed) = outcome.malformed {
            self.truncated = true;
            self.set_body_error(malformed);
        }
    }

    /// A header of the request.
    pub(super) fn add_request_header(&mut self, rules: &RuleSet, name: &[u8], value: &[u8]) {
        self.body.head_length += name.len() as u64 + value.len() as u64 + 4;
        let id = rules.name_id(name);
        let member = Member { name: self.texts.add(name), id, value: self.texts.add(value) };
        self.members.headers.push(member);
        if name.eq_ignore_ascii_case(b"cookie") {
            self.add_cookies(rules, value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.body.set_content_type(value);
        } else if name.eq_ignore_ascii_case(b"host") {
            self.members.scalars.server_name = Some(self.texts.add(host_name(value)));
        }
    }

    fn add_cookies(&mut self, rules: &RuleSet, header: &[u8]) {
        let Self { texts, members, .. } = self;
        let outcome = cookies(header, &rules.settings.limits, |name, value| {
            let id = rules.name_id(name);
            let name = texts.add(name);
            members.cookies.push(Member { name, id, value: texts.add(value) });
        });
        self.note(outcome);
    }
}

/// A target without scheme and authority. Anything else that is no path stays as it is.
fn without_origin(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(colon) = memchr::memchr(b':', target) else { return target };
    let Some(rest) = target.get(colon + 1..).and_then(|rest| rest.strip_prefix(b"//")) else { return target };
    let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    rest.get(path..).unwrap_or(&[])
}

/// Appends a path with its `%HH` resolved once; anything else behind `%` stays.
fn decode_path(path: &[u8], out: &mut Vec<u8>) {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escaped) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let decoded = match escaped {
            [_, high, low, ..] => hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        let (byte, used) = decoded.map_or((b'%', 1), |byte| (byte, 3));
        out.push(byte);
        rest = escaped.get(used..).unwrap_or(&[]);
    }
    out.extend_from_slice(rest);
}

/// A Host header without its port.
fn host_name(host: &[u8]) -> &[u8] {
    let host = host.trim_ascii();
    if host.first() == Some(&b'[') {
        let end = memchr::memchr(b']', host).map_or(host.len(), |at| at + 1);
        return host.get(..end).unwrap_or(host);
    }
    memchr::memchr(b':', host).and_then(|at| host.get(..at)).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::{decode_path, host_name, without_origin};

    #[test]
    fn a_target_is_split_as_the_upstream_does() {
        for (target, local) in [
            ("/a?b", "/a?b"),
            ("http://host/a?b", "/a?b"),
            ("http://host?b", "?b"),
            ("http://host", ""),
            ("host:443", "host:443"),
            ("*", "*"),
            ("//host/a", "//host/a"),
        ] {
            assert_eq!(without_origin(target.as_bytes()), local.as_bytes(), "{target}");
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        for (path, decoded) in
            [("/a%2fb", "/a/b"), ("/%252f", "/%2f"), ("/%zz%", "/%zz%"), ("/%4", "/%4"), ("a+b", "a+b")]
        {
            let mut out = Vec::new();
            decode_path(path.as_bytes(), &mut out);
            assert_eq!(out, decoded.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        for (host, name) in [("a.example:80", "a.example"), (" a ", "a"), ("[::1]:80", "[::1]"), ("", "")] {
            assert_eq!(host_name(host.as_bytes()), name.as_bytes());
        }
    }
}
