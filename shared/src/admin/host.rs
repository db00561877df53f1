//! Keeping browsers from being tricked into calling an admin listener.

use std::net::{IpAddr, SocketAddr};

/// Whether the Host of a request is one that this listener may have.
///
/// A page of another site can make a browser connect to a private address by changing its own name's DNS answer; the Host
/// header then still names that site. So an address is allowed, `localhost` is when the listener is on loopback (or on all
/// addresses), and any other name only when it is among `extra`. Ports do not matter, of the request nor of `extra`:
/// tunnels change them.
#[must_use]
pub fn host_is_allowed(host: &str, listener: SocketAddr, extra: &[String]) -> bool {
    let Some(name) = without_port(host) else { return false };
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_local = listener.ip().to_canonical().is_loopback() || listener.ip().is_unspecified();
    let is_extra = |extra: &String| without_port(extra).is_some_and(|extra| extra.eq_ignore_ascii_case(name));
    (is_local && name.eq_ignore_ascii_case("localhost")) || extra.iter().any(is_extra)
}

/// Whether a request with this `Origin` header may change something: a command sends none, a page of the admin listener
/// itself sends its own host.
#[must_use]
pub fn origin_is_allowed(origin: Option<&str>, host: &str) -> bool {
    let Some(origin) = origin else { return true };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The host without its port; an IPv6 address also without its brackets. `None` when it is malformed.
fn without_port(host: &str) -> Option<&str> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if let Some(rest) = host.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let is_well_formed = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return is_well_formed.then_some(address);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => (!host.is_empty()).then_some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_allowed() {
        let loopback: SocketAddr = "127.0.0.1:9180".parse().unwrap();
        let public: SocketAddr = "192.0.2.1:9180".parse().unwrap();
        let extra = ["Gate.Example.com".to_owned(), "edge-1.internal:9180".to_owned()];
        assert!(host_is_allowed("edge-1.internal:9999", loopback, &extra));
        for host in ["127.0.0.1:9180", "127.0.0.1", "localhost:9180", "LOCALHOST", "[::1]:9180", "gate.example.com:443"]
        {
            assert!(host_is_allowed(host, loopback, &extra), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "localhost:x", "[::1", "[::1]9180", "127.0.0.1.evil.example"]
        {
            assert!(!host_is_allowed(host, loopback, &extra), "{host}");
        }
        assert!(!host_is_allowed("localhost:9180", public, &[]));
        assert!(host_is_allowed("192.0.2.1:9180", public, &[]));
    }

    #[test]
    fn only_own_pages_may_change_something() {
        assert!(origin_is_allowed(None, "127.0.0.1:9180"));
        assert!(origin_is_allowed(Some("http://127.0.0.1:9180"), "127.0.0.1:9180"));
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:9181", "ftp://127.0.0.1:9180"] {
            assert!(!origin_is_allowed(Some(origin), "127.0.0.1:9180"), "{origin}");
        }
    }
}
