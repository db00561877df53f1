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
        let names = Names::new(compiled.undeclared_variables(true));
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
pub(super) struct Names(BTreeSet<String>);

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
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// What they mean.
    ///
    /// # Errors
    /// The first that means nothing.
    pub(super) fn resolve(&self, known: Known<'_>) -> Result<Meaning, String> {
        let mut meaning = Meaning::default();
        for name in &self.0 {
            let mut parts = name.split('.');
            let (root, member, below) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            match root {
                "request" => meaning.add_of_request(member, below)?,
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
    fn add_of_request(&mut self, member: Option<&str>, below: Option<&str>) -> Result<(), String> {
        check_member("request", member, &OF_REQUEST)?;
        match (member, below) {
            (Some("params"), Some(param)) => {
                self.params.insert(param.to_owned());
            }
            (Some("params"), None) => return Err("name a parameter of the path, as in request.params.id".to_owned()),
            (Some("headers"), Some(header)) => {
                self.headers.insert(header.to_owned());
            }
            // Which of them, the expression finds out when it runs.
            (Some("headers"), None) => {
                self.headers.insert("*".to_owned());
            }
            (Some("body"), _) => self.reads_body = true,
            (None, _) => return Err(format!("`request` is not a value; name one of: {}", OF_REQUEST.join(", "))),
            _ => {}
        }
        Ok(())
    }
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
        assert_eq!((meaning.params, meaning.headers), (["id".to_owned()].into(), ["*".to_owned()].into()));
        assert!(!meaning.reads_body && resolve("request.body.a[0]").unwrap().reads_body);
        assert_eq!(resolve("user").unwrap().bodies, [0].into(), "all of it");
        assert_eq!(resolve("request.headers.accept").unwrap().headers, ["accept".to_owned()].into());
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
