//! "Did you mean".

/// The candidate nearest to a misspelt word, when one is near enough to be what was meant.
///
/// Near enough is an edit distance (with transpositions) of at most a third of the word's length, at least 1 and at most 3.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("adress", ["address", "tls"]), Some("address"));
        assert_eq!(nearest("time-out", ["timeout", "address"]), Some("timeout"));
        assert_eq!(nearest("pash_prefix", ["path_prefix", "path"]), Some("path_prefix"));
    }

    #[test]
    fn suggests_nothing_when_nothing_is_near() {
        assert_eq!(nearest("colour", ["address", "tls"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
