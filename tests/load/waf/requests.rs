//! The requests that are measured, those that must be refused and those that must not.

use std::fmt::Write as _;

use crate::settings::{FIELDS, TARGET};

/// The host asked for. A name, since rules frown on addresses.
pub(super) const HOST: &str = "www.example.com";

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Its name in tables and figures.
    pub(super) name: &'static str,
    /// Path and query.
    pub(super) target: String,
    /// Header lines, `Name: value`, without `Host` and `Content-Length`.
    pub(super) fields: Vec<String>,
    /// The body; a request with one is a POST.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A GET with the header of every request.
    pub(super) fn get(name: &'static str, target: impl Into<String>) -> Self {
        let fields = FIELDS.map(str::to_owned).to_vec();
        Self { name, target: target.into(), fields, body: Vec::new() }
    }

    /// A POST with the header of every request.
    pub(super) fn post(name: &'static str, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::get(name, "/bench") }.with("Content-Type", media_type)
    }

    /// The same with another value of a header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|field| !field.starts_with(&format!("{name}:")));
        self.fields.push(format!("{name}: {value}"));
        self
    }

    /// The same with other digits in the query, the cookie and the body, each number another: numbers, ids and tokens are what
    /// clients seldom send twice, and the engine remembers what it has seen.
    pub(super) fn varied(&self, number: u64) -> Self {
        let mut digits = Digits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut varied = self.clone();
        if let Some((path, query)) = self.target.split_once('?') {
            varied.target = format!("{path}?{}", digits.others(query));
        }
        for field in varied.fields.iter_mut().filter(|field| field.starts_with("Cookie:")) {
            *field = digits.others(field);
        }
        for byte in varied.body.iter_mut().filter(|byte| byte.is_ascii_digit()) {
            *byte = digits.next();
        }
        varied
    }

    /// Its method.
    pub(super) fn method(&self) -> &'static str {
        if self.body.is_empty() { "GET" } else { "POST" }
    }

    /// Header lines and their values.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().filter_map(|field| field.split_once(": "))
    }

    /// Bytes of target, header values and body: what a client can make long.
    pub(super) fn bytes(&self) -> usize {
        let values: usize = self.headers().map(|(_, value)| value.len()).sum();
        self.target.len() + values + self.body.len()
    }
}

/// Digits by xorshift, none of them 0, which may not begin a number in JSON.
struct Digits(u64);

impl Digits {
    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        b'1' + u8::try_from(self.0 % 9).unwrap_or(0)
    }

    fn others(&mut self, text: &str) -> String {
        text.chars().map(|char| if char.is_ascii_digit() { char::from(self.next()) } else { char }).collect()
    }
}

/// What is measured.
pub(super) fn ordinary() -> [Request; 3] {
    [
        Request::get("get", TARGET),
        Request::post("json_1k", "application/json", items(1 << 10)),
        Request::post("json_64k", "application/json", items(64 << 10)),
    ]
}

/// A GET as a browser sends it, with four arguments and all the headers that browsers send.
pub(super) fn browser_get() -> Request {
    Request::get("browser_get", "/bench?id=17&page=2&sort=name&q=blue+shoes")
        .with("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .with("Accept", "application/json, text/plain, */*")
        .with("Accept-Language", "en-US,en;q=0.5")
        .with("Accept-Encoding", "gzip, deflate, br")
        .with("Referer", "https://www.example.com/items")
}

/// What must pass beside what is measured.
pub(super) fn harmless() -> [Request; 3] {
    [
        browser_get(),
        Request::get("search", "/bench?q=Tom+%26+Jerry%27s+%28best+of%29+50%25+off"),
        Request::post(
            "form",
            "application/x-www-form-urlencoded",
            "name=Ada+Lovelace&comment=I%27d+like+two%2C+please",
        ),
    ]
}

/// What must be refused: one kind of attack in every place that a client controls.
pub(super) fn attacks() -> [Request; 6] {
    let injection = "1' union select password from users -- ";
    [
        Request::get("injection_in_query", format!("/bench?symbol={}", percent(injection))),
        Request::get("traversal_in_query", "/bench?file=../../../../../../etc/passwd"),
        Request::get("scanner", "/bench").with("User-Agent", "sqlmap/1.8.4#stable (https://sqlmap.org)"),
        Request::get("script_in_cookie", "/bench")
            .with("Cookie", "sid=0123456789abcdef; theme=<script>alert(document.cookie)</script>"),
        Request::post("injection_in_json", "application/json", format!("[{{\"id\":17,\"note\":\"{injection}\"}}]")),
        Request::post(
            "script_in_form",
            "application/x-www-form-urlencoded",
            "comment=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        ),
    ]
}

/// A JSON document of exactly so many bytes: a list of small objects, as APIs exchange them.
fn items(bytes: usize) -> Vec<u8> {
    const ITEM: &str = r#"{"id":170423,"name":"blue shoes, size 42","price":59.9,"tags":["sale","summer"],"note":"Leave it at the door"}"#;
    let mut body = format!("[{ITEM}");
    while body.len() + ITEM.len() + 2 <= bytes {
        body.push(',');
        body.push_str(ITEM);
    }
    let rest = bytes.saturating_sub(body.len() + 1);
    body.extend(std::iter::repeat_n(' ', rest));
    body.push(']');
    body.into_bytes()
}

/// Everything but letters and digits percent-encoded.
pub(super) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match char::from(byte) {
            letter if letter.is_ascii_alphanumeric() => encoded.push(letter),
            _ => drop(write!(encoded, "%{byte:02x}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::{Request, items, ordinary, percent};

    #[test]
    fn documents_are_json_and_as_long_as_asked_for() {
        for bytes in [1 << 10, 64 << 10] {
            let body = items(bytes);
            assert_eq!(body.len(), bytes);
            let document: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            assert!(document.len() > bytes / 128 && document.iter().all(|item| item["id"] == 170_423));
        }
    }

    #[test]
    fn variants_differ_in_digits_and_nothing_else() {
        let plain = |bytes: &[u8]| bytes.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        for request in ordinary() {
            let [one, other] = [1, 2].map(|number| request.varied(number));
            assert_ne!((&one.target, &one.fields, &one.body), (&other.target, &other.fields, &other.body));
            let (varied, usual): (Vec<u8>, Vec<u8>) = (plain(&one.body), plain(&request.body));
            assert_eq!(
                (varied, one.target.len(), &one.fields[..2]),
                (usual, request.target.len(), &request.fields[..2])
            );
            let document = serde_json::from_slice::<Vec<serde_json::Value>>(&one.body);
            assert!(one.body.is_empty() || document.is_ok());
        }
    }

    #[test]
    fn another_value_takes_the_place_of_the_usual_one() {
        let request = Request::get("a", "/").with("Cookie", "b=c");
        let cookies: Vec<_> = request.headers().filter(|(name, _)| *name == "Cookie").collect();
        assert_eq!(cookies, [("Cookie", "b=c")]);
        assert_eq!((request.method(), ordinary()[1].method()), ("GET", "POST"));
        assert_eq!(percent("a' b"), "a%27%20b");
    }
}
