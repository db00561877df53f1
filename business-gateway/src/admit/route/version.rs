//! Versions that calls name: numbers with dots or hyphens between them (`2`, `v2.1`, `2026-01-31`), compared number by number;
//! what is not written counts as 0.

use std::fmt;

use gatehouse_shared::config::ConfigErrors;
use schemars::JsonSchema;
use serde::Deserialize;

use super::question::{Question, Single, Source};
use super::text::Carrier;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::catalog::At;

/// Numbers of a version; more is not a version.
const NUMBERS: usize = 4;

/// `when.version`: the version that a call names.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header field that names it.
    pub header: Option<String>,
    /// The parameter of the query that names it.
    pub query: Option<String>,
    /// The parameter of the path that names it: with `path = "/{version}/orders"`, `"version"`.
    pub parameter: Option<String>,
    /// Which versions: comparisons with commas in between that must all hold, of `=`, `>`, `>=`, `<` and `<=`; a version alone
    /// stands for itself and everything that begins so: `"2"` is 2, 2.0 and 2.7. Example: `">=2, <3"`.
    pub is: String,
    /// The version of a call that names none. Default: such a call does not fit.
    pub default: Option<String>,
}

/// A version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; NUMBERS]);

/// Versions from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    source: Source,
    /// The first.
    from: Version,
    /// The first that is too high; `None` without an end.
    to: Option<Version>,
    default: Option<Version>,
    /// As written.
    text: Box<str>,
}

impl Versions {
    /// Compiles `when.version` of an API at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, and requirements that no version meets.
    pub fn compile(written: &Config, path: &PathTemplate, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let source = errors.collect(source(written, path, at));
        let mut refuse = |key: &str, message: String, remedy: &str| {
            errors.push(at.error(&format!("when.version.{key}"), message, remedy));
        };
        let range = range(&written.is);
        if range.is_none() {
            let message = format!("{:?} is not a requirement of versions", written.is);
            refuse("is", message, "write comparisons, as in \">=2, <3\", \"=2.1\" or \"2\"");
        }
        let (from, to) = range.unwrap_or((Version::ZERO, None));
        if to.is_some_and(|to| from >= to) {
            refuse("is", format!("no version meets {:?}", written.is), "let the comparisons meet");
        }
        let default = written.default.as_deref().map(|text| Version::parse(text.as_bytes()));
        if default == Some(None) {
            let message = format!("{:?} is not a version", written.default.as_deref().unwrap_or_default());
            refuse("default", message, "write up to four numbers with dots in between");
        }
        let Some(source) = source else { return Err(errors) };
        errors.into_result(Self { source, from, to, default: default.flatten(), text: written.is.trim().into() })
    }

    /// Whether a call names one of them.
    #[must_use]
    pub fn contains(&self, question: &Question<'_>) -> bool {
        match self.source.single(question) {
            Single::Missing => self.default.is_some_and(|version| self.has(version)),
            Single::Value(value) => Version::parse(&value).is_some_and(|version| self.has(version)),
            Single::Several => false,
        }
    }

    fn has(&self, version: Version) -> bool {
        version >= self.from && self.to.is_none_or(|to| version < to)
    }

    /// Whether no call names one of both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let begins = self.from.max(other.from);
        let ends = match (self.to, other.to) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        let takes_none = |versions: &Self| versions.default.is_some_and(|version| versions.has(version));
        self.source == other.source
            && ends.is_some_and(|ends| begins >= ends)
            && !(takes_none(self) && takes_none(other))
    }

    /// What the call names, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        self.source.seen(question)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "version by {} is {:?}", self.source, self.text)?;
        if let Some(Version(numbers)) = &self.default {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            write!(out, " or not there (then {})", numbers.join("."))?;
        }
        Ok(())
    }
}

/// Where the version stands: exactly one of three.
fn source(written: &Config, path: &PathTemplate, at: &At<'_>) -> Result<Source, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    match (&written.header, &written.query, &written.parameter) {
        (Some(name), None, None) => return Carrier::Headers.source(name, at, "when.version.header"),
        (None, Some(name), None) => return Carrier::Query.source(name, at, "when.version.query"),
        (None, None, Some(name)) => {
            let is_it = |segment: &Segment| matches!(segment, Segment::Parameter(known) if **known == **name);
            if let Some(index) = path.segments().iter().position(is_it) {
                return Ok(Source::Segment(index));
            }
            let message = format!("the path has no parameter {name:?} of one segment");
            errors.push(at.error("when.version.parameter", message, format!("write {{{name}}} into the path")));
        }
        _ => {
            let remedy = "write one of header, query and parameter";
            errors.push(at.error("when.version", "not exactly one place where a call names its version", remedy));
        }
    }
    Err(errors)
}

impl Version {
    const ZERO: Self = Self([0; NUMBERS]);

    fn parse(text: &[u8]) -> Option<Self> {
        Some(Self::with_length(text)?.0)
    }

    /// The version, and how many numbers of it are written.
    fn with_length(text: &[u8]) -> Option<(Self, usize)> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (mut numbers, mut length) = ([0; NUMBERS], 0);
        for number in text.split(['.', '-']) {
            let slot = numbers.get_mut(length)?;
            *slot = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            length += 1;
        }
        Some((Self(numbers), length))
    }

    /// The next one when only the first `length` numbers count; `None` after the last.
    fn after(self, length: usize) -> Option<Self> {
        let mut numbers = self.0;
        for (index, number) in numbers.iter_mut().enumerate().rev() {
            match number.checked_add(1).filter(|_| index < length) {
                Some(next) => {
                    *number = next;
                    return Some(Self(numbers));
                }
                None => *number = 0,
            }
        }
        None
    }
}

/// The range that all comparisons allow: the first version, and the first that is too high.
fn range(text: &str) -> Option<(Version, Option<Version>)> {
    let (mut from, mut to): (Version, Option<Version>) = (Version::ZERO, None);
    for comparison in text.split(',').map(str::trim) {
        let operators = [">=", "<=", ">", "<", "="];
        let operator = operators.into_iter().find(|operator| comparison.starts_with(operator)).unwrap_or_default();
        let version = comparison.strip_prefix(operator)?.trim();
        let (version, length) = Version::with_length(version.as_bytes())?;
        let (low, high) = match operator {
            ">=" => (version, None),
            // What has no successor is followed by nothing: an empty range.
            ">" => match version.after(NUMBERS) {
                Some(next) => (next, None),
                None => (version, Some(version)),
            },
            "<" => (Version::ZERO, Some(version)),
            "<=" => (Version::ZERO, version.after(NUMBERS)),
            "=" => (version, version.after(NUMBERS)),
            _ => (version, version.after(length)),
        };
        from = from.max(low);
        to = match (to, high) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }
    Some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Positions;
    use http::{HeaderMap, Method};

    fn compile(text: &str) -> Result<Versions, String> {
        let positions = Positions::default();
        let at = At { positions: &positions, path: "api[0]".to_owned() };
        let path = PathTemplate::parse("/{version}/orders").unwrap();
        Versions::compile(&toml::from_str(text).unwrap(), &path, &at).map_err(|errors| errors.to_string())
    }

    fn is(requirement: &str, query: &str, more: &str) -> bool {
        let versions = compile(&format!("query = \"v\"\nis = {requirement:?}\n{more}")).unwrap();
        contains(&versions, "/", query)
    }

    fn contains(versions: &Versions, path: &str, query: &str) -> bool {
        let (headers, client) = (&HeaderMap::new(), [192, 0, 2, 1].into());
        let method = &Method::GET;
        versions.contains(&Question { authority: "h", path, method, query, headers, client, unix_ms: 0, body: None })
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        for (requirement, inside, outside) in [
            (">=2, <3", &["2", "v2", "2.0.0", "2.10", "V2.9.9.9"][..], &["1.9", "3", "3.0", "1", "20"][..]),
            ("2", &["2", "2.0", "2.7.1"], &["1", "3", "21"]),
            ("2.1", &["2.1", "2.1.5"], &["2", "2.2", "2.10"]),
            ("=2.1", &["2.1", "2.1.0"], &["2.1.1", "2"]),
            (">2", &["2.0.0.1", "3"], &["2", "2.0.0.0"]),
            ("<=2", &["2", "0"], &["2.0.0.1"]),
            (">=2026-01-31", &["2026-01-31", "2026-02-01", "2027"], &["2026-01-30", "2026"]),
        ] {
            for version in inside {
                assert!(is(requirement, &format!("v={version}"), ""), "{version} {requirement}");
            }
            for version in outside {
                assert!(!is(requirement, &format!("v={version}"), ""), "{version} {requirement}");
            }
        }
    }

    #[test]
    fn what_is_not_a_version_never_fits() {
        for version in ["", "two", "2x", "-2", "%2B2", "2.", "1.2.3.4.5", "99999999999", "2&v=2"] {
            assert!(!is(">=0", &format!("v={version}"), "default = \"1\""), "{version}");
        }
        assert!(!is(">=0", "", ""), "none");
        assert!(is("1", "", "default = \"1.2\""), "none, but there is a default");
    }

    #[test]
    fn a_segment_of_the_path_may_name_it() {
        let versions = compile("parameter = \"version\"\nis = \"2\"").unwrap();
        assert!(contains(&versions, "/v2/orders", "") && !contains(&versions, "/v3/orders", ""));
    }

    #[test]
    fn ranges_that_do_not_meet_exclude_each_other() {
        let versions = |is: &str, more: &str| compile(&format!("header = \"v\"\nis = {is:?}\n{more}")).unwrap();
        let two = versions(">=2, <3", "");
        assert!(
            two.excludes(&versions("1", ""))
                && two.excludes(&versions(">=3", ""))
                && versions(">=3", "").excludes(&two)
        );
        assert!(!two.excludes(&versions("2.5", "")) && !two.excludes(&versions(">=1", "")));
        let (one, three) = (versions("1", "default = \"1\""), versions("3", "default = \"3\""));
        assert!(!one.excludes(&three), "a call without a version fits both");
        assert!(one.excludes(&versions("3", "default = \"1\"")));
    }

    #[test]
    fn requirements_that_nothing_meets_are_refused() {
        for (text, expected) in [
            ("query = \"v\"\nis = \"\"", "\"\" is not a requirement"),
            ("query = \"v\"\nis = \"two\"", "is not a requirement"),
            ("query = \"v\"\nis = \">=2,\"", "is not a requirement"),
            ("query = \"v\"\nis = \">=3, <2\"", "no version meets"),
            ("query = \"v\"\nis = \">4294967295.4294967295.4294967295.4294967295\"", "no version meets"),
            ("query = \"v\"\nis = \"2\"\ndefault = \"x\"", "\"x\" is not a version"),
            ("is = \"2\"", "not exactly one place"),
            ("query = \"v\"\nheader = \"v\"\nis = \"2\"", "not exactly one place"),
            ("parameter = \"v\"\nis = \"2\"", "the path has no parameter \"v\""),
        ] {
            let error = compile(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn excluding_ranges_share_no_version(
            one in "(>|>=|<|<=|=|)[0-3](\\.[0-3])?", two in "(>|>=|<|<=|=|)[0-3](\\.[0-3])?", version in "[0-4]\\.[0-4]",
        ) {
            let ranges = [&one, &two].map(|is| compile(&format!("query = \"v\"\nis = {is:?}")));
            if let [Ok(one), Ok(two)] = ranges {
                let query = format!("v={version}");
                let in_both = contains(&one, "/", &query) && contains(&two, "/", &query);
                proptest::prop_assert!(!(in_both && one.excludes(&two)));
            }
        }
    }
}
