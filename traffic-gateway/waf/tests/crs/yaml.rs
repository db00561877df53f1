//! As much of YAML as the regression suite of the Core Rule Set is written in: maps and lists as blocks, lists in brackets,
//! texts plain, in quotes and as blocks. Every value is a text.

use anyhow::{Context as _, bail, ensure};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Yaml {
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Yaml {
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn list(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub(crate) fn entries(&self) -> &[(String, Self)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// The text of an entry.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }
}

/// Reads a document.
///
/// # Errors
///
/// It holds something that is not read here.
pub(crate) fn parse(source: &str) -> anyhow::Result<Yaml> {
    let mut reader = Reader { lines: source.lines().map(str::to_owned).collect(), at: 0 };
    reader.skip_idle();
    let value = reader.block(0)?;
    reader.skip_idle();
    ensure!(reader.at == reader.lines.len(), "line {}: more than one value", reader.at + 1);
    Ok(value)
}

struct Reader {
    lines: Vec<String>,
    at: usize,
}

fn indent_of(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

impl Reader {
    fn line(&self) -> Option<&str> {
        self.lines.get(self.at).map(String::as_str)
    }

    /// Goes to the next line that says something.
    fn skip_idle(&mut self) {
        while let Some(line) = self.line() {
            let content = line.trim_start();
            if !content.is_empty() && !content.starts_with('#') && line != "---" {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the value that begins here, if it stands at least so far in; nothing is an empty text.
    fn block(&mut self, least: usize) -> anyhow::Result<Yaml> {
        self.skip_idle();
        let Some(line) = self.line() else { return Ok(Yaml::Text(String::new())) };
        let indent = indent_of(line);
        let content = &line[indent..];
        if indent < least {
            return Ok(Yaml::Text(String::new()));
        }
        if content == "-" || content.starts_with("- ") {
            return self.list(indent);
        }
        if key_of(content).is_some() {
            return self.map(indent);
        }
        let content = content.to_owned();
        self.at += 1;
        self.inline(&content, indent.saturating_sub(1))
    }

    fn list(&mut self, indent: usize) -> anyhow::Result<Yaml> {
        let mut items = Vec::new();
        loop {
            self.skip_idle();
            let at = self.at;
            let Some(line) = self.lines.get_mut(at) else { break };
            if indent_of(line) != indent || !(line[indent..] == *"-" || line[indent..].starts_with("- ")) {
                break;
            }
            // The rest of the line is the first one of the item.
            line.replace_range(indent..=indent, " ");
            if line.trim().is_empty() {
                self.at += 1;
            }
            items.push(self.block(indent + 1)?);
        }
        Ok(Yaml::List(items))
    }

    fn map(&mut self, indent: usize) -> anyhow::Result<Yaml> {
        let mut entries = Vec::new();
        loop {
            self.skip_idle();
            let Some(line) = self.line() else { break };
            if indent_of(line) != indent || line[indent..].starts_with("- ") {
                break;
            }
            let number = self.at + 1;
            let (key, rest) = key_of(&line[indent..]).with_context(|| format!("line {number}: no key"))?;
            self.at += 1;
            let value = if rest.is_empty() {
                self.skip_idle();
                let is_list =
                    self.line().is_some_and(|line| indent_of(line) == indent && line[indent..].starts_with('-'));
                self.block(if is_list { indent } else { indent + 1 })
            } else {
                self.inline(&rest, indent)
            };
            entries.push((key, value.with_context(|| format!("line {number}"))?));
        }
        Ok(Yaml::Map(entries))
    }

    /// Reads a value that begins on a line whose block stands so far in; the next line is the one behind.
    fn inline(&mut self, first: &str, indent: usize) -> anyhow::Result<Yaml> {
        match first.as_bytes().first() {
            Some(b'|' | b'>') => self.block_text(first, indent).map(Yaml::Text),
            Some(quote @ (b'"' | b'\'')) => self.quoted(first, char::from(*quote)).map(Yaml::Text),
            Some(b'[') => {
                let inner = without_comment(first).strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
                let items = inner.context("a list that does not end on its line")?.split(',').map(str::trim);
                Ok(Yaml::List(items.filter(|item| !item.is_empty()).map(|item| Yaml::Text(item.to_owned())).collect()))
            }
            Some(b'&' | b'*' | b'!' | b'{' | b'%' | b'@' | b'`') => bail!("{first:?} is not read here"),
            _ => {
                let mut text = without_comment(first).to_owned();
                while let Some(line) = self.line().filter(|line| indent_of(line) > indent && !line.trim().is_empty()) {
                    text.push(' ');
                    text.push_str(without_comment(line.trim()));
                    self.at += 1;
                }
                Ok(Yaml::Text(text))
            }
        }
    }

    fn block_text(&mut self, header: &str, indent: usize) -> anyhow::Result<String> {
        let header = without_comment(header);
        ensure!(["|", "|-", "|+", ">", ">-"].contains(&header), "{header:?} is not read here");
        let mut lines: Vec<String> = Vec::new();
        let mut own = None;
        while let Some(line) = self.line() {
            if line.trim().is_empty() {
                lines.push(line.get(own.unwrap_or(line.len())..).unwrap_or_default().to_owned());
            } else {
                let depth = indent_of(line);
                if depth < own.unwrap_or(indent + 1) {
                    break;
                }
                lines.push(line[*own.get_or_insert(depth)..].to_owned());
            }
            self.at += 1;
        }
        let kept = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        let empty = lines.split_off(kept).len();
        let mut text = if header.starts_with('|') { lines.join("\n") } else { fold(&lines) };
        if !header.ends_with('-') && kept > 0 {
            text.push('\n');
        }
        if header.ends_with('+') {
            text.push_str(&"\n".repeat(empty));
        }
        Ok(text)
    }

    /// Reads a text in quotes, which may go on on further lines.
    fn quoted(&mut self, first: &str, quote: char) -> anyhow::Result<String> {
        let mut raw = first[1..].to_owned();
        loop {
            if let Some(text) = unquote(&raw, quote)? {
                return Ok(text);
            }
            let next = self.line().context("a quote that is never closed")?.trim().to_owned();
            self.at += 1;
            // A line break is a blank; so many empty lines are as many line breaks.
            if next.is_empty() {
                raw.push('\n');
            } else {
                if raw.ends_with('\\') {
                    raw.pop();
                } else if !raw.ends_with('\n') {
                    raw = format!("{} ", raw.trim_end());
                }
                raw.push_str(&next);
            }
        }
    }
}

/// Lines as `>` joins them.
fn fold(lines: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            let before = &lines[index - 1];
            match (before.is_empty(), line.is_empty()) {
                (_, true) => text.push('\n'),
                (true, false) => {}
                (false, false) => text.push(' '),
            }
        }
        text.push_str(line);
    }
    text
}

/// The key of a line and what stands behind its colon.
fn key_of(content: &str) -> Option<(String, String)> {
    let quote = content.chars().next().filter(|first| ['"', '\''].contains(first));
    let (key, rest) = match quote {
        Some(quote) => content[1..].split_once(quote)?,
        None => {
            let end = content.find(": ").or_else(|| content.strip_suffix(':').map(str::len))?;
            content.split_at(end)
        }
    };
    let rest = rest.strip_prefix(':')?;
    if key.is_empty() || key.contains(['{', '[']) || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let rest = rest.trim();
    Some((key.to_owned(), if rest.starts_with('#') { String::new() } else { rest.to_owned() }))
}

fn without_comment(text: &str) -> &str {
    text.find(" #").map_or(text, |at| &text[..at]).trim_end()
}

/// The text up to the closing quote; `None` when there is none yet.
fn unquote(raw: &str, quote: char) -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(next) = chars.next() {
        if next == quote {
            if quote == '\'' && chars.as_str().starts_with('\'') {
                chars.next();
                text.push('\'');
                continue;
            }
            return Ok(Some(text));
        }
        if next != '\\' || quote == '\'' {
            text.push(next);
            continue;
        }
        let Some(escaped) = chars.next() else { return Ok(None) };
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        text.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            'a' => '\x07',
            'b' => '\x08',
            'e' => '\x1b',
            'f' => '\x0c',
            'v' => '\x0b',
            '"' | '\\' | '/' | ' ' => escaped,
            'x' | 'u' | 'U' => {
                let code: String = chars.by_ref().take(digits).collect();
                let code = u32::from_str_radix(&code, 16).with_context(|| format!("\\{escaped}{code}"))?;
                char::from_u32(code).context("no character")?
            }
            other => bail!("\\{other} is not read here"),
        });
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        parse(&format!("a:\n  b: {source}")).unwrap().get("a").unwrap().text_of("b").unwrap().to_owned()
    }

    #[test]
    fn texts_are_read_in_every_form() {
        assert_eq!(text("x: y # z"), "x: y");
        assert_eq!(text("one\n    two"), "one two");
        assert_eq!(text("\"a\\n\\\"\\x41\\u00fc\" # z"), "a\n\"A\u{fc}");
        assert_eq!(text("'it''s \\n'"), "it's \\n");
        assert_eq!(text("|\n    one\n\n      two\n\n"), "one\n\n  two\n");
        assert_eq!(text("|-\n    one\n    two\n"), "one\ntwo");
        assert_eq!(text(">-\n    one\n    two\n\n    three\n"), "one two\nthree");
        assert_eq!(text("\"one\n      two\""), "one two");
        assert_eq!(text(""), "");
    }

    #[test]
    fn maps_and_lists_stand_in_each_other() {
        let value = parse("---\n# x\ntests:\n  - id: 1\n    of:\n    - a\n    - b: [1, 2]\n  -\n    id: 2\n").unwrap();
        let tests = value.get("tests").unwrap().list();
        assert_eq!(tests.len(), 2);
        assert_eq!((tests[0].text_of("id"), tests[1].text_of("id")), (Some("1"), Some("2")));
        let of = tests[0].get("of").unwrap().list();
        assert_eq!(of[1].get("b").unwrap().list().len(), 2);
    }
}
