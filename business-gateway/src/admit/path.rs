//! Path templates: how an API's path is written and what it matches.
//!
//! A template is compared segment by segment with the canonical path. A segment is a literal (`orders`), a parameter
//! (`{id}`, exactly one segment that is not empty) or, only as the last one, the rest (`{*rest}`, whatever follows the slash,
//! an empty string too). `/files/{*rest}` therefore matches `/files/` and `/files/a/b`, but not `/files`.

use std::fmt;

/// One segment of a [`PathTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The text itself; empty only where the template ends in a slash.
    Literal(Box<str>),
    /// Any one segment that is not empty, under a name.
    Parameter(Box<str>),
    /// Everything that follows, under a name.
    Rest(Box<str>),
}

/// A path template that parsed, for example `/orders/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    /// A template starts like the path it matches.
    #[error("a path starts with a slash")]
    NoLeadingSlash,
    /// The canonical path never has one, so nothing would ever match.
    #[error("empty segment: repeated slashes never reach this tier, the edge collapses them")]
    EmptySegment,
    /// The canonical path never has one, so nothing would ever match.
    #[error("the segment {0:?} never reaches this tier, the edge resolves it")]
    DotSegment(String),
    /// A brace inside a segment, or one that is not closed.
    #[error("the segment {0:?} mixes text and braces; a parameter takes a whole segment, as in \"/orders/{{id}}\"")]
    Braces(String),
    /// A parameter's name is an identifier.
    #[error("the parameter name {0:?} is not of letters, digits and underscores, starting with a letter")]
    Name(String),
    /// Two parameters of the same name.
    #[error("the parameter name {0:?} is used twice")]
    DuplicateName(String),
    /// The rest takes everything, so nothing can follow it.
    #[error("{{*{0}}} takes everything that follows and must be the last segment")]
    RestNotLast(String),
    /// A character that a canonical path never holds unencoded.
    #[error("the character {0:?} cannot occur in a path; write it percent-encoded, in upper case")]
    Character(char),
}

impl PathTemplate {
    /// Parses `text`.
    ///
    /// # Errors
    /// When the text is not a template, or one that could never match a canonical path.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let Some(tail) = text.strip_prefix('/') else { return Err(PathTemplateError::NoLeadingSlash) };
        let written: Vec<&str> = tail.split('/').collect();
        let last = written.len().saturating_sub(1);
        let mut segments = Vec::with_capacity(written.len());
        let mut names: Vec<&str> = Vec::new();
        for (index, segment) in written.iter().enumerate() {
            let parsed = parse_segment(segment, index == last)?;
            if let Segment::Parameter(_) | Segment::Rest(_) = parsed {
                let name = segment.trim_matches(['{', '*', '}']);
                if names.contains(&name) {
                    return Err(PathTemplateError::DuplicateName(name.to_owned()));
                }
                names.push(name);
            }
            segments.push(parsed);
        }
        Ok(Self { segments })
    }

    /// The segments in order; at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) | Segment::Rest(name) => Some(&**name),
        })
    }

    /// The parameters of a path that it matches, by name and in order, as they stand in the path.
    #[must_use]
    pub fn parameters<'a>(&'a self, path: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut rest = Some(path.strip_prefix('/').unwrap_or(path));
        let mut parameters = Vec::new();
        for segment in &self.segments {
            let Some(remaining) = rest else { break };
            let (text, tail) = match remaining.split_once('/') {
                Some((text, tail)) => (text, Some(tail)),
                None => (remaining, None),
            };
            match segment {
                Segment::Literal(_) => {}
                Segment::Parameter(name) => parameters.push((&**name, text)),
                Segment::Rest(name) => parameters.push((&**name, remaining)),
            }
            rest = tail;
        }
        parameters
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(out, "/{text}")?,
                Segment::Parameter(name) => write!(out, "/{{{name}}}")?,
                Segment::Rest(name) => write!(out, "/{{*{name}}}")?,
            }
        }
        Ok(())
    }
}

fn parse_segment(text: &str, is_last: bool) -> Result<Segment, PathTemplateError> {
    if text.is_empty() {
        return if is_last { Ok(Segment::Literal(text.into())) } else { Err(PathTemplateError::EmptySegment) };
    }
    if text == "." || text == ".." {
        return Err(PathTemplateError::DotSegment(text.to_owned()));
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let (name, is_rest) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        if !is_identifier(name) {
            return Err(PathTemplateError::Name(name.to_owned()));
        }
        return match (is_rest, is_last) {
            (true, true) => Ok(Segment::Rest(name.into())),
            (true, false) => Err(PathTemplateError::RestNotLast(name.to_owned())),
            (false, _) => Ok(Segment::Parameter(name.into())),
        };
    }
    if text.contains(['{', '}']) {
        return Err(PathTemplateError::Braces(text.to_owned()));
    }
    if let Some(character) = text.chars().find(|character| !may_occur_in_a_path(*character)) {
        return Err(PathTemplateError::Character(character));
    }
    Ok(Segment::Literal(text.into()))
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// RFC 3986 section 3.3: `pchar`, where `%` begins an encoded byte.
#[must_use]
pub fn may_occur_in_a_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in ["/", "/orders", "/orders/", "/orders/{id}", "/a/{b}/c/{*rest}", "/{*all}", "/caf%C3%A9"] {
            assert_eq!(PathTemplate::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_parameters_of_a_path_are_found_in_order() {
        for (template, path, expected) in [
            ("/a/{b}/c/{*rest}", "/a/1/c/d/e", &[("b", "1"), ("rest", "d/e")][..]),
            ("/a/{b}/c/{*rest}", "/a/%2F/c/", &[("b", "%2F"), ("rest", "")]),
            ("/{*all}", "/", &[("all", "")]),
            ("/a/b", "/a/b", &[]),
        ] {
            let template = PathTemplate::parse(template).unwrap();
            assert_eq!(template.parameters(path), expected, "{path}");
            let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
            assert_eq!(template.names().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn refuses_what_could_never_match() {
        use PathTemplateError as E;
        let cases = [
            ("orders", E::NoLeadingSlash),
            ("", E::NoLeadingSlash),
            ("/a//b", E::EmptySegment),
            ("/a/../b", E::DotSegment("..".into())),
            ("/a/x{id}", E::Braces("x{id}".into())),
            ("/a/{id", E::Braces("{id".into())),
            ("/a/{}", E::Name(String::new())),
            ("/a/{1}", E::Name("1".into())),
            ("/{a}/{a}", E::DuplicateName("a".into())),
            ("/{*a}/b", E::RestNotLast("a".into())),
            ("/a?b", E::Character('?')),
            ("/a b", E::Character(' ')),
        ];
        for (text, expected) in cases {
            assert_eq!(PathTemplate::parse(text), Err(expected), "{text}");
        }
    }
}
