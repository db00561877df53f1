//! What came of an item, as it is written into the answer of its batch.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gatehouse_shared::hop;
use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::item::is_json;
use super::json::compact;
use super::run::Member;
use super::stream::Order;

/// The answer to an item.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The same as it is written, but for what differs between items that share it.
#[derive(Debug)]
pub enum Written<'a> {
    /// The end of a JSON object: everything behind the id.
    Json {
        /// The text.
        rest: String,
        /// How objects stand together.
        order: &'a Order,
    },
    /// The body alone.
    Text {
        /// The body.
        body: Bytes,
        /// What stands before every one but the first.
        separator: &'a str,
    },
}

impl Answered {
    /// Writes it in the form of the batch.
    ///
    /// # Errors
    /// When it cannot be told from what stands around it there.
    pub fn write<'a>(&self, order: &'a Order) -> Result<Written<'a>, &'static str> {
        match order {
            Order::Array { .. } | Order::AsTheyFinish => Ok(Written::Json { rest: self.json(), order }),
            Order::Text(separator) => {
                if holds(&self.body, separator.as_bytes()) {
                    return Err("the answer holds the separator");
                }
                Ok(Written::Text { body: self.body.clone(), separator })
            }
        }
    }

    /// `"status":…,"headers":{…},"body":…}`.
    fn json(&self) -> String {
        let mut text = String::with_capacity(self.body.len() + 256);
        text.push_str("\"status\":");
        text.push_str(self.status.as_str());
        text.push_str(",\"headers\":{");
        let mut is_first = true;
        for name in self.headers.keys().filter(|name| !is_hidden(name.as_str())) {
            let values: Vec<&str> = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            if values.is_empty() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                text.push(',');
            }
            push_string(&mut text, name.as_str());
            text.push(':');
            push_string(&mut text, &values.join(", "));
        }
        text.push('}');
        if !self.body.is_empty() {
            self.push_body(&mut text);
        }
        text.push('}');
        text
    }

    /// JSON as it is, text as a string, and anything else as a string in base64.
    fn push_body(&self, text: &mut String) {
        let Ok(body) = std::str::from_utf8(&self.body) else {
            text.push_str(",\"body_base64\":\"");
            STANDARD.encode_string(&self.body, text);
            text.push('"');
            return;
        };
        text.push_str(",\"body\":");
        let is_json = self.headers.get(header::CONTENT_TYPE).is_some_and(|kind: &HeaderValue| is_json(kind));
        match if is_json { compact(body) } else { None } {
            Some(line) => text.push_str(&line),
            None => push_string(text, body),
        }
    }
}

impl Written<'_> {
    /// The bytes that it takes for an item.
    #[must_use]
    pub fn length(&self, member: &Member) -> usize {
        match self {
            Self::Json { rest, order } => order.before(member).len() + rest.len() + order.behind(member).len(),
            Self::Text { body, separator } => body.len() + if member.index == 0 { 0 } else { separator.len() },
        }
    }

    /// The whole of it for an item.
    #[must_use]
    pub fn of(&self, member: &Member) -> Bytes {
        match self {
            Self::Json { rest, order } => {
                let mut text = order.before(member);
                let behind = order.behind(member);
                text.reserve_exact(rest.len() + behind.len());
                text.push_str(rest);
                text.push_str(behind);
                Bytes::from(text)
            }
            Self::Text { body, .. } if member.index == 0 => body.clone(),
            Self::Text { body, separator } => Bytes::from([separator.as_bytes(), body].concat()),
        }
    }
}

/// Headers that say nothing of an item: of its connection, of the gates, or what stands at the batch.
fn is_hidden(name: &str) -> bool {
    hop::is_internal(name)
        || matches!(
            name,
            "connection"
                | "keep-alive"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "content-length"
                | "date"
        )
        || matches!(name, "server" | "x-request-id" | "set-cookie" | "alt-svc" | "strict-transport-security")
}

/// A text as a JSON string.
fn push_string(out: &mut String, text: &str) {
    // There is nothing in a text that cannot be written.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    let first = part.first().copied().unwrap_or_default();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        let Some(here) = rest.get(at..) else { return false };
        if here.starts_with(part) {
            return true;
        }
        rest = here.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Answered {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Answered { status: StatusCode::OK, headers: map, body: Bytes::from_static(body) }
    }

    fn written(answered: &Answered, order: &Order, index: usize, id: Option<&str>) -> String {
        let member = Member { index, id: id.map(Into::into) };
        let written = answered.write(order).unwrap();
        let bytes = written.of(&member);
        assert_eq!(bytes.len(), written.length(&member));
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn an_item_is_one_object_on_one_line() {
        let json = answered(
            &[("content-type", "application/json"), ("etag", "\"1\""), ("vary", "a"), ("vary", "b"), ("date", "now")],
            b"{\n \"a\": 1.10 }\n",
        );
        let rest = r#""status":200,"headers":{"content-type":"application/json","etag":"\"1\"","vary":"a, b"},"body":{"a":1.10}}"#;
        let array = Order::Array { count: 3 };
        assert_eq!(written(&json, &array, 0, Some("\"x\"")), format!("[{{\"id\":\"x\",{rest}"));
        assert_eq!(written(&json, &array, 1, None), format!(",{{{rest}"));
        assert_eq!(written(&json, &array, 2, Some("7")), format!(",{{\"id\":7,{rest}]\n"));
        assert_eq!(written(&json, &Order::AsTheyFinish, 2, Some("7")), format!("{{\"index\":2,\"id\":7,{rest}\n"));
        assert_eq!(written(&json, &Order::Array { count: 1 }, 0, None), format!("[{{{rest}]\n"));
    }

    #[test]
    fn a_body_is_json_text_or_base64() {
        for (kind, body, expected) in [
            ("text/plain", &b"a\n\"b\""[..], r#","body":"a\n\"b\""}"#),
            ("application/json", b"{broken", r#","body":"{broken"}"#),
            ("application/problem+json", b"[1]", r#","body":[1]}"#),
            ("application/octet-stream", b"\xff\x00", r#","body_base64":"/wA="}"#),
            ("application/json", b"", r#"}}"#),
        ] {
            let text = written(&answered(&[("content-type", kind)], body), &Order::AsTheyFinish, 0, None);
            assert!(text.trim_end().ends_with(expected), "{text}");
            assert_eq!(text.trim_end().lines().count(), 1);
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }

    #[test]
    fn in_the_text_form_bodies_stand_between_separators() {
        let order = Order::Text("-S-".into());
        let answer = answered(&[], b"--S{}");
        assert_eq!(written(&answer, &order, 0, None), "--S{}");
        assert_eq!(written(&answer, &order, 1, None), "-S---S{}");
        assert!(answered(&[], b"--S-").write(&order).is_err());
    }
}
