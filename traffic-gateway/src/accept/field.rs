//! Header fields the way in looks at by name, for both protocols.

use gatehouse_shared::message::bytes::trim;
use gatehouse_shared::problem::{self, Reason};

/// Fields with a meaning here; each, `Connection` and `Upgrade` apart, may occur once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    /// Another field whose value is single by definition; the number tells them apart.
    Single(u8),
}

/// Recognises a field name, whatever its case. The length decides first: most fields are none of these.
pub(super) fn known(name: &[u8]) -> Option<Known> {
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    match name.len() {
        4 if is("host") => Some(Known::Host),
        4 if is("date") => Some(Known::Single(0)),
        4 if is("from") => Some(Known::Single(1)),
        5 if is("range") => Some(Known::Single(2)),
        6 if is("expect") => Some(Known::Expect),
        6 if is("origin") => Some(Known::Single(3)),
        7 if is("upgrade") => Some(Known::Upgrade),
        7 if is("referer") => Some(Known::Single(4)),
        8 if is("if-range") => Some(Known::Single(5)),
        10 if is("connection") => Some(Known::Connection),
        10 if is("user-agent") => Some(Known::Single(6)),
        12 if is("content-type") => Some(Known::Single(7)),
        12 if is("max-forwards") => Some(Known::Single(8)),
        13 if is("authorization") => Some(Known::Single(9)),
        14 if is("content-length") => Some(Known::ContentLength),
        16 if is("content-location") => Some(Known::Single(10)),
        17 if is("transfer-encoding") => Some(Known::TransferEncoding),
        17 if is("if-modified-since") => Some(Known::Single(11)),
        17 if is("sec-websocket-key") => Some(Known::Single(12)),
        19 if is("if-unmodified-since") => Some(Known::Single(13)),
        19 if is("proxy-authorization") => Some(Known::Single(14)),
        _ => None,
    }
}

/// Refuses the second field of a name that may occur once.
#[derive(Default)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) fn once(&mut self, field: Known) -> Result<(), &'static Reason> {
        let (bit, duplicate) = match field {
            Known::Connection | Known::Upgrade => return Ok(()),
            Known::Host => (16, &problem::HOST_REPEATED),
            Known::ContentLength => (17, &problem::CONTENT_LENGTH_REPEATED),
            Known::TransferEncoding => (18, &problem::TRANSFER_ENCODING_REPEATED),
            Known::Expect => (19, &problem::HEADER_REPEATED),
            Known::Single(number) => (u32::from(number), &problem::HEADER_REPEATED),
        };
        let bit = 1_u32 << bit;
        if self.0 & bit != 0 {
            return Err(duplicate);
        }
        self.0 |= bit;
        Ok(())
    }
}

/// A Content-Length in its one spelling: digits without sign or leading zeros.
pub(super) fn content_length(value: &[u8]) -> Result<u64, &'static Reason> {
    let well_formed = !value.is_empty()
        && value.len() <= 19
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value.first() != Some(&b'0'));
    if !well_formed {
        return Err(&problem::CONTENT_LENGTH_INVALID);
    }
    Ok(value.iter().fold(0_u64, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Checks one `Connection` field: only hop-by-hop names may be listed. Anything else would make a proxy drop an
/// end-to-end field that another stage relies on.
pub(super) fn check_connection(value: &[u8]) -> Result<(), &'static Reason> {
    const ALLOWED: [&str; 7] = ["", "close", "keep-alive", "upgrade", "te", "trailer", "http2-settings"];
    let is_allowed = |option: &[u8]| ALLOWED.iter().any(|allowed| option.eq_ignore_ascii_case(allowed.as_bytes()));
    if value.split(|byte| *byte == b',').map(trim).all(is_allowed) {
        Ok(())
    } else {
        Err(&problem::CONNECTION_OPTION_INVALID)
    }
}

/// Whether an `Upgrade` field asks for anything but cleartext HTTP/2, an upgrade that RFC 9113 dropped and that some
/// clients still offer with every first request: ignoring it is the answer they expect.
pub(super) fn asks_for_upgrade(value: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .any(|protocol| !protocol.is_empty() && !protocol.eq_ignore_ascii_case(b"h2c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_length_has_one_spelling() {
        assert_eq!(content_length(b"0").unwrap(), 0);
        assert_eq!(content_length(b"1234567890").unwrap(), 1_234_567_890);
        for value in ["", "+5", "005", "00", "5_0", "-1", "5 ", "0x5", "5,5", "5, 5", "99999999999999999999", "\u{665}"]
        {
            assert_eq!(content_length(value.as_bytes()).unwrap_err().code, "content_length_invalid", "{value}");
        }
    }

    #[test]
    fn only_hop_by_hop_names_may_be_listed_in_connection() {
        check_connection(b"Keep-Alive, Upgrade,TE , HTTP2-Settings").unwrap();
        check_connection(b"close").unwrap();
        for value in ["x-forwarded-for", "close, host", "authorization", "transfer-encoding", "x-gatehouse-hop"] {
            assert_eq!(check_connection(value.as_bytes()).unwrap_err().code, "connection_option_invalid", "{value}");
        }
    }

    #[test]
    fn an_offer_of_cleartext_http2_is_no_upgrade() {
        assert!(!asks_for_upgrade(b"h2c"));
        assert!(!asks_for_upgrade(b""));
        assert!(asks_for_upgrade(b"websocket"));
        assert!(asks_for_upgrade(b"h2c, websocket"));
    }
}
