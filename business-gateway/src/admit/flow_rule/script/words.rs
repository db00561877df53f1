//! What a script calls and mentions, read from its text before it is compiled: a function that is not offered, or a field that
//! no input has, is refused at load, although the language itself would only notice when the line runs.

use gatehouse_shared::config::nearest;

use super::super::input::Field;

/// Functions that a script may call, beside its own: none of them makes a text or a list much longer than what it was given.
pub(super) const FUNCTIONS: &[&str] = &[
    // of texts
    "len",
    "is_empty",
    "contains",
    "starts_with",
    "ends_with",
    "index_of",
    "sub_string",
    "to_upper",
    "to_lower",
    "trim",
    "split",
    "to_string",
    "parse_int",
    "parse_float",
    "to_int",
    "to_float",
    "chars",
    // of lists and maps
    "push",
    "pop",
    "shift",
    "get",
    "keys",
    "values",
    "some",
    "all",
    "filter",
    "map",
    "find",
    "remove",
    "reverse",
    // of numbers
    "abs",
    "min",
    "max",
    "floor",
    "ceiling",
    "round",
    "range",
    "type_of",
    // of the call
    "within",
    "deny",
    "charge",
    "set_header",
    "remove_header",
    "set_query",
    "remove_query",
    "tag",
    "set_status",
];

/// Words of the language that may stand before a parenthesis.
const KEYWORDS: &[&str] = &[
    "if", "else", "while", "until", "loop", "do", "for", "in", "switch", "return", "throw", "catch", "let", "const",
    "break",
];

/// Something wrong with a script; line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// What a script mentions.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    pub(super) findings: Vec<Finding>,
    mentioned: Vec<&'static str>,
}

impl Words {
    /// Whether the script mentions the input or one of its fields; `root` is what comes before the first dot.
    pub(super) fn mentions(&self, root: &str) -> bool {
        self.mentioned.contains(&root)
    }
}

/// What comes before the first dot of an input's name.
pub(super) fn root_of(field: Field) -> &'static str {
    field.name().split('.').next().unwrap_or_default()
}

/// Reads a script.
pub(super) fn read(text: &str) -> Words {
    let pieces = pieces(text);
    let own: Vec<&str> = pieces
        .windows(2)
        .filter_map(|pair| match pair {
            [Piece { kind: Kind::Word("fn"), .. }, Piece { kind: Kind::Word(name), .. }] => Some(*name),
            _ => None,
        })
        .collect();
    let mut words = Words::default();
    for (index, piece) in pieces.iter().enumerate() {
        let next = |ahead: usize| pieces.get(index + ahead).map(|piece| piece.kind);
        let is_member = index
            .checked_sub(1)
            .and_then(|before| pieces.get(before))
            .is_some_and(|piece| piece.kind == Kind::Symbol('.'));
        let mut complain = |message: String, remedy: String| {
            words.findings.push(Finding { line: piece.line, column: piece.column, message, remedy });
        };
        match piece.kind {
            Kind::RawText => complain("a raw string".to_owned(), "write it in quotes".to_owned()),
            Kind::Symbol(_) => {}
            Kind::Word(word) if next(1) == Some(Kind::Symbol('(')) => {
                if !FUNCTIONS.contains(&word) && !own.contains(&word) && !KEYWORDS.contains(&word) {
                    let remedy = match nearest(word, FUNCTIONS.iter().copied()) {
                        Some(name) => format!("did you mean {name}()?"),
                        None => format!("what there is: {}", FUNCTIONS.join(", ")),
                    };
                    complain(format!("no function `{word}`"), remedy);
                }
            }
            Kind::Word(word) => {
                let Some(root) = Field::ALL.iter().map(|field| root_of(*field)).find(|root| *root == word) else {
                    continue;
                };
                if is_member {
                    continue;
                }
                let is_table = !Field::ALL.iter().any(|field| field.name() == root);
                if let (true, Some(Kind::Symbol('.')), Some(Kind::Word(member))) = (is_table, next(1), next(2)) {
                    let path = format!("{root}.{member}");
                    let is_call = next(3) == Some(Kind::Symbol('('));
                    if !is_call && Field::by_name(&path).is_none() {
                        let near = nearest(&path, Field::ALL.iter().map(|field| field.name()));
                        let remedy = match near {
                            Some(name) => format!("did you mean `{name}`?"),
                            None => "docs/FLOW_RULES.md lists the inputs".to_owned(),
                        };
                        complain(format!("no input `{path}`"), remedy);
                    }
                }
                if !words.mentioned.contains(&root) {
                    words.mentioned.push(root);
                }
            }
        }
    }
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'t> {
    Word(&'t str),
    Symbol(char),
    RawText,
}

struct Piece<'t> {
    kind: Kind<'t>,
    line: usize,
    column: usize,
}

/// Words and symbols, without texts and comments. What stands in back quotes counts as code, since it may hold some.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut line, mut column) = (1, 1);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next_piece(first, rest);
        if let Some(kind) = kind {
            pieces.push(Piece { kind, line, column });
        }
        let Some((taken, after)) = rest.split_at_checked(length) else { break };
        for character in taken.chars() {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        rest = after;
    }
    pieces
}

/// The piece at the start of `rest` and its length in bytes, at least one character.
fn next_piece(first: char, rest: &str) -> (Option<Kind<'_>>, usize) {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    if is_word(first) {
        let length = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        return (rest.get(..length).map(Kind::Word), length);
    }
    match first {
        '"' | '\'' => (None, quoted(rest, first)),
        '/' if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (None, comment(rest)),
        '#' if rest.trim_start_matches('#').starts_with('"') => (Some(Kind::RawText), 1),
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ => (Some(Kind::Symbol(first)), first.len_utf8()),
    }
}

/// The length of a text in quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + character.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The length of a comment, which may hold others.
fn comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut offset = 0;
    while let Some(tail) = rest.get(offset..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            (depth, offset) = (depth + 1, offset + 2);
        } else if tail.starts_with("*/") {
            (depth, offset) = (depth.saturating_sub(1), offset + 2);
            if depth == 0 {
                return offset;
            }
        } else {
            offset += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let found = read(text).findings;
        found.iter().map(|finding| format!("{}:{} {}", finding.line, finding.column, finding.message)).collect()
    }

    #[test]
    fn what_is_not_offered_is_found_where_it_stands() {
        assert_eq!(findings("let x = 1;\n  sleep(10);"), ["2:3 no function `sleep`"]);
        assert_eq!(findings("if app.plann == \"a\" { gate.deny (\"x\") }"), ["1:4 no input `app.plann`"]);
        assert_eq!(findings("let f = `a ${eval (\"1\")}`;"), ["1:14 no function `eval`"]);
        assert_eq!(findings("let f = #\"raw\"#;"), ["1:9 a raw string"]);
    }

    #[test]
    fn texts_and_comments_are_not_read() {
        let text = "// sleep(1)\n/* a /* sleep(2) */ sleep(3) */ let a = \"sleep(4) \\\" sleep(5)\"; let c = '\"'; if (a == c) { twice(a) }\n\
                    fn twice(x) { x + x }";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_mentioned_is_known() {
        let words = read("if headers[\"x\"] == app.plan && x.time == 1 { }");
        assert!(words.mentions("headers") && words.mentions("app"));
        assert!(!words.mentions("time") && !words.mentions("query"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, close in "[a-c\"'`/*#(). \\\\\n]{0,60}") {
            let _findings = (findings(&text), findings(&close));
        }
    }
}
