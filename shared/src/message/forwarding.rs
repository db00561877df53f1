//! The headers by which proxies tell where a request came from. Nobody but the gates may say that.

/// Whether a header is one of them; `name` is in lower case, and `_` counts as `-`.
#[must_use]
pub fn is_forwarding(name: &str) -> bool {
    const FAMILY: &str = "x-forwarded-";
    name.get(..FAMILY.len()).is_some_and(|start| is_spelling_of(start, FAMILY))
        || match name.len() {
            9 => ["forwarded", "x-real-ip", "client-ip"].iter().any(|other| is_spelling_of(name, other)),
            11 => ["x-forwarded", "x-client-ip"].iter().any(|other| is_spelling_of(name, other)),
            14 => is_spelling_of(name, "true-client-ip"),
            19 => is_spelling_of(name, "x-cluster-client-ip"),
            _ => false,
        }
}

fn is_spelling_of(name: &str, expected: &str) -> bool {
    let is_same = |(byte, expected): (u8, u8)| byte == expected || (byte == b'_' && expected == b'-');
    name.len() == expected.len() && name.bytes().zip(expected.bytes()).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_forwarding_headers_in_both_spellings() {
        for name in
            ["forwarded", "x-forwarded-for", "x_forwarded_for", "x-forwarded-anything", "x-real-ip", "x-real_ip"]
        {
            assert!(is_forwarding(name), "{name}");
        }
        for name in ["x-request-id", "x-forward", "forward", "from", "content-type", "te"] {
            assert!(!is_forwarding(name), "{name}");
        }
    }
}
