//! The authority of a request: `host` or `host:port`, from Host, `:authority` or an absolute-form target.

use std::net::Ipv6Addr;

use gatehouse_shared::problem::{self, Reason};

/// Checks an authority and returns the length of its host part, brackets of an IPv6 address included.
///
/// Narrower than RFC 3986: letters, digits, `-`, `.`, `_`, or an IPv6 address in brackets; a port is 1 to 65535 and written
/// without leading zeros. Anything else is read differently by different parsers.
pub(super) fn host_length(authority: &[u8]) -> Result<usize, &'static Reason> {
    if authority.contains(&b'@') {
        return Err(&problem::HOST_USER_INFO);
    }
    if authority.is_empty() {
        return Err(&problem::HOST_EMPTY);
    }
    if let [b':', port @ ..] = authority
        && is_port(port)
    {
        return Err(&problem::HOST_EMPTY);
    }
    let length = if authority.first() == Some(&b'[') { bracketed_length(authority)? } else { name_length(authority) };
    if length == 0 {
        return Err(&problem::HOST_INVALID);
    }
    match authority.get(length..) {
        Some([]) => Ok(length),
        Some([b':', port @ ..]) if is_port(port) => Ok(length),
        _ => Err(&problem::HOST_INVALID),
    }
}

fn name_length(authority: &[u8]) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let length = authority.iter().position(|byte| !is_name(byte)).unwrap_or(authority.len());
    match authority.first() {
        Some(b'.') => 0,
        _ => length,
    }
}

fn bracketed_length(authority: &[u8]) -> Result<usize, &'static Reason> {
    let end = authority.iter().position(|byte| *byte == b']').ok_or(&problem::HOST_INVALID)?;
    let address = authority.get(1..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match address.and_then(|text| text.parse::<Ipv6Addr>().ok()) {
        Some(_) => Ok(end + 1),
        None => Err(&problem::HOST_INVALID),
    }
}

fn is_port(port: &[u8]) -> bool {
    let mut value = 0_u32;
    for byte in port {
        if !byte.is_ascii_digit() || value > 65_535 {
            return false;
        }
        value = value * 10 + u32::from(byte - b'0');
    }
    (1..=65_535).contains(&value) && port.first() != Some(&b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_addresses_and_ports() {
        for (authority, length) in [
            ("example.com", 11),
            ("a_b.example:8080", 11),
            ("127.0.0.1:1", 9),
            ("[::1]", 5),
            ("[2001:db8::1]:443", 13),
            ("x.", 2),
        ] {
            assert_eq!(host_length(authority.as_bytes()).unwrap(), length, "{authority}");
        }
    }

    #[test]
    fn refuses_what_parsers_disagree_about() {
        for authority in [
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:99999999999",
            "a:b",
            "a b",
            "a,b",
            "a%41",
            "[::1",
            "[::1]x",
            "[zz]",
            "::1",
            "a:1:2",
            "[fe80::1%25eth0]",
            "a/b",
            "é",
            ".a",
            "a\\b",
        ] {
            assert_eq!(host_length(authority.as_bytes()).unwrap_err().code, "host_invalid", "{authority}");
        }
        assert_eq!(host_length(b"user@host").unwrap_err().code, "host_user_info");
        assert_eq!(host_length(b"").unwrap_err().code, "host_empty");
        assert_eq!(host_length(b":80").unwrap_err().code, "host_empty");
    }
}
