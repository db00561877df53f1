//! Transformations: what is done to a value before it is compared.

/// A transformation, by the name rules use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transformation {
    /// `lowercase`: ASCII letters to lower case.
    Lowercase,
}
