//! A value of the catalog: an expression over the request and the answers that came before.

use std::collections::BTreeSet;

use gatehouse_shared::config::nearest;
use minijinja::{Error, Value};

use super::language::{self, LANGUAGE};

/// Bytes of an expression.
const SOURCE_MAX: usize = 4096;

/// What there is of a request.
pub(super) const OF_REQUEST: [&str; 7] = ["id", "method", "path", "params", "query", "headers", "body"];
/// What there is of the caller.
pub(super) const OF_CALLER: [&str; 5] = ["app", "name", "plan", "class", "user"];
/// What there is of a call that was made.
pub(super) const OF_CALL: [&str; 5] = ["ok", "status", "body", "headers", "code"];

/// A compiled expression.
pub struct Expression {
    compiled: minijinja::Expression<'static, 'static>,
    source: Box<str>,
    /// What it looks at.
    pub(super) names: Names,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Expression({:?})", self.source)
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("an expression of {} bytes; at most {SOURCE_MAX}", source.len()));
        }
        language::check(source)?;
        let compiled =
            LANGUAGE.compile_expression_owned(source.to_owned()).map_err(|error| language::describe(&error))?;
        let names = Names::new(compiled.undeclared_variables(true), source);
        Ok(Self { compiled, source: source.into(), names })
    }

    /// Its value. It has no loops, so the steps it takes are bounded by its length.
    ///
    /// # Errors
    /// When an operation in it is not for such values.
    pub fn value(&self, scope: &Value) -> Result<Value, Error> {
        self.compiled.eval(scope.clone())
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// The names that an expression or a template looks at, with what is looked at of each: `user.body.id`.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    all: BTreeSet<String>,
    /// Header fields of the request that are looked at as `request.headers['x']`; `None` where nobody can tell which they are.
    headers: Option<BTreeSet<String>>,
}

/// What names may mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Calls, in order.
    pub(super) calls: &'a [&'a str],
    /// Whether `errors` is known, as it is to a template.
    pub(super) has_errors: bool,
}

/// What names mean.
#[derive(Debug, Default, Clone)]
pub(super) struct Meaning {
    /// Calls by index.
    pub(super) calls: BTreeSet<usize>,
    /// Calls whose body is looked at.
    pub(super) bodies: BTreeSet<usize>,
    /// Parameters of the request's path.
    pub(super) params: BTreeSet<String>,
    /// Whether the request's body is looked at.
    pub(super) reads_body: bool,
    /// Whether the caller is looked at.
    pub(super) reads_caller: bool,
    /// Header fields of the request that are looked at by name.
    pub(super) headers: BTreeSet<String>,
}

impl Meaning {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls.extend(&other.calls);
        self.bodies.extend(&other.bodies);
        self.params.extend(other.params.iter().cloned());
        self.reads_body |= other.reads_body;
        self.reads_caller |= other.reads_caller;
        self.headers.extend(other.headers.iter().cloned());
    }
}

impl Names {
    /// `names` are those that the language has found in `source`.
    pub(super) fn new(names: impl IntoIterator<Item = String>, source: &str) -> Self {
        Self { all: names.into_iter().collect(), headers: headers_in_brackets(source) }
    }

    /// What they mean.
    ///
    /// # Errors
    /// The first that means nothing.
    pub(super) fn resolve(&self, known: Known<'_>) -> Result<Meaning, String> {
        let mut meaning = Meaning::default();
        for name in &self.all {
            let mut parts = name.split('.');
            let (root, member, below) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            match root {
                "request" => meaning.add_of_request(member, below, self.headers.as_ref())?,
                "caller" => {
                    check_member(root, member, &OF_CALLER)?;
                    meaning.reads_caller = true;
                }
                "errors" if known.has_errors => {}
                _ => {
                    let Some(index) = known.calls.iter().position(|call| *call == root) else {
                        return Err(unknown(root, known));
                    };
                    check_member(root, member, &OF_CALL)?;
                    meaning.calls.insert(index);
                    if member.is_none_or(|member| member == "body") {
                        meaning.bodies.insert(index);
                    }
                }
            }
        }
        Ok(meaning)
    }
}

impl Meaning {
    fn add_of_request(
        &mut self,
        member: Option<&str>,
        below: Option<&str>,
        in_brackets: Option<&BTreeSet<String>>,
    ) -> Result<(), String> {
        check_member("request", member, &OF_REQUEST)?;
        match (member, below) {
            (Some("params"), Some(param)) => {
                self.params.insert(param.to_owned());
            }
            (Some("params"), None) => return Err("name a parameter of the path, as in request.params.id".to_owned()),
            (Some("headers"), Some(header)) => {
                self.headers.insert(header.to_owned());
            }
            (Some("headers"), None) => match in_brackets.filter(|names| !names.is_empty()) {
                Some(names) => self.headers.extend(names.iter().cloned()),
                // Which of them, the expression finds out when it runs.
                None => drop(self.headers.insert("*".to_owned())),
            },
            (Some("body"), _) => self.reads_body = true,
            (None, _) => return Err(format!("`request` is not a value; name one of: {}", OF_REQUEST.join(", "))),
            _ => {}
        }
        Ok(())
    }
}

/// The names in `request.headers['x']`, which the language does not tell. `None` as soon as `request` stands where it may mean
/// anything else than one member of it, or a header is not named by a plain text.
fn headers_in_brackets(source: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("request") {
        rest = after;
        // The end of another name, or a member of something else.
        if before.ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '.')) {
            continue;
        }
        let member = after.trim_start().strip_prefix('.')?.trim_start();
        let Some(of_headers) = member.strip_prefix("headers") else { continue };
        let of_headers = of_headers.trim_start();
        if of_headers.starts_with('.') {
            continue;
        }
        let inside = of_headers.strip_prefix('[')?.trim_start();
        let quote = inside.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
        let (name, end) = inside.strip_prefix(quote)?.split_once(quote)?;
        if name.contains('\\') || !end.trim_start().starts_with(']') {
            return None;
        }
        names.insert(name.to_owned());
    }
    Some(names)
}

fn check_member(root: &str, member: Option<&str>, known: &[&str]) -> Result<(), String> {
    match member {
        Some(member) if !known.contains(&member) => Err(match nearest(member, known.iter().copied()) {
            Some(near) => format!("no `{root}.{member}`; did you mean `{root}.{near}`?"),
            None => format!("no `{root}.{member}`; what there is of it: {}", known.join(", ")),
        }),
        _ => Ok(()),
    }
}

fn unknown(root: &str, known: Known<'_>) -> String {
    let mut names = vec!["request", "caller"];
    if known.has_errors {
        names.push("errors");
    }
    names.extend(known.calls);
    match nearest(root, names.iter().copied()) {
        Some(near) => format!("nothing is called `{root}`; did you mean `{near}`?"),
        None => format!("nothing is called `{root}`; what there is: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(source: &str) -> Result<Meaning, String> {
        Expression::compile(source)?.names.resolve(Known { calls: &["user", "orders"], has_errors: false })
    }

    #[test]
    fn finds_what_an_expression_looks_at() {
        let meaning = resolve("user.body.id ~ orders.status ~ request.params.id ~ request.headers['x-a']").unwrap();
        assert_eq!(meaning.calls, [0, 1].into());
        assert_eq!(meaning.bodies, [0].into());
        assert_eq!((meaning.params, meaning.headers), (["id".to_owned()].into(), ["x-a".to_owned()].into()));
        assert!(!meaning.reads_body && resolve("request.body.a[0]").unwrap().reads_body);
        assert_eq!(resolve("user").unwrap().bodies, [0].into(), "all of it");
        assert_eq!(resolve("request.headers.accept").unwrap().headers, ["accept".to_owned()].into());
    }

    #[test]
    fn headers_that_are_named_are_told_and_others_may_be_any() {
        for (source, expected) in [
            ("request.headers['accept-language']", "accept-language"),
            ("request.headers[ \"X-A\" ] ~ request . headers ['x-b'] ~ request.headers.accept", "X-A x-b accept"),
            ("request.headers['a'] ~ user.headers['b'] ~ request.query.headers", "a"),
            ("user.body.request.headers[1] ~ request.headers['a']", "a"),
            ("request.headers[request.query.name]", "*"),
            ("request.headers['a' ~ request.query.name]", "*"),
            ("request.headers['a'] ~ request.headers[caller.app]", "*"),
            ("request.headers['a'] ~ (request).headers[caller.app]", "*"),
            ("request.headers | length", "*"),
            ("request.headers['a\\x62']", "*"),
            ("request.headers['a'] ~ ('request.headers' | length)", "*"),
        ] {
            let expected: BTreeSet<String> = expected.split(' ').map(str::to_owned).collect();
            assert_eq!(
                resolve(source).unwrap_or_else(|error| panic!("{source}: {error}")).headers,
                expected,
                "{source}"
            );
        }
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        let cases = [
            ("usr.body", "did you mean `user`?"),
            ("user.bdy", "did you mean `user.body`?"),
            ("request.parms.id", "did you mean `request.params`?"),
            ("request.params", "name a parameter"),
            ("request", "is not a value"),
            ("caller.secret", "no `caller.secret`"),
            ("errors", "nothing is called `errors`"),
            ("env", "nothing is called `env`"),
            ("range(9)", "no function range()"),
            ("user.body.name |", "unexpected end"),
        ];
        for (source, expected) in cases {
            let found = resolve(source).unwrap_err();
            assert!(found.contains(expected), "{source}: {found}");
        }
    }
}
