//! Expressions written for PCRE, as the `regex` crate reads them in byte mode.
//!
//! Both engines agree on most of the language. What they read differently is translated when the result matches exactly
//! the same values, and refused otherwise:
//!
//! | written | PCRE | `regex` | here |
//! |---|---|---|---|
//! | `\<`, `\>` | the character | a word boundary | the character |
//! | `$`, `\Z` | end, or before a final line feed | end | `(?:\n?\z)` |
//! | `\h`, `\v`, `\N`, `\e`, `\cX`, `\Q…\E`, octal | as documented there | an error, or another set | the bytes meant |
//! | `\x{hh}`, `\xh` | a byte | a character, or an error | `\xhh` |
//! | `\y` and other letters without meaning | the letter | an error | the letter |
//! | `{`, `]`, `}` that close or repeat nothing | the character | an error | the character |
//! | `[a[b]`, `[&&]`, `[\w-.]` | the characters | sets in sets, or an error | the characters |
//! | other than ASCII | single bytes | characters | single bytes |
//! | `a++`, `a*+` at the end | no way back | another repetition | `a+`, `a*`: there is nothing to go back for |
//! | `a++`, `(?>…)` elsewhere, `\R`, look around, references, recursion, conditions, verbs | | | refused |

use super::class;
use crate::seclang::WarningCode;
use crate::seclang::diagnostic::number;

/// An expression for the `regex` crate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) regex: String,
    pub(super) notes: Vec<Note>,
}

/// Something worth a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Characters before it.
    pub(super) column: u32,
    pub(super) code: WarningCode,
    pub(super) text: String,
}

/// Why an expression cannot be translated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Characters before it.
    pub(super) column: u32,
    pub(super) message: String,
}

/// Translates one expression.
pub(super) fn translate(pattern: &str) -> Result<Translated, Fault> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut translator = Translator {
        characters: &characters,
        at: 0,
        out: String::new(),
        notes: Vec::new(),
        depth: 0,
        repeats: Repeat::Nothing,
        lines: false,
    };
    while let Some(character) = translator.peek(0) {
        translator.step(character)?;
    }
    if translator.depth > 0 {
        return Err(translator.fault(characters.len(), "a parenthesis is never closed; write \\( for the character"));
    }
    Ok(Translated { regex: translator.out, notes: translator.notes })
}

/// What a quantifier would repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Nothing,
    Atom,
}

struct Translator<'t> {
    characters: &'t [char],
    at: usize,
    out: String,
    notes: Vec<Note>,
    depth: usize,
    repeats: Repeat,
    /// Whether `(?m)` was seen, with which both engines read `$` alike.
    lines: bool,
}

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn fault(&self, at: usize, message: impl Into<String>) -> Fault {
        Fault { column: number(at), message: message.into() }
    }

    fn note(&mut self, at: usize, code: WarningCode, text: impl Into<String>) {
        self.notes.push(Note { column: number(at), code, text: text.into() });
    }

    fn atom(&mut self, text: &str, length: usize) {
        self.out.push_str(text);
        self.at += length;
        self.repeats = Repeat::Atom;
    }

    fn literal(&mut self, character: char) {
        if character.is_ascii() {
            if regex_syntax::is_meta_character(character) {
                self.out.push('\\');
            }
            self.out.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                self.byte(byte);
            }
        }
        self.repeats = Repeat::Atom;
    }

    fn byte(&mut self, byte: u8) {
        self.out.push_str(&class::hex(byte));
        self.repeats = Repeat::Atom;
    }

    fn step(&mut self, character: char) -> Result<(), Fault> {
        match character {
            '\\' => self.escape(),
            '[' => {
                let (class, end) = class::translate(self.characters, self.at)?;
                let length = end - self.at;
                self.atom(&class, length);
                Ok(())
            }
            '(' => self.open(),
            ')' => {
                if self.depth == 0 {
                    return Err(self.fault(self.at, "a parenthesis closes nothing; write \\) for the character"));
                }
                self.depth -= 1;
                self.atom(")", 1);
                Ok(())
            }
            '|' => {
                self.atom("|", 1);
                self.repeats = Repeat::Nothing;
                Ok(())
            }
            '^' | '.' => {
                self.atom(if character == '^' { "^" } else { "." }, 1);
                Ok(())
            }
            '$' => {
                self.dollar();
                Ok(())
            }
            '*' | '+' | '?' => self.quantifier(1),
            '{' => match self.counted() {
                Some(length) => self.quantifier(length),
                None => {
                    self.literal(character);
                    self.at += 1;
                    Ok(())
                }
            },
            other => {
                self.literal(other);
                self.at += 1;
                Ok(())
            }
        }
    }

    fn dollar(&mut self) {
        if self.lines {
            return self.atom("$", 1);
        }
        if !matches!(self.peek(1), None | Some(')' | '|')) {
            let text = "something follows the end of the value, so this never matches; write \\$ for the character";
            self.note(self.at, WarningCode::DeadRule, text);
        }
        self.atom(r"(?:\n?\z)", 1);
    }

    /// The length of `{n}`, `{n,}` or `{n,m}` here.
    fn counted(&self) -> Option<usize> {
        let rest = self.characters.get(self.at + 1..)?;
        let end = rest.iter().take(16).position(|character| *character == '}')?;
        let inner: String = rest.get(..end)?.iter().collect();
        let (least, most) = inner.split_once(',').unwrap_or((inner.as_str(), ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (!least.is_empty() && digits(least) && digits(most)).then_some(end + 2)
    }

    fn quantifier(&mut self, length: usize) -> Result<(), Fault> {
        if self.repeats == Repeat::Nothing {
            return Err(
                self.fault(self.at, "there is nothing to repeat; write a backslash before the character itself")
            );
        }
        let start = self.at;
        let written = self.characters.get(start..start + length).unwrap_or_default();
        self.out.extend(written);
        self.at += length;
        match self.peek(0) {
            Some('?') => {
                self.out.push('?');
                self.at += 1;
            }
            Some('+') if self.ends(1) => {
                let text = "a possessive quantifier; at the end it means the same without its +";
                self.note(self.at, WarningCode::PcreSyntax, text);
                self.at += 1;
            }
            Some('+') => {
                let message = "a possessive quantifier, which exists in PCRE only; remove its second character";
                return Err(self.fault(start, message));
            }
            _ => {}
        }
        self.repeats = Repeat::Nothing;
        Ok(())
    }

    /// Whether nothing more has to match behind the next `ahead` characters.
    fn ends(&self, ahead: usize) -> bool {
        let rest = self.characters.get(self.at + ahead..).unwrap_or_default();
        let closed = rest.iter().take_while(|character| **character == ')').count();
        match rest.get(closed) {
            None => true,
            Some('|') => closed == self.depth,
            Some(_) => false,
        }
    }

    fn open(&mut self) -> Result<(), Fault> {
        let start = self.at;
        match (self.peek(1), self.peek(2), self.peek(3)) {
            (Some('*'), _, _) => {
                return Err(self.fault(
                    start,
                    "verbs such as (*SKIP) exist in PCRE only; remove it, or write \\(\\* for the characters",
                ));
            }
            (Some('?'), Some('#'), _) => return self.comment(),
            (Some('?'), Some(':'), _) => self.atom("(?:", 3),
            (Some('?'), Some('='), _) | (Some('?'), Some('!'), _) | (Some('?'), Some('<'), Some('=' | '!')) => {
                return Err(
                    self.fault(start, "look-around exists in PCRE only; write what has to match, or a chain of rules")
                );
            }
            (Some('?'), Some('>'), _) => {
                return Err(self.fault(start, "an atomic group exists in PCRE only; write (?:…)"));
            }
            (Some('?'), Some('<'), _) => self.named(3, '>')?,
            (Some('?'), Some('\''), _) => self.named(3, '\'')?,
            (Some('?'), Some('P'), Some('<')) => self.named(4, '>')?,
            (Some('?'), _, _) => return self.flags(),
            _ => self.atom("(", 1),
        }
        self.depth += 1;
        self.repeats = Repeat::Nothing;
        Ok(())
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let rest = self.characters.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|character| *character == ')') else {
            return Err(self.fault(self.at, "a comment is never closed"));
        };
        self.at += length + 1;
        Ok(())
    }

    /// A group with a name, which nothing here uses.
    fn named(&mut self, skip: usize, close: char) -> Result<(), Fault> {
        let rest = self.characters.get(self.at + skip..).unwrap_or_default();
        let Some(length) = rest.iter().position(|character| *character == close) else {
            return Err(self.fault(self.at, "the name of a group is never closed"));
        };
        self.atom("(", skip + length + 1);
        Ok(())
    }

    /// `(?i)` and `(?i:…)`.
    fn flags(&mut self) -> Result<(), Fault> {
        let rest = self.characters.get(self.at + 2..).unwrap_or_default();
        let length = rest.iter().take_while(|character| matches!(character, 'i' | 'm' | 's' | 'U' | '-')).count();
        let flags: String = rest.iter().take(length).collect();
        let close = rest.get(length).copied();
        if flags.is_empty() || flags.ends_with('-') || !matches!(close, Some(')' | ':')) {
            let message =
                "(? with what follows exists in PCRE only: recursion, conditions, branch resets, further flags";
            return Err(self.fault(self.at, message));
        }
        self.lines |= flags.split('-').next().is_some_and(|on| on.contains('m'));
        let is_group = close == Some(':');
        self.atom(&format!("(?{flags}{}", if is_group { ':' } else { ')' }), length + 3);
        self.depth += usize::from(is_group);
        self.repeats = Repeat::Nothing;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let Some(next) = self.peek(1) else {
            return Err(self.fault(start, "a backslash at the end escapes nothing; write \\\\ for the character"));
        };
        match next {
            '\\' => {
                if matches!(self.peek(2), Some('.' | 'd' | 'w' | 's' | 'b' | '(' | '$' | '[' | '{')) {
                    let text = "a doubled backslash: this asks for a backslash in the request; write one for an escape";
                    self.note(start, WarningCode::DeadRule, text);
                }
                self.atom(r"\\", 2);
            }
            '<' | '>' => {
                self.note(
                    start,
                    WarningCode::PcreSyntax,
                    format!("\\{next} is the character {next} here, as for PCRE"),
                );
                self.literal(next);
                self.at += 2;
            }
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'A' | 'z' | 't' | 'n' | 'r' | 'f' | 'a' => {
                self.atom(&format!("\\{next}"), 2);
            }
            'Z' => self.atom(r"(?:\n?\z)", 2),
            'h' => self.atom(r"[\t \xa0]", 2),
            'H' => self.atom(r"[^\t \xa0]", 2),
            'v' => self.atom(r"[\n\x0b\x0c\r\x85]", 2),
            'V' => self.atom(r"[^\n\x0b\x0c\r\x85]", 2),
            'N' => self.atom(r"[^\n]", 2),
            'Q' => self.quoted(),
            'E' => self.at += 2,
            _ => {
                let (byte, end) = class::escaped_byte(self.characters, start)?;
                if end == start + 2 && next.is_ascii_alphabetic() && char::from(byte) == next {
                    let text = format!("\\{next} has no meaning and is the letter; remove the backslash");
                    self.note(start, WarningCode::PcreSyntax, text);
                }
                match next {
                    next if !next.is_ascii() => self.literal(next),
                    next if byte.is_ascii_graphic() && !next.is_ascii_digit() => self.literal(char::from(byte)),
                    _ => self.byte(byte),
                }
                self.at = end;
            }
        }
        Ok(())
    }

    /// `\Q…\E`: text as it stands.
    fn quoted(&mut self) {
        self.at += 2;
        while let Some(character) = self.peek(0) {
            if character == '\\' && self.peek(1) == Some('E') {
                self.at += 2;
                return;
            }
            self.literal(character);
            self.at += 1;
        }
    }
}
