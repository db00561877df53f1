//! Expressions with what no automaton has: look-around, possessive quantifiers, back-references.
//!
//! `pattern` writes them as groups with particular names; here they get their meaning. A value is first shown to the
//! expression without them, which matches whatever the whole one does and takes linear time. Only where that finds
//! something a search with ways back decides. It comes to each place of the program and the value once, so its time is
//! linear, too. With back-references that is not so: there the number of its steps is bounded in proportion to the value,
//! and a value that uses them up counts as a match, since nothing but an attack does.

use regex_syntax::hir::{Capture, Class, Hir, HirKind, Look};

use super::{Captures, OperatorError};

/// How the names of particular groups begin.
pub(super) const AHEAD: &str = "gatehouse_ahead_";
pub(super) const NOT_AHEAD: &str = "gatehouse_no_ahead_";
pub(super) const BEHIND: &str = "gatehouse_behind_";
pub(super) const NOT_BEHIND: &str = "gatehouse_no_behind_";
pub(super) const SAME_AS: &str = "gatehouse_same_as_";

/// Instructions of a program. That of the Core Rule Set 3.3 which has most takes 700.
const PROGRAM_MAX: usize = 20_000;

/// The longest text that a look back may take in, in bytes.
const BEHIND_MAX: usize = 64;

/// Places, of the program times the value, that are remembered: 4 MiB of bits, so that the largest program of the Core Rule Set
/// 3.3 takes values of 47 KiB. A longer one counts as a match where its beginning has none.
const PLACES_MAX: usize = 32 << 20;

/// Steps for a value, where they are counted: so many for each byte, and for a thousand bytes more. The expression of the Core
/// Rule Set 3.3 that needs most takes 150 for a byte.
const STEPS_PER_BYTE: usize = 400;

/// One step of a program; where it goes on.
#[derive(Clone, Debug)]
enum Step {
    /// A byte of this set.
    Byte(Box<[bool; 256]>, usize),
    /// Either way, the first one first.
    Either(usize, usize),
    /// The place is kept.
    Keep(usize, usize),
    /// The place is of this kind.
    At(Look, usize),
    /// What another program finds, or does not find, from here on or up to here.
    Around(Around, usize),
    /// The same bytes as a group.
    Same {
        group: usize,
        folds: bool,
        next: usize,
    },
    Done,
}

#[derive(Clone, Debug)]
struct Around {
    is_wanted: bool,
    /// Lengths of what stands before, for a look back.
    behind: Option<(usize, usize)>,
    first: usize,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Backtrack {
    steps: Vec<Step>,
    first: usize,
    /// Groups that a rule sees, by the places that are kept.
    groups: Vec<usize>,
    has_references: bool,
}

/// The kind of a particular group, by its name.
fn particular(capture: &Capture) -> Option<&'static str> {
    let name = capture.name.as_deref()?;
    [AHEAD, NOT_AHEAD, BEHIND, NOT_BEHIND, SAME_AS].into_iter().find(|known| name.starts_with(known))
}

/// The expression without its particular groups: it matches whatever that does.
pub(super) fn without_particular(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Capture(capture) => match particular(capture) {
            Some(SAME_AS) => Hir::repetition(regex_syntax::hir::Repetition {
                min: 0,
                max: None,
                greedy: false,
                sub: Box::new(Hir::dot(regex_syntax::hir::Dot::AnyByte)),
            }),
            Some(_) => Hir::empty(),
            None => {
                let sub = Box::new(without_particular(&capture.sub));
                Hir::capture(Capture { index: capture.index, name: None, sub })
            }
        },
        HirKind::Repetition(repetition) => Hir::repetition(regex_syntax::hir::Repetition {
            sub: Box::new(without_particular(&repetition.sub)),
            ..repetition.clone()
        }),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_particular).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(without_particular).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
    }
}

impl Backtrack {
    pub(super) fn compile(hir: &Hir) -> Result<Self, OperatorError> {
        let mut groups = vec![0];
        number(hir, &mut groups);
        let mut compiler = Compiler {
            steps: Vec::new(),
            groups: &groups,
            has_references: false,
            arounds: 0,
            idles: false,
            idles_around: false,
        };
        let done = compiler.push(Step::Done)?;
        let first = compiler.compile(hir, done)?;
        if compiler.idles_around || (compiler.has_references && compiler.idles) {
            let reason = "beside look-around and back-references nothing that can be empty is repeated".to_owned();
            return Err(OperatorError::Regex { offset: 0, reason });
        }
        Ok(Self { first, has_references: compiler.has_references, steps: compiler.steps, groups: groups.clone() })
    }

    /// Whether there is a match, and its groups.
    pub(super) fn matches(&self, value: &[u8], captures: &mut Captures) -> bool {
        let seen = if self.has_references { value.len() } else { value.len().min(PLACES_MAX / self.steps.len()) };
        let is_cut = seen < value.len();
        let value = value.get(..seen).unwrap_or(value);
        let places = if self.has_references { 0 } else { (self.steps.len() * (value.len() + 1)).div_ceil(64) };
        let mut search = Search {
            program: self,
            value,
            been: vec![0; places],
            kept: vec![None; 2 * self.groups.iter().max().map_or(1, |most| most + 1)],
            left: STEPS_PER_BYTE.saturating_mul(value.len().saturating_add(1_000)),
        };
        for start in 0..=value.len() {
            search.kept.fill(None);
            let end = search.run(self.first, start, Wanted::First);
            let Some(end) = end.or_else(|| (search.left == 0).then_some(value.len())) else { continue };
            if captures.are_wanted() {
                captures.push(Some(start..end));
                for group in self.groups.iter().skip(1) {
                    captures.push(search.group(*group));
                }
            }
            return true;
        }
        is_cut
    }
}

/// Collects the numbers of the groups that a rule sees.
fn number(hir: &Hir, groups: &mut Vec<usize>) {
    match hir.kind() {
        HirKind::Capture(capture) if particular(capture).is_some() => {}
        HirKind::Capture(capture) => {
            groups.push(capture.index as usize);
            number(&capture.sub, groups);
        }
        HirKind::Repetition(repetition) => number(&repetition.sub, groups),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().for_each(|part| number(part, groups)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {}
    }
}

/// Writes programs from their end to their beginning.
struct Compiler<'g> {
    steps: Vec<Step>,
    groups: &'g [usize],
    has_references: bool,
    /// How many programs of look-around this one stands in.
    arounds: usize,
    /// Whether something that can be empty is repeated without end: anywhere, and within a look-around.
    idles: bool,
    idles_around: bool,
}

impl Compiler<'_> {
    fn push(&mut self, step: Step) -> Result<usize, OperatorError> {
        if self.steps.len() >= PROGRAM_MAX {
            return Err(OperatorError::RegexSize { limit: PROGRAM_MAX });
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    /// Writes what an expression does before it goes on at `next`; gives where it begins.
    fn compile(&mut self, hir: &Hir, next: usize) -> Result<usize, OperatorError> {
        match hir.kind() {
            HirKind::Empty => Ok(next),
            HirKind::Literal(literal) => literal.0.iter().rev().try_fold(next, |next, byte| {
                let mut set = Box::new([false; 256]);
                if let Some(place) = set.get_mut(usize::from(*byte)) {
                    *place = true;
                }
                self.push(Step::Byte(set, next))
            }),
            HirKind::Class(class) => {
                let set = Box::new(set_of(class));
                self.push(Step::Byte(set, next))
            }
            HirKind::Look(look) => self.push(Step::At(*look, next)),
            HirKind::Concat(parts) => parts.iter().rev().try_fold(next, |next, part| self.compile(part, next)),
            HirKind::Alternation(parts) => {
                let mut rest = None;
                for part in parts.iter().rev() {
                    let first = self.compile(part, next)?;
                    rest = Some(match rest {
                        Some(rest) => self.push(Step::Either(first, rest))?,
                        None => first,
                    });
                }
                Ok(rest.unwrap_or(next))
            }
            HirKind::Capture(capture) => self.capture(capture, next),
            HirKind::Repetition(repetition) => self.repetition(repetition, next),
        }
    }

    fn capture(&mut self, capture: &Capture, next: usize) -> Result<usize, OperatorError> {
        let Some(kind) = particular(capture) else {
            let place = capture.index as usize * 2;
            let end = self.push(Step::Keep(place + 1, next))?;
            let inner = self.compile(&capture.sub, end)?;
            return self.push(Step::Keep(place, inner));
        };
        if kind == SAME_AS {
            self.has_references = true;
            let written = capture.name.as_deref().unwrap_or_default().trim_start_matches(SAME_AS);
            let mut numbers = written.split('_');
            let group = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
            let folds = numbers.next() == Some("i");
            let Some(group) = self.groups.get(group).copied().filter(|group| *group > 0) else {
                return Err(OperatorError::Regex { offset: 0, reason: "a back-reference to no group".to_owned() });
            };
            return self.push(Step::Same { group, folds, next });
        }
        let behind = matches!(kind, BEHIND | NOT_BEHIND).then(|| {
            let properties = capture.sub.properties();
            (properties.minimum_len().unwrap_or(0), properties.maximum_len().unwrap_or(usize::MAX))
        });
        if behind.is_some_and(|(_, most)| most > BEHIND_MAX) {
            let reason = format!("what a look-behind takes in has to be at most {BEHIND_MAX} bytes");
            return Err(OperatorError::Regex { offset: 0, reason });
        }
        let done = self.push(Step::Done)?;
        self.arounds += 1;
        let first = self.compile(&capture.sub, done)?;
        self.arounds -= 1;
        let is_wanted = matches!(kind, AHEAD | BEHIND);
        self.push(Step::Around(Around { is_wanted, behind, first }, next))
    }

    fn repetition(&mut self, repetition: &regex_syntax::hir::Repetition, next: usize) -> Result<usize, OperatorError> {
        let either =
            |inner, behind| if repetition.greedy { Step::Either(inner, behind) } else { Step::Either(behind, inner) };
        let mut first = next;
        match repetition.max {
            None => {
                if repetition.sub.properties().minimum_len() == Some(0) {
                    self.idles = true;
                    self.idles_around |= self.arounds > 0;
                }
                // The loop leads back to itself, so its place is taken before it is written.
                let turn = self.push(Step::Done)?;
                let inner = self.compile(&repetition.sub, turn)?;
                if let Some(step) = self.steps.get_mut(turn) {
                    *step = either(inner, next);
                }
                first = turn;
            }
            Some(most) => {
                for _ in repetition.min..most {
                    let inner = self.compile(&repetition.sub, first)?;
                    first = self.push(either(inner, next))?;
                }
            }
        }
        for _ in 0..repetition.min {
            first = self.compile(&repetition.sub, first)?;
        }
        Ok(first)
    }
}

fn set_of(class: &Class) -> [bool; 256] {
    let mut set = [false; 256];
    let mut add = |first: u32, last: u32| {
        let (first, last) = (first as usize, last as usize);
        set.iter_mut().take(last.saturating_add(1)).skip(first).for_each(|place| *place = true);
    };
    match class {
        Class::Bytes(class) => class.iter().for_each(|range| add(range.start().into(), range.end().into())),
        Class::Unicode(class) => class.iter().for_each(|range| add(range.start().into(), range.end().into())),
    }
    set
}

/// Which end of a match will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    First,
    /// This one.
    At(usize),
}

struct Search<'a> {
    program: &'a Backtrack,
    value: &'a [u8],
    /// Where the search has been: a bit for each step at each place.
    been: Vec<u64>,
    kept: Vec<Option<usize>>,
    left: usize,
}

/// What to do next when a way leads nowhere.
enum Way {
    Try(usize, usize),
    Restore(usize, Option<usize>),
}

impl Search<'_> {
    /// Whether this step is at this place for the first time.
    fn is_first(&mut self, step: usize, at: usize) -> bool {
        let place = step * (self.value.len() + 1) + at;
        let Some(word) = self.been.get_mut(place / 64) else { return true };
        let bit = 1 << (place % 64);
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }

    /// Where a match that begins here ends.
    fn run(&mut self, first: usize, start: usize, wanted: Wanted) -> Option<usize> {
        let is_whole = first == self.program.first;
        let mut ways = vec![Way::Try(first, start)];
        while let Some(way) = ways.pop() {
            let (mut step, mut at) = match way {
                Way::Try(step, at) => (step, at),
                Way::Restore(place, kept) => {
                    if let Some(slot) = self.kept.get_mut(place) {
                        *slot = kept;
                    }
                    continue;
                }
            };
            loop {
                if self.program.has_references || !is_whole {
                    let Some(left) = self.left.checked_sub(1) else { return Some(at) };
                    self.left = left;
                } else if !self.is_first(step, at) {
                    break;
                }
                step = match self.program.steps.get(step) {
                    None => break,
                    Some(Step::Done) if matches!(wanted, Wanted::At(end) if end != at) => break,
                    Some(Step::Done) => return Some(at),
                    Some(Step::Byte(set, next)) => {
                        let byte = self.value.get(at).copied();
                        if byte.is_none_or(|byte| set.get(usize::from(byte)) != Some(&true)) {
                            break;
                        }
                        at += 1;
                        *next
                    }
                    Some(Step::Either(one, other)) => {
                        ways.push(Way::Try(*other, at));
                        *one
                    }
                    Some(Step::Keep(place, next)) => {
                        if let Some(slot) = self.kept.get_mut(*place) {
                            ways.push(Way::Restore(*place, *slot));
                            *slot = Some(at);
                        }
                        *next
                    }
                    Some(Step::At(look, next)) if self.is_at(*look, at) => *next,
                    Some(Step::At(..)) => break,
                    Some(Step::Around(around, next)) => {
                        if self.looks(around, at) != around.is_wanted {
                            break;
                        }
                        *next
                    }
                    Some(Step::Same { group, folds, next }) => {
                        let Some(length) = self.same(*group, *folds, at) else { break };
                        at += length;
                        *next
                    }
                };
            }
        }
        None
    }

    fn looks(&mut self, around: &Around, at: usize) -> bool {
        match around.behind {
            None => self.run(around.first, at, Wanted::First).is_some(),
            Some((least, most)) => {
                (least..=most.min(at)).any(|length| self.run(around.first, at - length, Wanted::At(at)).is_some())
            }
        }
    }

    fn group(&self, group: usize) -> Option<std::ops::Range<usize>> {
        let place = |place: usize| self.kept.get(place).copied().flatten();
        Some(place(group * 2)?..place(group * 2 + 1)?)
    }

    /// The length of a group whose bytes stand here, too.
    fn same(&self, group: usize, folds: bool, at: usize) -> Option<usize> {
        let known = self.value.get(self.group(group)?)?;
        let here = self.value.get(at..at.checked_add(known.len())?)?;
        let is_same = if folds { here.eq_ignore_ascii_case(known) } else { here == known };
        is_same.then_some(known.len())
    }

    fn is_at(&self, look: Look, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.value.get(at).copied());
        let behind = self.value.get(at).copied();
        let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match look {
            Look::Start => at == 0,
            Look::End => at == self.value.len(),
            Look::StartLF => at == 0 || before == Some(b'\n'),
            Look::EndLF => behind.is_none_or(|byte| byte == b'\n'),
            Look::StartCRLF => at == 0 || before == Some(b'\n') || (before == Some(b'\r') && behind != Some(b'\n')),
            Look::EndCRLF => {
                behind.is_none_or(|byte| byte == b'\r') || (behind == Some(b'\n') && before != Some(b'\r'))
            }
            Look::WordAscii | Look::WordUnicode => is_word(before) != is_word(behind),
            Look::WordAsciiNegate | Look::WordUnicodeNegate => is_word(before) == is_word(behind),
            Look::WordStartAscii | Look::WordStartUnicode => !is_word(before) && is_word(behind),
            Look::WordEndAscii | Look::WordEndUnicode => is_word(before) && !is_word(behind),
            Look::WordStartHalfAscii | Look::WordStartHalfUnicode => !is_word(before),
            Look::WordEndHalfAscii | Look::WordEndHalfUnicode => !is_word(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::super::expression::Expression;
    use super::super::{Captures, OperatorError};
    use crate::cpu_time::assert_linear;

    fn is_match(pattern: &str, value: &str) -> bool {
        Expression::compile(pattern).unwrap().matches(value.as_bytes(), &mut Captures::unwanted())
    }

    #[test]
    fn means_what_it_means_elsewhere() {
        for (pattern, value, expected) in [
            (r"<\?(?!xml)", "<?php", true),
            (r"<\?(?!xml)", "<?xml <?xml", false),
            (r"<\?(?!xml)", "<?xml <?=", true),
            ("a(?=b)", "ac ab", true),
            ("a(?=b)", "ac", false),
            ("(?<!&amp|&[ao]uml);", "x;", true),
            ("(?<!&amp|&[ao]uml);", "a &amp; b &ouml;", false),
            ("(?<!&amp|&[ao]uml);", ";", true),
            ("(?<!&amp|&[ao]uml);", "&uml;", true),
            ("(?<=a)b", "ab", true),
            ("(?<=a)b", "cb", false),
            (r"a\s*+[^c]", "a  c", false),
            (r"a\s*[^c]", "a  c", true),
            (r"[^,\s]++\s", "ab ", true),
            ("\"a++a\"", "\"aaa\"", false),
            (r"\b(\w+)\b=\b\1\b", "x ab=ab", true),
            (r"\b(\w+)\b=\b\1\b", "xab=ab", false),
            (r"(?i:(a|b)c\1)", "acA", true),
            (r"(a|b)c\1", "acA", false),
            (r"(a|b)c(?!\1)", "aca", false),
            (r"(a|b)c(?!\1)", "acb", true),
            (r"^(?:ab|a)(?!b)c?$", "ab", true),
            (r"(?i)x(?!Y)", "Xy", false),
            (r"(?:x(?i)y)z(?!z)", "xYZ", false),
        ] {
            assert_eq!(is_match(pattern, value), expected, "{pattern} of {value}");
        }
    }

    #[test]
    fn groups_are_those_that_are_written() {
        let expression = Expression::compile("(?<!-)(a+)(?!c)(b)?").unwrap();
        let mut captures = Captures::wanted();
        assert!(expression.matches(b"-aab", &mut captures));
        let group = |number| captures.get(number, b"-aab").unwrap().to_vec();
        assert_eq!((captures.len(), group(0), group(1), group(2)), (3, b"ab".to_vec(), b"a".to_vec(), b"b".to_vec()));
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        for pattern in ["(?<=a+)b", r"(?!(?:a|b*)*c)", r"(a)\2"] {
            let error = Expression::compile(pattern).unwrap_err();
            assert!(matches!(error, OperatorError::Regex { .. }), "{pattern}: {error}");
        }
    }

    #[test]
    fn steps_are_in_proportion_to_the_value() {
        let references = Expression::compile(r"(\w+)\s*=\s*\1;").unwrap();
        let nested = Expression::compile(r"^(?:(?:x+x+)+y)(?!z)").unwrap();
        assert_linear("ways back", 1_000, |length| {
            let equal = format!("{}={}x;", "a".repeat(length), "a".repeat(length));
            // It uses its steps up, which only an attack does.
            assert!(references.matches(equal.as_bytes(), &mut Captures::unwanted()));
            let many = format!("{}yz", "x".repeat(length));
            assert!(!nested.matches(many.as_bytes(), &mut Captures::unwanted()));
        });
    }

    proptest! {
        #[test]
        fn finds_what_an_automaton_finds(pattern in "(?:[ab.^$]|a[*+?]|\\(b|\\)|[|]|[)][*?]|\\\\b){0,9}", value in "[ab ]{0,12}") {
            let pattern = format!("(?s-u){pattern}");
            if let Ok(hir) = regex_syntax::ParserBuilder::new().utf8(false).build().parse(&pattern) {
                let automaton = regex::bytes::Regex::new(&pattern).unwrap();
                let program = super::Backtrack::compile(&hir).unwrap();
                let found = program.matches(value.as_bytes(), &mut Captures::unwanted());
                prop_assert_eq!(found, automaton.is_match(value.as_bytes()), "{} of {:?}", pattern, value);
            }
        }
    }
}
