//! The parts of a key, and the places of a request that they name.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use gatehouse_shared::{
    cidr::around,
    limit::{Key, KeyHasher},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

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
    /// What it is, for people: `client, path`.
    pub(super) fn text(&self) -> String {
        let parts: Vec<_> = self.parts.iter().map(Part::text).collect();
        parts.join(", ")
    }
}

impl Part {
    /// The digest of its value in a request; `None` when there is none. The hasher is that of this part.
    pub(super) fn digest(&self, request: &RequestView<'_>, hasher: &KeyHasher) -> Option<Key> {
        let value: &[u8] = match self {
            Self::Network(four, six) => {
                return Some(hasher.digest_of_address(network_of(request.client(), (*four, *six))));
            }
            Self::Host => request.host().as_bytes(),
            Self::Path => request.path().as_bytes(),
            Self::Route => request.route().map_or("", |route| &route.name).as_bytes(),
            Self::Method => request.method().as_str().as_bytes(),
            Self::Place(Place::Header(name)) => &values(request.headers(), name)?,
            Self::Place(place) => &place.value(request)?,
        };
        Some(hasher.digest(value))
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

    /// What it is, for people; no two different parts are called the same.
    pub(super) fn text(&self) -> Cow<'static, str> {
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
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(u32::BITS.saturating_sub(four.into())).unwrap_or_default();
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u128::BITS.saturating_sub(six.into())).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// All values of a header. Several are joined by line feeds, which no value contains.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = [first, second].join(&b'\n');
    for value in values {
        joined.push(b'\n');
        joined.extend_from_slice(value);
    }
    Some(Cow::Owned(joined))
}

/// The first value of a cookie, by its exact name (RFC 6265, 4.2).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(header::COOKIE).iter().find_map(|line| {
        let mut rest = Some(line.as_bytes());
        while let Some(pairs) = rest {
            let pair;
            (pair, rest) = cut(pairs, b';');
            let (key, value) = cut(pair, b'=');
            if let Some(value) = value.filter(|_| key.trim_ascii() == name.as_bytes()) {
                return Some(value.trim_ascii());
            }
        }
        None
    })
}

/// The first value of a query argument, decoded, so that nobody gets a second counter by spelling it differently.
fn argument<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut rest = Some(query.as_bytes());
    while let Some(pairs) = rest {
        let pair;
        (pair, rest) = cut(pairs, b'&');
        let (key, value) = cut(pair, b'=');
        if *decoded(key) == *name.as_bytes() {
            return Some(decoded(value.unwrap_or_default()));
        }
    }
    None
}

/// What is before the first such byte, and what is after it, if there is one.
#[inline]
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes).and_then(|place| bytes.split_at_checked(place)) {
        Some((before, after)) => (before, after.get(1..)),
        None => (bytes, None),
    }
}

/// A form-encoded text; what is no valid escape stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
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
    use crate::admit::{
        limit::keys::{Digests, Keys},
        view::sample::Sample,
    };

    fn spec(parts: &[&str]) -> KeySpec {
        KeySpec { parts: parts.iter().map(|part| part.parse().unwrap()).collect(), is_fleet: false }
    }

    fn key(spec: &KeySpec, sample: &Sample) -> Option<Key> {
        let keys = Keys::new(vec![spec.clone()], KeyHasher::of_process(), KeyHasher::of_process());
        keys.key(0, &sample.view(), &mut Digests::default())
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
        assert_eq!(&*decoded(b"%zz%4"), b"%zz%4");
    }

    #[test]
    fn all_values_of_a_header_count() {
        let agent = spec(&["header:x-key"]);
        let of = |fields: &[(&str, &str)]| key(&agent, &Sample::get("/", fields));
        assert_ne!(of(&[("X-Key", "1")]), of(&[("X-Key", "1"), ("X-Key", "2")]));
        let three = of(&[("X-Key", "1"), ("X-Key", "2"), ("X-Key", "3")]);
        assert_ne!(three, of(&[("X-Key", "1"), ("X-Key", "2"), ("X-Key", "4")]));
        assert_eq!(three, of(&[("X-Key", "1"), ("Other", "x"), ("X-Key", "2"), ("X-Key", "3")]));
    }

    #[test]
    fn unknown_parts_are_refused() {
        for part in ["clients", "header:", "header:a b", "network:24", "network:33,64", "network:24,129", "cookie"] {
            assert!(part.parse::<Part>().is_err(), "{part}");
        }
        assert_eq!(spec(&["client", "network:16,32", "header:X-Key"]).text(), "client, network /16, /32, header x-key");
    }
}
