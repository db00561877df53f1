//! XML into texts and attribute values.
//!
//! The body is held up to its bound and read at the end: `quick-xml` reads well-formed documents from one slice without
//! copies. It checks that tags match; entities are never expanded beyond the five of XML and character references, and
//! nothing is fetched. A declared entity is left as its reference, and the declaration is reported.
//!
//! Linear: one pass of the reader, one more over each text and value. Attribute names are not compared with each other
//! (that is quadratic in `quick-xml`).

use memchr::memchr;
use quick_xml::events::{BytesStart, Event};

use super::media_type::is_readable_charset;
use super::outcome::{Outcome, Progress};
use super::{Limits, Malformed, Sink};

/// Collects the body, then reads it.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    limits: Limits,
    body: Vec<u8>,
    /// What is wrong already.
    malformed: Option<Malformed>,
}

impl Reader {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, body: Vec::new(), malformed: None }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.body.extend_from_slice(piece);
    }

    /// Remembers that there was more; what there is of it is read at the end.
    pub(super) fn stop(&mut self, malformed: Malformed) {
        self.malformed = Some(malformed);
    }

    pub(super) fn finish(self, sink: &mut impl Sink) -> Outcome {
        if self.body.is_empty() {
            return Outcome::default();
        }
        let mut document = Document {
            limits: self.limits,
            depth: 0,
            roots: 0,
            declares: false,
            text: Vec::new(),
            value: Vec::new(),
            progress: Progress::default(),
        };
        document.read(&self.body, sink);
        let outcome = document.progress.outcome;
        Outcome { malformed: self.malformed.or(outcome.malformed), ..outcome }
    }
}

/// What is known while reading.
struct Document {
    limits: Limits,
    depth: u32,
    roots: u32,
    /// Whether there is a DOCTYPE, which may declare entities.
    declares: bool,
    /// The text since the last tag.
    text: Vec<u8>,
    /// A value with resolved references, kept for its allocation.
    value: Vec<u8>,
    progress: Progress,
}

impl Document {
    fn read(&mut self, body: &[u8], sink: &mut impl Sink) {
        if let [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, _, ..] | [_, 0, ..] = body {
            self.progress.fail(Malformed::Charset);
            return;
        }
        if std::str::from_utf8(body).is_err() {
            self.progress.fail(Malformed::Utf8);
        }
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let mut reader = quick_xml::Reader::from_reader(body);
        while !self.progress.stopped {
            match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(event) => self.event(event, sink),
                Err(_) => self.progress.fail(Malformed::Xml),
            }
        }
        self.end_text(sink);
        if self.depth > 0 || self.roots == 0 {
            self.progress.fail(Malformed::Truncated);
        }
    }

    fn event(&mut self, event: Event<'_>, sink: &mut impl Sink) {
        match event {
            Event::Start(tag) => {
                self.open(&tag, sink);
                self.depth += 1;
                if self.depth > self.limits.depth {
                    self.progress.fail(Malformed::TooDeep);
                }
            }
            Event::Empty(tag) => self.open(&tag, sink),
            Event::End(_) => {
                self.end_text(sink);
                self.depth = self.depth.saturating_sub(1);
            }
            Event::Text(text) => self.text.extend_from_slice(&text),
            Event::CData(text) => self.text.extend_from_slice(&text),
            Event::GeneralRef(name) => self.reference(&name),
            Event::Decl(declaration) => {
                if let Some(Ok(name)) = declaration.encoding()
                    && !is_readable_charset(&name)
                {
                    self.progress.fail(Malformed::Charset);
                }
            }
            Event::DocType(declaration) => {
                self.declares = true;
                sink.xml_doctype(&declaration);
            }
            Event::Comment(_) | Event::PI(_) | Event::Eof => {}
        }
    }

    fn reference(&mut self, name: &[u8]) {
        if !push_reference(name, &mut self.text) && !self.declares {
            self.progress.fail(Malformed::Entity);
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>, sink: &mut impl Sink) {
        self.end_text(sink);
        if self.depth == 0 {
            self.roots = self.roots.saturating_add(1);
            if self.roots > 1 {
                self.progress.fail(Malformed::TrailingData);
            }
        }
        for attribute in tag.attributes().with_checks(false) {
            let Ok(attribute) = attribute else { return self.progress.fail(Malformed::Xml) };
            let name = attribute.key.as_ref();
            if name == b"xmlns" || name.starts_with(b"xmlns:") {
                continue;
            }
            if !self.progress.count(self.limits.arguments) {
                return;
            }
            if memchr(b'&', &attribute.value).is_none() {
                sink.xml_attribute(&attribute.value);
                continue;
            }
            self.value.clear();
            if !resolve(&attribute.value, &mut self.value) && !self.declares {
                self.progress.fail(Malformed::Entity);
            }
            sink.xml_attribute(&self.value);
        }
    }

    /// Hands over the text since the last tag.
    fn end_text(&mut self, sink: &mut impl Sink) {
        if !self.text.trim_ascii().is_empty() {
            if self.depth == 0 {
                self.progress.fail(Malformed::Xml);
            }
            if self.progress.count(self.limits.arguments) {
                sink.xml_text(&self.text);
            }
        }
        self.text.clear();
    }
}

/// Appends `raw` to `resolved` with its references resolved; `false` if one is not known.
fn resolve(raw: &[u8], resolved: &mut Vec<u8>) -> bool {
    let mut known = true;
    let mut rest = raw;
    while let Some((plain, from)) = memchr(b'&', rest).and_then(|at| rest.split_at_checked(at)) {
        resolved.extend_from_slice(plain);
        let behind = from.get(1..).unwrap_or_default();
        // No name of the five and no character reference is longer; a longer search would be quadratic.
        let end = behind.iter().take(LONGEST_REFERENCE).position(|byte| *byte == b';');
        if let Some((name, behind)) = end.and_then(|end| behind.split_at_checked(end)) {
            known &= push_reference(name, resolved);
            rest = behind.get(1..).unwrap_or_default();
        } else {
            known = false;
            resolved.push(b'&');
            rest = behind;
        }
    }
    resolved.extend_from_slice(rest);
    known
}

/// Bytes of a reference that are looked at. Leading zeros make character references longer than they need be.
const LONGEST_REFERENCE: usize = 64;

/// Appends what a reference stands for; one that is not known is kept as it stands, with `false`.
fn push_reference(name: &[u8], resolved: &mut Vec<u8>) -> bool {
    let character = match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        [b'#', b'x', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    if let Some(character) = character {
        resolved.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return true;
    }
    resolved.push(b'&');
    resolved.extend_from_slice(name);
    resolved.push(b';');
    false
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}
