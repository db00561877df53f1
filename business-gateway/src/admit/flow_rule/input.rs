//! What a rule may look at: one flat table of names, and the call they are taken from. Nothing is computed before a rule asks.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Parameters of a query, and header fields, that a rule may look at; with more of them the rule fails, so that nobody hides
/// one behind others.
pub const ENTRIES_MAX: usize = 256;

/// What is used of a limit now; the quota step knows.
pub trait Counters: Send + Sync {
    /// Calls used of the named limit, for the subject this call belongs to; `None` where nothing is known of it.
    fn used(&self, limit: &str) -> Option<u64>;

    /// The same, for longer than the call's head can be borrowed.
    fn kept(&self) -> Arc<dyn Counters>;
}

/// The application that calls; all of it empty where nobody is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppInput<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Who owns it.
    pub owner: &'a str,
    /// The plan it has bought.
    pub plan: &'a str,
    /// Its class of customer.
    pub class: &'a str,
    /// How much of an answer it may see.
    pub field_level: u8,
}

/// A call, as rules see it.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Who calls.
    pub app: AppInput<'a>,
    /// The user for whom the application calls; empty for none.
    pub user: &'a str,
    /// What the credentials allow.
    pub scopes: &'a [Arc<str>],
    /// The client's address.
    pub client: IpAddr,
    /// The API's name.
    pub api: &'a str,
    /// The API's importance.
    pub level: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The host that the client named, as written.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The query as written, without the question mark.
    pub query: &'a str,
    /// The request's header fields.
    pub headers: &'a HeaderMap,
    /// When the call arrived, in Unix milliseconds.
    pub unix_ms: u64,
    /// What is used of limits.
    pub counters: Option<&'a (dyn Counters + 'a)>,
    /// The service's answer, for rules on answers.
    pub answer: Option<AnswerInput<'a>>,
}

/// The answer of a service, as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct AnswerInput<'a> {
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: &'a HeaderMap,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Input").field("api", &self.api).field("path", &self.path).finish_non_exhaustive()
    }
}

/// What kind of value an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// From names to texts; a name that is not there gives an empty text.
    Dictionary,
    /// From names to lists of texts.
    ListDictionary,
    /// From names to whole numbers.
    NumberDictionary,
}

macro_rules! fields {
    ($($variant:ident = $name:literal, $kind:ident, $meaning:literal;)+) => {
        /// One input.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $(#[doc = $meaning] $variant,)+
        }

        impl Field {
            /// Every input, in the order of the reference.
            pub const ALL: &[Field] = &[$(Self::$variant,)+];

            /// Its name in rules.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is.
            #[must_use]
            pub fn kind(self) -> FieldKind {
                match self { $(Self::$variant => FieldKind::$kind,)+ }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

fields! {
    AppKey = "app.key", Text, "The application's key; empty where nobody is known.";
    AppName = "app.name", Text, "The application's name.";
    AppOwner = "app.owner", Text, "Who owns the application.";
    AppPlan = "app.plan", Text, "The application's plan; empty for none.";
    AppClass = "app.class", Text, "The application's class of customer; empty for none.";
    AppFieldLevel = "app.field_level", Number, "How much of an answer the application may see.";
    ApiName = "api.name", Text, "The API's name.";
    ApiLevel = "api.level", Text, "The API's importance; empty for none.";
    User = "user", Text, "The user for whom the application calls; empty for none.";
    Scopes = "scopes", Texts, "The scopes of the credentials.";
    ClientAddress = "client.address", Text, "The client's address.";
    Method = "method", Text, "The method, such as `GET`.";
    Host = "host", Text, "The host that the client named, in lower case and without port.";
    Path = "path", Text, "The canonical path.";
    Headers = "headers", Dictionary, "The request's header fields; a repeated one is joined by commas.";
    Query = "query", Dictionary, "The query's parameters, decoded; of a repeated one the first.";
    QueryAll = "query_all", ListDictionary, "All values of a query's parameters, decoded.";
    TimeUnix = "time.unix", Number, "When the call arrived, in Unix seconds.";
    TimeHour = "time.hour", Number, "The hour in the rule's time zone, 0 to 23.";
    TimeMinute = "time.minute", Number, "The minute in the rule's time zone, 0 to 59.";
    TimeWeekday = "time.weekday", Number, "The day of the week in the rule's time zone, 1 for Monday to 7 for Sunday.";
    Counters = "counters", NumberDictionary, "What is used of a limit, by its name; 0 where nothing is known.";
    ResponseStatus = "response.status", Number, "The status of the service's answer; only for rules on answers.";
    ResponseHeaders = "response.headers", Dictionary, "The header fields of the service's answer; only for rules on answers.";
}

impl Field {
    /// The input of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// Whether it is known only when a service has answered.
    #[must_use]
    pub fn is_of_answer(self) -> bool {
        matches!(self, Self::ResponseStatus | Self::ResponseHeaders)
    }
}

impl<'a> Input<'a> {
    /// A text input; empty for one of another kind.
    #[must_use]
    pub fn text(&self, field: Field) -> Cow<'a, str> {
        Cow::Borrowed(match field {
            Field::AppKey => self.app.key,
            Field::AppName => self.app.name,
            Field::AppOwner => self.app.owner,
            Field::AppPlan => self.app.plan,
            Field::AppClass => self.app.class,
            Field::ApiName => self.api,
            Field::ApiLevel => self.level,
            Field::User => self.user,
            Field::ClientAddress => return Cow::Owned(self.client.to_canonical().to_string()),
            Field::Method => self.method.as_str(),
            Field::Host => return plain_host(self.host),
            Field::Path => self.path,
            _ => "",
        })
    }

    /// A number input; 0 for one of another kind.
    #[must_use]
    pub fn number(&self, field: Field, zone: &TimeZone) -> i64 {
        match field {
            Field::AppFieldLevel => i64::from(self.app.field_level),
            Field::ResponseStatus => self.answer.map_or(0, |answer| i64::from(answer.status)),
            Field::TimeUnix => i64::try_from(self.unix_ms / 1000).unwrap_or(i64::MAX),
            Field::TimeHour | Field::TimeMinute | Field::TimeWeekday => {
                let unix_ms = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
                let Ok(now) = Timestamp::from_millisecond(unix_ms) else { return 0 };
                let offset = zone.to_offset(now);
                let local = offset.to_datetime(now);
                match field {
                    Field::TimeHour => i64::from(local.hour()),
                    Field::TimeMinute => i64::from(local.minute()),
                    _ => i64::from(local.date().weekday().to_monday_one_offset()),
                }
            }
            _ => 0,
        }
    }

    /// What is used of a limit.
    #[must_use]
    pub fn counter(&self, limit: &str) -> i64 {
        let used = self.counters.and_then(|counters| counters.used(limit)).unwrap_or(0);
        i64::try_from(used).unwrap_or(i64::MAX)
    }

    /// The header fields that `field` names.
    #[must_use]
    pub fn header_map(&self, field: Field) -> Option<&'a HeaderMap> {
        match field {
            Field::Headers => Some(self.headers),
            Field::ResponseHeaders => self.answer.map(|answer| answer.headers),
            _ => None,
        }
    }
}

/// A host in lower case, without port and final dot.
fn plain_host(authority: &str) -> Cow<'_, str> {
    let host = crate::admit::api::host_of(authority);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

/// The value of a header; of several the values joined by commas, which is what they mean (RFC 9110, section 5.2).
#[must_use]
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    Some(values.fold(first, |mut joined, value| {
        let text = joined.to_mut();
        text.push_str(", ");
        text.push_str(&value);
        joined
    }))
}

/// The parameters of a query: names and values, decoded as forms are (`+` for a blank).
pub fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// How many parameters a query has at most.
#[must_use]
pub fn parameter_count(query: &str) -> usize {
    if query.is_empty() { 0 } else { query.bytes().filter(|byte| *byte == b'&').count() + 1 }
}

/// Decodes `%41` and `+`; what is not UTF-8 becomes replacement characters.
#[must_use]
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hexadecimal(*high), hexadecimal(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A query in which `name` has this one value, where the first one stood or else at the end.
#[must_use]
pub fn with_parameter(query: &str, name: &str, value: Option<&str>) -> String {
    let mut pieces: Vec<Cow<'_, str>> = Vec::new();
    let mut new = value.map(|value| format!("{}={}", encoded(name), encoded(value)));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let written = pair.split_once('=').map_or(pair, |(name, _)| name);
        if decoded(written) == name {
            pieces.extend(new.take().map(Cow::Owned));
        } else {
            pieces.push(Cow::Borrowed(pair));
        }
    }
    pieces.extend(new.take().map(Cow::Owned));
    pieces.join("&")
}

/// Everything but unreserved characters (RFC 3986, section 2.3) percent-encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_forms_are_written() {
        let pairs: Vec<_> = parameters("a=1&b=%41+c&&flag&a=2&%e4=%zz&x=%C3%A4").collect();
        let expected = [("a", "1"), ("b", "A c"), ("flag", ""), ("a", "2"), ("\u{fffd}", "%zz"), ("x", "\u{e4}")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(parameter_count(""), 0);
        assert_eq!(parameter_count("a=1&b"), 2);
    }

    #[test]
    fn a_parameter_is_set_where_it_stood_and_only_once() {
        let cases = [
            ("", "a", Some("1"), "a=1"),
            ("a=0&b=1&a=2", "a", Some("x y"), "a=x%20y&b=1"),
            ("b=1", "a", Some("&="), "b=1&a=%26%3D"),
            ("%61=0&b=1", "a", None, "b=1"),
            ("b=1", "a", None, "b=1"),
        ];
        for (query, name, value, expected) in cases {
            assert_eq!(with_parameter(query, name, value), expected, "{query}");
        }
    }

    #[test]
    fn a_repeated_header_is_one_value() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        assert_eq!(header(&headers, "X-A").as_deref(), Some("1, 2"));
        assert_eq!(header(&headers, "x-b"), None);
        assert_eq!(header(&headers, "not a name"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_parameter_that_was_set_is_read_back(query in "[a-c=&%+0-9]{0,30}", name in "[a-c]{1,2}", value: String) {
            let set = with_parameter(&query, &name, Some(&value));
            let found: Vec<_> = parameters(&set).filter(|(known, _)| *known == name).collect();
            proptest::prop_assert_eq!(found, [(name.into(), value.into())]);
        }
    }
}
