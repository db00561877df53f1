//! Bodies, read in different pieces.

use gatehouse_waf::body::{BodyProcessor, BodyReader, Limits, Outcome, Sink};

use crate::{Input, LONG, linear};

/// Limits that generated bodies reach.
pub const SMALL: Limits = Limits {
    arguments: 12,
    depth: 5,
    parts: 4,
    part_header_bytes: 120,
    name_bytes: 40,
    body_bytes: 300,
    separator: b'&',
};

/// What a body held, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A name and a value.
    Argument(Vec<u8>, Vec<u8>),
    /// A file: field, name and content.
    File(Vec<u8>, Vec<u8>, Vec<u8>),
    /// A header line of a part, and the field.
    PartHeader(Vec<u8>, Vec<u8>),
    /// A text of XML.
    Text(Vec<u8>),
    /// An attribute of XML.
    Attribute(Vec<u8>),
    /// A document type declaration.
    Doctype(Vec<u8>),
}

/// Keeps what a reader finds.
#[derive(Debug, Default)]
struct Seen {
    values: Vec<Value>,
    file: Vec<u8>,
}

impl Sink for Seen {
    fn argument(&mut self, name: &[u8], value: &[u8]) {
        self.values.push(Value::Argument(name.to_vec(), value.to_vec()));
    }

    fn file(&mut self, field: &[u8], filename: &[u8], bytes: u64) {
        let content = std::mem::take(&mut self.file);
        assert_eq!(bytes, content.len() as u64, "the size of a file is not that of its pieces");
        self.values.push(Value::File(field.to_vec(), filename.to_vec(), content));
    }

    fn file_piece(&mut self, _field: &[u8], _filename: &[u8], piece: &[u8]) {
        assert!(!piece.is_empty(), "an empty piece of a file");
        self.file.extend_from_slice(piece);
    }

    fn part_header(&mut self, field: &[u8], line: &[u8]) {
        self.values.push(Value::PartHeader(field.to_vec(), line.to_vec()));
    }

    fn xml_text(&mut self, value: &[u8]) {
        self.values.push(Value::Text(value.to_vec()));
    }

    fn xml_attribute(&mut self, value: &[u8]) {
        self.values.push(Value::Attribute(value.to_vec()));
    }

    fn xml_doctype(&mut self, declaration: &[u8]) {
        self.values.push(Value::Doctype(declaration.to_vec()));
    }
}

/// Where a body is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Nowhere.
    Nowhere,
    /// Behind so many bytes.
    At(usize),
    /// Into pieces of these sizes in turn. Some of them may be empty.
    Sizes([usize; 3]),
}

impl Cut {
    /// A cut that the input chooses, for a body of this length. Takes three choices.
    pub fn chosen(input: &mut Input<'_>, length: usize) -> Self {
        let (kind, first, second) = (input.choice(), input.choice(), input.choice());
        match kind % 3 {
            0 if length < LONG / 2 => Self::Sizes([1, 1, 1]),
            1 => Self::Sizes([kind, first, second]),
            _ => Self::At((first << 8 | second) * length / (1 << 16)),
        }
    }

    /// The pieces of a body.
    #[must_use]
    pub fn pieces(self, body: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Nowhere => vec![body],
            Self::At(at) => <[_; 2]>::from(body.split_at(at.min(body.len()))).to_vec(),
            Self::Sizes(sizes) => {
                let mut pieces = Vec::new();
                let mut rest = body;
                for size in sizes.into_iter().cycle().take(2 * body.len()) {
                    let (piece, behind) = rest.split_at(size.min(rest.len()));
                    pieces.push(piece);
                    rest = behind;
                    if rest.is_empty() {
                        break;
                    }
                }
                pieces.push(rest);
                pieces
            }
        }
    }
}

/// Reads a body.
#[must_use]
pub fn read(
    processor: BodyProcessor,
    content_type: &[u8],
    limits: &Limits,
    body: &[u8],
    cut: Cut,
) -> (Vec<Value>, Outcome) {
    let mut seen = Seen::default();
    let mut reader = BodyReader::new(processor, content_type, limits);
    for piece in cut.pieces(body) {
        reader.feed(piece, &mut seen);
    }
    let outcome = reader.finish(&mut seen);
    assert!(seen.file.is_empty(), "a file has pieces and no end");
    (seen.values, outcome)
}

/// Reads a body whole and in pieces, and asserts that this makes no difference and that the bounds hold. Takes four
/// choices.
///
/// # Panics
///
/// When it does, or they do not.
pub fn read_both(
    input: &mut Input<'_>,
    processor: BodyProcessor,
    content_type: &[u8],
    body: &[u8],
) -> (Vec<Value>, Outcome) {
    let limits = *input.one_of(&[Limits::default(), SMALL]);
    let whole = linear(body.len(), || read(processor, content_type, &limits, body, Cut::Nowhere));
    let cut = Cut::chosen(input, body.len());
    let pieces = linear(body.len(), || read(processor, content_type, &limits, body, cut));
    assert_eq!(whole, pieces, "cut {cut:?}");
    assert_bounded(&whole, &limits, body);
    if processor == BodyProcessor::Json {
        assert_names_are_bounded(&whole.0, &limits);
    }
    whole
}

/// `.array_` and the digits of an index may stand behind a name that has reached its limit.
fn assert_names_are_bounded(values: &[Value], limits: &Limits) {
    for value in values {
        let Value::Argument(name, _) = value else { continue };
        assert!(name.len() <= limits.name_bytes + 32, "a name of {} bytes", name.len());
    }
}

fn assert_bounded((values, outcome): &(Vec<Value>, Outcome), limits: &Limits, body: &[u8]) {
    let (mut counted, mut bytes, mut file_bytes, mut header_lines) = (0_usize, 0, 0, 0);
    for value in values {
        match value {
            Value::Argument(_, value) | Value::Text(value) | Value::Attribute(value) => {
                counted += 1;
                bytes += value.len();
            }
            Value::Doctype(value) => bytes += value.len(),
            Value::File(_, _, content) => file_bytes += content.len(),
            Value::PartHeader(_, line) => header_lines += line.len(),
        }
    }
    assert!(counted <= limits.arguments as usize, "{counted} values");
    assert_eq!(counted, outcome.arguments as usize, "values are not counted right");
    assert!(bytes as u64 <= limits.body_bytes, "values of {bytes} bytes");
    // What only some servers take for a file is shown as a field, too.
    assert!(bytes.max(file_bytes) <= body.len(), "{bytes} and {file_bytes} of {}", body.len());
    assert!(header_lines <= limits.parts as usize * limits.part_header_bytes, "headers of {header_lines} bytes");
}
