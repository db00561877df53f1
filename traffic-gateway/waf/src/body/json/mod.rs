//! JSON (RFC 8259) into named leaves, piece by piece.
//!
//! A reader of our own rather than `serde_json`, because a firewall needs other things: input in pieces of any size,
//! duplicate keys one by one, leaves up to a fault, and values that no fault hides. Nothing but the token that a piece
//! cuts off and the name of the current leaf is kept.
//!
//! Names are those of ModSecurity 3, so that rules and exclusions written for it work: `{"user":{"name":1}}` is
//! `json.user.name`, `{"items":["a",{"b":1}]}` is `json.items.array_0` and `json.items.array_1.b`, a lone value `json`.
//! Keys are part of the name. Numbers, `true`, `false` and `null` are given as written, empty objects and arrays as an
//! empty value.
//!
//! Linear: each byte of a string is searched once, checked once for control characters and once for UTF-8; names cost
//! at most [`Limits::name_bytes`] a leaf.

mod name;
mod token;

use self::name::Name;
use self::token::{Text, is_number};
use super::outcome::{Outcome, Progress};
use super::{Limits, Malformed, Sink};

/// How many documents a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Documents {
    /// One, as `application/json`.
    One,
    /// Any number, one after another: `application/x-ndjson`, `application/json-seq`.
    Many,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A document; nothing but white space was seen.
    Start,
    /// The rest of a byte order mark.
    ByteOrderMark(u8),
    /// A value.
    Value,
    /// The first element of an array, or its end.
    FirstElement,
    /// An element, after a comma.
    Element,
    /// The first key of an object, or its end.
    FirstKey,
    /// A key, after a comma.
    Key,
    /// A colon.
    Colon,
    /// A comma or the end of the container.
    Next,
    /// More of a string.
    String(Role),
    /// More of a number.
    Number,
    /// More of a bare word.
    Word,
    /// Nothing but white space, or the next document.
    Done,
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

/// Reads JSON from pieces.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    documents: Documents,
    limits: Limits,
    state: State,
    name: Name,
    text: Text,
    /// Whether any byte was seen.
    begun: bool,
    progress: Progress,
}

impl Reader {
    pub(super) fn new(documents: Documents, limits: &Limits) -> Self {
        Self {
            documents,
            limits: *limits,
            state: State::Start,
            name: Name::default(),
            text: Text::default(),
            begun: false,
            progress: Progress::default(),
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        self.begun |= !piece.is_empty();
        let mut rest = piece;
        while !self.progress.stopped && !rest.is_empty() {
            rest = match self.state {
                State::String(role) => self.string(role, rest, sink),
                State::Number => self.number(rest, sink),
                State::Word => self.word(rest, sink),
                _ => self.structure(rest, sink),
            };
        }
    }

    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Outcome {
        if self.progress.stopped {
            return self.progress.outcome;
        }
        match self.state {
            State::Number => self.end_number(&[], sink),
            State::Word => self.end_word(&[], sink),
            _ => {}
        }
        let complete = match self.state {
            State::Done => true,
            State::Start => !self.begun || self.documents == Documents::Many,
            _ => false,
        };
        if !complete && !self.progress.stopped {
            self.stop(Malformed::Truncated, sink);
        }
        self.progress.outcome
    }

    /// Stops reading, and hands over what was read of the current value, so that a fault does not hide it.
    pub(super) fn stop(&mut self, malformed: Malformed, sink: &mut impl Sink) {
        if self.progress.stopped {
            return;
        }
        self.progress.fail(malformed);
        self.progress.stopped = true;
        let text = self.text.end(&[], &mut self.progress).to_vec();
        match self.state {
            State::String(Role::Key) => {
                self.name.set_key(&text, self.limits.name_bytes);
                self.argument(&[], sink);
            }
            State::String(Role::Value) | State::Number | State::Word => self.argument(&text, sink),
            State::Colon | State::Value if self.name.is_in_object() => self.argument(&[], sink),
            _ => {}
        }
    }

    /// Reads one byte between tokens.
    fn structure<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') && !matches!(self.state, State::ByteOrderMark(_)) {
            return rest;
        }
        match (self.state, byte) {
            (State::Next, b',') => self.state = if self.name.is_in_object() { State::Key } else { State::Element },
            (State::Colon, b':') => self.state = State::Value,
            (State::FirstKey | State::Key, b'"') => self.state = State::String(Role::Key),
            (State::FirstKey, b'}') | (State::FirstElement, b']') => {
                self.name.end_member();
                self.argument(&[], sink);
                self.close();
            }
            (State::Next, b'}') if self.name.is_in_object() => self.close(),
            (State::Next, b']') if self.name.is_in_array() => self.close(),
            (State::Start, 0xEF) => {
                self.progress.fail(Malformed::ByteOrderMark);
                self.state = State::ByteOrderMark(0xBB);
            }
            (State::ByteOrderMark(0xBB), 0xBB) => self.state = State::ByteOrderMark(0xBF),
            (State::ByteOrderMark(0xBF), 0xBF) => self.state = State::Value,
            (State::Start | State::Done, 0x1E) if self.documents == Documents::Many => self.state = State::Start,
            (State::Start | State::Value | State::FirstElement | State::Element | State::Done, _) => {
                return self.value(byte, bytes, rest, sink);
            }
            _ => self.stop(Malformed::Unexpected, sink),
        }
        rest
    }

    /// Begins a value with `byte`, the first of `bytes`; `rest` is what follows it.
    fn value<'a>(&mut self, byte: u8, bytes: &'a [u8], rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        match self.state {
            State::FirstElement | State::Element if byte != b']' && !self.name.set_index(self.limits.name_bytes) => {
                self.stop(Malformed::NameTooLong, sink);
                return rest;
            }
            State::Done if self.documents == Documents::One => self.progress.fail(Malformed::TrailingData),
            _ => {}
        }
        match byte {
            b'"' => self.state = State::String(Role::Value),
            b'{' => self.open(State::FirstKey, sink),
            b'[' => self.open(State::FirstElement, sink),
            b'-' | b'0'..=b'9' => {
                self.state = State::Number;
                return bytes;
            }
            b'a'..=b'z' | b'A'..=b'Z' => {
                self.state = State::Word;
                return bytes;
            }
            _ => self.stop(Malformed::Unexpected, sink),
        }
        rest
    }

    fn open(&mut self, state: State, sink: &mut impl Sink) {
        if self.name.depth() >= usize::try_from(self.limits.depth).unwrap_or(usize::MAX) {
            return self.stop(Malformed::TooDeep, sink);
        }
        if state == State::FirstKey {
            self.name.open_object()
        } else {
            self.name.open_array()
        }
        self.state = state;
    }

    fn close(&mut self) {
        self.name.close();
        self.end_value();
    }

    fn end_value(&mut self) {
        self.state = if self.name.depth() == 0 { State::Done } else { State::Next };
    }

    fn string<'a>(&mut self, role: Role, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let Some((run, rest)) = self.text.string(bytes, &mut self.progress) else { return &[] };
        let text = self.text.end(run, &mut self.progress);
        if std::str::from_utf8(text).is_err() {
            self.progress.fail(Malformed::Utf8);
        }
        match role {
            Role::Key => {
                self.state = State::Colon;
                if !self.name.set_key(text, self.limits.name_bytes) {
                    self.stop(Malformed::NameTooLong, sink);
                }
            }
            Role::Value => {
                if self.progress.count(self.limits.arguments) {
                    sink.argument(self.name.as_bytes(), text);
                }
                self.end_value();
            }
        }
        rest
    }

    fn number<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let Some((run, rest)) = self.text.run(bytes, part) else { return &[] };
        self.end_number(run, sink);
        rest
    }

    fn end_number(&mut self, run: &[u8], sink: &mut impl Sink) {
        let text = self.text.end(run, &mut self.progress);
        if !is_number(text) {
            self.progress.fail(Malformed::Number);
        }
        if self.progress.count(self.limits.arguments) {
            sink.argument(self.name.as_bytes(), text);
        }
        self.end_value();
    }

    fn word<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let Some((run, rest)) = self.text.run(bytes, u8::is_ascii_alphanumeric) else { return &[] };
        self.end_word(run, sink);
        rest
    }

    fn end_word(&mut self, run: &[u8], sink: &mut impl Sink) {
        let text = self.text.end(run, &mut self.progress);
        if !matches!(text, b"true" | b"false" | b"null") {
            self.progress.fail(Malformed::Literal);
        }
        if self.progress.count(self.limits.arguments) {
            sink.argument(self.name.as_bytes(), text);
        }
        self.end_value();
    }

    /// Hands over a value under the current name, if there may be one more.
    fn argument(&mut self, value: &[u8], sink: &mut impl Sink) {
        if self.progress.count(self.limits.arguments) {
            sink.argument(self.name.as_bytes(), value);
        }
    }
}
