//! What a split and a mirror look at of a call: one value, named by a short text such as `"user"` or `"cookie:visitor"`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use gatehouse_shared::config::nearest;
use http::HeaderName;
use http::header;
use http::request::Parts;

use crate::admit::caller::Caller;
use crate::admit::flow_rule::input;

/// A call, as far as sources look at it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// The client's address.
    pub client: IpAddr,
    /// The id of the call.
    pub request_id: &'a str,
    /// The head of the request.
    pub parts: &'a Parts,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The user for whom the application calls.
    User,
    /// The key of the application.
    App,
    /// The name of the application.
    AppName,
    /// The plan of the application.
    AppPlan,
    /// The application's class of customer.
    AppClass,
    /// Who owns the application.
    AppOwner,
    /// The client's address.
    Client,
    /// The id of the call, which no other call has.
    Call,
    /// A header; of a repeated one all values, joined by commas.
    Header(HeaderName),
    /// A cookie; of a repeated one the first.
    Cookie(Box<str>),
    /// A parameter of the query, decoded; of a repeated one the first.
    Query(Box<str>),
}

/// The sources that need no name.
const PLAIN: [(&str, Source); 8] = [
    ("user", Source::User),
    ("app", Source::App),
    ("app.name", Source::AppName),
    ("app.plan", Source::AppPlan),
    ("app.class", Source::AppClass),
    ("app.owner", Source::AppOwner),
    ("client", Source::Client),
    ("call", Source::Call),
];

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is nothing of a call")]
pub struct SourceError {
    text: String,
    /// What to write instead.
    pub remedy: String,
}

impl Source {
    /// The source of that name.
    ///
    /// # Errors
    /// When there is none; the remedy says what there is.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |remedy: String| SourceError { text: text.to_owned(), remedy };
        if let Some((_, source)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(source.clone());
        }
        let Some((kind, name)) = text.split_once(':').filter(|(_, name)| !name.is_empty()) else {
            let known = PLAIN.iter().map(|(name, _)| *name);
            return Err(refuse(match nearest(text, known.clone()) {
                Some(name) => format!("did you mean {name:?}?"),
                None => {
                    let known: Vec<_> = known.collect();
                    format!("write one of {}, or header:, cookie: or query: and a name", known.join(", "))
                }
            }));
        };
        match kind {
            "header" => HeaderName::try_from(name)
                .map(Self::Header)
                .map_err(|_unfit| refuse("write the name of a header behind header:".to_owned())),
            "cookie" => Ok(Self::Cookie(name.into())),
            "query" => Ok(Self::Query(name.into())),
            _ => Err(refuse("names follow header:, cookie: or query:".to_owned())),
        }
    }

    /// Its value; `None` where the call has none, or an empty one.
    #[must_use]
    pub fn find<'a>(&self, seen: &Seen<'a>) -> Option<Cow<'a, str>> {
        let app = seen.caller.app.as_deref();
        let value = match self {
            Self::User => seen.caller.user.as_deref().map(Cow::Borrowed),
            Self::App => app.map(|app| Cow::Borrowed(&*app.key)),
            Self::AppName => app.map(|app| Cow::Borrowed(&*app.name)),
            Self::AppPlan => app.and_then(|app| app.plan.as_deref()).map(Cow::Borrowed),
            Self::AppClass => app.and_then(|app| app.class.as_deref()).map(Cow::Borrowed),
            Self::AppOwner => app.and_then(|app| app.owner.as_deref()).map(Cow::Borrowed),
            Self::Client => Some(Cow::Owned(seen.client.to_canonical().to_string())),
            Self::Call => Some(Cow::Borrowed(seen.request_id)),
            Self::Header(name) => input::header(&seen.parts.headers, name.as_str()),
            Self::Cookie(name) => cookie(seen.parts, name),
            Self::Query(name) => {
                let mut parameters = input::parameters(seen.parts.uri.query().unwrap_or_default());
                parameters.find(|(known, _)| **known == **name).map(|(_, value)| value)
            }
        };
        value.filter(|value| !value.is_empty())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(out, "header:{name}"),
            Self::Cookie(name) => write!(out, "cookie:{name}"),
            Self::Query(name) => write!(out, "query:{name}"),
            plain => out.write_str(PLAIN.iter().find(|(_, source)| source == plain).map_or("", |(name, _)| name)),
        }
    }
}

/// A cookie by its name, as it stands between the semicolons (RFC 6265, section 4.2).
fn cookie<'a>(parts: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    let values = parts.headers.get_all(header::COOKIE).iter();
    let pairs = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (known, value) = pair.split_at_checked(at)?;
        (known.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    named.next().map(String::from_utf8_lossy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(source: &str, parts: &Parts) -> Option<String> {
        let caller = Caller { user: Some("u1".into()), ..Caller::anonymous() };
        let client = "::ffff:203.0.113.9".parse().unwrap();
        let seen = Seen { caller: &caller, client, request_id: "01H", parts };
        Source::parse(source).unwrap().find(&seen).map(Cow::into_owned)
    }

    #[test]
    fn every_source_has_a_name_and_a_value() {
        let request = http::Request::get("/?city=Ha%6Egzhou&city=x&empty=").header("x-a", "1").header("x-a", "2");
        let request = request.header("cookie", "a=0; visitor = v=1").header("cookie", "visitor=v2;;b");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        for (source, expected) in [
            ("user", Some("u1")),
            ("app", None),
            ("app.plan", None),
            ("client", Some("203.0.113.9")),
            ("call", Some("01H")),
            ("header:X-A", Some("1, 2")),
            ("header:x-b", None),
            ("cookie:visitor", Some("v=1")),
            ("cookie:b", None),
            ("query:city", Some("Hangzhou")),
            ("query:empty", None),
        ] {
            assert_eq!(find(source, &parts).as_deref(), expected, "{source}");
            assert_eq!(Source::parse(source).unwrap().to_string(), source.to_ascii_lowercase());
        }
    }

    #[test]
    fn what_is_no_source_is_told_with_what_there_is() {
        for (text, remedy) in [
            ("usr", "did you mean \"user\"?"),
            ("elephants", "write one of user, app, "),
            ("header:", "write one of "),
            ("header:a b", "write the name of a header"),
            ("path:x", "names follow header:, cookie: or query:"),
        ] {
            let error = Source::parse(text).unwrap_err();
            assert!(error.remedy.starts_with(remedy), "{text}: {}", error.remedy);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_cookie_header_stops_it(bytes: Vec<u8>, name in "[a-z=; ]{1,4}") {
            let Ok(value) = http::HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let (parts, ()) = http::Request::get("/").header("cookie", value).body(()).unwrap().into_parts();
            let found = cookie(&parts, &name);
            proptest::prop_assert!(found.is_none_or(|found| !found.contains(';')));
        }
    }
}
