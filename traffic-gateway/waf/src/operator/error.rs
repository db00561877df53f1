//! Why an operator cannot be compiled.

/// An argument that means nothing to its operator. Offsets count bytes of the argument, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// An argument that is compiled once holds references.
    #[error("@{0} cannot hold references such as %{{TX.x}}, because it is compiled once; write the value out")]
    Reference(&'static str),
    /// The `regex` crate does not accept the pattern.
    #[error("not a regular expression: {reason} at offset {offset}")]
    Regex {
        /// Where in the pattern.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The pattern uses what only backtracking engines have.
    #[error("{feature} at offset {offset} needs a backtracking engine, whose time attackers can choose; {remedy}")]
    PcreOnly {
        /// Where in the pattern.
        offset: usize,
        /// The name of the feature.
        feature: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
    /// The compiled pattern would be too large.
    #[error(
        "the compiled expression would be larger than {limit} bytes; lower its counted repetitions or split the rule"
    )]
    RegexSize {
        /// The limit, in bytes.
        limit: usize,
    },
    /// There is nothing to look for.
    #[error("@{0} needs at least one phrase; an empty list would never match")]
    NoPhrases(&'static str),
    /// Bytes between bars are not hexadecimal.
    #[error("`|` at offset {offset} does not begin bytes like `|41 0a|`; write a literal bar as |7c|")]
    PhraseBytes {
        /// Where in the argument.
        offset: usize,
    },
    /// The phrases are too many for one automaton.
    #[error("the phrases do not fit into one automaton: {0}; split the list")]
    PhraseSize(String),
    /// There is no address to compare with.
    #[error("@{0} needs at least one address; an empty list would never match")]
    NoAddresses(&'static str),
    /// Neither an address nor a network.
    #[error("`{0}` is neither an IP address nor a network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Address(String),
    /// Not a byte range.
    #[error("`{0}` is no byte range; write numbers from 0 to 255 and ranges such as 32-126, separated by commas")]
    ByteRange(String),
    /// No file is named.
    #[error("@{0} needs the name of a file")]
    NoFile(&'static str),
    /// A data file cannot be read.
    #[error("cannot read data file `{name}`: {reason}")]
    File {
        /// The name, as written in the rule.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Not a grade.
    #[error("@{0} takes the least grade that counts, `likely` or `certain`, or nothing")]
    Grade(&'static str),
}
