//! HTTP/1.1 messages as files: what is sent, which clause it concerns, and what the edge has to do.
//!
//! ```text
//! # A sign before the length.
//! clause: RFC 9110 section 8.6
//! expect: 400 content_length_invalid
//! --
//! POST /echo HTTP/1.1\r\n
//! Content-Length: +5\r\n
//! \r\n
//! {secret}
//! ```
//!
//! Line ends of the file mean nothing; `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN` are bytes. `{id}` is the file's name,
//! `{secret}` text that must not reach tier two, `{300*a}` three hundred times `a`, `{handed-on}` waits until the service
//! has begun with the request, `{end}` ends the sending direction. Further lines of the header: `reaches: head` (only the
//! head may reach tier two), `connection: closes` (of an accepted message), `body: 5` and `sees: /echo?a` (what the service
//! has to see).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The file's name without its extension.
    pub id: String,
    /// The clause it breaks or makes use of.
    pub clause: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of a refusal; empty when the message is accepted.
    pub code: String,
    /// Whether its head may reach tier two although it is refused.
    pub reaches_with_head: bool,
    /// Whether the connection closes behind the answer.
    pub closes: bool,
    /// Length of the body the service has to see.
    pub body: Option<u64>,
    /// The target the service has to see.
    pub sees: Option<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One step of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until the service has begun with the request.
    WaitUntilHandedOn,
    /// Ends the sending direction.
    End,
}

impl Message {
    /// What must not reach tier two.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("kept-back.{}.", self.id)
    }

    /// Whether the message is one of those that pass.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.code.is_empty()
    }

    /// All messages in the directory `path`, by name.
    ///
    /// # Errors
    /// A file cannot be read or understood.
    pub fn read_all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let mut messages = Vec::new();
        for entry in fs::read_dir(path).with_context(|| format!("in {}", path.display()))? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).context("a file without a name")?.to_owned();
            let text = fs::read_to_string(&path)?;
            messages.push(Self::parse(id, &text).with_context(|| format!("in {}", path.display()))?);
        }
        messages.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(messages)
    }

    /// Reads one file.
    ///
    /// # Errors
    /// It says too little, or something unknown.
    pub fn parse(id: String, text: &str) -> anyhow::Result<Self> {
        let (header, message) = text.split_once("\n--\n").context("no line --")?;
        let mut parsed = Self { id, ..Self::default() };
        for line in header.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(": ").with_context(|| format!("no colon in {line:?}"))?;
            match name {
                "clause" => value.clone_into(&mut parsed.clause),
                "expect" => {
                    let (status, code) = value.split_once(' ').unwrap_or((value, ""));
                    parsed.status = status.parse()?;
                    code.clone_into(&mut parsed.code);
                }
                "reaches" if value == "head" => parsed.reaches_with_head = true,
                "connection" if value == "closes" => parsed.closes = true,
                "body" => parsed.body = Some(value.parse()?),
                "sees" => parsed.sees = Some(value.to_owned()),
                _ => bail!("what is {line:?}?"),
            }
        }
        ensure!(!parsed.clause.is_empty() && parsed.status > 0, "clause or expect is missing");
        parsed.closes |= !parsed.code.is_empty();
        parsed.steps = steps(&message.replace('\n', ""), &parsed)?;
        Ok(parsed)
    }
}

fn steps(mut text: &str, message: &Message) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut bytes = Vec::new();
    while let Some(character) = text.chars().next() {
        let (piece, rest) = match character {
            '{' if command(text).is_some() => command(text).context("a command")?,
            '\\' => text.split_at_checked(if text.starts_with("\\x") { 4 } else { 2 }).context("half an escape")?,
            _ => text.split_at(character.len_utf8()),
        };
        text = rest;
        match piece {
            "{id}" => bytes.extend_from_slice(message.id.as_bytes()),
            "{secret}" => bytes.extend_from_slice(message.secret().as_bytes()),
            "{end}" | "{handed-on}" => {
                steps.push(Step::Send(std::mem::take(&mut bytes)));
                steps.push(if piece == "{end}" { Step::End } else { Step::WaitUntilHandedOn });
            }
            _ if character == '{' && piece.len() > 1 => {
                let (count, repeated) = piece.trim_matches(['{', '}']).split_once('*').context("a count")?;
                bytes.extend(unescape(repeated)?.repeat(count.parse()?));
            }
            _ => bytes.extend(unescape(piece)?),
        }
    }
    steps.push(Step::Send(bytes));
    Ok(steps)
}

/// A command at the beginning of `text`, and what follows it; braces also occur as such.
fn command(text: &str) -> Option<(&str, &str)> {
    let (piece, rest) = text.split_at(text.find('}')? + 1);
    let is_known = ["{id}", "{secret}", "{end}", "{handed-on}"].contains(&piece);
    let is_repetition = piece.starts_with('{') && piece.get(1..2)?.parse::<u8>().is_ok();
    (is_known || is_repetition).then_some((piece, rest))
}

fn unescape(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let byte = match character {
            '\\' => match rest.next().context("a backslash at the end")? {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                '0' => 0,
                '\\' => b'\\',
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).with_context(|| format!("\\x{digits}"))?
                }
                other => bail!("what is \\{other}?"),
            },
            character => u8::try_from(character).ok().filter(u8::is_ascii).context("write \\xNN for other bytes")?,
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Message> {
        Message::parse("a-name".to_owned(), text)
    }

    #[test]
    fn reads_bytes_repetitions_and_waits() {
        let text = "# Why.\nclause: RFC 1\nexpect: 400 bad_thing\nreaches: head\n--\nGET /{x}\\r\\n\n{id}\\0\\xfe\\\\{handed-on}{3*a\\n}{end}\n";
        let message = parse(text).unwrap();
        assert_eq!((message.status, message.code.as_str(), message.closes), (400, "bad_thing", true));
        assert!(message.reaches_with_head && !message.is_accepted());
        assert_eq!(
            message.steps,
            [
                Step::Send(b"GET /{x}\r\na-name\0\xfe\\".to_vec()),
                Step::WaitUntilHandedOn,
                Step::Send(b"a\na\na\n".to_vec()),
                Step::End,
                Step::Send(Vec::new()),
            ]
        );
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "clause: a\nexpect: 200\n",
            "expect: 200\n--\n",
            "clause: a\nexpect: 200\nwhat: x\n--\n",
            "clause: a\nexpect: 200\n--\n\\q\n",
            "clause: a\nexpect: 200\n--\né\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
