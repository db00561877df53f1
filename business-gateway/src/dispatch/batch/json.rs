//! The JSON form of a batch: an array of objects. Read by hand, because three things matter that a general reader gives away: a
//! name that is there twice is refused, a body goes on byte for byte as it was written (numbers too), and depth is bounded
//! without recursion. Linear in the length; memory is one byte for each open bracket, and the items themselves.

use std::borrow::Cow;
use std::collections::HashSet;

use super::asked::{Asked, Content, Fault, Pair};

/// Brackets that may be open at a time, those around the items included.
pub const DEPTH_MAX: usize = 64;
/// The longest `id` of an item, in bytes as written.
const ID_MAX: usize = 128;
/// Headers of one item; the edge allows a whole request 100.
const HEADERS_MAX: usize = 64;

/// Reads a batch of at most `most` items.
///
/// # Errors
/// Whatever makes it no batch; then nothing of it may be executed.
pub fn read(text: &str, most: usize) -> Result<Vec<Asked<'_>>, Fault> {
    let mut scanner = Scanner { text, at: 0 };
    let mut items = Vec::new();
    let mut ids = HashSet::new();
    scanner.white();
    if !scanner.take(b'[') {
        return Err(scanner.fault("a batch is an array of items"));
    }
    scanner.white();
    if !scanner.take(b']') {
        loop {
            if items.len() >= most {
                return Err(Fault::TooMany);
            }
            let item = scanner.item().map_err(|fault| fault.in_item(items.len()))?;
            if let Some(id) = &item.id
                && !ids.insert(id.clone())
            {
                return Err(scanner.fault("an id that another item has").in_item(items.len()));
            }
            items.push(item);
            scanner.white();
            if scanner.take(b']') {
                break;
            }
            if !scanner.take(b',') {
                return Err(scanner.fault("a comma or the end of the array is missing"));
            }
        }
    }
    scanner.white();
    if scanner.at < text.len() {
        return Err(scanner.fault("something stands behind the array"));
    }
    Ok(items)
}

/// A JSON text on one line: what it was, without the white space between its tokens. `None` when it is not JSON, or too deep.
#[must_use]
pub fn compact(text: &str) -> Option<Cow<'_, str>> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value().ok()?;
    scanner.white();
    if scanner.at < text.len() {
        return None;
    }
    if !text.bytes().any(is_white) {
        return Some(Cow::Borrowed(text));
    }
    let mut line = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    line.extend(text.chars().filter(|character| {
        if in_string {
            in_string = is_escaped || *character != '"';
            is_escaped = !is_escaped && *character == '\\';
            return true;
        }
        in_string = *character == '"';
        !matches!(character, ' ' | '\t' | '\n' | '\r')
    }));
    Some(Cow::Owned(line))
}

/// The text of a JSON string, as [`Scanner::string`] gave it.
pub(super) fn unescaped(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("not a string")?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_error| "a string with half of a surrogate pair")
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

impl<'a> Scanner<'a> {
    fn fault(&self, what: &'static str) -> Fault {
        Fault::at(self.at, what)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn white(&mut self) {
        while self.peek().is_some_and(is_white) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// One item: an object with the members that are known, each once.
    fn item(&mut self) -> Result<Asked<'a>, Fault> {
        let mut item = Asked::default();
        let (mut seen, mut begin) = (0_u8, self.at);
        self.members("an item is an object", |scanner, name| {
            let bit = match name {
                "id" => 1,
                "method" => 2,
                "path" => 4,
                "headers" => 8,
                "body" => 16,
                _ => return Err(scanner.fault("a member other than id, method, path, headers and body")),
            };
            if seen & bit != 0 {
                return Err(scanner.fault("a member that is there twice"));
            }
            seen |= bit;
            match bit {
                1 => item.id = Some(scanner.id()?),
                2 => item.method = scanner.text("method is a string")?,
                4 => item.target = scanner.text("path is a string")?,
                8 => item.headers = scanner.headers()?,
                _ => {
                    let value = scanner.value_below(2)?;
                    item.body = if value == "null" { Content::Nothing } else { Content::Json(value) };
                }
            }
            begin = scanner.at;
            Ok(())
        })?;
        if seen & 6 != 6 {
            return Err(Fault::at(begin, "an item needs method and path"));
        }
        Ok(item)
    }

    /// The members of an object whose names matter.
    fn members(
        &mut self,
        otherwise: &'static str,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.white();
        if !self.take(b'{') {
            return Err(self.fault(otherwise));
        }
        self.white();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            let name = unescaped(name).map_err(|what| self.fault(what))?;
            self.white();
            member(self, &name)?;
            self.white();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.fault("a comma or the end of an object is missing"));
            }
        }
    }

    fn id(&mut self) -> Result<Box<str>, Fault> {
        let form = "id is a string of up to 128 bytes or a whole number";
        let value = self.value_below(2)?;
        if value.len() > ID_MAX {
            return Err(self.fault(form));
        }
        if value.starts_with('"') {
            let text = unescaped(value).map_err(|what| self.fault(what))?;
            // In one spelling, so that two ids are the same when they look the same.
            return serde_json::to_string(&*text).map(Into::into).map_err(|_error| self.fault(form));
        }
        let digits = value.strip_prefix('-').unwrap_or(value);
        if digits.is_empty() || digits.len() > 19 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(form));
        }
        Ok(value.into())
    }

    fn headers(&mut self) -> Result<Vec<Pair<'a>>, Fault> {
        let mut headers = Vec::new();
        self.members("headers is an object", |scanner, name| {
            if headers.len() >= HEADERS_MAX {
                return Err(scanner.fault("more than 64 headers"));
            }
            headers.push((Cow::Owned(name.to_owned()), scanner.text("the value of a header is a string")?));
            Ok(())
        })?;
        Ok(headers)
    }

    /// A string as text.
    fn text(&mut self, otherwise: &'static str) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault(otherwise));
        }
        let raw = self.string()?;
        unescaped(raw).map_err(|what| self.fault(what))
    }

    /// The name of a member and its colon.
    fn name(&mut self) -> Result<&'a str, Fault> {
        self.white();
        if self.peek() != Some(b'"') {
            return Err(self.fault("the name of a member is missing"));
        }
        let name = self.string()?;
        self.white();
        if self.take(b':') { Ok(name) } else { Err(self.fault("a colon is missing")) }
    }

    /// Any value, as it is written.
    fn value(&mut self) -> Result<&'a str, Fault> {
        self.value_below(0)
    }

    /// The same inside of so many open brackets.
    fn value_below(&mut self, outer: usize) -> Result<&'a str, Fault> {
        self.white();
        let start = self.at;
        let mut open = Vec::new();
        loop {
            self.white();
            match self.peek() {
                Some(byte @ (b'{' | b'[')) => {
                    if outer + open.len() >= DEPTH_MAX {
                        return Err(self.fault("more than 64 brackets are open"));
                    }
                    self.at += 1;
                    self.white();
                    let (kind, end) = if byte == b'{' { (Open::Object, b'}') } else { (Open::Array, b']') };
                    if !self.take(end) {
                        open.push(kind);
                        if kind == Open::Object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => _ = self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => self.literal()?,
            }
            // A value is complete, and with it perhaps those around it.
            loop {
                let Some(kind) = open.last().copied() else { return Ok(self.since(start)) };
                self.white();
                if self.take(b',') {
                    if kind == Open::Object {
                        self.name()?;
                    }
                    break;
                }
                if !self.take(if kind == Open::Object { b'}' } else { b']' }) {
                    return Err(self.fault("a comma or the end of an object or array is missing"));
                }
                open.pop();
            }
        }
    }

    /// A string with its quotes, as it is written.
    fn string(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.fault("a string that does not end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.since(start));
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.fault("a control character in a string")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).unwrap_or_default();
                if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.fault("\\u without four digits"));
                }
                self.at += 5;
            }
            _ => return Err(self.fault("an escape that JSON does not know")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err(self.fault("not a number"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.fault("a number without digits behind its point"));
        }
        if self.take(b'e') || self.take(b'E') {
            _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(self.fault("a number without digits in its exponent"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn literal(&mut self) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let known = ["true", "false", "null"].into_iter().find(|literal| rest.starts_with(literal.as_bytes()));
        self.at += known.ok_or_else(|| self.fault("a value is missing"))?.len();
        Ok(())
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
