//! Where the fields of a request are written: into the text of an HTTP/1.1 head, or into a map for HTTP/2.

use bytes::Bytes;
use gatehouse_shared::limit::write_number;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;

/// Takes the fields of one request.
pub(super) trait Sink {
    /// So many fields will come.
    fn reserve(&mut self, fields: usize);

    /// A field as it came.
    fn value(&mut self, name: &HeaderName, value: &HeaderValue);

    /// Several values of a field of which there may be one only: `Cookie` (RFC 9113 section 8.2.3).
    fn joined<'a>(&mut self, name: &HeaderName, values: impl Iterator<Item = &'a HeaderValue>);

    /// Visible ASCII that was made here, such as an id.
    fn plain(&mut self, name: &HeaderName, text: &[u8]);

    /// A text, which is left out where it cannot be the value of a field.
    fn text(&mut self, name: &HeaderName, text: &str);

    /// A text of the code, which is the value of a field.
    fn fixed(&mut self, name: &HeaderName, text: &'static str);

    /// A number.
    fn number(&mut self, name: &HeaderName, number: u64);
}

/// The text of an HTTP/1.1 head, from the request line on.
pub(super) struct Text(Vec<u8>);

impl Text {
    pub(super) fn begin(method: &Method, target: &PathAndQuery) -> Self {
        let mut text = Vec::with_capacity(1024);
        text.extend_from_slice(method.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(target.as_str().as_bytes());
        text.extend_from_slice(b" HTTP/1.1\r\n");
        Self(text)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn field(&mut self, name: &HeaderName, value: &[u8]) {
        let (name, text) = (name.as_str().as_bytes(), &mut self.0);
        text.reserve(name.len() + value.len() + 4);
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
}

impl Sink for Text {
    fn reserve(&mut self, _fields: usize) {}

    fn value(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.field(name, value.as_bytes());
    }

    fn joined<'a>(&mut self, name: &HeaderName, values: impl Iterator<Item = &'a HeaderValue>) {
        let text = &mut self.0;
        text.extend_from_slice(name.as_str().as_bytes());
        let mut between: &[u8] = b": ";
        for value in values {
            text.extend_from_slice(between);
            text.extend_from_slice(value.as_bytes());
            between = b"; ";
        }
        text.extend_from_slice(b"\r\n");
    }

    fn plain(&mut self, name: &HeaderName, text: &[u8]) {
        debug_assert!(text.iter().all(u8::is_ascii_graphic), "{text:?}");
        self.field(name, text);
    }

    fn text(&mut self, name: &HeaderName, text: &str) {
        // All of it is looked at, which several bytes at a time can be.
        if text.bytes().fold(true, |so_far, byte| so_far & may_be_in_a_value(byte)) {
            self.field(name, text.as_bytes());
        }
    }

    fn fixed(&mut self, name: &HeaderName, text: &'static str) {
        self.field(name, text.as_bytes());
    }

    fn number(&mut self, name: &HeaderName, number: u64) {
        let text = &mut self.0;
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        // Writing into memory cannot fail.
        let _infallible = write_number(text, number);
        text.extend_from_slice(b"\r\n");
    }
}

/// No other request has this value, so HTTP/2 need not keep it in its table.
fn of_this_call(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// As [`HeaderValue::from_str`] has it: visible ASCII, blanks and tabs.
fn may_be_in_a_value(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

impl Sink for HeaderMap {
    fn reserve(&mut self, fields: usize) {
        Self::reserve(self, fields);
    }

    fn value(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }

    fn joined<'a>(&mut self, name: &HeaderName, mut values: impl Iterator<Item = &'a HeaderValue>) {
        let (Some(first), second) = (values.next(), values.next()) else { return };
        let Some(second) = second else {
            self.append(name, first.clone());
            return;
        };
        let mut joined = first.as_bytes().to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(value.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
            self.append(name, joined);
        }
    }

    fn plain(&mut self, name: &HeaderName, text: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(text) {
            self.append(name, of_this_call(value));
        }
    }

    fn text(&mut self, name: &HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.append(name, of_this_call(value));
        }
    }

    fn fixed(&mut self, name: &HeaderName, text: &'static str) {
        self.append(name, HeaderValue::from_static(text));
    }

    fn number(&mut self, name: &HeaderName, number: u64) {
        self.append(name, HeaderValue::from(number));
    }
}
