//! What the readers see, format by format, and what holds for all of them.

mod cookie;
mod json;
mod media_type;
mod multipart;
mod urlencoded;
mod xml;

mod linear;
mod pieces;
mod speed;

use super::{BodyProcessor, BodyReader, Limits, Outcome, Sink};

/// Remembers what it was given, files in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    arguments: Vec<(String, String)>,
    files: Vec<(String, String, u64)>,
    contents: Vec<String>,
    headers: Vec<(String, String)>,
    texts: Vec<String>,
    attributes: Vec<String>,
    doctypes: Vec<String>,
    content: Vec<u8>,
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Sink for Seen {
    fn argument(&mut self, name: &[u8], value: &[u8]) {
        self.arguments.push((text(name), text(value)));
    }

    fn file(&mut self, field: &[u8], filename: &[u8], bytes: u64) {
        self.files.push((text(field), text(filename), bytes));
        self.contents.push(text(&std::mem::take(&mut self.content)));
    }

    fn file_piece(&mut self, _: &[u8], _: &[u8], piece: &[u8]) {
        self.content.extend_from_slice(piece);
    }

    fn part_header(&mut self, field: &[u8], line: &[u8]) {
        self.headers.push((text(field), text(line)));
    }

    fn xml_text(&mut self, value: &[u8]) {
        self.texts.push(text(value));
    }

    fn xml_attribute(&mut self, value: &[u8]) {
        self.attributes.push(text(value));
    }

    fn xml_doctype(&mut self, declaration: &[u8]) {
        self.doctypes.push(text(declaration));
    }
}

/// Reads a body in one piece, within `limits`.
fn read_within(limits: &Limits, processor: BodyProcessor, content_type: &str, body: &[u8]) -> (Seen, Outcome) {
    let mut seen = Seen::default();
    let mut reader = BodyReader::new(processor, content_type.as_bytes(), limits);
    reader.feed(body, &mut seen);
    let outcome = reader.finish(&mut seen);
    (seen, outcome)
}

fn read(processor: BodyProcessor, content_type: &str, body: &[u8]) -> (Seen, Outcome) {
    read_within(&Limits::default(), processor, content_type, body)
}

/// Pairs as [`Seen`] holds them.
fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
