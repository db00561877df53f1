//! What can be wrong with a body.

/// The first thing that was wrong with a body: `REQBODY_ERROR` is 1 and the text is `REQBODY_ERROR_MSG`.
///
/// Readers go on where the rest still has one meaning, so that rules in detect mode see the values behind a fault, and
/// stop where it has none; [`Malformed::ends_reading`] says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// More bytes than [`Limits::body_bytes`](super::Limits::body_bytes), files not counted.
    #[error("body too long")]
    TooLong,
    /// More values than [`Limits::arguments`](super::Limits::arguments).
    #[error("too many arguments")]
    TooManyArguments,
    /// More levels than [`Limits::depth`](super::Limits::depth).
    #[error("nested too deeply")]
    TooDeep,
    /// A flattened name longer than [`Limits::name_bytes`](super::Limits::name_bytes).
    #[error("name too long")]
    NameTooLong,
    /// More parts than [`Limits::parts`](super::Limits::parts).
    #[error("too many parts")]
    TooManyParts,
    /// Part headers longer than [`Limits::part_header_bytes`](super::Limits::part_header_bytes).
    #[error("part headers too long")]
    PartHeadersTooLong,
    /// The body ends inside a value, an element or a part.
    #[error("body ends too early")]
    Truncated,
    /// A character set that can hide ASCII, declared by the content type, the document or its first bytes.
    #[error("character set not supported")]
    Charset,
    /// A byte the grammar does not allow here.
    #[error("unexpected byte")]
    Unexpected,
    /// A byte order mark before JSON.
    #[error("byte order mark before JSON")]
    ByteOrderMark,
    /// A second JSON document or XML element behind the first.
    #[error("data behind the document")]
    TrailingData,
    /// A bare word that is not `true`, `false` or `null`.
    #[error("unknown JSON literal")]
    Literal,
    /// A number that is not one by RFC 8259.
    #[error("invalid JSON number")]
    Number,
    /// A backslash sequence that is none.
    #[error("invalid JSON escape")]
    Escape,
    /// Half a surrogate pair; U+FFFD stands in its place.
    #[error("lone surrogate in a JSON string")]
    LoneSurrogate,
    /// A control character inside a JSON string.
    #[error("control character in a JSON string")]
    ControlCharacter,
    /// Text that is not UTF-8. It is handed over as it is.
    #[error("invalid UTF-8")]
    Utf8,
    /// No boundary in the content type, an empty one, or more than one.
    #[error("multipart boundary missing, empty or given twice")]
    Boundary,
    /// A boundary over 70 bytes or with bytes RFC 2046 does not allow.
    #[error("invalid multipart boundary")]
    InvalidBoundary,
    /// A line that begins like a boundary and goes on.
    #[error("invalid multipart boundary line")]
    BoundaryLine,
    /// A part without Content-Disposition, with two, or with another type than `form-data`.
    #[error("invalid Content-Disposition of a part")]
    Disposition,
    /// A part without a name, or with more than one.
    #[error("name of a part missing or given twice")]
    PartName,
    /// A part in base64 or quoted-printable, whose content nobody reads alike.
    #[error("part with a transfer encoding")]
    TransferEncoding,
    /// A part that is a multipart body itself.
    #[error("nested multipart body")]
    NestedMultipart,
    /// A tag that does not match, an attribute without a value, a reference without an end.
    #[error("invalid XML")]
    Xml,
    /// A reference to an entity that neither XML nor the document declares.
    #[error("unknown XML entity")]
    Entity,
}

impl Malformed {
    /// Whether nothing behind the fault is read any more.
    #[must_use]
    pub const fn ends_reading(self) -> bool {
        match self {
            Self::TooLong
            | Self::TooManyArguments
            | Self::TooDeep
            | Self::NameTooLong
            | Self::TooManyParts
            | Self::PartHeadersTooLong
            | Self::Truncated
            | Self::Unexpected
            | Self::Boundary
            | Self::InvalidBoundary
            | Self::BoundaryLine
            | Self::Xml => true,
            Self::Charset
            | Self::ByteOrderMark
            | Self::TrailingData
            | Self::Literal
            | Self::Number
            | Self::Escape
            | Self::LoneSurrogate
            | Self::ControlCharacter
            | Self::Utf8
            | Self::Disposition
            | Self::PartName
            | Self::TransferEncoding
            | Self::NestedMultipart
            | Self::Entity => false,
        }
    }
}
