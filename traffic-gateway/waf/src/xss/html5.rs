//! Cuts a value into tokens of HTML5, leniently: with what Internet Explorer takes for markup besides the standard.
//!
//! Every state takes away the bytes it looked at, so the work is linear in the length of the value.

use memchr::{memchr, memmem};

/// Where in a page the value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Text between tags.
    Data,
    /// An attribute value without quotes.
    Unquoted,
    /// An attribute value in single quotes.
    SingleQuoted,
    /// An attribute value in double quotes.
    DoubleQuoted,
    /// An attribute value in backquotes.
    BackQuoted,
}

impl Context {
    /// All contexts.
    pub(crate) const ALL: [Self; 5] =
        [Self::Data, Self::Unquoted, Self::SingleQuoted, Self::DoubleQuoted, Self::BackQuoted];
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text between tags.
    DataText,
    /// The name of an opening tag.
    TagNameOpen,
    /// The `>` of an opening tag.
    TagNameClose,
    /// `/>`.
    TagNameSelfClose,
    /// The name of a closing tag.
    TagClose,
    /// The name of an attribute.
    AttributeName,
    /// The value of an attribute.
    AttributeValue,
    /// A comment, or what is read as one.
    TagComment,
    /// `<!DOCTYPE …>`.
    Doctype,
}

/// A token and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// The bytes, without what encloses them.
    pub(crate) text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    End,
    Data,
    TagOpen,
    EndTagOpen,
    TagName,
    TagNameClose,
    SelfClosing,
    BeforeAttributeName,
    AttributeName,
    AfterAttributeName,
    BeforeAttributeValue,
    QuotedValue(u8),
    UnquotedValue,
    AfterQuotedValue,
    MarkupDeclaration,
    BogusComment,
    PercentComment,
    Comment,
    CharacterData,
    Doctype,
}

/// Reads the tokens of one value in one context.
#[derive(Clone, Debug)]
pub(crate) struct Tokenizer<'a> {
    rest: &'a [u8],
    state: State,
    /// Whether the tag being read began with `</`.
    closing: bool,
    /// States gone through, for the test that work is linear.
    #[cfg(test)]
    pub(crate) steps: usize,
}

impl<'a> Tokenizer<'a> {
    /// Starts at the beginning of `value`.
    pub(crate) const fn new(value: &'a [u8], context: Context) -> Self {
        let state = match context {
            Context::Data => State::Data,
            Context::Unquoted => State::BeforeAttributeName,
            Context::SingleQuoted => State::QuotedValue(b'\''),
            Context::DoubleQuoted => State::QuotedValue(b'"'),
            Context::BackQuoted => State::QuotedValue(b'`'),
        };
        Self {
            rest: value,
            state,
            closing: false,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The next token, `None` at the end.
    pub(crate) fn next_token(&mut self) -> Option<Token<'a>> {
        while self.state != State::End {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            if let found @ Some(_) = self.step() {
                return found;
            }
        }
        None
    }

    /// Goes through one state, which ends with a token or leads to the next state.
    fn step(&mut self) -> Option<Token<'a>> {
        match self.state {
            State::End => None,
            State::Data => self.data(),
            State::TagOpen => self.tag_open(),
            State::EndTagOpen => self.end_tag_open(),
            State::TagName => self.tag_name(),
            State::TagNameClose => {
                self.closing = false;
                let token = self.take(Kind::TagNameClose, 1, 1, State::Data);
                if self.rest.is_empty() {
                    self.state = State::End;
                }
                token
            }
            State::SelfClosing => self.self_closing(),
            State::BeforeAttributeName => self.before_attribute_name(),
            State::AttributeName => self.attribute_name(),
            State::AfterAttributeName => self.after_attribute_name(),
            State::BeforeAttributeValue => self.before_attribute_value(),
            State::QuotedValue(quote) => self.quoted_value(quote),
            State::UnquotedValue => self.unquoted_value(),
            State::AfterQuotedValue => self.after_quoted_value(),
            State::MarkupDeclaration => self.markup_declaration(),
            State::BogusComment => self.up_to(Kind::TagComment, memchr(b'>', self.rest), 1),
            State::PercentComment => self.up_to(Kind::TagComment, memmem::find(self.rest, b"%>"), 2),
            State::Comment => self.comment(),
            State::CharacterData => self.up_to(Kind::DataText, memmem::find(self.rest, b"]]>"), 3),
            State::Doctype => self.up_to(Kind::Doctype, memchr(b'>', self.rest), 1),
        }
    }

    /// A token of `length` bytes; `skipped` bytes are taken away in all.
    fn take(&mut self, kind: Kind, length: usize, skipped: usize, state: State) -> Option<Token<'a>> {
        let text = self.rest.get(..length).unwrap_or(self.rest);
        self.skip(skipped);
        self.state = state;
        Some(Token { kind, text })
    }

    /// A token up to `end` and `terminator` bytes behind it, or of all the rest.
    fn up_to(&mut self, kind: Kind, end: Option<usize>, terminator: usize) -> Option<Token<'a>> {
        match end {
            Some(end) => self.take(kind, end, end + terminator, State::Data),
            None => self.take(kind, self.rest.len(), self.rest.len(), State::End),
        }
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Leads to another state, with `skipped` bytes taken away.
    fn go(&mut self, state: State, skipped: usize) -> Option<Token<'a>> {
        self.skip(skipped);
        self.state = state;
        None
    }

    /// Skips white space; the next byte.
    fn next_visible(&mut self) -> Option<u8> {
        let white = self.rest.iter().take_while(|byte| is_white(**byte)).count();
        self.skip(white);
        self.rest.first().copied()
    }

    fn data(&mut self) -> Option<Token<'a>> {
        match memchr(b'<', self.rest) {
            Some(0) => self.go(State::TagOpen, 1),
            Some(end) => self.take(Kind::DataText, end, end + 1, State::TagOpen),
            None if self.rest.is_empty() => self.go(State::End, 0),
            None => self.take(Kind::DataText, self.rest.len(), self.rest.len(), State::End),
        }
    }

    fn tag_open(&mut self) -> Option<Token<'a>> {
        match self.rest.first() {
            None => self.go(State::End, 0),
            Some(b'!') => self.go(State::MarkupDeclaration, 1),
            Some(b'/') => {
                self.closing = true;
                self.go(State::EndTagOpen, 1)
            }
            Some(b'?') => self.go(State::BogusComment, 1),
            Some(b'%') => self.go(State::PercentComment, 1),
            // Internet Explorer leaves NUL out.
            Some(0 | b'a'..=b'z' | b'A'..=b'Z') => self.go(State::TagName, 0),
            Some(_) => {
                self.state = State::Data;
                Some(Token { kind: Kind::DataText, text: b"<" })
            }
        }
    }

    fn end_tag_open(&mut self) -> Option<Token<'a>> {
        match self.rest.first() {
            None => self.go(State::End, 0),
            Some(b'>') => self.go(State::Data, 0),
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.go(State::TagName, 0),
            Some(_) => {
                self.closing = false;
                self.go(State::BogusComment, 0)
            }
        }
    }

    fn tag_name(&mut self) -> Option<Token<'a>> {
        let ends = |byte: &u8| *byte != 0 && (is_white(*byte) || matches!(byte, b'/' | b'>'));
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        match self.rest.get(end) {
            None => self.take(Kind::TagNameOpen, end, end, State::End),
            Some(b'/') => self.take(Kind::TagNameOpen, end, end + 1, State::SelfClosing),
            Some(b'>') if self.closing => {
                self.closing = false;
                self.take(Kind::TagClose, end, end + 1, State::Data)
            }
            Some(b'>') => self.take(Kind::TagNameOpen, end, end, State::TagNameClose),
            Some(_) => self.take(Kind::TagNameOpen, end, end + 1, State::BeforeAttributeName),
        }
    }

    fn self_closing(&mut self) -> Option<Token<'a>> {
        match self.rest.first() {
            None => self.go(State::End, 0),
            Some(b'>') => {
                self.go(State::Data, 1);
                Some(Token { kind: Kind::TagNameSelfClose, text: b"/>" })
            }
            Some(_) => self.go(State::BeforeAttributeName, 0),
        }
    }

    fn before_attribute_name(&mut self) -> Option<Token<'a>> {
        match self.next_visible() {
            None => self.go(State::End, 0),
            Some(b'/') => self.go(State::SelfClosing, 1),
            Some(b'>') => self.take(Kind::TagNameClose, 1, 1, State::Data),
            Some(_) => self.go(State::AttributeName, 0),
        }
    }

    fn attribute_name(&mut self) -> Option<Token<'a>> {
        let ends = |byte: &u8| is_white(*byte) || matches!(byte, b'/' | b'=' | b'>');
        let end = self.rest.iter().skip(1).position(ends).map_or(self.rest.len(), |end| end + 1);
        match self.rest.get(end) {
            None => self.take(Kind::AttributeName, end, end, State::End),
            Some(b'/') => self.take(Kind::AttributeName, end, end + 1, State::SelfClosing),
            Some(b'=') => self.take(Kind::AttributeName, end, end + 1, State::BeforeAttributeValue),
            Some(b'>') => self.take(Kind::AttributeName, end, end, State::TagNameClose),
            Some(_) => self.take(Kind::AttributeName, end, end + 1, State::AfterAttributeName),
        }
    }

    fn after_attribute_name(&mut self) -> Option<Token<'a>> {
        match self.next_visible() {
            None => self.go(State::End, 0),
            Some(b'/') => self.go(State::SelfClosing, 1),
            Some(b'=') => self.go(State::BeforeAttributeValue, 1),
            Some(b'>') => self.go(State::TagNameClose, 0),
            Some(_) => self.go(State::AttributeName, 0),
        }
    }

    fn before_attribute_value(&mut self) -> Option<Token<'a>> {
        match self.next_visible() {
            None => self.go(State::End, 0),
            Some(quote @ (b'"' | b'\'' | b'`')) => self.go(State::QuotedValue(quote), 1),
            Some(_) => self.go(State::UnquotedValue, 0),
        }
    }

    fn quoted_value(&mut self, quote: u8) -> Option<Token<'a>> {
        match memchr(quote, self.rest) {
            Some(end) => self.take(Kind::AttributeValue, end, end + 1, State::AfterQuotedValue),
            None => self.take(Kind::AttributeValue, self.rest.len(), self.rest.len(), State::End),
        }
    }

    fn unquoted_value(&mut self) -> Option<Token<'a>> {
        let ends = |byte: &u8| is_white(*byte) || *byte == b'>';
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        match self.rest.get(end) {
            None => self.take(Kind::AttributeValue, end, end, State::End),
            Some(b'>') => self.take(Kind::AttributeValue, end, end, State::TagNameClose),
            Some(_) => self.take(Kind::AttributeValue, end, end + 1, State::BeforeAttributeName),
        }
    }

    fn after_quoted_value(&mut self) -> Option<Token<'a>> {
        match self.rest.first() {
            None => self.go(State::End, 0),
            Some(b'/') => self.go(State::SelfClosing, 1),
            Some(b'>') => self.take(Kind::TagNameClose, 1, 1, State::Data),
            Some(_) => self.go(State::BeforeAttributeName, 0),
        }
    }

    fn markup_declaration(&mut self) -> Option<Token<'a>> {
        if self.rest.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"DOCTYPE")) {
            self.go(State::Doctype, 0)
        } else if self.rest.starts_with(b"[CDATA[") {
            self.go(State::CharacterData, 7)
        } else if self.rest.starts_with(b"--") {
            self.go(State::Comment, 2)
        } else {
            self.go(State::BogusComment, 0)
        }
    }

    /// A comment, up to `-->` or `--!>`, with any NUL in between.
    fn comment(&mut self) -> Option<Token<'a>> {
        let mut from = 0;
        while let Some(offset) = memchr(b'-', self.rest.get(from..).unwrap_or_default()) {
            let dash = from + offset;
            if dash + 3 > self.rest.len() {
                break;
            }
            let nulls = self.rest.iter().skip(dash + 1).take_while(|byte| **byte == 0).count();
            let second = dash + 1 + nulls;
            if matches!(self.rest.get(second), Some(b'-' | b'!')) && self.rest.get(second + 1) == Some(&b'>') {
                return self.take(Kind::TagComment, dash, second + 2, State::Data);
            }
            from = dash + 1;
        }
        self.take(Kind::TagComment, self.rest.len(), self.rest.len(), State::End)
    }
}

/// White space of HTML, and NUL and vertical tab, which Internet Explorer takes for it.
const fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | b'\t'..=b'\r' | b' ')
}
