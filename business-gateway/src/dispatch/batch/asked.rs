//! What a client asks for in a batch, whichever form it is written in, and why it cannot have it.

use std::borrow::Cow;
use std::sync::Arc;

/// Name and value of a header.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// One item, as it was written; nothing of it has been judged yet.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked<'a> {
    /// How the client calls it: a JSON string or number, as it is written into the answer.
    pub id: Option<Box<str>>,
    /// The API that it names; only the text form does.
    pub api: Option<Arc<str>>,
    /// The method.
    pub method: Cow<'a, str>,
    /// Path and query.
    pub target: Cow<'a, str>,
    /// Names and values of its headers.
    pub headers: Vec<Pair<'a>>,
    /// Its body.
    pub body: Content<'a>,
}

/// The body of an item.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// There is none.
    #[default]
    Nothing,
    /// A JSON value, as it was written.
    Json(&'a str),
    /// Parameters of a form.
    Form(String),
}

/// Why a text is no batch. Nothing of it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("{}byte {at}: {what}", item.map(|item| format!("item {item}, ")).unwrap_or_default())]
    Unreadable {
        /// Which item it is in, counted from 0.
        item: Option<usize>,
        /// Where.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// There are more items than may be.
    #[error("there are more items than a batch may have")]
    TooMany,
}

impl Fault {
    pub(super) fn at(at: usize, what: &'static str) -> Self {
        Self::Unreadable { item: None, at, what }
    }

    pub(super) fn in_item(self, index: usize) -> Self {
        match self {
            Self::Unreadable { at, what, .. } => Self::Unreadable { item: Some(index), at, what },
            Self::TooMany => Self::TooMany,
        }
    }
}

/// Why one item is not executed, before it is looked for in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not a request, or says what an item cannot say.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// There is no API of the name that it gives.
    #[error("there is no API of this name")]
    UnknownApi,
}

impl From<&'static str> for Unfit {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what.into())
    }
}
