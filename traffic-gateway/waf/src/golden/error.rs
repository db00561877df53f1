//! What can be wrong with a file of cases.

/// A mistake and the line it is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {mistake}")]
pub struct Error {
    /// Line, counted from 1; for generated text the line its case begins in.
    pub line: usize,
    /// What is wrong.
    pub mistake: Mistake,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A `#!` line that is not known.
    #[error("unknown word `#! {0}`")]
    UnknownWord(String),
    /// `@NAME` without `#! define NAME` before it.
    #[error("`@{0}` is not defined")]
    UnknownDefinition(String),
    /// A line of a head without a colon.
    #[error("a header field needs a name, a colon and a value")]
    Field,
    /// A line that is no request line.
    #[error("a request line needs a method, a target and a version")]
    RequestLine,
    /// The comment is missing.
    #[error("a case needs a comment that says what it is")]
    NoComment,
    /// There is no `----`.
    #[error("a case needs a line `----` and a verdict")]
    NoVerdict,
    /// A line behind `----` that says nothing known.
    #[error("expected `pass`, `deny`, `must:` or `must-not:`, found `{0}`")]
    Expectation(String),
    /// A list of rules that is none.
    #[error("`{0}` is no rule, range of rules or prefix")]
    Ids(String),
    /// `{{NAME:` begins generated text that does not end as it should.
    #[error("generated text is `{{{{NAME:\"TEXT\"}}}}` or `{{{{repeat:\"TEXT\":NUMBER}}}}`")]
    Generated,
    /// An escape that is not known.
    #[error("unknown escape")]
    Escape,
    /// More text than a case may have.
    #[error("more than {} bytes of generated text", super::LONGEST)]
    TooLong,
}
