//! The parts of a key, and the places of a request that they name.

use std::{borrow::Cow, net::IpAddr, str::FromStr};

use gatehouse_shared::{
    cidr::around,
    limit::{Key, KeyBuilder, KeyHasher},
};
use http::{HeaderMap, HeaderName, header};

use crate::admit::RequestView;

/// Prefix lengths of one client: an IPv4 address, an IPv6 /64 network.
const CLIENT: (u8, u8) = (32, 64);
/// Prefix lengths of `network` without its own, and of what stands in for a client when a table is full.
pub(super) const NETWORK: (u8, u8) = (24, 48);

/// One part of what a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The client's network, by prefix lengths for IPv4 and IPv6.
    Network(u8, u8),
    Host,
    Path,
    Route,
    Method,
    Place(Place),
}

/// A place in a request that a client fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
}

/// Everything a limit counts by, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySpec {
    pub(super) parts: Box<[Part]>,
    /// Whether all nodes must make the same key of the same request.
    pub(super) is_fleet: bool,
}

/// The value of one part, as evidence shows it.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) value: Cow<'a, [u8]>,
    pub(super) is_secret: bool,
}

impl KeySpec {
    /// The key of a request; `None` when it lacks a part.
    pub(super) fn key(&self, request: &RequestView<'_>, hasher: &KeyHasher) -> Option<Key> {
        self.parts.iter().try_fold(hasher.key(), |key, part| part.add_to(key, request)).map(KeyBuilder::finish)
    }

    /// What it is, for people: `client, path`.
    pub(super) fn text(&self) -> String {
        let parts: Vec<_> = self.parts.iter().map(Part::text).collect();
        parts.join(", ")
    }
}

impl Part {
    fn add_to(&self, key: KeyBuilder, request: &RequestView<'_>) -> Option<KeyBuilder> {
        Some(match self {
            Self::Network(four, six) => key.address(network_of(request.client(), (*four, *six))),
            Self::Host => key.bytes(request.host().as_bytes()),
            Self::Path => key.bytes(request.path().as_bytes()),
            Self::Route => key.bytes(request.route().map_or("", |route| &route.name).as_bytes()),
            Self::Method => key.bytes(request.method().as_str().as_bytes()),
            Self::Place(Place::Header(name)) => {
                let mut values = request.headers().get_all(name).iter();
                let first = key.bytes(values.next()?.as_bytes());
                values.fold(first, |key, value| key.bytes(value.as_bytes()))
            }
            Self::Place(place) => key.bytes(&place.value(request)?),
        })
    }

    /// Its value in a request, for evidence.
    pub(super) fn show<'a>(&self, request: &RequestView<'a>) -> Shown<'a> {
        let text = |text: &'a str| Cow::Borrowed(text.as_bytes());
        let (value, is_secret) = match self {
            Self::Network(four, six) => {
                let network = around(request.client(), *four, *six).as_ipnet();
                let is_one = network.prefix_len() == network.max_prefix_len();
                let shown = if is_one { network.addr().to_string() } else { network.to_string() };
                (Cow::Owned(shown.into_bytes()), false)
            }
            Self::Host => (text(request.host()), false),
            Self::Path => (text(request.path()), false),
            Self::Route => (text(request.route().map_or("", |route| &route.name)), false),
            Self::Method => (text(request.method().as_str()), false),
            Self::Place(place) => (place.value(request).unwrap_or_default(), true),
        };
        Shown { value, is_secret }
    }

    fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Network(four, six) if (*four, *six) == CLIENT => "client",
            Self::Network(four, six) => return format!("network /{four}, /{six}").into(),
            Self::Host => "host",
            Self::Path => "path",
            Self::Route => "route",
            Self::Method => "method",
            Self::Place(Place::Header(name)) => return format!("header {name}").into(),
            Self::Place(Place::Cookie(name)) => return format!("cookie {name}").into(),
            Self::Place(Place::Query(name)) => return format!("query {name}").into(),
        })
    }
}

impl Place {
    /// What stands there first; `None` when nothing does.
    pub(super) fn value<'a>(&self, request: &RequestView<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Header(name) => request.headers().get(name).map(|value| Cow::Borrowed(value.as_bytes())),
            Self::Cookie(name) => cookie(request.headers(), name).map(Cow::Borrowed),
            Self::Query(name) => argument(request.query()?, name),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "client" => Self::Network(CLIENT.0, CLIENT.1),
            "network" => Self::Network(NETWORK.0, NETWORK.1),
            "host" => Self::Host,
            "path" => Self::Path,
            "route" => Self::Route,
            "method" => Self::Method,
            _ => match text.strip_prefix("network:") {
                Some(prefixes) => prefix_lengths(prefixes)
                    .ok_or_else(|| format!("\"{text}\" needs two prefix lengths, such as \"network:24,48\""))?,
                None => Self::Place(text.parse().map_err(|()| {
                    format!(
                        "\"{text}\" is none of client, network, network:24,48, host, path, route, method, header:NAME, \
                         cookie:NAME, query:NAME"
                    )
                })?),
            },
        })
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once(':').ok_or(())?;
        if name.is_empty() {
            return Err(());
        }
        match kind {
            "header" => HeaderName::try_from(name).map(Self::Header).map_err(|_error| ()),
            "cookie" => Ok(Self::Cookie(name.into())),
            "query" => Ok(Self::Query(name.into())),
            _ => Err(()),
        }
    }
}

fn prefix_lengths(text: &str) -> Option<Part> {
    let (four, six) = text.split_once(',')?;
    let (four, six) = (four.trim().parse().ok()?, six.trim().parse().ok()?);
    (four <= 32 && six <= 128).then_some(Part::Network(four, six))
}

/// The first address of the network around a client.
pub(super) fn network_of(client: IpAddr, (four, six): (u8, u8)) -> IpAddr {
    around(client, four, six).as_ipnet().addr()
}

/// The first value of a cookie, by its exact name (RFC 6265, 4.2).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        (pair.get(..end)?.trim_ascii() == name.as_bytes()).then(|| pair.get(end + 1..).map(<[u8]>::trim_ascii))?
    });
    values.next()
}

/// The first value of a query argument, decoded, so that nobody gets a second counter by spelling it differently.
fn argument<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decoded(key) == *name.as_bytes()).then(|| decoded(value))
    })
}

/// A form-encoded text as bytes; what is no valid escape stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = after.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::view::sample::Sample;

    fn spec(parts: &[&str]) -> KeySpec {
        KeySpec { parts: parts.iter().map(|part| part.parse().unwrap()).collect(), is_fleet: false }
    }

    fn key(spec: &KeySpec, sample: &Sample) -> Option<Key> {
        spec.key(&sample.view(), &KeyHasher::of_process())
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let client = spec(&["client"]);
        let of = |address: &str| key(&client, &Sample::get("/", &[]).from(address));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        let network = spec(&["network"]);
        let of = |address: &str| key(&network, &Sample::get("/", &[]).from(address));
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:ffff::1"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
    }

    #[test]
    fn each_part_tells_requests_apart() {
        let one = Sample::get("/a?token=1", &[("Cookie", "a=b; session=1"), ("X-Key", "1")]);
        let other = Sample::head("POST /b?token=2 HTTP/1.1\r\nHost: other\r\nCookie: session=2\r\nX-Key: 2\r\n\r\n");
        for part in ["host", "path", "method", "header:x-key", "cookie:session", "query:token"] {
            let spec = spec(&[part]);
            assert!(key(&spec, &one).is_some(), "{part}");
            assert_ne!(key(&spec, &one), key(&spec, &other), "{part}");
        }
        assert_eq!(key(&spec(&[]), &one), key(&spec(&[]), &other), "one counter for all");
        assert_eq!(key(&spec(&["route"]), &one), key(&spec(&["route"]), &other), "neither has a route");
    }

    #[test]
    fn what_is_not_there_is_not_counted() {
        let sample = Sample::get("/?a=b&tokens=1", &[("Cookie", "xsession=1; sessionx=2")]);
        for part in ["header:x-key", "cookie:session", "query:token"] {
            assert_eq!(key(&spec(&["client", part]), &sample), None, "{part}");
        }
    }

    #[test]
    fn another_spelling_is_no_other_key() {
        let token = spec(&["query:to ken"]);
        let of = |target: &str| key(&token, &Sample::get(target, &[]));
        assert!(of("/?to+ken=a%2Bb").is_some());
        assert_eq!(of("/?to+ken=a%2Bb"), of("/?x=y&%74o%20ken=%61%2bb"));
        assert_eq!(&*decoded("%zz%4"), b"%zz%4");
    }

    #[test]
    fn all_values_of_a_header_count() {
        let agent = spec(&["header:x-key"]);
        let of = |fields: &[(&str, &str)]| key(&agent, &Sample::get("/", fields));
        assert_ne!(of(&[("X-Key", "1")]), of(&[("X-Key", "1"), ("X-Key", "2")]));
    }

    #[test]
    fn unknown_parts_are_refused() {
        for part in ["clients", "header:", "header:a b", "network:24", "network:33,64", "network:24,129", "cookie"] {
            assert!(part.parse::<Part>().is_err(), "{part}");
        }
        assert_eq!(spec(&["client", "network:16,32", "header:X-Key"]).text(), "client, network /16, /32, header x-key");
    }
}
