//! The language of values and templates: minijinja, with the filters and tests below and nothing else. No function, no method,
//! nothing that makes a value much larger than what it is made of.
//!
//! minijinja finds out about an unknown filter when it comes to it; [`check`] finds it when the catalog is loaded.

use std::fmt::Write as _;
use std::sync::LazyLock;

use gatehouse_shared::config::nearest;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, filters, tests};

/// What stands behind `|`.
pub(super) const FILTERS: [&str; 25] = [
    "length", "default", "first", "last", "lower", "upper", "trim", "int", "float", "string", "bool", "list", "min",
    "max", "sum", "sort", "unique", "reverse", "items", "round", "abs", "join", "map", "where", "times",
];
/// What stands behind `is`.
pub(super) const TESTS: [&str; 13] = [
    "defined",
    "undefined",
    "none",
    "true",
    "false",
    "boolean",
    "number",
    "integer",
    "string",
    "sequence",
    "mapping",
    "startingwith",
    "endingwith",
];
/// Statements of templates.
const STATEMENTS: [&str; 9] = ["if", "elif", "else", "endif", "for", "endfor", "set", "with", "endwith"];
/// Words that may stand before a parenthesis.
const OPERATORS: [&str; 9] = ["not", "in", "and", "or", "if", "else", "elif", "is", "set"];
/// Bytes of a text that a filter makes.
const MADE_MAX: usize = 1 << 20;
/// Entries that `join`, `map` and `where` go through in one evaluation, all together.
const WORK_MAX: usize = 1 << 20;

/// Where expressions are compiled and evaluated.
pub(super) static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// An environment with our words only.
pub(super) fn environment() -> Environment<'static> {
    let mut language = Environment::empty();
    language.set_debug(false);
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    language.add_filter("length", filters::length);
    language.add_filter("default", filters::default);
    language.add_filter("first", filters::first);
    language.add_filter("last", filters::last);
    language.add_filter("lower", filters::lower);
    language.add_filter("upper", filters::upper);
    language.add_filter("trim", filters::trim);
    language.add_filter("int", filters::int);
    language.add_filter("float", filters::float);
    language.add_filter("string", filters::string);
    language.add_filter("bool", filters::bool);
    language.add_filter("list", filters::list);
    language.add_filter("min", filters::min);
    language.add_filter("max", filters::max);
    language.add_filter("sum", filters::sum);
    language.add_filter("sort", filters::sort);
    language.add_filter("unique", filters::unique);
    language.add_filter("reverse", filters::reverse);
    language.add_filter("items", filters::items);
    language.add_filter("round", filters::round);
    language.add_filter("abs", filters::abs);
    language.add_filter("join", join);
    language.add_filter("map", map);
    language.add_filter("where", only);
    language.add_filter("times", times);
    language.add_test("defined", tests::is_defined);
    language.add_test("undefined", tests::is_undefined);
    language.add_test("none", tests::is_none);
    language.add_test("true", tests::is_true);
    language.add_test("false", tests::is_false);
    language.add_test("boolean", tests::is_boolean);
    language.add_test("number", tests::is_number);
    language.add_test("integer", tests::is_integer);
    language.add_test("string", tests::is_string);
    language.add_test("sequence", tests::is_sequence);
    language.add_test("mapping", tests::is_mapping);
    language.add_test("startingwith", tests::is_startingwith);
    language.add_test("endingwith", tests::is_endingwith);
    language
}

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidOperation, "more is made than may be")
}

/// Entries that filters have gone through, in one evaluation.
struct Work(usize);

/// The entries of a list; nothing has none. All lists that an evaluation goes through count together: a template may go through one list
/// for each entry of another, and both may be as long as a client likes.
fn entries(state: &mut State<'_, '_>, values: &Value) -> Result<Vec<Value>, Error> {
    if values.is_undefined() || values.is_none() {
        return Ok(Vec::new());
    }
    let entries: Vec<Value> = values.try_iter()?.take(WORK_MAX).collect();
    let work = state.get_or_insert_extension(Work(0));
    work.0 = work.0.saturating_add(entries.len());
    if work.0 >= WORK_MAX { Err(too_much()) } else { Ok(entries) }
}

/// `list | join(',')`: texts and numbers in one text, without what is nothing.
fn join(state: &mut State<'_, '_>, values: &Value, separator: Option<&str>) -> Result<String, Error> {
    let (mut joined, mut between) = (String::new(), "");
    for value in entries(state, values)?.into_iter().filter(|value| !value.is_none() && !value.is_undefined()) {
        joined.push_str(between);
        between = separator.unwrap_or_default();
        match value.as_str() {
            Some(text) => joined.push_str(text),
            None if value.is_number() => write!(joined, "{value}")?,
            None => return Err(Error::new(ErrorKind::InvalidOperation, "only texts and numbers are joined")),
        }
        if joined.len() > MADE_MAX {
            return Err(too_much());
        }
    }
    Ok(joined)
}

/// `list | map(attribute='id')`: one member of every entry.
#[expect(clippy::needless_pass_by_value, reason = "named arguments of a filter come by value")]
fn map(state: &mut State<'_, '_>, values: &Value, which: Kwargs) -> Result<Vec<Value>, Error> {
    let attribute: &str = which.get("attribute")?;
    which.assert_all_used()?;
    let entries = entries(state, values)?;
    Ok(entries.iter().map(|entry| entry.get_attr(attribute).unwrap_or(Value::UNDEFINED)).collect())
}

/// `list | where('id', x)`: the entries whose member has that value.
fn only(state: &mut State<'_, '_>, values: &Value, attribute: &str, wanted: &Value) -> Result<Vec<Value>, Error> {
    let fits = |entry: &Value| entry.get_attr(attribute).is_ok_and(|member| member == *wanted);
    Ok(entries(state, values)?.into_iter().filter(fits).collect())
}

/// `price | times(count)`: the product of two numbers.
fn times(one: &Value, other: &Value) -> Result<Value, Error> {
    let overflow = || Error::new(ErrorKind::InvalidOperation, "the product is too large");
    match (one.as_i64().filter(|_| one.is_integer()), other.as_i64().filter(|_| other.is_integer())) {
        (Some(one), Some(other)) => one.checked_mul(other).map(Value::from).ok_or_else(overflow),
        _ if one.is_number() && other.is_number() => {
            Ok(Value::from(f64::try_from(one.clone())? * f64::try_from(other.clone())?))
        }
        _ => Err(Error::new(ErrorKind::InvalidOperation, "only numbers are multiplied")),
    }
}

/// What a message about a mistake of minijinja's says.
pub(super) fn describe(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// Finds words of an expression that there are not.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(expression: &str) -> Result<(), String> {
    Words { text: expression, place: 0 }.check(None)
}

/// The same for a template.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_template(template: &str) -> Result<(), String> {
    let is_control = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    if template.contains(is_control) {
        return Err("a control character in the template".to_owned());
    }
    let mut words = Words { text: template, place: 0 };
    while let Some(rest) = template.get(words.place..) {
        let Some(at) = rest.find('{') else { return Ok(()) };
        let Some(inside) = rest.get(at + 1..) else { return Ok(()) };
        words.place += at + 1;
        match inside.bytes().next() {
            Some(b'{') => {
                words.place += 1;
                words.check(Some("}}"))?;
            }
            Some(b'%') => {
                words.place += 1;
                words.check_statement()?;
            }
            Some(b'#') => {
                let length = inside.find("#}").ok_or("a comment that does not end")?;
                words.place += length + 2;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Goes through code word by word.
struct Words<'a> {
    text: &'a str,
    place: usize,
}

/// What stands before a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Pipe,
    Is,
    Dot,
    Other,
}

impl<'a> Words<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.place..).unwrap_or_default()
    }

    /// The word that begins here, which is passed.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character: char| !(character.is_alphanumeric() || character == '_')).unwrap_or(rest.len());
        self.place += end;
        rest.get(..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.place += rest.len() - rest.trim_start().len();
    }

    fn check_statement(&mut self) -> Result<(), String> {
        if self.rest().starts_with(['-', '+']) {
            self.place += 1;
        }
        self.skip_blanks();
        let name = self.word();
        if !STATEMENTS.contains(&name) {
            return Err(format!("no statement {name:?}; what there is: {}", STATEMENTS.join(", ")));
        }
        if name == "set" {
            let assigned = self.rest().find(['=', '|', '%']).and_then(|at| self.rest().as_bytes().get(at));
            if assigned != Some(&b'=') {
                return Err("a set without a value; write {% set name = value %}".to_owned());
            }
        }
        self.check(Some("%}"))
    }

    /// Checks code to its end: that of the text, or `end` outside of texts and braces.
    fn check(&mut self, end: Option<&str>) -> Result<(), String> {
        let (mut before, mut open) = (Before::Other, 0_usize);
        while let Some(first) = self.rest().chars().next() {
            if open == 0
                && let Some(end) = end.filter(|end| self.rest().starts_with(*end))
            {
                self.place += end.len();
                return Ok(());
            }
            if first.is_alphabetic() || first == '_' {
                let word = self.word();
                before = self.check_word(word, before)?;
                continue;
            }
            self.place += first.len_utf8();
            match first {
                '"' | '\'' => {
                    self.skip_text(first)?;
                    before = Before::Other;
                }
                '{' => open += 1,
                '}' => open = open.saturating_sub(1),
                '|' => before = Before::Pipe,
                '.' => before = Before::Dot,
                blank if blank.is_whitespace() => {}
                // Of a text or a list it would make as many as a client says.
                '*' => return Err("no operator `*`; write `a | times(b)`".to_owned()),
                // Of a number such as `1e5`, the letters are none.
                digit if digit.is_ascii_digit() => {
                    self.word();
                    before = Before::Other;
                }
                _ => before = Before::Other,
            }
        }
        if end.is_some() { Err("an expression that does not end".to_owned()) } else { Ok(()) }
    }

    fn check_word(&mut self, word: &str, before: Before) -> Result<Before, String> {
        match before {
            Before::Pipe if !FILTERS.contains(&word) => return Err(unknown("filter", word, &FILTERS)),
            Before::Is if word == "not" => return Ok(Before::Is),
            Before::Is if !TESTS.contains(&word) => return Err(unknown("test", word, &TESTS)),
            Before::Pipe | Before::Is => return Ok(Before::Other),
            Before::Dot | Before::Other => {}
        }
        self.skip_blanks();
        let is_called = self.rest().starts_with('(');
        match before {
            Before::Dot if is_called => {
                Err(format!("no method {word}(); what there is: filters, as in `list | length`"))
            }
            Before::Other if is_called && !OPERATORS.contains(&word) => {
                Err(format!("no function {word}(); what there is: filters, as in `list | length`"))
            }
            Before::Other if word == "is" => Ok(Before::Is),
            _ => Ok(Before::Other),
        }
    }

    fn skip_text(&mut self, quote: char) -> Result<(), String> {
        let mut characters = self.rest().chars();
        while let Some(character) = characters.next() {
            self.place += character.len_utf8();
            if character == '\\' {
                self.place += characters.next().map_or(0, char::len_utf8);
            } else if character == quote {
                return Ok(());
            }
        }
        Err("a text that does not end".to_owned())
    }
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("no {kind} {word:?}; did you mean {near:?}?"),
        None => format!("no {kind} {word:?}; what there is: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_filter_and_test_that_is_let_in_exists() {
        for filter in FILTERS {
            let arguments = match filter {
                "map" => "(attribute='a')",
                "where" => "('a', 1)",
                "times" => "(2)",
                _ => "",
            };
            // Of what a filter says of a list, only that it does not know the filter counts.
            let expression = LANGUAGE.compile_expression_owned(format!("[1] | {filter}{arguments}")).unwrap();
            let error = expression.eval(()).err().map(|error| error.kind());
            assert_ne!(error, Some(ErrorKind::UnknownFilter), "{filter}");
        }
        for test in TESTS {
            let argument = if test.ends_with("with") { "('a')" } else { "" };
            let expression = LANGUAGE.compile_expression_owned(format!("'a' is {test}{argument}")).unwrap();
            assert!(expression.eval(()).is_ok(), "{test}");
        }
    }

    #[test]
    fn finds_words_that_there_are_not() {
        for right in [
            "a.b | length",
            "a is not defined and (b or c)",
            "'x|y' ~ a['is z']",
            "1e5 + x",
            "not (a)",
            "{'a': {'b': 1}}",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        let cases = [
            ("a | lenght", "did you mean \"length\"?"),
            ("a | safe", "no filter \"safe\""),
            ("a is strnig", "did you mean \"string\"?"),
            ("a is not odd", "no test \"odd\""),
            ("range(3)", "no function range()"),
            ("a * b", "a | times(b)"),
            ("a.b.upper ()", "no method upper()"),
            ("'abc", "a text that does not end"),
        ];
        for (wrong, expected) in cases {
            let found = check(wrong).unwrap_err();
            assert!(found.contains(expected), "{wrong}: {found}");
        }
    }

    #[test]
    fn finds_statements_that_there_are_not() {
        for right in
            ["{\"a\": {{ {'b': {'c': 1}} }}}", "{%- if a -%}1{% else %}2{% endif %}", "{# {{ range() }} #}1", "{}"]
        {
            assert_eq!(check_template(right), Ok(()), "{right}");
        }
        let cases = [
            ("{% filter upper %}x{% endfilter %}", "no statement \"filter\""),
            ("{% autoescape false %}", "no statement \"autoescape\""),
            ("{% raw %}", "no statement \"raw\""),
            ("{% set a %}x{% endset %}", "a set without a value"),
            ("{% set a | join(x=1) %}x{% endset %}", "a set without a value"),
            ("{% for a in b recursive %}{{ loop(a) }}{% endfor %}", "no function loop()"),
            ("{{ a | tojson }}", "no filter \"tojson\""),
            ("{{ a", "an expression that does not end"),
            ("\u{1}", "a control character"),
        ];
        for (wrong, expected) in cases {
            let found = check_template(wrong).unwrap_err();
            assert!(found.contains(expected), "{wrong}: {found}");
        }
    }

    #[test]
    fn what_filters_make_is_bounded() {
        let value = |text: &str| LANGUAGE.compile_expression_owned(text.to_owned()).unwrap().eval(());
        assert_eq!(value("[1, 'b', none] | join('-')").unwrap().to_string(), "1-b");
        let long = format!("[{}] | join('{}')", "1,".repeat(1000), "x".repeat(2000));
        assert!(value(&long).is_err());
        assert_eq!(value("3 | times(2)").unwrap(), Value::from(6));
        assert_eq!(value("1.5 | times(2)").unwrap(), Value::from(3.0));
        assert!(value("'a' | times(2)").is_err() && value("9223372036854775807 | times(2)").is_err());
        assert!(value("[[1]] | join").is_err());
        let list = format!("[{}]", "1,".repeat(600_000));
        assert!(value(&format!("{list} | map(attribute='a') | length")).is_ok());
        assert!(
            value(&format!("({list} | map(attribute='a') | length) + ({list} | map(attribute='a') | length)")).is_err()
        );
        assert_eq!(value("[{'a': 1}, {'b': 2}] | map(attribute='a') | first").unwrap(), Value::from(1));
        assert_eq!(value("[{'a': 1}, {'a': 2}] | where('a', 2) | length").unwrap(), Value::from(1));
        assert_eq!(value("absent | where('a', 2) | length").unwrap(), Value::from(0));
    }
}
