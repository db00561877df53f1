//! A token of SQL and the letter it has in a fingerprint.

/// Bytes of a token that are kept; what is longer is cut. libinjection keeps as many.
pub(crate) const TOKEN_BYTES: usize = 31;

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No token.
    #[default]
    Nothing,
    /// A keyword without a kind of its own, such as `FROM`.
    Keyword,
    /// `UNION` and what continues it.
    Union,
    /// What may end a query: `GROUP BY`, `LIMIT`, `HAVING`.
    Group,
    /// What begins a statement or an expression: `SELECT`, `CASE`.
    Expression,
    /// The name of a type.
    SqlType,
    /// The name of a function.
    Function,
    /// Any other word.
    Bareword,
    /// A number.
    Number,
    /// A variable, or a word that is read as one, such as `NULL`.
    Variable,
    /// A string.
    String,
    /// An operator.
    Operator,
    /// An operator between conditions.
    Logic,
    /// A comment.
    Comment,
    /// `COLLATE`.
    Collate,
    /// `(`.
    LeftParenthesis,
    /// `)`.
    RightParenthesis,
    /// `{`.
    LeftBrace,
    /// `}`.
    RightBrace,
    /// `.`.
    Dot,
    /// `,`.
    Comma,
    /// `:`.
    Colon,
    /// `;`.
    Semicolon,
    /// What begins a statement of Transact-SQL.
    Tsql,
    /// A byte that means nothing in SQL.
    Unknown,
    /// A comment that dialects disagree on: a sign of evasion by itself.
    Evil,
    /// `\`.
    Backslash,
}

impl Kind {
    /// The letter of this kind in a fingerprint.
    pub(crate) const fn letter(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Keyword => b'k',
            Self::Union => b'U',
            Self::Group => b'B',
            Self::Expression => b'E',
            Self::SqlType => b't',
            Self::Function => b'f',
            Self::Bareword => b'n',
            Self::Number => b'1',
            Self::Variable => b'v',
            Self::String => b's',
            Self::Operator => b'o',
            Self::Logic => b'&',
            Self::Comment => b'c',
            Self::Collate => b'A',
            Self::LeftParenthesis => b'(',
            Self::RightParenthesis => b')',
            Self::LeftBrace => b'{',
            Self::RightBrace => b'}',
            Self::Dot => b'.',
            Self::Comma => b',',
            Self::Colon => b':',
            Self::Semicolon => b';',
            Self::Tsql => b'T',
            Self::Unknown => b'?',
            Self::Evil => b'X',
            Self::Backslash => b'\\',
        }
    }
}

/// A token: its kind and its first [`TOKEN_BYTES`] bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// The byte that opens a string or a quoted name; 0 where there is none, as where the value begins inside one.
    pub(crate) open: u8,
    /// The byte that closes it; 0 where the value ends before.
    pub(crate) close: u8,
    /// How many `@` stand before a variable.
    pub(crate) at_signs: u8,
    length: u8,
    bytes: [u8; TOKEN_BYTES],
}

impl Token {
    /// A token of these bytes, cut to the length that is kept.
    pub(crate) fn new(kind: Kind, text: &[u8]) -> Self {
        let mut token = Self { kind, ..Self::default() };
        token.extend(text);
        token
    }

    /// A string or quoted name, with the quotes around it.
    pub(crate) fn quoted(kind: Kind, text: &[u8], open: u8, close: u8) -> Self {
        Self { open, close, ..Self::new(kind, text) }
    }

    /// The same token as another kind.
    pub(crate) const fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The bytes that were kept, without quotes and `@`.
    pub(crate) fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The first byte of the text, 0 where it is empty.
    pub(crate) fn first_byte(&self) -> u8 {
        self.text().first().copied().unwrap_or_default()
    }

    /// Whether the text is this word, which is upper case, in any case.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.text().eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether this is an operator that can stand before its only operand.
    pub(crate) fn is_unary_operator(&self) -> bool {
        self.kind == Kind::Operator
            && match self.text() {
                [b'+' | b'-' | b'!' | b'~'] | b"!!" => true,
                word => word.eq_ignore_ascii_case(b"NOT"),
            }
    }

    /// Whether this is an operator on two numbers.
    pub(crate) fn is_arithmetic_operator(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text(), [b'*' | b'/' | b'-' | b'+' | b'%'])
    }

    /// `self` and `next` as one text with a space between them, where that is short enough to be kept.
    pub(crate) fn joined(&self, next: &Self) -> Option<Self> {
        if self.text().len() + 1 + next.text().len() > TOKEN_BYTES {
            return None;
        }
        let mut joined = Self { kind: self.kind, ..Self::default() };
        joined.extend(self.text());
        joined.extend(b" ");
        joined.extend(next.text());
        Some(joined)
    }

    fn extend(&mut self, text: &[u8]) {
        let start = usize::from(self.length);
        let kept = text.get(..text.len().min(TOKEN_BYTES - start)).unwrap_or_default();
        if let Some(places) = self.bytes.get_mut(start..start + kept.len()) {
            places.copy_from_slice(kept);
        }
        self.length = u8::try_from(start + kept.len()).unwrap_or(self.length);
    }
}
