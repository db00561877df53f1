//! What a text must hold so that a regular expression can match it.
//!
//! Read from the parsed expression, without regard to case: a set of literals of which one must occur, and sets of
//! bytes of which each must be met. Both are necessary, not sufficient.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use crate::rules::marks::ByteSet;

/// Sets of bytes kept for one rule.
pub(crate) const MARKS_PER_RULE: usize = 4;

/// Literals one rule may ask for.
const LITERALS: usize = 256;

/// Exact strings followed at the same time while a concatenation is read.
const EXACT: usize = 64;

/// Longest exact string that is followed.
const EXACT_BYTES: usize = 24;

/// Members of a class that are worth following one by one.
const CLASS_MEMBERS: usize = 12;

/// Necessary conditions for a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// One of these occurs, in lower case, each of two bytes at least or of one that ordinary words are free of. `None`:
    /// nothing is known.
    pub(crate) literals: Option<Vec<Vec<u8>>>,
    /// A byte of each of these sets occurs.
    pub(crate) sets: Vec<ByteSet>,
}

impl Needs {
    /// One of these literals must occur.
    pub(crate) fn one_of<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found: Vec<Vec<u8>> = literals.map(<[u8]>::to_ascii_lowercase).collect();
        if found.is_empty() || found.iter().any(Vec::is_empty) {
            return Self::default();
        }
        if found.iter().any(|literal| literal.len() < 2) {
            let sets = telling(first_bytes(&found)).into_iter().collect();
            return if found.iter().all(|literal| literal.len() == 1) {
                Self { literals: None, sets }
            } else {
                Self { literals: Some(found), sets }
            };
        }
        found.sort_unstable();
        found.dedup();
        Self { literals: Some(found), sets: Vec::new() }
    }

    /// One of these bytes must occur.
    pub(crate) fn byte_of(bytes: &[u8]) -> Self {
        Self { literals: None, sets: telling(ByteSet::of(bytes)).into_iter().collect() }
    }

    /// What a regular expression needs.
    pub(crate) fn of(hir: &Hir) -> Self {
        let mut facts = read(hir);
        facts.settle();
        facts.sets.sort_by_key(ByteSet::len);
        facts.sets.truncate(MARKS_PER_RULE);
        // Whether a text holds one of some bytes is known without a search.
        if facts.literals.as_ref().is_some_and(|literals| literals.iter().all(|literal| literal.len() == 1)) {
            let bytes = facts.literals.take().unwrap_or_default().concat();
            if facts.sets.is_empty() {
                facts.sets.push(ByteSet::of(&bytes));
            }
        }
        Self { literals: facts.literals, sets: facts.sets }
    }
}

/// Whether an expression matches whatever it is asked about, as far as its form shows: it matches the empty string somewhere,
/// or everything between the beginning and the end, as `^.*$` does.
pub(crate) fn matches_everything(hir: &Hir) -> bool {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let is = |part: Option<&Hir>, look| {
        part.is_some_and(|part| matches!(part.kind(), HirKind::Look(known) if *known == look))
    };
    let (from_start, to_end) = (is(parts.first(), Look::Start), is(parts.last(), Look::End));
    let middle = parts.get(usize::from(from_start)..parts.len() - usize::from(to_end)).unwrap_or(&[]);
    let is_empty = |part: &Hir| part.properties().minimum_len() == Some(0) && part.properties().look_set().is_empty();
    middle.iter().all(is_empty) && (!(from_start && to_end) || middle.iter().any(takes_everything))
}

/// Whether a part matches any number of any bytes.
fn takes_everything(part: &Hir) -> bool {
    let HirKind::Repetition(repetition) = part.kind() else { return false };
    let HirKind::Class(Class::Bytes(class)) = repetition.sub.kind() else { return false };
    let is_any = class.ranges().iter().any(|range| (range.start(), range.end()) == (0, u8::MAX));
    (repetition.min, repetition.max) == (0, None) && is_any
}

/// What is known about a part of an expression.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The part matches exactly these strings (lower case).
    exact: Option<Vec<Vec<u8>>>,
    /// One of these occurs in every match.
    literals: Option<Vec<Vec<u8>>>,
    /// A byte of each of these sets occurs in every match.
    sets: Vec<ByteSet>,
}

impl Facts {
    fn exactly(strings: Vec<Vec<u8>>) -> Self {
        Self { exact: Some(strings), ..Self::default() }
    }

    /// Turns exact strings into needs.
    fn settle(&mut self) {
        let Some(strings) = self.exact.take() else { return };
        self.need(&strings);
    }

    /// One of these strings occurs.
    fn need(&mut self, strings: &[Vec<u8>]) {
        if strings.is_empty() || strings.iter().any(Vec::is_empty) {
            return;
        }
        self.sets.extend(common_sets(strings));
        if strings.iter().all(|string| string.len() >= 2 || is_telling(string))
            && better(strings, self.literals.as_deref())
        {
            self.literals = Some(strings.to_vec());
        }
    }

    /// Both this and the other hold.
    fn and(&mut self, other: Self) {
        self.sets.extend(other.sets);
        if let Some(literals) = other.literals
            && better(&literals, self.literals.as_deref())
        {
            self.literals = Some(literals);
        }
    }
}

/// Whether a literal of one byte tells texts apart.
fn is_telling(literal: &[u8]) -> bool {
    ByteSet::of(literal).is_telling()
}

/// Whether literals select better than those so far: longer first, then fewer.
fn better(new: &[Vec<u8>], old: Option<&[Vec<u8>]>) -> bool {
    if new.len() > LITERALS {
        return false;
    }
    let Some(old) = old else { return true };
    let shortest = |strings: &[Vec<u8>]| strings.iter().map(Vec::len).min().unwrap_or(0).min(5);
    (shortest(new), std::cmp::Reverse(new.len())) > (shortest(old), std::cmp::Reverse(old.len()))
}

/// Sets of telling bytes of which every string holds one.
fn common_sets(strings: &[Vec<u8>]) -> Option<ByteSet> {
    let mut set = ByteSet::default();
    for string in strings {
        let byte = string.iter().find(|byte| !byte.is_ascii_alphanumeric() && **byte < 0x80)?;
        set.insert(*byte);
    }
    telling(set)
}

fn telling(set: ByteSet) -> Option<ByteSet> {
    set.is_telling().then_some(set)
}

fn first_bytes(strings: &[Vec<u8>]) -> ByteSet {
    let mut set = ByteSet::default();
    for byte in strings.iter().filter_map(|string| string.first()) {
        set.insert(*byte);
        set.insert(byte.to_ascii_uppercase());
    }
    set
}

fn read(hir: &Hir) -> Facts {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Facts::exactly(vec![Vec::new()]),
        HirKind::Literal(literal) => Facts::exactly(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Class(class) => of_class(class),
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => read(&capture.sub),
        HirKind::Concat(parts) => of_concat(parts),
        HirKind::Alternation(parts) => of_alternation(parts),
    }
}

fn of_class(class: &Class) -> Facts {
    let mut set = ByteSet::default();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set.insert_range(range.start(), range.end());
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let last = u8::try_from(u32::from(range.end())).ok().filter(u8::is_ascii);
                let (Some(first), Some(last)) = (u8::try_from(u32::from(range.start())).ok(), last) else {
                    return Facts::default();
                };
                set.insert_range(first, last);
            }
        }
    }
    let mut members: Vec<u8> = set.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    members.sort_unstable();
    members.dedup();
    if !members.is_empty() && members.len() <= CLASS_MEMBERS {
        return Facts::exactly(members.into_iter().map(|byte| vec![byte]).collect());
    }
    Facts { sets: telling(set).into_iter().collect(), ..Facts::default() }
}

fn of_repetition(repetition: &Repetition) -> Facts {
    let part = read(&repetition.sub);
    match (repetition.min, repetition.max) {
        (1, Some(1)) => part,
        (0, Some(1)) => match part.exact {
            Some(mut strings) if strings.len() < EXACT => {
                strings.push(Vec::new());
                Facts::exactly(strings)
            }
            _ => Facts::default(),
        },
        (0, _) => Facts::default(),
        (least, most) => {
            let copies = (0..least.min(8)).map(|_| part.clone());
            let mut facts = joined(copies);
            if most != Some(least) || least > 8 {
                facts.settle();
            }
            facts
        }
    }
}

fn of_concat(parts: &[Hir]) -> Facts {
    joined(parts.iter().map(read))
}

/// What holds for parts that follow each other.
fn joined(parts: impl Iterator<Item = Facts>) -> Facts {
    let mut all = Facts::default();
    let mut run: Option<Vec<Vec<u8>>> = Some(vec![Vec::new()]);
    let mut whole = true;
    for part in parts {
        let Some(strings) = part.exact else {
            if let Some(done) = run.replace(vec![Vec::new()]) {
                all.need(&done);
            }
            whole = false;
            all.and(part);
            continue;
        };
        match run.as_ref().and_then(|run| crossed(run, &strings)) {
            Some(longer) => run = Some(longer),
            None => {
                if let Some(done) = run.take() {
                    all.need(&done);
                }
                whole = false;
                run = crossed(&[Vec::new()], &strings);
            }
        }
    }
    match run {
        Some(run) if whole => Facts { exact: Some(run), ..all },
        Some(run) => {
            all.need(&run);
            all
        }
        None => all,
    }
}

/// Every string of the first followed by every string of the second, while they stay few and short.
fn crossed(first: &[Vec<u8>], second: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let longest = |strings: &[Vec<u8>]| strings.iter().map(Vec::len).max().unwrap_or(0);
    let alone = first.len() == 1 && first.iter().all(Vec::is_empty);
    if !alone && (first.len() * second.len() > EXACT || longest(first) + longest(second) > EXACT_BYTES) {
        return None;
    }
    let mut both = Vec::with_capacity(first.len() * second.len());
    for begin in first {
        for end in second {
            both.push([begin.as_slice(), end.as_slice()].concat());
        }
    }
    both.sort_unstable();
    both.dedup();
    Some(both)
}

fn of_alternation(parts: &[Hir]) -> Facts {
    let branches: Vec<Facts> = parts.iter().map(read).collect();
    let total: usize = branches.iter().map(|branch| branch.exact.as_ref().map_or(LITERALS + 1, Vec::len)).sum();
    if total <= LITERALS {
        let mut strings: Vec<Vec<u8>> = branches.into_iter().filter_map(|branch| branch.exact).flatten().collect();
        strings.sort_unstable();
        strings.dedup();
        return Facts::exactly(strings);
    }
    let mut literals = Some(Vec::new());
    let mut shared: Option<ByteSet> = Some(ByteSet::default());
    for mut branch in branches {
        branch.settle();
        let smallest = branch.sets.iter().min_by_key(|set| set.len());
        // A branch that needs one of a few telling bytes needs a literal of one byte.
        let bytes = smallest.filter(|set| set.len() as usize <= CLASS_MEMBERS);
        let bytes = || bytes.map(|set| set.bytes().map(|byte| vec![byte]).collect());
        literals = match (literals, branch.literals.or_else(bytes)) {
            (Some(mut all), Some(more)) if all.len() + more.len() <= LITERALS => {
                all.extend(more);
                Some(all)
            }
            _ => None,
        };
        shared = match (shared, smallest) {
            (Some(all), Some(set)) => Some(all.union(set)),
            _ => None,
        };
    }
    if let Some(all) = &mut literals {
        all.sort_unstable();
        all.dedup();
    }
    Facts { exact: None, literals, sets: shared.and_then(telling).into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::Needs;
    use crate::rules::marks::ByteSet;

    fn needs(pattern: &str) -> Needs {
        let mut parser = regex_syntax::ParserBuilder::new();
        let hir = parser.utf8(false).unicode(false).dot_matches_new_line(true).build().parse(pattern).unwrap();
        Needs::of(&hir)
    }

    fn literals(pattern: &str) -> Option<Vec<String>> {
        let literals = needs(pattern).literals?;
        Some(literals.into_iter().map(|literal| String::from_utf8(literal).unwrap()).collect())
    }

    #[test]
    fn the_literals_are_those_every_match_holds() {
        for (pattern, expected) in [
            ("abc", Some(vec!["abc"])),
            ("(?i)AbC", Some(vec!["abc"])),
            ("(?:ab|cd)x", Some(vec!["abx", "cdx"])),
            ("ab?cd", Some(vec!["abcd", "acd"])),
            (r"\bunion\s+select\b", Some(vec!["union"])),
            (r"\s*ab\s*=\s*wxyz", Some(vec!["wxyz"])),
            ("(?:ab)+", Some(vec!["ab"])),
            ("(?:ab){2}", Some(vec!["abab"])),
            ("(?:abc)*", None),
            ("abc|", None),
            ("abc|.*", None),
            ("a", None),
            (".*", None),
            ("['`]x*|ab.cd", Some(vec!["'", "`", "ab"])),
            ("(?:/|0x2f)x*", Some(vec!["/", "0x2f"])),
            ("['`]", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(literals(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn bytes_that_tell_are_needed_as_well() {
        assert_eq!(needs(r"[\n\r]").sets, [ByteSet::of(b"\n\r")]);
        assert_eq!(needs(r"['\x22]\s*a").sets, [ByteSet::of(b"'\"")]);
        assert_eq!(needs("[a-z]<").sets, [ByteSet::of(b"<")]);
        assert_eq!(needs("<a|'b").sets, [ByteSet::of(b"<'")]);
        assert_eq!(needs("[^a]").sets, []);
    }

    #[test]
    fn what_matches_everything_is_known_by_its_form() {
        let matches = |pattern: &str| {
            let mut parser = regex_syntax::ParserBuilder::new();
            let parsed = parser.utf8(false).unicode(false).dot_matches_new_line(true).build().parse(pattern).unwrap();
            super::matches_everything(&parsed)
        };
        for pattern in ["^.*$", "", ".*", "a*", "^a?b*", "a?$", "^", "$", "(?:)"] {
            assert!(matches(pattern), "{pattern}");
        }
        for pattern in ["^a*$", "^$", ".", "^.+$", "^(?:.*|a)b$", r"\b", "(?-s)^.*$"] {
            assert!(!matches(pattern), "{pattern}");
        }
    }

    #[test]
    fn huge_patterns_are_read_quickly() {
        let nested = format!("{}x{}", "(?:".repeat(60), "{9}y)".repeat(60));
        assert!(needs(&nested).literals.is_some());
        let wide: Vec<String> = (0..5_000).map(|n| format!("word{n}")).collect();
        assert_eq!(literals(&wide.join("|")), None);
    }

    proptest! {
        #[test]
        fn what_matches_meets_the_needs(
            pattern in "(\\(\\?:|a|b|<|'|\\.|\\*|\\?|\\||[ab<]\\{2\\}|\\[a-c<\\]|\\[\\^a\\]|c|\\)){1,14}",
            value in prop::collection::vec(prop::sample::select(&b"abc<'ABC x"[..]), 0..24),
            other in any::<u8>(),
        ) {
            let Ok(regex) = regex::bytes::RegexBuilder::new(&pattern).unicode(false).dot_matches_new_line(true).build() else {
                return Ok(());
            };
            let needs = needs(&pattern);
            let mut value = value;
            value.push(other);
            if let Some(found) = regex.find(&value) {
                let found = found.as_bytes().to_ascii_lowercase();
                if let Some(literals) = &needs.literals {
                    let held = literals.iter().any(|literal| memchr::memmem::find(&found, literal).is_some());
                    prop_assert!(held, "{} {:?} {:?}", pattern, found, literals);
                }
                for set in &needs.sets {
                    prop_assert!(value.iter().any(|byte| set.contains(*byte)), "{} {:?}", pattern, set);
                }
            }
        }
    }
}
