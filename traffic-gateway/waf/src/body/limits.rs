//! How much of a body is read, and how it is split.

/// Bounds of a [`BodyReader`](super::BodyReader). What is longer or more is an error, never left out in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments, JSON leaves, XML texts and attributes of one body; also the pairs of one query string or cookie
    /// header. Default 1,000, the field's usual `SecArgumentsLimit`. Large numeric arrays need more.
    pub arguments: u32,
    /// Levels of JSON objects and arrays, or of XML elements. Default 64, where System.Text.Json stops; serde_json
    /// stops at 128.
    pub depth: u32,
    /// Parts of a multipart body. Default 1,000, as `arguments`, since browsers send a part for each field; Werkzeug
    /// stops at 1,000 parts, too, PHP at 1,000 fields and 20 files.
    pub parts: u32,
    /// Bytes of all header lines of one part. Default 8,192: two file names of 255 characters, one of them
    /// percent-encoded UTF-8 (three bytes a character, three signs a byte), take 3,060.
    pub part_header_bytes: usize,
    /// Bytes of the flattened name of a JSON leaf. Default 1,024. The name repeats for each leaf below it, so this,
    /// times `arguments`, bounds what names cost: 1 MiB.
    pub name_bytes: usize,
    /// Bytes of a body, but for the content of files. At most this much is held at a time. Default 131,072, the usual
    /// `SecRequestBodyNoFilesLimit`, and what the edge holds back by default.
    pub body_bytes: u64,
    /// The byte between two urlencoded pairs (`SecArgumentSeparator`). Default `&`.
    pub separator: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            arguments: 1000,
            depth: 64,
            parts: 1000,
            part_header_bytes: 8192,
            name_bytes: 1024,
            body_bytes: 128 * 1024,
            separator: b'&',
        }
    }
}
