//! Request bodies: read piece by piece into named values, bounded everywhere.
//!
//! A [`BodyReader`] is fed the body as it arrives and hands what it finds to a [`Sink`]; how the body was cut into pieces
//! never changes values, files or errors. After a fault that leaves the rest without one meaning it stops; what was read
//! so far stands, and [`BodyReader::finish`] says what was wrong. Whether a malformed body is refused is for rules to say.
//!
//! Query strings ([`query`]) and cookies ([`cookies`]) are read by the same means.
//!
//! Bodies are read as they are: a Content-Encoding is not decoded here. Rules that look at a compressed body see
//! nothing, so the edge decodes it, refuses it or passes it by the route's policy before.

mod limits;
mod sink;
mod malformed;
mod outcome;
mod media_type;
mod parameter;
mod urlencoded;
mod cookie;
mod json;
mod multipart;
mod xml;
mod document;

pub use self::cookie::cookies;
pub use self::limits::Limits;
pub use self::malformed::Malformed;
pub use self::media_type::processor_for;
pub use self::multipart::ReadSoFar;
pub use self::outcome::{Fault, Faults, Outcome};
pub use self::sink::Sink;
pub use self::urlencoded::{Buffers, query, query_in};
pub use crate::seclang::ast::BodyProcessor;

use self::json::Documents;

/// Reads one request body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    format: Format,
    /// Bytes that may still come. Multipart bodies count for themselves, since files are not counted.
    room: u64,
    /// Whether there was any byte.
    begun: bool,
    /// Whether the content type names a character set in which attacks look like something else.
    unreadable: bool,
}

#[derive(Clone, Debug)]
enum Format {
    UrlEncoded(urlencoded::Reader),
    Multipart(Box<multipart::Reader>),
    Json(json::Reader),
    Document(document::Reader),
    Xml(xml::Reader),
}

impl BodyReader {
    /// Begins a body. The content type gives the boundary of a multipart body, says whether there may be several JSON
    /// documents (`application/x-ndjson`, `application/json-seq`), and that what [`BodyProcessor::Json`] reads is one
    /// GraphQL document (`application/graphql`), which becomes the argument `json.query`.
    #[must_use]
    pub fn new(processor: BodyProcessor, content_type: &[u8], limits: &Limits) -> Self {
        let format = match processor {
            BodyProcessor::UrlEncoded => Format::UrlEncoded(urlencoded::Reader::new(limits)),
            BodyProcessor::Multipart => Format::Multipart(Box::new(multipart::Reader::new(content_type, limits))),
            BodyProcessor::Json if media_type::is_graphql(content_type) => {
                Format::Document(document::Reader::default())
            }
            BodyProcessor::Json if media_type::is_json_sequence(content_type) => {
                Format::Json(json::Reader::new(Documents::Many, limits))
            }
            BodyProcessor::Json => Format::Json(json::Reader::new(Documents::One, limits)),
            BodyProcessor::Xml => Format::Xml(xml::Reader::new(limits)),
        };
        let room = if processor == BodyProcessor::Multipart { u64::MAX } else { limits.body_bytes };
        Self { format, room, begun: false, unreadable: !media_type::is_readable(content_type) }
    }

    /// Reads on. Pieces may be of any size; at most [`Limits::body_bytes`] and one piece are held.
    pub fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        self.begun |= !piece.is_empty();
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let (piece, over) = piece.split_at_checked(room).unwrap_or((piece, &[]));
        self.room = self.room.saturating_sub(piece.len() as u64);
        match &mut self.format {
            Format::UrlEncoded(reader) => {
                reader.feed(piece, &mut |name: &[u8], value: &[u8]| sink.argument(name, value))
            }
            Format::Multipart(reader) => reader.feed(piece, sink),
            Format::Json(reader) => reader.feed(piece, sink),
            Format::Document(reader) => reader.feed(piece),
            Format::Xml(reader) => reader.feed(piece),
        }
        if !over.is_empty() {
            self.stop(sink);
        }
    }

    /// Ends the body, also one that was cut off by a limit: what it held of its last value is handed over, too. A
    /// request without a single byte of body is well-formed in every format.
    pub fn finish(self, sink: &mut impl Sink) -> Outcome {
        if !self.begun {
            return Outcome::default();
        }
        let mut outcome = match self.format {
            Format::UrlEncoded(reader) => reader.finish(&mut |name: &[u8], value: &[u8]| sink.argument(name, value)),
            Format::Multipart(reader) => reader.finish(sink),
            Format::Json(reader) => reader.finish(sink),
            Format::Document(reader) => reader.finish(sink),
            Format::Xml(reader) => reader.finish(sink),
        };
        if self.unreadable {
            outcome.malformed = Some(Malformed::Charset);
        }
        outcome
    }

    /// How far a multipart body was read that is not complete; `None` for others, which are whole at their end only.
    #[must_use]
    pub fn read_so_far(&self) -> Option<ReadSoFar> {
        match &self.format {
            Format::Multipart(reader) => Some(reader.read_so_far()),
            Format::UrlEncoded(_) | Format::Json(_) | Format::Document(_) | Format::Xml(_) => None,
        }
    }

    /// What was found odd so far in a multipart body.
    #[must_use]
    pub fn outcome_so_far(&self) -> Outcome {
        match &self.format {
            Format::Multipart(reader) => reader.outcome_so_far(),
            Format::UrlEncoded(_) | Format::Json(_) | Format::Document(_) | Format::Xml(_) => Outcome::default(),
        }
    }

    /// Ends a body of which more is to come, for a judgement of what is there: of a multipart body as far as
    /// [`read_so_far`](Self::read_so_far) says, so that it does not count as truncated.
    pub fn finish_so_far(self, sink: &mut impl Sink) -> Outcome {
        match self {
            Self { format: Format::Multipart(reader), unreadable, begun: true, .. } => {
                let mut outcome = reader.finish_so_far(sink);
                if unreadable {
                    outcome.malformed = Some(Malformed::Charset);
                }
                outcome
            }
            other => other.finish(sink),
        }
    }

    /// Stops at the bound of the body.
    fn stop(&mut self, sink: &mut impl Sink) {
        let malformed = Malformed::TooLong;
        match &mut self.format {
            Format::UrlEncoded(reader) => {
                reader.stop(malformed, &mut |name: &[u8], value: &[u8]| sink.argument(name, value));
            }
            Format::Json(reader) => reader.stop(malformed, sink),
            Format::Document(reader) => reader.stop(malformed),
            Format::Xml(reader) => reader.stop(malformed),
            Format::Multipart(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
