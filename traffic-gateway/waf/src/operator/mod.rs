//! Operators: what a value is compared with.
//!
//! [`Operator::compile`] does at load everything that can fail; [`Operator::matches`] cannot. Values are bytes that
//! attackers choose: every operator takes time in proportion to the value, the factor of a regular expression being the
//! size of its program.

mod address;
mod captures;
mod detect;
mod error;
mod expression;
mod number;
mod pattern;
mod backtrack;
mod phrases;
mod text;
mod validate;

#[cfg(test)]
mod tests;

use memchr::memmem::Finder;

use crate::seclang::ast::{OperatorKind, Text};

pub use captures::Captures;
pub use error::OperatorError;

use address::Addresses;
pub(crate) use detect::{Detector, Judged};
use expression::Expression;
use phrases::Phrases;
use validate::ByteRange;

/// A comparison, ready to run.
#[derive(Debug)]
pub struct Operator {
    comparison: Comparison,
    argument: Argument,
}

/// What is compared.
#[derive(Debug)]
enum Comparison {
    Always,
    Never,
    Regex(Expression),
    Phrases(Phrases),
    Addresses(Addresses),
    ByteRange(ByteRange),
    UrlEncoding,
    Utf8,
    Text(text::Relation),
    /// `@within` a text that is known at load.
    Within(text::Whole),
    Number(number::Relation),
    Detect(Detector),
}

/// What texts and numbers are compared with.
#[derive(Debug)]
enum Argument {
    /// Known at load.
    Fixed(Box<Finder<'static>>),
    /// Holds references; the transaction expands it for every request.
    Expanded,
}

impl Operator {
    /// Prepares an operator. `files` returns the content of a data file by its name.
    ///
    /// Texts and numbers may hold references (`%{TX.limit}`), which are expanded for every request. Regular
    /// expressions, phrases, addresses and byte ranges may not: they are compiled once, and a request must neither wait
    /// for that nor choose what is compiled.
    ///
    /// # Errors
    ///
    /// An argument that means nothing to this operator; the text says what to write instead.
    pub fn compile(
        kind: OperatorKind,
        argument: &Text,
        files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, OperatorError> {
        let fixed = || argument.plain().ok_or(OperatorError::Reference(kind.name()));
        let comparison = match kind {
            OperatorKind::UnconditionalMatch => Comparison::Always,
            // Rules with a lookup that can run do not load.
            OperatorKind::NoMatch | OperatorKind::GeoLookup | OperatorKind::Rbl => Comparison::Never,
            OperatorKind::Rx => Comparison::Regex(Expression::compile(fixed()?)?),
            OperatorKind::Pm => Comparison::Phrases(Phrases::from_argument(fixed()?)?),
            OperatorKind::PmFromFile => Comparison::Phrases(Phrases::from_files(fixed()?, files)?),
            OperatorKind::IpMatch => Comparison::Addresses(Addresses::from_argument(fixed()?)?),
            OperatorKind::IpMatchFromFile => Comparison::Addresses(Addresses::from_files(fixed()?, files)?),
            OperatorKind::ValidateByteRange => Comparison::ByteRange(ByteRange::parse(fixed()?)?),
            OperatorKind::ValidateUrlEncoding => Comparison::UrlEncoding,
            OperatorKind::ValidateUtf8Encoding => Comparison::Utf8,
            OperatorKind::BeginsWith => Comparison::Text(text::Relation::BeginsWith),
            OperatorKind::Contains | OperatorKind::Strmatch => Comparison::Text(text::Relation::Contains),
            OperatorKind::ContainsWord => Comparison::Text(text::Relation::ContainsWord),
            OperatorKind::EndsWith => Comparison::Text(text::Relation::EndsWith),
            OperatorKind::Streq => Comparison::Text(text::Relation::Equals),
            OperatorKind::Within => match argument.plain() {
                Some(text) => Comparison::Within(text::Whole::new(text.as_bytes())),
                None => Comparison::Text(text::Relation::Within),
            },
            OperatorKind::Eq => Comparison::Number(number::Relation::Equal),
            OperatorKind::Ge => Comparison::Number(number::Relation::GreaterOrEqual),
            OperatorKind::Gt => Comparison::Number(number::Relation::Greater),
            OperatorKind::Le => Comparison::Number(number::Relation::LessOrEqual),
            OperatorKind::Lt => Comparison::Number(number::Relation::Less),
            OperatorKind::DetectSqli
            | OperatorKind::DetectXss
            | OperatorKind::DetectCommand
            | OperatorKind::DetectCode
            | OperatorKind::DetectTraversal
            | OperatorKind::DetectInclusion
            | OperatorKind::DetectSsrf
            | OperatorKind::DetectTemplate
            | OperatorKind::DetectJndi
            | OperatorKind::DetectXxe
            | OperatorKind::DetectDeserialization
            | OperatorKind::DetectNosql
            | OperatorKind::DetectLdap
            | OperatorKind::DetectXpath
            | OperatorKind::DetectPrototypePollution
            | OperatorKind::DetectResponseSplitting
            | OperatorKind::DetectSql
            | OperatorKind::DetectScript => Comparison::Detect(Detector::compile(kind, fixed()?)?),
        };
        let argument = match argument.plain() {
            Some(text) => Argument::Fixed(Box::new(Finder::new(text).into_owned())),
            None => Argument::Expanded,
        };
        Ok(Self { comparison, argument })
    }

    /// Whether `value` matches.
    ///
    /// `argument` is the expanded argument if that [holds references](Self::expects_argument), else it is ignored.
    /// `captures` is emptied, and filled when there is a match and it is wanted.
    #[must_use]
    pub fn matches(&self, value: &[u8], argument: &[u8], captures: &mut Captures) -> bool {
        captures.clear();
        match &self.comparison {
            Comparison::Always => true,
            Comparison::Never => false,
            Comparison::Regex(expression) => expression.matches(value, captures),
            Comparison::Phrases(phrases) => phrases.matches(value, captures),
            Comparison::Addresses(addresses) => addresses.matches(value),
            Comparison::ByteRange(range) => range.is_left_by(value),
            Comparison::UrlEncoding => validate::has_broken_escape(value),
            Comparison::Utf8 => std::str::from_utf8(value).is_err(),
            Comparison::Detect(detector) => detector.matches(value, captures),
            Comparison::Within(whole) => whole.has(value),
            Comparison::Text(relation) => match &self.argument {
                Argument::Fixed(finder) => relation.holds(value, finder),
                Argument::Expanded => relation.holds_with(value, argument),
            },
            Comparison::Number(relation) => match &self.argument {
                Argument::Fixed(finder) => relation.holds(value, finder.needle()),
                Argument::Expanded => relation.holds(value, argument),
            },
        }
    }

    /// Whether [`matches`](Self::matches) needs the expanded argument.
    #[must_use]
    pub const fn expects_argument(&self) -> bool {
        matches!(self.argument, Argument::Expanded)
    }

    /// The grammar this operator asks, if that is what it does.
    pub(crate) const fn detector(&self) -> Option<Detector> {
        match &self.comparison {
            Comparison::Detect(detector) => Some(*detector),
            _ => None,
        }
    }

    /// Literals of which every value that matches holds one, capitals aside; `None` when there are no such.
    #[must_use]
    pub fn literals(&self) -> Option<Vec<&[u8]>> {
        match (&self.comparison, &self.argument) {
            (Comparison::Phrases(phrases), _) => Some(phrases.list().iter().map(Vec::as_slice).collect()),
            (Comparison::Text(relation), Argument::Fixed(finder)) if relation.is_within_value() => {
                Some(vec![finder.needle()])
            }
            _ => None,
        }
    }

    /// Bytes of which every value that matches holds one; `None` when it takes more to tell.
    pub(crate) fn telling_bytes(&self) -> Option<Vec<u8>> {
        match &self.comparison {
            Comparison::ByteRange(range) => Some((0..=u8::MAX).filter(|byte| range.is_left_by(&[*byte])).collect()),
            Comparison::UrlEncoding => Some(vec![b'%']),
            Comparison::Utf8 => Some((0x80..=u8::MAX).collect()),
            _ => None,
        }
    }

    /// The pattern of `@rx` in the syntax of the `regex` crate, its flags included, so that many of them can be put
    /// into one `regex::bytes::RegexSet`.
    #[must_use]
    pub fn regex_pattern(&self) -> Option<&str> {
        match &self.comparison {
            Comparison::Regex(expression) => Some(expression.pattern()),
            _ => None,
        }
    }
}
