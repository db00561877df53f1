//! Patterns as rules write them, for PCRE, turned into the syntax of the `regex` crate.
//!
//! Most of it is the same. Some escapes mean something else: `\<` is a literal in PCRE and the beginning of a word in
//! `regex`, `a++` is possessive in PCRE and a repetition of a repetition in `regex`. Left alone these would quietly
//! match something else, so every escape, class, group and quantifier passes through here.

use super::{OperatorError, backtrack};

/// Bytes instead of characters, and `.` matches line feeds.
const FLAGS: &str = "(?s-u)";

/// A pattern in the syntax of `regex`.
#[derive(Debug)]
pub(super) struct Translation {
    pattern: String,
    /// Offsets in `pattern` and in the source where the two stop running in step, ascending.
    steps: Vec<(usize, usize)>,
    particular: usize,
}

impl Translation {
    /// Whether there are groups that `backtrack` gives their meaning.
    pub(super) const fn has_particular(&self) -> bool {
        self.particular > 0
    }

    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Where in the source that stands which is at this offset of the translation.
    pub(super) fn origin(&self, offset: usize) -> usize {
        let after = self.steps.partition_point(|(translated, _)| *translated <= offset);
        after.checked_sub(1).and_then(|index| self.steps.get(index)).map_or(0, |(_, source)| *source)
    }
}

/// Translates a pattern.
///
/// # Errors
///
/// What only a backtracking engine can do: atomic groups, possessive quantifiers behind groups, recursion, conditions. Everything else that is wrong is left to the parser of `regex` to find.
pub(super) fn translate(source: &str) -> Result<Translation, OperatorError> {
    let mut walk = Walk {
        source,
        offset: 0,
        out: FLAGS.to_owned(),
        steps: Vec::new(),
        quantified: false,
        particular: 0,
        atom: None,
        open: Vec::new(),
        folds: false,
    };
    while let Some(next) = walk.peek() {
        walk.steps.push((walk.out.len(), walk.offset));
        walk.token(next)?;
    }
    walk.steps.push((walk.out.len(), walk.offset));
    Ok(Translation { pattern: walk.out, steps: walk.steps, particular: walk.particular })
}

struct Walk<'a> {
    source: &'a str,
    offset: usize,
    out: String,
    steps: Vec<(usize, usize)>,
    /// Whether the last token was a quantifier.
    quantified: bool,
    /// How many groups have a meaning of their own.
    particular: usize,
    /// Where in `out` the byte or class stands that the last token was; `None` behind a group.
    atom: Option<(usize, usize)>,
    /// What `folds` was before each group that is open.
    open: Vec<bool>,
    /// Whether capitals do not count here.
    folds: bool,
}

/// Where an escape stands, since some mean something else in a class.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Class,
}

/// What a class was last given, which decides what a `-` means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// A byte that may begin a range.
    Byte,
    /// The first byte of a range and its `-`.
    RangeStart,
    /// The end of a range, a set such as `\d`, or nothing yet: a `-` behind it is literal.
    Set,
}

/// Letters that make an escape a set of bytes.
const SET_ESCAPES: [char; 12] = ['d', 'D', 'w', 'W', 's', 'S', 'h', 'H', 'v', 'V', 'p', 'P'];

impl Walk<'_> {
    fn rest(&self) -> &str {
        self.source.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes so many bytes without copying them.
    fn skip(&mut self, bytes: usize) {
        self.offset += bytes;
    }

    fn copy(&mut self, char: char) {
        self.skip(char.len_utf8());
        self.literal(char);
    }

    /// Writes a character as its bytes: outside ASCII each for itself, as PCRE sees them without its UTF mode.
    fn literal(&mut self, char: char) {
        if char.is_ascii() {
            self.out.push(char);
            return;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            self.byte(byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.out.push_str(&format!("\\x{byte:02x}"));
    }

    fn pcre_only(&self, feature: &'static str, remedy: &'static str) -> OperatorError {
        OperatorError::PcreOnly { offset: self.offset, feature, remedy }
    }

    /// The name of another group with a meaning of its own.
    fn particular(&mut self, kind: &str) -> String {
        self.particular += 1;
        format!("{kind}{}", self.particular)
    }

    fn regex(&self, reason: &str) -> OperatorError {
        OperatorError::Regex { offset: self.offset, reason: reason.to_owned() }
    }

    fn token(&mut self, next: char) -> Result<(), OperatorError> {
        let quantified = std::mem::take(&mut self.quantified);
        let begin = self.out.len();
        let read = self.read(next, quantified);
        if !self.quantified {
            let is_atom = !matches!(next, '(' | ')' | '|' | '^' | '$') && self.out.len() > begin;
            self.atom = is_atom.then_some((begin, self.out.len()));
        }
        read
    }

    fn read(&mut self, next: char, quantified: bool) -> Result<(), OperatorError> {
        match next {
            '\\' => self.escape(Place::Outside),
            '[' => self.class(),
            '(' => self.group(),
            ')' => {
                self.folds = self.open.pop().unwrap_or(self.folds);
                self.copy(next);
                Ok(())
            }
            '*' | '?' | '+' if quantified => self.second_quantifier(next),
            '*' | '?' | '+' => {
                self.copy(next);
                self.quantified = true;
                Ok(())
            }
            '{' => match counted(self.rest()).and_then(|length| self.rest().get(..length)).map(str::to_owned) {
                Some(_) if quantified => Err(self.regex("nothing to repeat")),
                Some(counted) => {
                    self.out.push_str(&counted);
                    self.skip(counted.len());
                    self.quantified = true;
                    Ok(())
                }
                None => {
                    self.out.push_str("\\{");
                    self.skip(1);
                    Ok(())
                }
            },
            _ => {
                self.copy(next);
                Ok(())
            }
        }
    }

    fn second_quantifier(&mut self, next: char) -> Result<(), OperatorError> {
        match next {
            '?' => {
                self.copy(next);
                if self.rest().starts_with(['*', '+', '?']) { Err(self.regex("nothing to repeat")) } else { Ok(()) }
            }
            // What a class takes and never gives back is what no more of it follows, when it takes all there is.
            '+' => match self
                .atom
                .filter(|_| self.is_behind_endless())
                .and_then(|(begin, end)| self.out.get(begin..end))
                .map(str::to_owned)
            {
                Some(atom) => {
                    self.skip(1);
                    let name = self.particular(backtrack::NOT_AHEAD);
                    self.out.push_str(&format!("(?P<{name}>{atom})"));
                    Ok(())
                }
                None => Err(self.pcre_only("the possessive quantifier", "leave out the second `+`")),
            },
            _ => Err(self.regex("nothing to repeat")),
        }
    }

    /// Whether the quantifier before this one has no end.
    fn is_behind_endless(&self) -> bool {
        let before = self.offset.checked_sub(1).and_then(|at| self.source.as_bytes().get(at));
        matches!(before, Some(b'*' | b'+'))
    }

    fn group(&mut self) -> Result<(), OperatorError> {
        const KINDS: [(&str, &str, &str); 11] = [
            ("(?>", "the atomic group", "write (?:…)"),
            ("(?|", "the branch-reset group", "write (?:…) and count the groups"),
            ("(?(", "the conditional group", "write both cases as alternatives"),
            ("(?R)", "recursion", "write the levels out"),
            ("(?&", "recursion", "write the levels out"),
            ("(?P>", "recursion", "write the levels out"),
            ("(?+", "recursion", "write the levels out"),
            ("(?P=", "the back-reference", "use `capture` and a chained rule that compares with %{TX.1}"),
            ("(?C", "the callout", "leave it out"),
            ("(*", "the backtracking verb", "leave it out"),
            ("(?'", "the group named between quotes", "write (?<name>…)"),
        ];
        let rest = self.rest();
        if let Some(&(_, feature, remedy)) = KINDS.iter().find(|(start, ..)| rest.starts_with(start)) {
            return Err(self.pcre_only(feature, remedy));
        }
        if rest
            .strip_prefix("(?")
            .is_some_and(|flags| flags.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()))
        {
            return Err(self.pcre_only("recursion", "write the levels out"));
        }
        if rest.starts_with("(?#") {
            let Some(end) = rest.find(')') else { return Err(self.regex("the comment is not closed")) };
            self.skip(end + 1);
            return Ok(());
        }
        self.open.push(self.folds);
        let around = [
            ("(?=", backtrack::AHEAD),
            ("(?!", backtrack::NOT_AHEAD),
            ("(?<=", backtrack::BEHIND),
            ("(?<!", backtrack::NOT_BEHIND),
        ];
        let found = around.into_iter().find(|(head, _)| self.rest().starts_with(head));
        if let Some((head, kind)) = found {
            self.skip(head.len());
            let name = self.particular(kind);
            self.out.push_str(&format!("(?P<{name}>"));
            return Ok(());
        }
        let head = if self.rest().starts_with("(?") { "(?" } else { "(" };
        self.out.push_str(head);
        self.skip(head.len());
        // What follows are flags or a name: none of it is a quantifier.
        if head == "(?" {
            let flags = self.rest().bytes().take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-').count();
            let (flags, behind) = self.rest().split_at_checked(flags).unwrap_or_default();
            let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
            let is_alone = behind.starts_with(')');
            if (is_alone || behind.starts_with(':')) && (on.contains('i') || off.contains('i')) {
                self.folds = on.contains('i');
            }
            if is_alone {
                // Flags alone hold for what follows in the group around them.
                self.open.pop();
                self.open.push(self.folds);
            }
            while let Some(next) = self.peek().filter(|next| next.is_ascii_alphanumeric() || "-_<>".contains(*next)) {
                self.copy(next);
            }
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), OperatorError> {
        let open = if self.rest().starts_with("[^") { "[^" } else { "[" };
        self.out.push_str(open);
        self.skip(open.len());
        let mut last = Member::Set;
        if self.rest().starts_with(']') {
            self.out.push_str("\\]");
            self.skip(1);
            last = Member::Byte;
        }
        while let Some(next) = self.peek() {
            self.steps.push((self.out.len(), self.offset));
            let one = if last == Member::RangeStart { Member::Set } else { Member::Byte };
            last = match next {
                ']' => {
                    self.copy(next);
                    return Ok(());
                }
                '-' if last == Member::Byte && !self.rest().starts_with("-]") => {
                    self.copy(next);
                    Member::RangeStart
                }
                '\\' => {
                    let is_set = self.rest().get(1..).is_some_and(|rest| rest.starts_with(SET_ESCAPES));
                    self.escape(Place::Class)?;
                    if is_set { Member::Set } else { one }
                }
                '[' if named_class(self.rest()).is_some() => {
                    let length = named_class(self.rest()).unwrap_or_default();
                    let name = self.rest().get(..length).unwrap_or_default().to_owned();
                    self.out.push_str(&name);
                    self.skip(length);
                    Member::Set
                }
                // A class within the class to `regex`, and operations on sets where they are doubled.
                '[' | '&' | '~' | '-' => {
                    self.out.push('\\');
                    self.copy(next);
                    one
                }
                _ => {
                    self.copy(next);
                    one
                }
            };
        }
        Err(self.regex("the class is not closed"))
    }

    fn escape(&mut self, place: Place) -> Result<(), OperatorError> {
        let mut chars = self.rest().chars();
        let Some(next) = chars.nth(1) else { return Err(self.regex("a backslash at the end")) };
        if self.special_escape(next, place)? {
            return Ok(());
        }
        match next {
            // Literals to PCRE, assertions to `regex`.
            '<' | '>' => self.out.push(next),
            _ if next.is_ascii() => {
                self.out.push('\\');
                self.out.push(next);
            }
            _ => self.literal(next),
        }
        self.skip(1 + next.len_utf8());
        Ok(())
    }

    /// Escapes whose meaning or spelling differs. Returns whether this was one.
    fn special_escape(&mut self, next: char, place: Place) -> Result<bool, OperatorError> {
        let class = place == Place::Class;
        let plain = match (next, class) {
            ('x', _) => return self.hexadecimal().map(|()| true),
            ('0', _) => return Ok(self.octal()),
            ('1'..='9', true) => return Ok(self.octal()),
            ('1'..='9', false) => {
                let digits = self.rest().bytes().skip(1).take_while(u8::is_ascii_digit).count();
                let group = self.rest().get(1..=digits).unwrap_or_default().to_owned();
                self.skip(1 + digits);
                let folds = if self.folds { "i" } else { "x" };
                let name = self.particular(&format!("{}{group}_{folds}_", backtrack::SAME_AS));
                self.out.push_str(&format!("(?P<{name}>)"));
                return Ok(true);
            }
            ('k', false) | ('g', _) => {
                let remedy = "use `capture` and a chained rule that compares with %{TX.1}";
                return Err(self.pcre_only("the back-reference", remedy));
            }
            ('c', _) => return self.control().map(|()| true),
            ('Q', _) => {
                self.quoted();
                return Ok(true);
            }
            ('E', _) => "",
            ('e', _) => "\\x1b",
            ('b', true) => "\\x08",
            ('h', true) => "\\t \\xa0",
            ('h', false) => "[\\t \\xa0]",
            ('H', false) => "[^\\t \\xa0]",
            ('v', true) => "\\n-\\r\\x85",
            ('v', false) => "[\\n-\\r\\x85]",
            ('V', false) => "[^\\n-\\r\\x85]",
            ('N', false) => "[^\\n]",
            ('R', false) => "(?:\\r\\n|[\\n-\\r\\x85])",
            ('Z', false) => "(?:\\n?\\z)",
            ('K', _) => return Err(self.pcre_only("\\K", "use a group and `capture`")),
            ('G', _) => return Err(self.pcre_only("\\G", "write \\A")),
            _ => return Ok(false),
        };
        self.out.push_str(plain);
        self.skip(2);
        Ok(true)
    }

    /// `\xh`, `\xhh` and `\x{hh}`.
    fn hexadecimal(&mut self) -> Result<(), OperatorError> {
        let rest = self.rest().get(2..).unwrap_or_default();
        let (digits, length) = match rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((digits, _)) => (digits, digits.len() + 2),
            None => {
                let length = rest.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
                (rest.get(..length).unwrap_or_default(), length)
            }
        };
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.regex("\\x{…} holds something else than hexadecimal digits"));
        }
        let byte = if digits.is_empty() { Ok(0) } else { u8::from_str_radix(digits, 16) };
        let Ok(byte) = byte else {
            return Err(self.regex("\\x{…} is above ff: values are bytes, write its UTF-8 bytes"));
        };
        self.byte(byte);
        self.skip(2 + length);
        Ok(())
    }

    /// `\0`, `\012`, in a class also `\1`. Returns whether there are octal digits.
    fn octal(&mut self) -> bool {
        let rest = self.rest().get(1..).unwrap_or_default();
        let digits = rest.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7'));
        let (length, byte) = digits.fold((0, 0u8), |(length, byte), digit| (length + 1, (byte << 3) | (digit - b'0')));
        if length > 0 {
            self.byte(byte);
            self.skip(1 + length);
        }
        length > 0
    }

    /// `\cA`: the control character of a letter.
    fn control(&mut self) -> Result<(), OperatorError> {
        let Some(letter) = self.rest().as_bytes().get(2).filter(|byte| byte.is_ascii_graphic()) else {
            return Err(self.regex("\\c needs a letter"));
        };
        let byte = letter.to_ascii_uppercase() ^ 0x40;
        self.byte(byte);
        self.skip(3);
        Ok(())
    }

    /// `\Q…\E`: everything between is literal.
    fn quoted(&mut self) {
        let rest = self.rest().get(2..).unwrap_or_default();
        let (text, length) = match rest.split_once("\\E") {
            Some((text, _)) => (text.to_owned(), text.len() + 4),
            None => (rest.to_owned(), rest.len() + 2),
        };
        for byte in text.bytes() {
            self.byte(byte);
        }
        self.skip(length);
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}`; any other brace is literal.
fn counted(rest: &str) -> Option<usize> {
    let (inside, _) = rest.strip_prefix('{')?.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(inside.len() + 2)
}

/// The length of `[:alpha:]`.
fn named_class(rest: &str) -> Option<usize> {
    let (name, _) = rest.strip_prefix("[:")?.split_once(":]")?;
    name.strip_prefix('^').unwrap_or(name).bytes().all(|byte| byte.is_ascii_lowercase()).then_some(name.len() + 4)
}
