//! Lines of the lists of addresses: what the programs they come from read as expressions, and what is nearly always an
//! address.
//!
//! A line that is an address, a network or a range in any of the usual ways to write one, with dots escaped or not and
//! anchors or not, becomes networks. What is left is an expression, compared with the whole address: without anchors
//! `10.0.0.1` would find 110.0.0.12 as well.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a line is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Networks, as `@ipMatch` takes them.
    Networks {
        list: String,
        /// Whether they are written otherwise, so that whoever wrote the line should see how it was read.
        doubtful: bool,
    },
    /// An expression for an address from its beginning, and what ends it: `$` unless the line ends with a dot.
    Expression { text: String, end: &'static str },
}

/// Ways to write "any number" behind a dot.
const ANY: [&str; 10] = ["*", ".*", ".+", "x", r"\d+", r"\d*", r"\d{1,3}", "[0-9]+", "[0-9]*", "[0-9]{1,3}"];

/// Reads a line.
pub(super) fn read(line: &str) -> Address {
    let line = line.trim();
    if let Some(list) = networks(line) {
        return Address::Networks { list, doubtful: false };
    }
    let begins = line.strip_prefix('^').unwrap_or(line);
    let (middle, is_anchored) = match begins.strip_suffix('$') {
        Some(middle) if !middle.ends_with('\\') => (middle, true),
        _ => (begins, false),
    };
    let middle = middle.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(middle);
    let plain = middle.replace("\\.", ".").replace("[.]", ".").replace("\\/", "/");
    if let Some(list) = networks(&plain) {
        // Escapes and anchors say the same as the address alone.
        return Address::Networks { list, doubtful: false };
    }
    if let Some(list) = beginning(&plain, is_anchored) {
        return Address::Networks { list, doubtful: true };
    }
    let ends_open = begins.ends_with("\\.") || begins.ends_with("[.]") || (begins.ends_with('.') && !is_anchored);
    let text = if is_anchored { begins.strip_suffix('$').unwrap_or(begins) } else { begins };
    Address::Expression { text: text.to_owned(), end: if ends_open { "" } else { "$" } }
}

/// An address, a network or a range, as networks.
fn networks(text: &str) -> Option<String> {
    if let Some((first, last)) = text.split_once('-') {
        return match (first.trim().parse().ok()?, last.trim().parse().ok()?) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                range(u128::from(first.to_bits()), u128::from(last.to_bits()), 32, |bits| {
                    u32::try_from(bits).ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                })
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                range(first.to_bits(), last.to_bits(), 128, |bits| Some(IpAddr::V6(Ipv6Addr::from_bits(bits))))
            }
            _ => None,
        };
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let Some(prefix) = prefix else { return Some(address.to_canonical().to_string()) };
    let bits = prefix.bytes().all(|digit| digit.is_ascii_digit()).then(|| prefix.parse::<u8>().ok())??;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then(|| format!("{address}/{bits}"))
}

/// The networks from the first to the last address: at most two for each bit.
fn range(first: u128, last: u128, width: u32, address: impl Fn(u128) -> Option<IpAddr>) -> Option<String> {
    if first > last {
        return None;
    }
    let (mut from, mut list) = (first, String::new());
    loop {
        let left = last - from;
        // As large as the alignment of its beginning and what is left allow.
        let of_left = 127_u32.saturating_sub((left.saturating_add(1)).leading_zeros());
        let size = from.trailing_zeros().min(of_left).min(width);
        let separator = if list.is_empty() { "" } else { "," };
        write!(list, "{separator}{}/{}", address(from)?, width - size).ok()?;
        let Some(next) = 1_u128.checked_shl(size).and_then(|length| from.checked_add(length)) else { break };
        if next > last {
            break;
        }
        from = next;
    }
    Some(list)
}

/// The beginning of an IPv4 address, as the network of all that begin so: `192.168.1.`, `10.*`, `172.16.\d+.\d+`, `192.168.1`.
fn beginning(text: &str, is_anchored: bool) -> Option<String> {
    let (mut octets, mut rest, mut has_dot) = ([0_u8; 4], text, false);
    let mut count = 0_usize;
    while let Some(place) = octets.get_mut(count) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let is_plain = digits == 1 || (digits > 1 && !number.starts_with('0'));
        // Behind the number a dot or the end: `10+` is no number.
        if !is_plain || !(behind.is_empty() || behind.starts_with('.')) {
            break;
        }
        *place = number.parse().ok()?;
        count += 1;
        has_dot = behind.starts_with('.');
        rest = behind.strip_prefix('.').unwrap_or(behind);
        if !has_dot {
            break;
        }
    }
    let wild = if rest.is_empty() { 0 } else { wildcards(rest)? };
    let is_whole =
        count + wild == 4 || (wild > 0 && (rest.ends_with('*') || rest.ends_with('+')) && !rest.contains('d'));
    let may_be = match (rest.is_empty(), has_dot) {
        // 192.168.1. with whatever follows.
        (true, true) => !is_anchored,
        // 192.168.1 alone: as a whole it is no address.
        (true, false) => count >= 2 && !is_anchored,
        (false, _) => has_dot && (is_whole || !is_anchored),
    };
    if !may_be || !(1..=3).contains(&count) || count + wild > 4 {
        return None;
    }
    let [a, b, c, d] = octets;
    Some(format!("{}/{}", Ipv4Addr::new(a, b, c, d), count * 8))
}

/// How many numbers are left open by what stands behind the last dot; `None` when it is something else.
fn wildcards(mut rest: &str) -> Option<usize> {
    let mut count = 0;
    loop {
        let any = ANY.iter().filter(|any| rest.starts_with(**any)).max_by_key(|any| any.len())?;
        count += 1;
        rest = rest.strip_prefix(any)?;
        if rest.is_empty() {
            return Some(count);
        }
        rest = rest.strip_prefix('.')?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, read};

    #[test]
    fn a_line_is_read_as_what_it_nearly_always_is() {
        for (line, list, is_doubtful) in [
            ("127.0.0.1", "127.0.0.1", false),
            ("  10.0.0.5 ", "10.0.0.5", false),
            (r"^127\.0\.0\.1$", "127.0.0.1", false),
            (r"^127\.0\.0\.1", "127.0.0.1", false),
            (r"(127[.]0[.]0[.]1)", "127.0.0.1", false),
            ("^10.0.0.0/8$", "10.0.0.0/8", false),
            (r"10\.0\.0\.0\/8", "10.0.0.0/8", false),
            ("2001:db8::/32", "2001:db8::/32", false),
            ("^2001:DB8::1$", "2001:db8::1", false),
            ("198.51.100.0-198.51.100.9", "198.51.100.0/29,198.51.100.8/31", false),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0", false),
            ("10.0.0.3-10.0.0.3", "10.0.0.3/32", false),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/1,8000::/1", false),
            ("192.168.1.", "192.168.1.0/24", true),
            (r"^192\.168\.1\.", "192.168.1.0/24", true),
            ("192.168.1", "192.168.1.0/24", true),
            ("10.", "10.0.0.0/8", true),
            ("192.168.*", "192.168.0.0/16", true),
            ("192.168.*.*", "192.168.0.0/16", true),
            (r"^192\.168\.1\..*$", "192.168.1.0/24", true),
            (r"^172\.16\.\d+\.\d{1,3}$", "172.16.0.0/16", true),
            ("192.168.1.[0-9]+", "192.168.1.0/24", true),
        ] {
            let wanted = Address::Networks { list: list.to_owned(), doubtful: is_doubtful };
            assert_eq!(read(line), wanted, "{line}");
        }
    }

    #[test]
    fn everything_else_is_an_expression() {
        for (line, text, end) in [
            ("10", "10", "$"),
            ("^10$", "10", "$"),
            (r"^192\.168\.1\.$", r"192\.168\.1\.", "$"),
            (r"^10\.0\.0\.(?:1|2)$", r"10\.0\.0\.(?:1|2)", "$"),
            (r"192\.168\.(?:1|2)\.", r"192\.168\.(?:1|2)\.", ""),
            ("300.1.1.1", "300.1.1.1", "$"),
            ("10.0.0.0/33", "10.0.0.0/33", "$"),
            ("10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1", "$"),
            ("2001:db8:", "2001:db8:", "$"),
            ("010.0.0.1", "010.0.0.1", "$"),
            (".*", ".*", "$"),
            ("1.2.3.4.5", "1.2.3.4.5", "$"),
        ] {
            assert_eq!(read(line), Address::Expression { text: text.to_owned(), end }, "{line}");
        }
    }
}
