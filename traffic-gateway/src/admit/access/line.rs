//! One line of a list: `NETWORK [until=TIME] [owner=NAME] [ticket=ID] [# reason]`.
//!
//! The network is an address or a network in CIDR notation; the time is RFC 3339. `#` and `;` begin the reason, or a comment
//! where there is no network; so FireHOL netsets, Spamhaus DROP text and plain addresses load as they are. A line that is
//! printed and read again is the same.

use std::fmt;

use gatehouse_shared::cidr::{Network, NetworkError, Note};
use gatehouse_shared::{clock, config};
use memchr::{memchr, memchr2};

use super::lines::{Mistake, shown};

/// The keys of a line.
const KEYS: [&str; 3] = ["until", "owner", "ticket"];

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The network.
    pub network: Network,
    /// What is written beside it.
    pub note: Note<'a>,
}

impl<'a> Line<'a> {
    /// Reads a line without its end; `None` where it is empty or a comment.
    pub(super) fn parse(line: &'a str) -> Result<Option<Self>, Mistake> {
        let comment = memchr2(b'#', b';', line.as_bytes()).unwrap_or(line.len());
        let (fields, comment) = line.split_at_checked(comment).unwrap_or((line, ""));
        let mut fields = fields.split_ascii_whitespace();
        let Some(first) = fields.next() else { return Ok(None) };
        let network = first.parse().map_err(|error| no_network(line, first, &error))?;
        let mut note = Note { reason: reason(line, comment)?, ..Note::default() };
        for field in fields {
            read_field(line, field, &mut note)?;
        }
        Ok(Some(Self { network, note }))
    }
}

/// Whether a text can be an owner or a ticket: 1 to 128 bytes without blanks, control characters, `#` and `;`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b';'));
    (1..=128).contains(&text.len()) && (is_plain || !text.contains(breaks_name))
}

fn breaks_name(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '#' | ';')
}

fn reason<'a>(line: &str, comment: &'a str) -> Result<Option<&'a str>, Mistake> {
    let reason = trim_reason(comment);
    if reason.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(Some(reason).filter(|reason| !reason.is_empty()));
    }
    match reason.matches(char::is_control).find(|found| *found != "\t") {
        Some(control) => Err(Mistake::at(line, control, "there is a control character in the reason")),
        None => Ok(Some(reason).filter(|reason| !reason.is_empty())),
    }
}

fn trim_reason(comment: &str) -> &str {
    comment.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '#' | ';')).trim_end()
}

fn read_field<'a>(line: &str, field: &'a str, note: &mut Note<'a>) -> Result<(), Mistake> {
    let mistake = |message: String| Mistake::at(line, field, message);
    let equals = memchr(b'=', field.as_bytes()).unwrap_or(field.len());
    let (key, value) = field.split_at_checked(equals).unwrap_or((field, ""));
    let value = value.strip_prefix('=').unwrap_or(value);
    let is_given = match key {
        "until" => note.until.replace(until(line, value)?).is_some(),
        "owner" => note.owner.replace(name(line, key, value)?).is_some(),
        "ticket" => note.ticket.replace(name(line, key, value)?).is_some(),
        _ => {
            let remedy = match config::nearest(key, KEYS) {
                Some(meant) => format!("did you mean \"{meant}=\"?"),
                None => "write what is no until=, owner= or ticket= behind a \"#\"".to_owned(),
            };
            return Err(mistake(format!("{} is nothing a line can say", shown(field))).with_remedy(remedy));
        }
    };
    if is_given { Err(mistake(format!("{key} is given twice"))) } else { Ok(()) }
}

fn name<'a>(line: &str, key: &str, value: &'a str) -> Result<&'a str, Mistake> {
    if is_name(value) {
        return Ok(value);
    }
    let message = format!("{} is no {key}", shown(value));
    Err(Mistake::at(line, value, message).with_remedy(format!("write {key}=NAME, at most 128 bytes without blanks")))
}

/// A time in Unix seconds; a fraction counts as a whole second.
fn until(line: &str, value: &str) -> Result<u64, Mistake> {
    let Some(unix_ms) = clock::parse_rfc3339(value) else {
        let message = format!("{} is not a time", shown(value));
        return Err(Mistake::at(line, value, message).with_remedy("write it as 2027-01-31T18:00:00Z"));
    };
    let until = unix_ms.div_ceil(1_000);
    if until >= u64::from(u32::MAX) {
        let message = format!("{value} is too far away");
        return Err(Mistake::at(line, value, message).with_remedy("leave until= out for an entry that never expires"));
    }
    Ok(until)
}

/// The mistake of a text that is no network.
pub(super) fn no_network(line: &str, text: &str, error: &NetworkError) -> Mistake {
    let mistake = match error {
        NetworkError::Malformed(_) => Mistake::at(line, text, format!("{} is not a network", shown(text))),
        NetworkError::HostBits { .. } => {
            return Mistake::at(line, text, error.to_string()).with_remedy("write the network");
        }
    };
    mistake.with_remedy(match text.as_bytes() {
        [b'{' | b'[', ..] => "bring JSON in with `traffic-gateway block import`",
        [b'#' | b';', ..] | [] => "begin the line with a network",
        _ if text.contains(',') => "bring CSV in with `traffic-gateway block import`",
        _ => "write it like 192.0.2.0/24 or 2001:db8::1; comments begin with \"#\"",
    })
}

/// As it is read. What could not be read back is made readable: in owner and ticket such characters become `-`, in the
/// reason blanks.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)?;
        if let Some(until) = self.note.until {
            write!(f, " until={}", clock::rfc3339(until.saturating_mul(1_000)))?;
        }
        for (key, name) in [("owner", self.note.owner), ("ticket", self.note.ticket)] {
            if let Some(name) = name {
                write!(f, " {key}={}", name.replace(breaks_name, "-"))?;
            }
        }
        match trim_reason(self.note.reason.unwrap_or_default()) {
            "" => Ok(()),
            reason => write!(f, " # {}", reason.replace(|c: char| c.is_control() && c != '\t', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use gatehouse_shared::cidr::around;
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Result<Option<String>, String> {
        let entry = Line::parse(line).map_err(|mistake| mistake.in_file("list", 1, line).to_string())?;
        Ok(entry.map(|entry| entry.to_string()))
    }

    #[test]
    fn reads_every_form_of_a_line() {
        for (line, expected) in [
            ("", None),
            (" \t", None),
            ("# a comment", None),
            (" ; a comment", None),
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.0/24 ; SBL123", Some("192.0.2.0/24 # SBL123")),
            ("\t192.0.2.0/24#x", Some("192.0.2.0/24 # x")),
            ("192.0.2.0/24 ## ; #", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
            ("2001:DB8::/32 # a # b; c", Some("2001:db8::/32 # a # b; c")),
            (
                "192.0.2.1 ticket=A=1\towner=ö until=2027-01-31T19:00:00.5+01:00 # why",
                Some("192.0.2.1 until=2027-01-31T18:00:01.000Z owner=ö ticket=A=1 # why"),
            ),
        ] {
            assert_eq!(read(line), Ok(expected.map(str::to_owned)), "{line:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        for (line, expected) in [
            ("192.0.2.1 owner=a owner=b", "list:1:19: owner is given twice"),
            ("192.0.2.1 owner=a until", "list:1:24: \"\" is not a time (write it as 2027-01-31T18:00:00Z)"),
            (
                "192.0.2.1 because",
                "list:1:11: \"because\" is nothing a line can say (write what is no until=, owner= or ticket= behind a \"#\")",
            ),
            ("192.0.2.1 # ä \u{1b}[0m", "list:1:15: there is a control character in the reason"),
            (
                "1.2.3.4 until=9999-12-31T00:00:00Z",
                "list:1:15: 9999-12-31T00:00:00Z is too far away (leave until= out for an entry that never expires)",
            ),
            (
                "{\"cidr\":\"192.0.2.0/24\"}",
                "list:1:1: \"{\\\"cidr\\\":\\\"192.0.2.0/24\\\"}\" is not a network (bring JSON in with `traffic-gateway block import`)",
            ),
            (
                "4h,ip,192.0.2.1",
                "list:1:1: \"4h,ip,192.0.2.1\" is not a network (bring CSV in with `traffic-gateway block import`)",
            ),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_made_readable() {
        let note = Note { until: None, owner: Some("a b;"), ticket: None, reason: Some("# \r\n x\ny ") };
        let line = Line { network: "192.0.2.1".parse().unwrap(), note }.to_string();
        assert_eq!(line, "192.0.2.1 owner=a-b- # x y");
    }

    proptest! {
        #[test]
        fn a_printed_line_is_read_as_it_was(
            (address, prefix) in (any::<IpAddr>(), 0u8..=128),
            until in proptest::option::of(0u64..4_294_967_295),
            owner in proptest::option::of("[^\\s\\p{Cc}#;]{1,20}"),
            ticket in proptest::option::of("[^\\s\\p{Cc}#;]{1,20}"),
            reason in proptest::option::of("[^\\s\\p{Cc}#;]([^\\p{Cc}]{0,60}[^\\s\\p{Cc}])?"),
        ) {
            let (owner, ticket, reason) = (owner.as_deref(), ticket.as_deref(), reason.as_deref());
            let line = Line { network: around(address, prefix, prefix), note: Note { until, owner, ticket, reason } };
            let printed = line.to_string();
            let network = line.network.to_string().parse().unwrap();
            prop_assert_eq!(Line::parse(&printed), Ok(Some(Line { network, ..line })), "{}", printed);
        }

        #[test]
        fn what_is_read_and_printed_is_read_as_it_was(line in "[0-9a-f.:/]{3,12}( (until|owner|ticket)=[0-9TZ:-]{1,6}){0,3}[ #;a-z\t]{0,9}") {
            if let Ok(Some(read)) = Line::parse(&line) {
                let printed = read.to_string();
                prop_assert_eq!(Line::parse(&printed), Ok(Some(read)), "{}", printed);
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text: String, almost in "192\\.0\\.2\\.1 (until|owner|ticket|x)=\\PC{0,30}") {
            let _any = (read(&text), read(&almost));
        }
    }
}
