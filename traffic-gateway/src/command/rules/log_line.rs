//! A line of the access log or of the security log, in any of its formats, read again.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use gatehouse_waf::golden::Request;
use serde_json::Value;

use super::RulesError;

/// One line: a JSON object whose fields have other names in other formats.
#[derive(Debug)]
pub(super) struct LogLine(Value);

/// A rule that led to a denial, as the security log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedRule {
    pub(super) id: u32,
    pub(super) message: String,
    pub(super) score: u64,
    /// Name of the value that matched, empty if the rule looks at none.
    pub(super) target: String,
    pub(super) matched: String,
}

impl LogLine {
    /// Reads a line; none for what is no JSON object.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Value>(line).ok().filter(Value::is_object).map(Self)
    }

    /// The first of these that is a text: our own name, that of ModSecurity, that of the Elastic Common Schema.
    fn text(&self, names: [&str; 3]) -> Option<&str> {
        names.iter().find_map(|name| self.0.pointer(name)?.as_str())
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.text(["/request_id", "/transaction/unique_id", "/http/request/id"])
    }

    pub(super) fn time(&self) -> &str {
        self.text(["/time", "/transaction/time_stamp", "/@timestamp"]).unwrap_or("at a time unknown")
    }

    pub(super) fn target(&self) -> Option<&str> {
        self.text(["/target", "/transaction/request/uri", "/url/original"])
    }

    /// The client's address; ports are not in every format.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let text = self.text(["/client", "/transaction/client_ip", "/client/ip"])?;
        text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0)))
    }

    /// What of the request is in the line.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(super) fn request(&self) -> Result<Request, &'static str> {
        let method = self.text(["/method", "/transaction/request/method", "/http/request/method"]);
        let (Some(method), Some(target)) = (method, self.target()) else { return Err("no method or no target") };
        if method.is_empty() || target.is_empty() {
            return Err("no method or no target");
        }
        if self.0.get("target_bytes").is_some() {
            return Err("the target is cut off");
        }
        let host = self.text(["/host", "/transaction/request/headers/Host", "/url/domain"]);
        let agent = self.text(["/user_agent", "/transaction/request/headers/User-Agent", "/user_agent/original"]);
        let fields = [("host", host), ("user-agent", agent)].into_iter();
        Ok(Request {
            method: method.into(),
            target: target.into(),
            version: b"HTTP/1.1".into(),
            fields: fields.filter_map(|(name, value)| Some((name.into(), value?.into()))).collect(),
            body: Vec::new(),
        })
    }

    /// Whether the rules have refused this request, or would have.
    pub(super) fn is_of_rules(&self) -> bool {
        self.evidence("/stage").and_then(Value::as_str) == Some(crate::admit::waf::NAME)
    }

    /// The rules that led to it: those that added to the score, or else the one that refused.
    pub(super) fn rules(&self) -> Vec<LoggedRule> {
        let all = self.evidence("/rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let all: Vec<LoggedRule> = all.iter().filter_map(logged).collect();
        if all.iter().any(|rule| rule.score > 0) {
            return all.into_iter().filter(|rule| rule.score > 0).collect();
        }
        let by = self.evidence("/rule").and_then(Value::as_str).unwrap_or_default();
        all.into_iter().filter(|rule| rule.id.to_string() == by).collect()
    }

    /// What our own format has at the top and the others in an object of ours.
    fn evidence(&self, name: &str) -> Option<&Value> {
        self.0.get("gatehouse").unwrap_or(&self.0).pointer(name)
    }
}

fn logged(rule: &Value) -> Option<LoggedRule> {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(LoggedRule {
        id: rule.get("id")?.as_u64()?.try_into().ok()?,
        message: text("message"),
        score: rule.get("score").and_then(Value::as_u64).unwrap_or_default(),
        target: text("matched_in"),
        matched: text("matched"),
    })
}

/// Calls `each` for every line of a file that is not empty, with its number.
pub(super) fn lines(path: &Path, mut each: impl FnMut(usize, &[u8])) -> Result<(), RulesError> {
    let mut read = || -> io::Result<()> {
        for (number, line) in (1..).zip(BufReader::new(File::open(path)?).split(b'\n')) {
            let line = line?;
            let line = line.trim_ascii();
            if !line.is_empty() {
                each(number, line);
            }
        }
        Ok(())
    };
    read().map_err(|error| RulesError::File(format!("cannot read {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"time":"T","stage":"waf","request_id":"a","client":"192.0.2.7:4711","method":"GET","host":"h","target":"/p?q=1","user_agent":"u","rule":"9","rules":[{"id":7,"message":"m","score":5,"matched_in":"ARGS:q","matched":"1"},{"id":9,"message":"v","score":0}]}"#;
    const ECS: &str = r#"{"@timestamp":"T","http":{"request":{"id":"a","method":"GET"}},"client":{"ip":"192.0.2.7","port":4711},"url":{"original":"/p?q=1","domain":"h"},"user_agent":{"original":"u"},"gatehouse":{"stage":"waf","rule":"9","rules":[{"id":7,"message":"m","score":5,"matched_in":"ARGS:q","matched":"1"}]}}"#;
    const MODSECURITY: &str = r#"{"transaction":{"client_ip":"192.0.2.7","time_stamp":"T","unique_id":"a","request":{"method":"GET","uri":"/p?q=1","headers":{"Host":"h","User-Agent":"u"}}},"gatehouse":{"stage":"waf","rule":"9","rules":[{"id":7,"message":"m","score":5,"matched_in":"ARGS:q","matched":"1"}]}}"#;

    #[test]
    fn every_format_says_the_same() {
        for text in [OWN, ECS, MODSECURITY] {
            let line = LogLine::read(text.as_bytes()).unwrap();
            assert_eq!((line.request_id(), line.time(), line.is_of_rules()), (Some("a"), "T", true), "{text}");
            assert_eq!(line.client().unwrap().ip(), "192.0.2.7".parse::<IpAddr>().unwrap());
            let request = line.request().unwrap();
            assert_eq!(request.to_bytes(), b"GET /p?q=1 HTTP/1.1\r\nhost: h\r\nuser-agent: u\r\n\r\n");
            let rules = line.rules();
            assert_eq!(rules.len(), 1, "{text}");
            assert_eq!((rules[0].id, rules[0].target.as_str(), rules[0].matched.as_str()), (7, "ARGS:q", "1"));
        }
    }

    #[test]
    fn without_scores_the_rule_that_refused_counts() {
        let line = LogLine::read(OWN.replace("\"score\":5", "\"score\":0").as_bytes()).unwrap();
        assert_eq!(line.rules().iter().map(|rule| rule.id).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn what_has_no_request_is_told() {
        let request = |text: &str| LogLine::read(text.as_bytes()).unwrap().request().unwrap_err();
        assert_eq!(request(r#"{"client":"192.0.2.7:1","count":3}"#), "no method or no target");
        assert_eq!(request(r#"{"method":"GET","target":"/","target_bytes":9000}"#), "the target is cut off");
        assert!(LogLine::read(b"GET / HTTP/1.1").is_none() && LogLine::read(b"3").is_none());
    }
}
