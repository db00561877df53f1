//! The PROXY protocol, versions 1 and 2: who is really calling, as the balancer before us states it.
//!
//! A pure parser over what has been read so far; who may send a header, and how long it may take, is decided by
//! `connection`. Format: "The PROXY protocol", HAProxy, versions 1 and 2. Unknown type-length-value fields are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Longest version 1 header, line end included (section 2.1 of the specification).
const V1_MAX: usize = 107;
/// Longest version 2 header taken; the format allows 65,551, balancers send a few hundred bytes.
pub(super) const HEADER_MAX: usize = 4_096;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// What a complete header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The balancer speaks for itself (a health check), or of a protocol without addresses: the socket's peer counts.
    Local,
    /// The client and the address it connected to.
    Proxied { source: SocketAddr, destination: SocketAddr },
}

/// Why the bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    #[error("the PROXY protocol header is longer than {HEADER_MAX} bytes")]
    TooLong,
    #[error("the PROXY protocol header has an unknown version or command")]
    Version,
    #[error("the PROXY protocol header has addresses that do not parse")]
    Address,
}

/// Reads a header from the beginning of `bytes`: the header and its length, or `None` while more bytes are needed.
/// Nothing behind the header is looked at.
///
/// # Errors
/// As soon as no continuation could make the bytes a header.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(b'\r') => parse_v2(bytes),
        Some(_) => Err(Malformed::Absent),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let start = b"PROXY ";
    let seen = bytes.len().min(start.len());
    if bytes.get(..seen) != start.get(..seen) {
        return Err(Malformed::Absent);
    }
    let line_max = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = line_max.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() >= V1_MAX { Err(Malformed::TooLong) } else { Ok(None) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::Address)?;
    let line = str::from_utf8(line).map_err(|_not_text| Malformed::Address)?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => Header::Local,
        Some("TCP4") => addresses_v1(words, |text| text.parse().map(IpAddr::V4).ok())?,
        Some("TCP6") => addresses_v1(words, |text| text.parse().map(IpAddr::V6).ok())?,
        _ => return Err(Malformed::Version),
    };
    Ok(Some((header, end + 1)))
}

fn addresses_v1<'a>(
    mut words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Result<Header, Malformed> {
    let mut word = || words.next().ok_or(Malformed::Address);
    let (source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(Malformed::Address);
    }
    let port = |text: &str| {
        let plain = text == "0" || (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'));
        if plain { text.parse::<u16>().ok() } else { None }
    };
    let socket = |ip: &str, number: &str| Some(SocketAddr::new(address(ip)?.to_canonical(), port(number)?));
    let source = socket(source, source_port).ok_or(Malformed::Address)?;
    let destination = socket(destination, destination_port).ok_or(Malformed::Address)?;
    Ok(Header::Proxied { source, destination })
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let seen = bytes.len().min(V2_SIGNATURE.len());
    if bytes.get(..seen) != V2_SIGNATURE.get(..seen) {
        return Err(Malformed::Absent);
    }
    let Some(&[version_command, family, high, low]) = bytes.get(V2_SIGNATURE.len()..V2_FIXED) else {
        return Ok(None);
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_MAX {
        return Err(Malformed::TooLong);
    }
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Version),
    };
    let Some(payload) = bytes.get(V2_FIXED..length) else { return Ok(None) };
    let header = if is_local { Header::Local } else { addresses_v2(family, payload)? };
    Ok(Some((header, length)))
}

fn addresses_v2(family: u8, payload: &[u8]) -> Result<Header, Malformed> {
    match family {
        // TCP over IPv4: 4 + 4 address bytes, 2 + 2 port bytes; type-length-value fields may follow.
        0x11 => {
            let [source, destination] =
                [part::<4>(payload, 0)?, part::<4>(payload, 4)?].map(Ipv4Addr::from).map(IpAddr::V4);
            proxied(source, destination, payload, 8)
        }
        0x21 => {
            let [source, destination] =
                [part::<16>(payload, 0)?, part::<16>(payload, 16)?].map(Ipv6Addr::from).map(IpAddr::V6);
            proxied(source, destination, payload, 32)
        }
        // UNSPEC and Unix sockets carry no address of use; datagrams cannot have reached a stream socket.
        0x00 | 0x31 => Ok(Header::Local),
        _ => Err(Malformed::Address),
    }
}

fn proxied(source: IpAddr, destination: IpAddr, payload: &[u8], ports_at: usize) -> Result<Header, Malformed> {
    let source_port = u16::from_be_bytes(part(payload, ports_at)?);
    let destination_port = u16::from_be_bytes(part(payload, ports_at + 2)?);
    Ok(Header::Proxied {
        source: SocketAddr::new(source.to_canonical(), source_port),
        destination: SocketAddr::new(destination.to_canonical(), destination_port),
    })
}

fn part<const N: usize>(payload: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    payload.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Malformed::Address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, payload].concat()
    }

    #[test]
    fn reads_version_one() {
        let cases = [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", proxied("192.0.2.1:56324", "198.51.100.2:443")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", proxied("[2001:db8::1]:1", "[2001:db8::2]:65535")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", proxied("192.0.2.1:1", "192.0.2.2:2")),
            ("PROXY UNKNOWN\r\n", Header::Local),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Header::Local),
        ];
        for (text, header) in cases {
            let bytes = format!("{text}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(parse(bytes.as_bytes()), Ok(Some((header, text.len()))), "{text}");
        }
    }

    #[test]
    fn reads_version_two_and_skips_unknown_fields() {
        let mut payload = vec![192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];
        let expected = proxied("192.0.2.1:56324", "198.51.100.2:443");
        let bytes = v2(0x21, 0x11, &payload);
        assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
        payload.extend([0xee, 0, 3, 1, 2, 3]);
        let bytes = v2(0x21, 0x11, &payload);
        assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
        let six =
            [&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 80, 1, 187]].concat();
        let bytes = v2(0x21, 0x21, &six);
        assert_eq!(parse(&bytes), Ok(Some((proxied("[2001:db8::1]:80", "[::]:443"), bytes.len()))));
        for local in
            [v2(0x20, 0x00, &[]), v2(0x20, 0x11, &payload), v2(0x21, 0x00, &[1, 2, 3]), v2(0x21, 0x31, &[0; 216])]
        {
            assert_eq!(parse(&local), Ok(Some((Header::Local, local.len()))));
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        let cases: [(&[u8], Malformed); 11] = [
            (b"GET / HTTP/1.1\r\n\r\n", Malformed::Absent),
            (b"PRI * HTTP/2.0\r\n\r\n", Malformed::Absent),
            (b"\r\n\r\nGET", Malformed::Absent),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n", Malformed::Address),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", Malformed::Address),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n", Malformed::Address),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n", Malformed::Address),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n", Malformed::Address),
            (b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", Malformed::Version),
            (&[V2_SIGNATURE.as_slice(), &[0x31, 0x11, 0, 0]].concat(), Malformed::Version),
            (&[V2_SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat(), Malformed::TooLong),
        ];
        for (bytes, malformed) in cases {
            assert_eq!(parse(bytes), Err(malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; V1_MAX]].concat();
        assert_eq!(parse(&endless), Err(Malformed::TooLong));
        assert_eq!(parse(&v2(0x21, 0x11, &[1, 2, 3])), Err(Malformed::Address));
    }

    proptest! {
        #[test]
        fn a_prefix_of_a_header_asks_for_more_and_what_follows_changes_nothing(
            source: std::net::SocketAddrV4, destination: std::net::SocketAddrV4, tail: Vec<u8>, first in any::<bool>(),
        ) {
            let header = if first {
                let (from, to) = (source.ip(), destination.ip());
                format!("PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
            } else {
                let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
                v2(0x21, 0x11, &[source.ip().octets().as_slice(), &destination.ip().octets(), &ports].concat())
            };
            for length in 0..header.len() {
                prop_assert_eq!(parse(&header[..length]), Ok(None));
            }
            let expected = Header::Proxied { source: source.into(), destination: destination.into() };
            let bytes = [header.as_slice(), &tail].concat();
            prop_assert_eq!(parse(&bytes), Ok(Some((expected, header.len()))));
        }

        #[test]
        fn never_panics_and_never_claims_more_than_it_was_given(bytes: Vec<u8>, kind in 0..3) {
            let start: &[u8] = match kind { 0 => b"", 1 => b"PROXY TCP4 ", _ => V2_SIGNATURE };
            let bytes = [start, &bytes].concat();
            if let Ok(Some((_, length))) = parse(&bytes) {
                prop_assert!(length <= bytes.len() && length <= HEADER_MAX);
            }
        }
    }
}
