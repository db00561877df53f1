//! Reads a file of cases.

use std::collections::HashMap;

use super::generated::{Escapes, expand};
use super::{Case, Error, Expected, Ids, Mistake, Request};

/// Reads the cases of a file.
///
/// # Errors
///
/// The first mistake, with its line.
pub fn read(text: &str) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    let mut definitions = HashMap::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut line = 1;
    for lines in lines.split(|line| *line == "====") {
        let section = Section { lines, line };
        match section.definition() {
            Some(name) => {
                definitions.insert(name, section.defined_fields()?);
            }
            None => cases.push(section.case(&definitions)?),
        }
        line += lines.len() + 1;
    }
    Ok(cases)
}

/// Header fields by the name they are defined under, as written.
type Definitions<'a> = HashMap<&'a str, Vec<(&'a str, &'a str)>>;

/// The lines between two `====`.
struct Section<'a> {
    lines: &'a [&'a str],
    /// Number of the first one.
    line: usize,
}

/// The `#!` lines of a case.
struct Words {
    escapes: Escapes,
    line_end: &'static str,
}

impl<'a> Section<'a> {
    fn definition(&self) -> Option<&'a str> {
        self.lines.first()?.strip_prefix("#! define ")
    }

    fn defined_fields(&self) -> Result<Vec<(&'a str, &'a str)>, Error> {
        let lines = self.lines.iter().enumerate().skip(1);
        lines.map(|(at, line)| field(line).ok_or_else(|| self.error(at, Mistake::Field))).collect()
    }

    fn case(&self, definitions: &Definitions<'a>) -> Result<Case, Error> {
        let comments = self.lines.iter().take_while(|line| line.starts_with('#')).count();
        let (name, words) = self.comments(comments)?;
        let behind = |from: usize, wanted: &str| {
            let found = self.lines.iter().skip(from).position(|line| *line == wanted);
            found.map(|at| from + at)
        };
        let verdict = behind(comments, "----").ok_or_else(|| self.error(comments, Mistake::NoVerdict))?;
        let body = behind(comments, "").filter(|&at| at < verdict).unwrap_or(verdict);

        let mut request = self.request_line(comments, &words)?;
        for (name, value) in self.fields(comments + 1, body, definitions)? {
            request.fields.push((name.into(), self.expand(value, &words)?));
        }
        let lines = self.lines.get(body + 1..verdict).unwrap_or_default();
        request.body = self.expand(&lines.join(words.line_end), &words)?;
        let is_framed = request.has_field("Content-Length") || request.has_field("Transfer-Encoding");
        if !request.body.is_empty() && !is_framed {
            request.fields.push((b"Content-Length".into(), request.body.len().to_string().into()));
        }
        let (expected, must, must_not) = self.expectation(verdict + 1)?;
        Ok(Case { name, line: self.line, request, expected, must, must_not })
    }

    fn comments(&self, count: usize) -> Result<(String, Words), Error> {
        let mut words = Words { escapes: Escapes::Literal, line_end: "\n" };
        let mut name = String::new();
        for (at, line) in self.lines.iter().take(count).enumerate() {
            match line.strip_prefix("#!").map(str::trim) {
                Some("escapes") => words.escapes = Escapes::Read,
                Some("crlf-body") => words.line_end = "\r\n",
                Some(word) => return Err(self.error(at, Mistake::UnknownWord(word.to_owned()))),
                None => {
                    let separator = if name.is_empty() { "" } else { " " };
                    name.push_str(separator);
                    name.push_str(line.trim_start_matches('#').trim());
                }
            }
        }
        if name.is_empty() {
            return Err(self.error(0, Mistake::NoComment));
        }
        Ok((name, words))
    }

    /// The method up to the first space, the version behind the last one, the target between them.
    fn request_line(&self, at: usize, words: &Words) -> Result<Request, Error> {
        let line = self.lines.get(at).copied().unwrap_or_default();
        let parts = line.split_once(' ').and_then(|(method, rest)| Some((method, rest.rsplit_once(' ')?)));
        let (method, (target, version)) = parts.ok_or_else(|| self.error(at, Mistake::RequestLine))?;
        let target = self.expand(target, words)?;
        Ok(Request { method: method.into(), target, version: version.into(), ..Request::default() })
    }

    /// The header fields as written, with those of `@NAME` that the case does not name itself.
    fn fields(&self, from: usize, to: usize, definitions: &Definitions<'a>) -> Result<Vec<(&'a str, &'a str)>, Error> {
        let lines = self.lines.get(from..to).unwrap_or_default();
        let own: Vec<&str> = lines.iter().filter_map(|line| field(line)).map(|(name, _)| name).collect();
        let mut fields = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if let Some(name) = line.strip_prefix('@') {
                let unknown = || self.error(from + at, Mistake::UnknownDefinition(name.to_owned()));
                let defined = definitions.get(name).ok_or_else(unknown)?;
                fields.extend(defined.iter().filter(|(name, _)| !own.iter().any(|own| own.eq_ignore_ascii_case(name))));
            } else {
                fields.push(field(line).ok_or_else(|| self.error(from + at, Mistake::Field))?);
            }
        }
        Ok(fields)
    }

    fn expectation(&self, from: usize) -> Result<(Expected, Vec<Ids>, Vec<Ids>), Error> {
        let (mut expected, mut must, mut must_not) = (None, Vec::new(), Vec::new());
        for (at, line) in self.lines.iter().enumerate().skip(from) {
            let ids = |list: &str| list.split(',').map(|text| self.ids(at, text.trim())).collect::<Result<Vec<_>, _>>();
            match line.split_once(':') {
                None if *line == "pass" => expected = Some(Expected::Pass),
                None if *line == "deny" => expected = Some(Expected::Deny),
                None if line.is_empty() => {}
                Some(("must", list)) => must.extend(ids(list)?),
                Some(("must-not", list)) => must_not.extend(ids(list)?),
                _ => return Err(self.error(at, Mistake::Expectation((*line).to_owned()))),
            }
        }
        let expected = expected.ok_or_else(|| self.error(from, Mistake::NoVerdict))?;
        Ok((expected, must, must_not))
    }

    fn ids(&self, at: usize, text: &str) -> Result<Ids, Error> {
        Ids::find(text).ok_or_else(|| self.error(at, Mistake::Ids(text.to_owned())))
    }

    fn expand(&self, text: &str, words: &Words) -> Result<Vec<u8>, Error> {
        expand(text.as_bytes(), words.escapes).map_err(|mistake| self.error(0, mistake))
    }

    fn error(&self, at: usize, mistake: Mistake) -> Error {
        Error { line: self.line + at, mistake }
    }
}

/// Name and value of a line of a head. The spaces around the value are not part of it.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && !name.starts_with('@') && !name.contains(' ');
    is_name.then(|| (name, value.trim_matches([' ', '\t'])))
}
