//! Folds the tokens of a value until at most five are left: what does not change the shape of a statement goes.
//!
//! Tokens are read into a window of six. The two or three tokens from `left` on are looked at; where a rule applies,
//! the window gets shorter and looking begins again at its start, else `left` moves on. Every round either reads a
//! token, drops one, changes one for good or moves `left`, and the window is small: linear work.

use super::token::{Kind, Token};
use super::tokenizer::Tokenizer;

/// Tokens of a fingerprint.
pub(crate) const FINGERPRINT_TOKENS: usize = 5;

/// The tokens a value was folded into.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Folded {
    tokens: [Token; FINGERPRINT_TOKENS + 1],
    length: usize,
}

impl Folded {
    /// The tokens: five at most, or six that end in an evil one.
    pub(crate) fn tokens(&self) -> &[Token] {
        self.tokens.get(..self.length).unwrap_or_default()
    }

    /// What stands for a value that dialects read differently, whatever else is in it.
    pub(crate) fn evil() -> Self {
        let mut folded = Self { length: 1, ..Self::default() };
        if let Some(first) = folded.tokens.first_mut() {
            *first = Token::new(Kind::Evil, b"X");
        }
        folded
    }

    /// The last token.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Token> {
        self.length.checked_sub(1).and_then(|last| self.tokens.get_mut(last))
    }
}

/// Folds all tokens of a value.
pub(crate) fn fold(tokenizer: &mut Tokenizer<'_>) -> Folded {
    let mut window = Window::default();
    if window.skip_beginning(tokenizer) {
        window.run(tokenizer);
    }
    if window.is_evil {
        return Folded { tokens: window.tokens, length: window.left };
    }
    let mut length = window.left;
    if length < FINGERPRINT_TOKENS && window.comment.kind == Kind::Comment {
        window.put(length, window.comment);
        length += 1;
    }
    Folded { tokens: window.tokens, length: length.min(FINGERPRINT_TOKENS) }
}

/// What becomes of the window when rules for two or three tokens were tried.
enum Round {
    /// Look again from `left`.
    Again,
    /// No rule applies.
    Unchanged,
    /// The value hides something, whatever follows.
    Evil,
}

#[derive(Default)]
struct Window {
    tokens: [Token; FINGERPRINT_TOKENS + 1],
    /// Tokens in the window.
    end: usize,
    /// First token that is looked at.
    left: usize,
    /// Whether the value has no more tokens.
    exhausted: bool,
    /// The comment read last, where nothing followed it.
    comment: Token,
    /// Whether the tokens are those of a trick of MySQL, where ``{``.``.id}`` is a name.
    is_evil: bool,
}

impl Window {
    /// Skips comments, parentheses, types and unary operators; the first other token begins the window.
    fn skip_beginning(&mut self, tokenizer: &mut Tokenizer<'_>) -> bool {
        while let Some(token) = tokenizer.next_token() {
            let skipped = matches!(token.kind, Kind::Comment | Kind::LeftParenthesis | Kind::SqlType);
            if !skipped && !token.is_unary_operator() {
                self.put(0, token);
                self.end = 1;
                return true;
            }
        }
        false
    }

    fn run(&mut self, tokenizer: &mut Tokenizer<'_>) {
        loop {
            self.shorten_full();
            if self.exhausted || self.left >= FINGERPRINT_TOKENS {
                self.left = self.end;
                return;
            }
            if !self.fill(tokenizer, 2) {
                self.left = self.end;
                continue;
            }
            match self.fold_two() {
                Round::Again => continue,
                Round::Evil => {
                    self.set_kind(self.left + 1, Kind::Evil);
                    self.left += 2;
                    self.is_evil = true;
                    return;
                }
                Round::Unchanged => {}
            }
            if !self.fill(tokenizer, 3) {
                self.left = self.end;
                continue;
            }
            if !self.fold_three() {
                self.left += 1;
            }
        }
    }

    /// Reads until `count` tokens from `left` on are there, as far as there is room.
    fn fill(&mut self, tokenizer: &mut Tokenizer<'_>, count: usize) -> bool {
        while !self.exhausted && self.end <= FINGERPRINT_TOKENS && self.end - self.left.min(self.end) < count {
            match tokenizer.next_token() {
                Some(token) if token.kind == Kind::Comment => self.comment = token,
                Some(token) => {
                    self.comment = Token::default();
                    self.put(self.end, token);
                    self.end += 1;
                }
                None => self.exhausted = true,
            }
        }
        self.end >= self.left + count
    }

    fn kind(&self, place: usize) -> Kind {
        self.tokens.get(place).map_or(Kind::Nothing, |token| token.kind)
    }

    fn token(&self, place: usize) -> Token {
        self.tokens.get(place).copied().unwrap_or_default()
    }

    fn put(&mut self, place: usize, token: Token) {
        if let Some(slot) = self.tokens.get_mut(place) {
            *slot = token;
        }
    }

    fn set_kind(&mut self, place: usize, kind: Kind) {
        if let Some(slot) = self.tokens.get_mut(place) {
            slot.kind = kind;
        }
    }

    /// Takes `count` tokens from the end and looks again from the start.
    fn drop_last(&mut self, count: usize) -> Round {
        self.end = self.end.saturating_sub(count);
        self.left = 0;
        Round::Again
    }

    /// Five tokens of an expression in parentheses say as much as their first.
    fn shorten_full(&mut self) {
        use Kind::{Bareword as Word, Comma, LeftParenthesis as Open, Number, Operator, RightParenthesis as Close};
        if self.end < FINGERPRINT_TOKENS {
            return;
        }
        let kinds = [0, 1, 2, 3, 4].map(|place| self.kind(place));
        let shortens = matches!(
            kinds,
            [Number, Operator | Comma, Open, Number, Close]
                | [Word, Operator, Open, Word | Number, Close]
                | [Number, Close, Comma, Open, Number]
                | [Word, Close, Operator, Open, Word]
        );
        if shortens {
            if self.end > FINGERPRINT_TOKENS {
                self.put(1, self.token(FINGERPRINT_TOKENS));
                self.end = 2;
            } else {
                self.end = 1;
            }
            self.left = 0;
        }
    }

    fn fold_two(&mut self) -> Round {
        let [Some(first), Some(second)] = [self.left, self.left + 1].map(|place| self.tokens.get(place)) else {
            return Round::Unchanged;
        };
        match (first.kind, second.kind) {
            (Kind::String, Kind::String) | (Kind::Semicolon, Kind::Semicolon) => {
                self.end -= 1;
                return Round::Again;
            }
            (Kind::Operator | Kind::Logic, _) if second.is_unary_operator() || second.kind == Kind::SqlType => {
                return self.drop_last(1);
            }
            (Kind::LeftParenthesis, _) if second.is_unary_operator() => {
                self.end -= 1;
                self.left = self.left.saturating_sub(1);
                return Round::Again;
            }
            _ => {}
        }
        if let Some(merged) = merge(first, second) {
            self.put(self.left, merged);
            self.end -= 1;
            self.left = self.left.saturating_sub(1);
            return Round::Again;
        }
        if let Some((place, kind)) = retype(first, second) {
            self.set_kind(self.left + place, kind);
            return Round::Again;
        }
        if matches!(first.kind, Kind::Bareword | Kind::Number | Kind::String | Kind::Variable)
            && second.kind != Kind::RightBrace
        {
            return Round::Unchanged;
        }
        let (first, second) = (*first, *second);
        self.fold_two_by_kind(&first, &second)
    }

    fn fold_two_by_kind(&mut self, first: &Token, second: &Token) -> Round {
        use Kind::{Backslash, Bareword, Collate, LeftBrace, LeftParenthesis, Operator, RightBrace};
        use Kind::{Function, Number, RightParenthesis, SqlType, String, Variable};
        match (first.kind, second.kind) {
            (Operator, after) if first.is_word("LIKE") || first.is_word("NOT LIKE") => {
                if after == LeftParenthesis {
                    self.set_kind(self.left, Function);
                }
                Round::Unchanged
            }
            (SqlType, Bareword | Number | SqlType | LeftParenthesis | Function | Variable | String) => {
                self.put(self.left, *second);
                self.drop_last(1)
            }
            (Collate, Bareword) => {
                if second.text().contains(&b'_') {
                    self.set_kind(self.left + 1, SqlType);
                    self.left = 0;
                }
                Round::Unchanged
            }
            (Backslash, _) if second.is_arithmetic_operator() => {
                self.set_kind(self.left, Number);
                self.drop_last(0)
            }
            (Backslash, _) => {
                self.put(self.left, *second);
                self.drop_last(1)
            }
            (LeftParenthesis, LeftParenthesis) | (RightParenthesis, RightParenthesis) => self.drop_last(1),
            (LeftBrace, Bareword) if second.text().is_empty() => Round::Evil,
            (LeftBrace, Bareword) => self.drop_last(2),
            (_, RightBrace) => self.drop_last(1),
            _ => Round::Unchanged,
        }
    }

    /// Applies the first rule for three tokens that fits.
    fn fold_three(&mut self) -> bool {
        use Kind::{Bareword, Comma, Dot, Expression, Function, Group, Keyword, LeftParenthesis, Logic};
        use Kind::{Number, Operator, SqlType, String, Variable};
        let [Some(first), Some(second), Some(third)] = [0, 1, 2].map(|offset| self.tokens.get(self.left + offset))
        else {
            return false;
        };
        let unary = second.is_unary_operator();
        let dropped = match (first.kind, second.kind, third.kind) {
            (Number, Operator, Number) | (Logic, _, Logic) => 2,
            (Operator, middle, Operator) if middle != LeftParenthesis => 2,
            (Variable, Operator, Variable | Number | Bareword) => 2,
            (Bareword | Number, Operator, Number | Bareword) => 2,
            (Bareword | Number | Variable | String, Operator, SqlType) if second.text() == b"::" => 2,
            (Bareword | Number | Variable | String, Comma, Number | Bareword | String | Variable) => 2,
            (Expression | Group | Comma, _, LeftParenthesis) if unary => self.take_second(1),
            (Keyword | Expression | Group, _, Number | Bareword | Variable | String | Function) if unary => {
                self.take_second(1)
            }
            (Comma, _, Number | Bareword | Variable | String) if unary => self.take_second(3),
            (Comma, _, Function) if unary => self.take_second(1),
            (Bareword, Dot, Bareword) => 2,
            (Expression, Dot, Bareword) => self.take_second(1),
            (Function, LeftParenthesis, after) => {
                if after != Kind::RightParenthesis && first.is_word("USER") {
                    self.set_kind(self.left, Bareword);
                }
                return false;
            }
            _ => return false,
        };
        self.drop_last(dropped);
        true
    }

    /// Puts the third token looked at over the second; hands back how many tokens the rule drops.
    fn take_second(&mut self, dropped: usize) -> usize {
        self.put(self.left + 1, self.token(self.left + 2));
        dropped
    }
}

/// Two words that are one keyword together, such as `UNION ALL`.
fn merge(first: &Token, second: &Token) -> Option<Token> {
    use Kind::{Bareword, Expression, Function, Keyword, Operator, SqlType, Tsql, Union};
    let begins = matches!(first.kind, Keyword | Bareword | Operator | Union | Function | Expression | Tsql | SqlType);
    let goes_on = matches!(
        second.kind,
        Keyword | Bareword | Operator | Union | Function | Expression | Tsql | SqlType | Kind::Logic
    );
    if !begins || !goes_on || !super::keyword::may_begin(first.text()) {
        return None;
    }
    let joined = first.joined(second)?;
    super::keyword::find(joined.text()).map(|kind| joined.with_kind(kind))
}

/// Functions that are as common as names of columns: functions only before a parenthesis.
const FUNCTIONS_BEFORE_PARENTHESIS: [&str; 11] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DATABASE",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "PASSWORD",
    "USER",
    "USER_ID",
    "USER_NAME",
];

/// Words whose kind depends on what follows or precedes: which of the two tokens becomes what.
fn retype(first: &Token, second: &Token) -> Option<(usize, Kind)> {
    let parenthesis = second.kind == Kind::LeftParenthesis;
    match first.kind {
        Kind::Semicolon if second.kind == Kind::Function => {
            let text = second.text().get(..2)?;
            text.eq_ignore_ascii_case(b"IF").then_some((1, Kind::Tsql))
        }
        Kind::Bareword | Kind::Variable if parenthesis => {
            FUNCTIONS_BEFORE_PARENTHESIS.iter().any(|name| first.is_word(name)).then_some((0, Kind::Function))
        }
        Kind::Keyword if first.is_word("IN") || first.is_word("NOT IN") => {
            Some((0, if parenthesis { Kind::Operator } else { Kind::Bareword }))
        }
        _ => None,
    }
}
