//! Finds the words of SQL.
//!
//! The tables are facts of the dialects: words that MySQL, PostgreSQL, SQL Server, Oracle or SQLite know, put into the
//! classes fingerprints are made of. Which words stay out, because they are more often a column than an attack, follows
//! the behaviour of libinjection.

mod functions;
mod words;

use std::sync::LazyLock;

use super::token::Kind;

const TABLES: [(Kind, &[&str]); 13] = [
    (Kind::Function, functions::FUNCTIONS),
    (Kind::Logic, words::LOGIC),
    (Kind::Operator, words::OPERATORS),
    (Kind::Number, words::NUMBERS),
    (Kind::Variable, words::VARIABLES),
    (Kind::SqlType, words::SQL_TYPES),
    (Kind::Union, words::UNIONS),
    (Kind::Expression, words::EXPRESSIONS),
    (Kind::Tsql, words::TSQL),
    (Kind::Group, words::GROUPS),
    (Kind::Collate, words::COLLATIONS),
    (Kind::Keyword, words::KEYWORDS),
    (Kind::Bareword, words::BEGINNINGS),
];

/// Buckets of the index: a power of two, some four times the number of words.
const BUCKETS: u32 = 4096;

/// The words by a hash of their upper-case bytes. It never changes, so its longest bucket bounds the work.
static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

struct Index {
    /// Sorted by bucket.
    words: Vec<(&'static [u8], Kind)>,
    /// Where a bucket begins in `words`; one more than there are buckets.
    starts: Vec<u16>,
    /// What lengths words have, a bit each, by their first letter.
    lengths: [u32; 32],
    /// What lengths everything before the last of several words has.
    beginnings: [u32; 32],
}

impl Index {
    fn new() -> Self {
        let mut words: Vec<_> = TABLES
            .iter()
            .flat_map(|(kind, table)| table.iter().map(|word| (word.as_bytes(), *kind)))
            .map(|(word, kind)| (bucket(word), word, kind))
            .collect();
        words.sort_unstable_by_key(|(bucket, word, _)| (*bucket, *word));
        let starts = (0..=BUCKETS)
            .map(|bucket| words.partition_point(|(other, _, _)| *other < bucket))
            .map(|start| u16::try_from(start).unwrap_or(u16::MAX))
            .collect();
        let (mut lengths, mut beginnings) = ([0; 32], [0; 32]);
        for (_, word, _) in &words {
            note_length(&mut lengths, word);
            if let Some(space) = memchr::memrchr(b' ', word) {
                note_length(&mut beginnings, word.get(..space).unwrap_or_default());
            }
        }
        Self { words: words.into_iter().map(|(_, word, kind)| (word, kind)).collect(), starts, lengths, beginnings }
    }

    fn bucket_of(&self, word: &[u8]) -> &[(&'static [u8], Kind)] {
        let number = usize::try_from(bucket(word)).unwrap_or_default();
        match self.starts.get(number..number + 2) {
            Some([start, end]) => self.words.get(usize::from(*start)..usize::from(*end)).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Adds the length of a word to those of its first letter.
fn note_length(lengths: &mut [u32; 32], word: &[u8]) {
    if let Some(known) = word.first().and_then(|first| lengths.get_mut(usize::from(first & 31))) {
        *known |= length_bit(word);
    }
}

/// Whether some word begins with the same letter, in any case, and is as long.
fn has_length(lengths: &[u32; 32], word: &[u8]) -> bool {
    word.first()
        .and_then(|first| lengths.get(usize::from(first & 31)))
        .is_some_and(|known| known & length_bit(word) != 0)
}

fn length_bit(word: &[u8]) -> u32 {
    u32::try_from(word.len()).ok().and_then(|length| 1_u32.checked_shl(length)).unwrap_or_default()
}

/// FNV-1a over the upper-case bytes, folded to the number of a bucket.
fn bucket(word: &[u8]) -> u32 {
    let hash = word
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte.to_ascii_uppercase())).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 15)) % BUCKETS
}

/// The kind of a word, an operator of two bytes, or several words with one space between them; case does not matter.
pub(super) fn find(word: &[u8]) -> Option<Kind> {
    let index = &*INDEX;
    if !has_length(&index.lengths, word) {
        return None;
    }
    index.bucket_of(word).iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
}

/// Whether one of the words of several words could begin so. Most words of a text do not, and need not be looked up
/// together with the next one.
pub(super) fn may_begin(word: &[u8]) -> bool {
    has_length(&INDEX.beginnings, word)
}

#[cfg(test)]
mod tests {
    use super::super::token::TOKEN_BYTES;
    use super::*;

    #[test]
    fn tables_are_sorted_upper_case_and_disjoint() {
        let mut all: Vec<&str> = Vec::new();
        for (kind, table) in TABLES {
            assert!(table.is_sorted(), "{kind:?}");
            all.extend(table);
        }
        let words = all.len();
        assert!(all.iter().all(|word| word.len() <= TOKEN_BYTES && word.to_ascii_uppercase() == *word));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), words, "a word is in two tables");
    }

    #[test]
    fn finds_every_word_in_any_case_and_nothing_else() {
        for (kind, table) in TABLES {
            for word in table {
                assert_eq!(find(word.as_bytes()), Some(kind), "{word}");
                assert_eq!(find(word.to_ascii_lowercase().as_bytes()), Some(kind), "{word}");
            }
        }
        for word in ["", "a", "selec", "selects", "union  all", "table", "\u{ff}\u{fe}"] {
            assert_eq!(find(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn a_look_up_compares_few_words() {
        let longest = (0..BUCKETS as usize).map(|number| INDEX.starts[number + 1] - INDEX.starts[number]).max();
        assert!(longest.unwrap() <= 6, "{longest:?}");
    }
}
