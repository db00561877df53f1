//! Tokens of SQL, as the dialects that matter have them in common.

use std::cell::Cell;

use super::super::scan::{is_word, part};

/// How many tokens behind a place are looked at: a break-out shows itself at once.
pub(super) const TOKENS: usize = 48;

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// A string that is closed.
    Text,
    /// A string that is not: the application's own quote will close it.
    OpenText,
    /// A word that is no keyword.
    Name,
    /// A keyword; which one is in [`Token::key`].
    Key,
    /// `@x`, `@@version`, `:name`.
    Variable,
    /// `=`, `<>`, `<=`, `!=`, `:=`.
    Compare,
    /// `||` and `&&`.
    Logic,
    /// Arithmetic, `|`, `&`, `^`, `~`, `!`.
    Math,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    /// A comment that takes the rest of the value.
    Comment,
    /// Anything SQL has no use for.
    Other,
    /// No more tokens.
    End,
}

/// Keywords the grammar asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    None,
    And,
    Or,
    Not,
    Having,
    Where,
    Union,
    All,
    Select,
    From,
    Into,
    Outfile,
    Order,
    By,
    Limit,
    /// `like`, `rlike`, `regexp`, `similar`, `glob`, `match`, `sounds`.
    Like,
    In,
    Is,
    Between,
    Literal,
    Exists,
    Case,
    When,
    Insert,
    Update,
    Delete,
    Drop,
    Alter,
    Create,
    Truncate,
    Exec,
    Declare,
    Shutdown,
    Waitfor,
    Set,
    Values,
    Procedure,
    Begin,
    /// Other words that begin a statement: `grant`, `merge`, `copy`, `load`, `handler`, `prepare`, `call`, `attach`, `vacuum`.
    Statement,
    /// `table`, `database`, `user` and other things statements are about.
    Thing,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What SQL would go on behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Quote,
    Operand,
}

/// The first tokens behind a place. Each is read when it is first looked at: most values show themselves to be no SQL
/// with one or two.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    pub(super) value: &'a [u8],
    list: [Cell<Token>; TOKENS],
    /// How many are in the list, and where the next one begins.
    read: Cell<(usize, usize)>,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Reads tokens from a position on.
    pub(super) fn read(value: &'a [u8], from: usize) -> Self {
        const UNREAD: Token = Token { kind: Kind::End, key: Key::None, start: 0, end: 0 };
        Self { value, list: [const { Cell::new(UNREAD) }; TOKENS], read: Cell::new((0, from)), at: 0 }
    }

    /// Reads on until there are more tokens than so many; `false` when there are no more.
    fn reaches(&self, place: usize) -> bool {
        let (mut count, from) = self.read.get();
        if place < count {
            return true;
        }
        let mut lexer = Lexer { value: self.value, at: from };
        while count <= place {
            let Some(slot) = self.list.get(count) else { break };
            let token = lexer.next();
            if token.kind == Kind::End {
                break;
            }
            slot.set(token);
            count += 1;
        }
        self.read.set((count, lexer.at));
        place < count
    }

    /// Whether what stands behind a quote, or behind the first operand of a value, can be SQL that goes on: a look at one
    /// or two tokens that spares most values the rest.
    pub(super) fn may_go_on(value: &[u8], from: usize, place: Behind) -> bool {
        let mut lexer = Lexer { value, at: from };
        let mut token = lexer.next();
        if place == Behind::Operand {
            while matches!(token.kind, Kind::Math | Kind::Open) {
                token = lexer.next();
            }
            if !matches!(token.kind, Kind::Name | Kind::Number | Kind::Variable) && token.key != Key::Literal {
                return matches!(token.kind, Kind::Key | Kind::Logic | Kind::Semicolon | Kind::Close);
            }
            token = lexer.next();
        }
        matches!(
            token.kind,
            Kind::Comment
                | Kind::Semicolon
                | Kind::Key
                | Kind::Logic
                | Kind::Compare
                | Kind::Math
                | Kind::Comma
                | Kind::Close
                | Kind::Dot
        )
    }

    pub(super) fn peek(&self) -> Token {
        self.peek_by(0)
    }

    pub(super) fn peek_by(&self, ahead: usize) -> Token {
        let place = self.at + ahead;
        let token = if self.reaches(place) { self.list.get(place).map(Cell::get) } else { None };
        let end = self.value.len();
        token.unwrap_or(Token { kind: Kind::End, key: Key::None, start: end, end })
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }

    pub(super) fn eat(&mut self, kind: Kind) -> bool {
        let found = self.peek().kind == kind;
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_key(&mut self, key: Key) -> bool {
        let found = self.peek().key == key;
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_while(&mut self, of_kind: impl Fn(Token) -> bool) -> usize {
        let start = self.at;
        while self.reaches(self.at) && of_kind(self.peek()) {
            self.at += 1;
        }
        self.at - start
    }

    pub(super) fn text(&self, token: Token) -> &'a [u8] {
        part(self.value, token.start, token.end)
    }
}

struct Lexer<'a> {
    value: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.value.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Token {
        let comment = self.skip_gaps();
        let start = self.at;
        let Some(byte) = self.peek(0) else { return self.token(Kind::End, start) };
        if comment {
            self.at = self.value.len();
            return self.token(Kind::Comment, start);
        }
        match byte {
            b'0'..=b'9' => self.number(start),
            b'.' if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) => self.number(start),
            b'\'' | b'"' | b'`' => self.string(start, byte),
            b'@' => self.variable(start),
            b'=' | b'<' | b'>' => self.run(start, Kind::Compare, |byte| matches!(byte, b'=' | b'<' | b'>')),
            b'!' | b':' if self.peek(1) == Some(b'=') => self.sized(start, 2, Kind::Compare),
            b'|' | b'&' if self.peek(1) == Some(byte) => self.sized(start, 2, Kind::Logic),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'&' | b'^' | b'~' | b'!' => self.sized(start, 1, Kind::Math),
            b'(' => self.sized(start, 1, Kind::Open),
            b')' => self.sized(start, 1, Kind::Close),
            b',' => self.sized(start, 1, Kind::Comma),
            b'.' => self.sized(start, 1, Kind::Dot),
            b';' => self.sized(start, 1, Kind::Semicolon),
            byte if is_word(byte) || byte == b'$' || byte >= 0x80 => self.word(start),
            _ => self.sized(start, 1, Kind::Other),
        }
    }

    fn token(&self, kind: Kind, start: usize) -> Token {
        Token { kind, key: Key::None, start, end: self.at }
    }

    fn sized(&mut self, start: usize, length: usize, kind: Kind) -> Token {
        self.at += length;
        self.token(kind, start)
    }

    fn run(&mut self, start: usize, kind: Kind, of_kind: impl Fn(u8) -> bool) -> Token {
        while self.peek(0).is_some_and(&of_kind) {
            self.at += 1;
        }
        self.token(kind, start)
    }

    /// Skips white space and comments that end; says whether a comment that takes the rest is next.
    fn skip_gaps(&mut self) -> bool {
        loop {
            let rest = self.value.get(self.at..).unwrap_or_default();
            match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0 | 0xa0, ..] => self.at += 1,
                // MySQL runs what stands in `/*!50000 … */`.
                [b'/', b'*', b'!', ..] => {
                    self.at += 3;
                    while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                        self.at += 1;
                    }
                }
                [b'*', b'/', ..] => self.at += 2,
                [b'/', b'*', after @ ..] => match memchr::memmem::find(after, b"*/") {
                    Some(end) => self.at += 2 + end + 2,
                    None => return true,
                },
                [b'#', after @ ..] | [b'-', b'-', after @ ..] => match memchr::memchr2(b'\n', b'\r', after) {
                    Some(end) if after.get(end..).is_some_and(|tail| !tail.trim_ascii().is_empty()) => {
                        self.at = self.value.len() - after.len() + end
                    }
                    _ => return true,
                },
                _ => return false,
            }
        }
    }

    fn number(&mut self, start: usize) -> Token {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            // `1or`: digits end where letters that are no part of a number begin.
            let is_number = self.peek(0).is_some_and(|byte| byte.is_ascii_digit() || byte == b'.')
                || (self.at == start + 1 && matches!(self.peek(0), Some(b'x' | b'X')))
                || (part(self.value, start, start + 2).eq_ignore_ascii_case(b"0x")
                    && self.peek(0).is_some_and(|byte| byte.is_ascii_hexdigit()))
                || (matches!(self.peek(0), Some(b'e' | b'E'))
                    && self.peek(1).is_none_or(|byte| !is_word(byte) || byte.is_ascii_digit()));
            if !is_number {
                break;
            }
            self.at += 1;
        }
        self.token(Kind::Number, start)
    }

    fn string(&mut self, start: usize, quote: u8) -> Token {
        self.at += 1;
        loop {
            let rest = self.value.get(self.at..).unwrap_or_default();
            let Some(offset) = memchr::memchr2(quote, b'\\', rest) else {
                self.at = self.value.len();
                return self.token(Kind::OpenText, start);
            };
            self.at += offset;
            let escaped = self.peek(0) == Some(b'\\') || self.peek(1) == Some(quote);
            if !escaped {
                self.at += 1;
                return self.token(if quote == b'`' { Kind::Name } else { Kind::Text }, start);
            }
            // `''` at the very end: an empty string, or a quote that was doubled; closed either way.
            self.at = self.value.len().min(self.at + 2);
            if self.at == self.value.len() {
                return self.token(Kind::Text, start);
            }
        }
    }

    fn variable(&mut self, start: usize) -> Token {
        self.at += 1;
        self.run(start, Kind::Variable, |byte| is_word(byte) || matches!(byte, b'@' | b'.' | b'$'))
    }

    fn word(&mut self, start: usize) -> Token {
        let mut token =
            self.run(start, Kind::Name, |byte| is_word(byte) || byte == b'$' || byte >= 0x80 && byte != 0xa0);
        // `N'…'`, `_utf8'…'`, `x'…'` are strings.
        if token.end - token.start == 1
            && matches!(self.peek(0), Some(b'\''))
            && matches!(self.value.get(start), Some(b'n' | b'N' | b'x' | b'X' | b'b' | b'B'))
        {
            return self.string(self.at, b'\'');
        }
        token.key = key(part(self.value, token.start, token.end));
        if token.key != Key::None {
            token.kind = Kind::Key;
        }
        token
    }
}

/// Which keyword a word is.
fn key(word: &[u8]) -> Key {
    let mut lower = [0_u8; 12];
    let Some(lower) = lower.get_mut(..word.len()) else { return Key::None };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    match &*lower {
        b"and" => Key::And,
        b"or" | b"xor" => Key::Or,
        b"not" | b"binary" => Key::Not,
        b"having" => Key::Having,
        b"where" => Key::Where,
        b"union" | b"intersect" | b"except" => Key::Union,
        b"all" | b"distinct" | b"distinctrow" => Key::All,
        b"select" => Key::Select,
        b"from" => Key::From,
        b"into" => Key::Into,
        b"outfile" | b"dumpfile" => Key::Outfile,
        b"order" | b"group" => Key::Order,
        b"by" => Key::By,
        b"limit" | b"offset" => Key::Limit,
        b"like" | b"rlike" | b"regexp" | b"similar" | b"glob" | b"sounds" | b"ilike" | b"div" | b"mod" | b"collate" => {
            Key::Like
        }
        b"in" => Key::In,
        b"is" => Key::Is,
        b"between" => Key::Between,
        b"null" | b"true" | b"false" => Key::Literal,
        b"exists" => Key::Exists,
        b"case" => Key::Case,
        b"when" => Key::When,
        b"insert" | b"replace" => Key::Insert,
        b"update" => Key::Update,
        b"delete" => Key::Delete,
        b"drop" => Key::Drop,
        b"alter" => Key::Alter,
        b"create" => Key::Create,
        b"truncate" => Key::Truncate,
        b"exec" | b"execute" => Key::Exec,
        b"declare" => Key::Declare,
        b"shutdown" => Key::Shutdown,
        b"waitfor" => Key::Waitfor,
        b"set" => Key::Set,
        b"values" | b"value" => Key::Values,
        b"procedure" => Key::Procedure,
        b"begin" => Key::Begin,
        b"grant" | b"revoke" | b"merge" | b"copy" | b"load" | b"handler" | b"prepare" | b"call" | b"attach" | b"do"
        | b"backup" | b"restore" | b"rename" | b"kill" | b"use" | b"show" => Key::Statement,
        b"table" | b"database" | b"schema" | b"view" | b"index" | b"user" | b"function" | b"trigger" | b"login"
        | b"role" | b"column" | b"sequence" | b"extension" => Key::Thing,
        _ => Key::None,
    }
}
