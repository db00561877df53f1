//! A JSON document on its way, without what an application may not see. What goes in may be cut anywhere; what has come out
//! never holds a hidden value, whatever becomes of the rest.
//!
//! Memory: a frame for each open object or array, the name of the member that is being judged, and what a mask shows. White
//! space between tokens is left out, everything else that is shown is copied byte by byte. A name that occurs twice is judged
//! twice; names are compared as they read without their escapes.

use std::sync::Arc;

use ring::hmac;

use super::automaton::{Automaton, Place};
use super::mask::{Mask, Masking};
use super::number::Number;
use super::text::{Lexed, Text, is_plain};

/// Why a document cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not JSON in UTF-8.
    #[error("the answer is not JSON")]
    NotJson,
    /// It ends early.
    #[error("the answer is cut off")]
    CutOff,
    /// Deeper than allowed.
    #[error("the answer is nested too deep")]
    TooDeep,
    /// A name longer than allowed.
    #[error("the answer has a name that is too long")]
    NameTooLong,
}

/// What one document may take.
#[derive(Debug, Clone, Copy)]
pub struct DocumentBounds {
    /// Objects and arrays in each other.
    pub depth: usize,
    /// Bytes of a name, as written.
    pub name: usize,
}

/// How many documents a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One.
    Document,
    /// One in each line.
    Lines,
}

/// A text that is being rewritten.
#[derive(Debug)]
pub struct Rewriter {
    automaton: Arc<Automaton>,
    key: Option<hmac::Key>,
    bounds: DocumentBounds,
    form: Form,
    state: State,
    frames: Vec<Frame>,
    /// The sets of the watched frames, one behind the other.
    sets: Vec<u64>,
    /// The name that is being judged, with its quotes and as it reads.
    name: Vec<u8>,
    name_text: String,
    sink: Sink,
    has_begun: bool,
    masked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value has to follow.
    Value,
    /// A value or the end of the array.
    First,
    /// A name or the end of the object.
    FirstName,
    /// A name has to follow.
    Name,
    InName(Text),
    Colon,
    InText(Text),
    InNumber(Number),
    InWord(&'static [u8]),
    /// A comma or the end of what is open.
    Next,
    /// The document is over.
    Over,
}

#[derive(Debug)]
struct Frame {
    is_object: bool,
    /// How it is treated.
    sight: Sight,
    /// Whether something of it was written.
    has_written: bool,
    /// Elements so far.
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Written as it is.
    Free,
    /// Written, and what is in it is judged.
    Watched,
    /// Read, and not written.
    Hidden,
}

/// Where the value that is being read goes.
#[derive(Debug)]
enum Sink {
    Out,
    Nowhere,
    Mask(Masking),
}

impl Rewriter {
    /// The beginning of a text.
    #[must_use]
    pub fn new(automaton: Arc<Automaton>, key: Option<hmac::Key>, bounds: DocumentBounds, form: Form) -> Self {
        Self {
            automaton,
            key,
            bounds,
            form,
            state: State::Value,
            frames: Vec::new(),
            sets: Vec::new(),
            name: Vec::new(),
            name_text: String::new(),
            sink: Sink::Out,
            has_begun: false,
            masked: 0,
        }
    }

    /// Values hidden so far.
    #[must_use]
    pub fn masked(&self) -> u64 {
        self.masked
    }

    /// Takes of `input` until it is used up or `out` holds `most` bytes, and tells how many bytes it took.
    ///
    /// # Errors
    /// When the text cannot be rewritten; what is in `out` may be sent all the same.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>, most: usize) -> Result<usize, Unfit> {
        let mut rest = input;
        while out.len() < most {
            let Some((&byte, tail)) = rest.split_first() else { break };
            rest = match self.state {
                State::InText(text) => self.in_text(text, rest, out)?,
                State::InName(text) => self.in_name(text, rest, out)?,
                State::InNumber(number) => match number.next(byte) {
                    Some(next) => {
                        self.state = State::InNumber(next);
                        self.take(&[byte], out);
                        tail
                    }
                    None if number.is_whole() => {
                        self.end_scalar(out);
                        rest
                    }
                    None => return Err(Unfit::NotJson),
                },
                State::InWord(word) => match word.split_first() {
                    Some((expected, word)) if *expected == byte => {
                        self.take(&[byte], out);
                        match word {
                            [] => self.end_scalar(out),
                            word => self.state = State::InWord(word),
                        }
                        tail
                    }
                    _ => return Err(Unfit::NotJson),
                },
                _ => {
                    self.between(byte, out)?;
                    tail
                }
            };
        }
        Ok(input.len().saturating_sub(rest.len()))
    }

    /// Ends the text.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if let State::InNumber(number) = self.state
            && number.is_whole()
        {
            self.end_scalar(out);
        }
        let is_complete = match self.state {
            State::Over => true,
            // Nothing at all is an empty body, or the end of the last line.
            State::Value => self.frames.is_empty() && (!self.has_begun || self.form == Form::Lines),
            _ => false,
        };
        if is_complete { Ok(()) } else { Err(Unfit::CutOff) }
    }

    /// A byte between values.
    fn between(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            if self.form == Form::Lines && byte == b'\n' && self.frames.is_empty() {
                if self.state == State::Over {
                    self.state = State::Value;
                }
                out.push(b'\n');
            }
            return Ok(());
        }
        self.has_begun = true;
        match (self.state, byte) {
            (State::First, b']') | (State::FirstName, b'}') => self.close(byte, out),
            (State::Value | State::First, byte) => self.begin_value(byte, out),
            (State::FirstName | State::Name, b'"') => {
                self.begin_name(out);
                Ok(())
            }
            (State::Colon, b':') => {
                if self.sight() == Sight::Free {
                    out.push(b':');
                }
                self.state = State::Value;
                Ok(())
            }
            (State::Next, b',') => {
                self.state = match self.frames.last() {
                    Some(frame) if frame.is_object => State::Name,
                    _ => State::Value,
                };
                Ok(())
            }
            (State::Next, b']' | b'}') => self.close(byte, out),
            _ => Err(Unfit::NotJson),
        }
    }

    /// How the innermost frame is treated.
    fn sight(&self) -> Sight {
        self.frames.last().map_or(Sight::Watched, |frame| frame.sight)
    }

    /// Writes what stands before a value: the comma, and the name of a member whose name was held back.
    fn introduce(&mut self, out: &mut Vec<u8>) {
        let Some(frame) = self.frames.last_mut() else { return };
        if std::mem::replace(&mut frame.has_written, true) {
            out.push(b',');
        }
        if frame.is_object && frame.sight == Sight::Watched {
            out.extend_from_slice(&self.name);
            out.push(b':');
        }
    }

    fn begin_name(&mut self, out: &mut Vec<u8>) {
        self.state = State::InName(Text::default());
        match self.sight() {
            Sight::Free => {
                self.introduce(out);
                out.push(b'"');
            }
            Sight::Watched => {
                self.name.clear();
                self.name.push(b'"');
                self.name_text.clear();
            }
            Sight::Hidden => {}
        }
    }

    fn in_name<'a>(&mut self, mut text: Text, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unfit> {
        let (raw, lexed, tail) = lex(&mut text, rest)?;
        match self.sight() {
            Sight::Free => out.extend_from_slice(raw),
            Sight::Watched => {
                if self.name.len().saturating_add(raw.len()) > self.bounds.name.saturating_add(2) {
                    return Err(Unfit::NameTooLong);
                }
                self.name.extend_from_slice(raw);
                each_text(raw, lexed, |text| self.name_text.push_str(text));
            }
            Sight::Hidden => {}
        }
        self.state = if lexed == Some(Lexed::End) { State::Colon } else { State::InName(text) };
        Ok(tail)
    }

    fn begin_value(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let sight = match self.sight() {
            Sight::Free => {
                if self.frames.last().is_some_and(|frame| !frame.is_object) {
                    self.introduce(out);
                }
                Sight::Free
            }
            Sight::Hidden => Sight::Hidden,
            Sight::Watched => {
                let automaton = Arc::clone(&self.automaton);
                let (sight, mask) = match self.judge(&automaton) {
                    Place::Free => (Sight::Free, None),
                    Place::Watched => (Sight::Watched, None),
                    Place::Hidden(mask) => (Sight::Hidden, Some(mask)),
                };
                match mask {
                    Some(mask) => self.hide(mask, byte, out),
                    None => self.introduce(out),
                }
                sight
            }
        };
        match byte {
            b'{' | b'[' => return self.open(byte, sight, out),
            b'"' => self.state = State::InText(Text::default()),
            b't' => self.state = State::InWord(b"rue"),
            b'f' => self.state = State::InWord(b"alse"),
            b'n' => self.state = State::InWord(b"ull"),
            byte => self.state = State::InNumber(Number::begin(byte).ok_or(Unfit::NotJson)?),
        }
        // Only what has members or elements is watched.
        if sight == Sight::Watched {
            self.leave_set();
        }
        match sight {
            Sight::Hidden => {
                if byte != b'"' {
                    self.mask_text(byte);
                }
            }
            Sight::Free | Sight::Watched => {
                self.sink = Sink::Out;
                out.push(byte);
            }
        }
        Ok(())
    }

    /// The place of the value that begins now, in a watched frame or at the beginning.
    fn judge<'a>(&mut self, automaton: &'a Automaton) -> Place<'a> {
        let Some(frame) = self.frames.last_mut() else {
            self.sets.clear();
            self.sets.extend_from_slice(automaton.start());
            return Place::Watched;
        };
        if frame.is_object {
            return automaton.enter(&mut self.sets, &self.name_text);
        }
        let index = frame.count;
        frame.count += 1;
        if !automaton.has_index() {
            // No name is empty, so only stars fit.
            return automaton.enter(&mut self.sets, "");
        }
        automaton.enter(&mut self.sets, &index.to_string())
    }

    /// Writes what stands for a hidden value, or begins to.
    fn hide(&mut self, mask: &Mask, byte: u8, out: &mut Vec<u8>) {
        self.masked += 1;
        self.sink = Sink::Nowhere;
        if *mask == Mask::Remove {
            return;
        }
        self.introduce(out);
        let has_text = byte == b'"' || byte == b'-' || byte.is_ascii_digit();
        match mask.begin(self.key.as_ref()).filter(|_| has_text) {
            Some(masking) => self.sink = Sink::Mask(masking),
            None => out.extend_from_slice(mask.of_others().as_bytes()),
        }
    }

    fn mask_text(&mut self, byte: u8) {
        if let Sink::Mask(masking) = &mut self.sink {
            masking.push(char::from(byte).encode_utf8(&mut [0; 4]));
        }
    }

    fn open(&mut self, byte: u8, sight: Sight, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.frames.len() >= self.bounds.depth {
            return Err(Unfit::TooDeep);
        }
        if sight != Sight::Hidden {
            out.push(byte);
        }
        let is_object = byte == b'{';
        self.frames.push(Frame { is_object, sight, has_written: false, count: 0 });
        self.state = if is_object { State::FirstName } else { State::First };
        Ok(())
    }

    fn close(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let Some(frame) = self.frames.pop().filter(|frame| frame.is_object == (byte == b'}')) else {
            return Err(Unfit::NotJson);
        };
        match frame.sight {
            Sight::Free => out.push(byte),
            Sight::Watched => {
                out.push(byte);
                self.leave_set();
            }
            Sight::Hidden => {}
        }
        self.end_value();
        Ok(())
    }

    fn leave_set(&mut self) {
        let length = self.sets.len().saturating_sub(self.automaton.words());
        self.sets.truncate(length);
    }

    fn in_text<'a>(&mut self, mut text: Text, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unfit> {
        let (raw, lexed, tail) = lex(&mut text, rest)?;
        match &mut self.sink {
            Sink::Out => out.extend_from_slice(raw),
            Sink::Nowhere => {}
            Sink::Mask(masking) => each_text(raw, lexed, |text| masking.push(text)),
        }
        match lexed {
            Some(Lexed::End) => self.end_scalar(out),
            _ => self.state = State::InText(text),
        }
        Ok(tail)
    }

    /// Bytes of a number or a word.
    fn take(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        match &mut self.sink {
            Sink::Out => out.extend_from_slice(raw),
            Sink::Nowhere => {}
            Sink::Mask(masking) => each_text(raw, None, |text| masking.push(text)),
        }
    }

    fn end_scalar(&mut self, out: &mut Vec<u8>) {
        if let Sink::Mask(masking) = std::mem::replace(&mut self.sink, Sink::Out) {
            masking.write(out);
        }
        self.end_value();
    }

    fn end_value(&mut self) {
        self.sink = match self.sight() {
            Sight::Hidden => Sink::Nowhere,
            Sight::Free | Sight::Watched => Sink::Out,
        };
        self.state = if self.frames.is_empty() { State::Over } else { State::Next };
    }
}

/// A piece of a string, what it has completed (a run of plain characters: `None`), and what follows it.
type Piece<'a> = (&'a [u8], Option<Lexed>, &'a [u8]);

/// The next of a string: a run of plain characters, or one byte.
fn lex<'a>(text: &mut Text, rest: &'a [u8]) -> Result<Piece<'a>, Unfit> {
    let run = match text.is_between_characters() {
        true => rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len()),
        false => 0,
    };
    if run > 0 {
        let (run, tail) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        return Ok((run, None, tail));
    }
    let (raw, tail) = rest.split_at_checked(1).unwrap_or((rest, &[]));
    let lexed = raw.first().map(|byte| text.push(*byte)).transpose()?;
    Ok((raw, lexed, tail))
}

/// The characters of what [`lex`] found.
fn each_text(raw: &[u8], lexed: Option<Lexed>, mut take: impl FnMut(&str)) {
    match lexed {
        // Plain characters are ASCII.
        None => take(std::str::from_utf8(raw).unwrap_or_default()),
        Some(Lexed::Char(character)) => take(character.encode_utf8(&mut [0; 4])),
        Some(Lexed::More | Lexed::End) => {}
    }
}
