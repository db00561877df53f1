//! Lists in formats of others, for `block import`.
//!
//! | format | a line |
//! |---|---|
//! | our own, FireHOL, Spamhaus DROP text, plain | see [`line`](mod@super::line) |
//! | Spamhaus DROP JSON | `{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"ripencc"}`; the line about the list itself is skipped |
//! | CrowdSec CSV | a header with `value` and any of `duration`, `scope`, `reason`, `type` and `origin`, then `24h,ip,192.0.2.1` |

use std::borrow::Cow;
use std::io::Read;

use gatehouse_shared::cidr::Note;
use gatehouse_shared::config::ConfigErrors;
use serde::Deserialize;

use super::line::{Line, no_network};
use super::lines::{Mistake, read_lines, shown};

/// How the lines of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own, which FireHOL netsets, Spamhaus DROP text and plain addresses also are.
    List,
    /// Spamhaus DROP JSON: an object a line.
    DropJson,
    /// CrowdSec CSV with a header.
    Csv,
}

impl Format {
    /// The format of a file by its first line that is neither empty nor a comment.
    fn of(line: &str) -> Self {
        let columns = || line.split(',').any(|column| Column::named(column.trim()) == Some(Column::Value));
        match line.trim_start().as_bytes() {
            [b'{', ..] => Self::DropJson,
            _ if columns() => Self::Csv,
            _ => Self::List,
        }
    }
}

/// Calls `each` with every entry of a file. Its format is `format` or what its first line looks like; `now`, in Unix
/// seconds, is when durations begin.
///
/// # Errors
/// The first 20 lines that do not parse and how many there are, and a file that cannot be read. `each` has been called for
/// good lines then: collect them and use them only when there is no error.
pub fn read(
    file: &str,
    from: impl Read,
    format: Option<Format>,
    now: u64,
    mut each: impl FnMut(Line<'_>),
) -> Result<(), ConfigErrors> {
    let (mut format, mut header) = (format, None);
    read_lines(file, from, |_, line| {
        if line.trim_start().is_empty() || line.trim_start().starts_with(['#', ';']) {
            return Ok(());
        }
        match *format.get_or_insert_with(|| Format::of(line)) {
            Format::List => Line::parse(line)?.into_iter().for_each(&mut each),
            Format::DropJson => read_drop(line, &mut each)?,
            Format::Csv => match &header {
                None => header = Some(Header::parse(line)?),
                Some(header) => header.read(line, now, &mut each)?,
            },
        }
        Ok(())
    })
}

/// A line of Spamhaus DROP JSON.
#[derive(Deserialize)]
struct DropLine {
    cidr: Option<String>,
    sblid: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

fn read_drop(line: &str, each: &mut impl FnMut(Line<'_>)) -> Result<(), Mistake> {
    let drop: DropLine = serde_json::from_str(line).map_err(|error| {
        let from = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
        Mistake::at(line, from, "this is no JSON object of a DROP list").with_remedy(error.to_string())
    })?;
    match (drop.cidr, drop.kind.as_deref()) {
        (Some(cidr), _) => {
            let network = cidr.parse().map_err(|error| no_network(line, &cidr, &error))?;
            each(Line { network, note: Note { reason: drop.sblid.as_deref(), ..Note::default() } });
            Ok(())
        }
        (None, Some("metadata")) => Ok(()),
        (None, _) => Err(Mistake::at(line, line, "there is no \"cidr\"").with_remedy("give a list of networks")),
    }
}

/// A column of CrowdSec CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Duration,
    Origin,
    Reason,
    Scope,
    Type,
    Value,
}

impl Column {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "duration" => Self::Duration,
            "origin" => Self::Origin,
            "reason" => Self::Reason,
            "scope" => Self::Scope,
            "type" => Self::Type,
            "value" => Self::Value,
            _ => return None,
        })
    }
}

/// The columns of a file.
#[derive(Debug)]
struct Header(Vec<Column>);

impl Header {
    fn parse(line: &str) -> Result<Self, Mistake> {
        let mut columns = Vec::new();
        for name in line.split(',') {
            let mistake = |message| {
                let remedy = "the columns are duration, origin, reason, scope, type and value";
                Err(Mistake::at(line, name, message).with_remedy(remedy))
            };
            match Column::named(name.trim()) {
                None => return mistake(format!("there is no column {}", shown(name))),
                Some(column) if columns.contains(&column) => return mistake(format!("{name} is there twice")),
                Some(column) => columns.push(column),
            }
        }
        if columns.contains(&Column::Value) {
            return Ok(Self(columns));
        }
        Err(Mistake::at(line, line, "the column \"value\" is missing").with_remedy("begin the file with a header line"))
    }

    fn read(&self, line: &str, now: u64, each: &mut impl FnMut(Line<'_>)) -> Result<(), Mistake> {
        let fields = fields(line)?;
        if fields.len() != self.0.len() {
            let message = format!("there are {} fields, but {} columns", fields.len(), self.0.len());
            return Err(Mistake::at(line, line, message));
        }
        let (mut network, mut note) = (None, Note::default());
        for (column, field) in self.0.iter().zip(&fields) {
            let mistake = |message: String, remedy: &str| Err(Mistake::at(line, field, message).with_remedy(remedy));
            match column {
                Column::Value => network = Some(field.parse().map_err(|error| no_network(line, field, &error))?),
                Column::Duration if field.is_empty() => {}
                Column::Duration => match seconds(field) {
                    Some(seconds) => note.until = Some(now.saturating_add(seconds)),
                    None => return mistake(format!("{} is no duration", shown(field)), "write it as 24h or 1h30m"),
                },
                Column::Scope if field.is_empty() || is_any(field, &["ip", "range"]) => {}
                Column::Scope => {
                    return mistake(format!("the scope is {}", shown(field)), "only ip and range can be blocked");
                }
                Column::Type if field.is_empty() || is_any(field, &["ban"]) => {}
                Column::Type => return mistake(format!("the type is {}", shown(field)), "only bans can be imported"),
                Column::Reason => note.reason = Some(field.as_ref()).filter(|reason| !reason.is_empty()),
                Column::Origin => {}
            }
        }
        if let Some(network) = network {
            each(Line { network, note });
        }
        Ok(())
    }
}

fn is_any(text: &str, names: &[&str]) -> bool {
    names.iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// The fields of a line of CSV without the blanks around them; one in quotes may contain commas, and quotes twice.
fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, Mistake> {
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest.map(str::trim_start) {
        let Some(quoted) = text.strip_prefix('"') else {
            let (field, tail) = text.split_once(',').map_or((text, None), |(field, tail)| (field, Some(tail)));
            fields.push(Cow::Borrowed(field.trim_end()));
            rest = tail;
            continue;
        };
        let end = closing_quote(quoted).ok_or_else(|| Mistake::at(line, text, "the quote is not closed"))?;
        let (field, tail) = quoted.split_at_checked(end).unwrap_or((quoted, ""));
        let tail = tail.strip_prefix('"').unwrap_or(tail).trim_start();
        fields.push(if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() });
        rest = tail.strip_prefix(',');
        if rest.is_none() && !tail.is_empty() {
            return Err(Mistake::at(line, tail, "there is a comma missing behind the quote"));
        }
    }
    Ok(fields)
}

/// The first quote that is not there twice.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text.get(from..)?.find('"')?;
        if text.as_bytes().get(quote + 1) != Some(&b'"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}

/// The seconds of `1d`, `24h`, `1h30m` or `90s`.
fn seconds(text: &str) -> Option<u64> {
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, unit) = rest.split_at_checked(end)?;
        let factor = match unit.as_bytes().first()? {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = unit.get(1..)?;
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The entries of a file as our own lines, or what is wrong with it.
    fn imported(text: &[u8], format: Option<Format>) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        read("list", text, format, 1_000_000, |line| lines.push(line.to_string()))
            .map_err(|errors| errors.to_string())?;
        Ok(lines)
    }

    #[test]
    fn every_format_is_known_by_its_first_line() {
        for (text, expected) in [
            ("; Spamhaus\n192.0.2.0/24 ; SBL1\n", vec!["192.0.2.0/24 # SBL1"]),
            ("192.0.2.1\r\n\r\n192.0.2.2", vec!["192.0.2.1", "192.0.2.2"]),
            (
                concat!(
                    "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n",
                    "{\"cidr\":\"2001:db8::/32\",\"rir\":\"a\\u00e4\"}\n",
                    "{\"type\":\"metadata\",\"timestamp\":1,\"size\":2,\"records\":2}\n",
                ),
                vec!["192.0.2.0/24 # SBL1", "2001:db8::/32"],
            ),
            (
                "\u{feff}duration,scope,value\n24h,ip,192.0.2.1\n90m,Range,192.0.2.0/24\n",
                vec!["192.0.2.1 until=1970-01-13T13:46:40.000Z", "192.0.2.0/24 until=1970-01-12T15:16:40.000Z"],
            ),
            (
                "value,reason,type,origin\n192.0.2.1, \"a \"\"b\"\", c\" ,ban,cscli\n192.0.2.2,,,\n",
                vec!["192.0.2.1 # a \"b\", c", "192.0.2.2"],
            ),
            ("value\n192.0.2.1\n", vec!["192.0.2.1"]),
            ("", vec![]),
        ] {
            assert_eq!(
                imported(text.as_bytes(), None),
                Ok(expected.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_line_of_csv() {
        let text = "\
duration,scope,value,reason,type
soon,ip,192.0.2.1,,
4h,country,DE,,
4h,ip,192.0.2.1,,captcha
4h,ip,192.0.2.300,,
4h,ip
4h,ip,192.0.2.1,\"x
4h,ip,192.0.2.1,\"x\"y,
";
        let expected = "\
list:2:1: \"soon\" is no duration (write it as 24h or 1h30m)
list:3:4: the scope is \"country\" (only ip and range can be blocked)
list:4:18: the type is \"captcha\" (only bans can be imported)
list:5:7: \"192.0.2.300\" is not a network (write it like 192.0.2.0/24 or 2001:db8::1; comments begin with \"#\")
list:6:1: there are 2 fields, but 5 columns
list:7:17: the quote is not closed
list:8:20: there is a comma missing behind the quote";
        assert_eq!(imported(text.as_bytes(), None), Err(expected.to_owned()));
        let columns = "the columns are duration, origin, reason, scope, type and value";
        for (header, expected) in [
            ("value,until", format!("list:1:7: there is no column \"until\" ({columns})")),
            ("value,value", format!("list:1:7: value is there twice ({columns})")),
            ("scope", "list:1:1: the column \"value\" is missing (begin the file with a header line)".to_owned()),
        ] {
            assert_eq!(imported(header.as_bytes(), Some(Format::Csv)), Err(expected));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_line_of_json() {
        let text = "{\"cidr\":\"192.0.2.1/24\"}\n{\"asn\":1}\n{\"cidr\":1}\n{\n";
        let expected = "\
list:1:10: \"192.0.2.1/24\" has bits set after its prefix; the network is \"192.0.2.0/24\" (write the network)
list:2:1: there is no \"cidr\" (give a list of networks)
list:3:9: this is no JSON object of a DROP list (invalid type: integer `1`, expected a string at line 1 column 9)
list:4:1: this is no JSON object of a DROP list (EOF while parsing an object at line 1 column 1)";
        assert_eq!(imported(text.as_bytes(), None), Err(expected.to_owned()));
    }

    #[test]
    fn durations_add_up() {
        for (text, expected) in [
            ("24h", Some(86_400)),
            ("1d1h1m1s", Some(90_061)),
            ("168h0m0s", Some(604_800)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1.5h", None),
            ("-1h", None),
            ("1ä", None),
            ("99999999999999999999h", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn our_own_lines_come_back(
            entries in proptest::collection::vec((any::<std::net::IpAddr>(), "[a-z]{0,8}( [a-z]{1,8})?"), 0..20),
        ) {
            let lines: Vec<String> = entries
                .iter()
                .map(|(address, reason)| {
                    let note = Note { reason: Some(reason), ..Note::default() };
                    Line { network: (*address).into(), note }.to_string()
                })
                .collect();
            prop_assert_eq!(imported(lines.join("\n").as_bytes(), None), Ok(lines));
        }

        #[test]
        fn quoted_fields_come_back(fields in proptest::collection::vec("[a-z,\" ]{0,6}", 1..6)) {
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let line = quoted.join(" , ");
            prop_assert_eq!(super::fields(&line).unwrap(), fields);
        }

        #[test]
        fn no_bytes_make_importing_panic(bytes: Vec<u8>, text in "(duration,scope,value\n)?[{\"a-z0-9.:,}\n]{0,60}") {
            for format in [None, Some(Format::List), Some(Format::DropJson), Some(Format::Csv)] {
                let _any = (imported(&bytes, format), imported(text.as_bytes(), format));
            }
        }
    }
}
