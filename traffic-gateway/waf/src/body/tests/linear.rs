//! Reading costs linear time, whatever the body.

use super::super::{BodyProcessor, BodyReader, Limits, Sink};
use crate::cpu_time::assert_linear;

const WIDE: Limits = Limits {
    arguments: u32::MAX,
    depth: u32::MAX,
    parts: u32::MAX,
    part_header_bytes: usize::MAX,
    name_bytes: 1024,
    body_bytes: u64::MAX,
    separator: b'&',
};

const SIZE: usize = 32 * 1024;

/// Counts what it is given, since one that keeps it would be measured, too.
#[derive(Default)]
pub(super) struct Count(pub(super) u64);

impl Sink for Count {
    fn argument(&mut self, name: &[u8], value: &[u8]) {
        self.0 += (name.len() + value.len()) as u64;
    }
    fn file(&mut self, _: &[u8], _: &[u8], bytes: u64) {
        self.0 += bytes;
    }
    fn file_piece(&mut self, _: &[u8], _: &[u8], piece: &[u8]) {
        self.0 += piece.len() as u64;
    }
    fn part_header(&mut self, _: &[u8], line: &[u8]) {
        self.0 += line.len() as u64;
    }
    fn xml_text(&mut self, value: &[u8]) {
        self.0 += value.len() as u64;
    }
    fn xml_attribute(&mut self, value: &[u8]) {
        self.0 += value.len() as u64;
    }
    fn xml_doctype(&mut self, declaration: &[u8]) {
        self.0 += declaration.len() as u64;
    }
}

pub(super) fn read(limits: &Limits, processor: BodyProcessor, content_type: &str, body: &[u8], piece: usize) -> u64 {
    let mut count = Count::default();
    let mut reader = BodyReader::new(processor, content_type.as_bytes(), limits);
    for piece in body.chunks(piece) {
        reader.feed(piece, &mut count);
    }
    reader.finish(&mut count);
    count.0
}

/// Reads `begin`, `unit` up to a small and to a large size, and `end`.
fn is_linear(processor: BodyProcessor, content_type: &str, begin: &str, unit: &str, end: &str) {
    let body = |size: usize| format!("{begin}{}{end}", unit.repeat(size / unit.len()));
    // Byte by byte, 16 KiB in a debug build are enough to wait for.
    for (piece, size) in [(usize::MAX, SIZE), (4096, SIZE), (1, SIZE / 8)] {
        let (small, large) = (body(size), body(4 * size));
        assert_linear(&format!("{begin:?}, {unit:?} in pieces of {piece}"), size, |wanted| {
            let body = if wanted == size { &small } else { &large };
            std::hint::black_box(read(&WIDE, processor, content_type, body.as_bytes(), piece));
        });
    }
}

#[test]
fn urlencoded_bodies_cost_linear_time() {
    for unit in ["&", "%", "%4", "=", "+", "a", "a=1&", "["] {
        is_linear(BodyProcessor::UrlEncoded, "", "", unit, "");
    }
}

#[test]
fn json_costs_linear_time() {
    for (begin, unit) in [
        ("", "["),
        ("", "{\"a\":"),
        ("[\"", "\\u0041"),
        ("[\"", "\\ud800"),
        ("[\"", "a"),
        ("{\"", "key"),
        ("[", "1,"),
        ("[", "{},"),
        ("[[", "[[[[[]]]]],"),
        ("", "1"),
        ("", " "),
        ("", "x"),
    ] {
        is_linear(BodyProcessor::Json, "", begin, unit, "");
    }
}

#[test]
fn multipart_bodies_cost_linear_time() {
    let content_type = "multipart/form-data; boundary=----aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let boundary = "------aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let field = format!("{boundary}\r\nContent-Disposition: form-data; name=a\r\n\r\n");
    let file = format!("{boundary}\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\n");
    let almost = "\r\n------aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for unit in ["-", "\n--", "\r\n--\r\nContent", "\r", almost] {
        for begin in ["", field.as_str(), file.as_str()] {
            is_linear(BodyProcessor::Multipart, content_type, begin, unit, "");
        }
    }
    for unit in ["X: y\r\n", " folded\r\n", "X: long", "Content-Disposition: form-data; name=a\r\n"] {
        is_linear(BodyProcessor::Multipart, content_type, &format!("{boundary}\r\n"), unit, "");
    }
    for unit in [";", "\\", "\\\"", " ", "name=a;", "filename=\"a\";", "'", "=", "\""] {
        let begin = format!("{boundary}\r\nContent-Disposition: form-data; name=\"a");
        is_linear(BodyProcessor::Multipart, content_type, &begin, unit, "\r\n\r\n");
        is_linear(BodyProcessor::Multipart, content_type, &format!("{begin}\""), unit, "\r\n\r\n");
    }
    is_linear(BodyProcessor::Multipart, content_type, "", &format!("{field}\r\n"), "");
}

#[test]
fn xml_costs_linear_time() {
    for (begin, unit) in [
        ("", "<a>"),
        ("<a ", "b='c' "),
        ("<a b='", "&"),
        ("<a b='", "&amp;"),
        ("<a b='", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("<a>", "&amp;"),
        ("<a>", "&#65;"),
        ("<a>", "&"),
        ("<a>", "<b/>"),
        ("<a>", "<!-- -->"),
        ("<a>", "<!--"),
        ("<a>", "<![CDATA["),
        ("<!DOCTYPE a [", "<!ENTITY a 'b'>"),
        ("<!DOCTYPE a ", "["),
        ("", "<"),
        ("", "<?"),
    ] {
        is_linear(BodyProcessor::Xml, "", begin, unit, "");
    }
}
