//! A CEL expression as the gateway uses it: in flow rules, as the condition of an API or a package, as the subject of a quota.
//!
//! It is parsed, its names and types are checked, and what it may cost at most is computed when the catalog is loaded
//! (`check`); what is evaluated later can only fail by its arithmetic, or because a call has more parameters or header fields
//! than rules look at. Regular expressions and networks are compiled at load, so they must be written in quotes.

mod check;
mod value;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelInt, CelString, DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::Value;
use cel::parser::{ParseErrors, Parser};
use cel::{Context, Env, ExecutionError, IdedExpr};
use gatehouse_shared::config::ConfigErrors;
use jiff::tz::TimeZone;

use self::check::{Checked, Checker};
use self::value::{Pattern, Slot, View};
use super::Bounds;
use super::input::{ENTRIES_MAX, Field, Input, parameter_count};
use super::sample::Sample;
use crate::store::catalog::At;

/// How deep an expression may be nested: parentheses, calls and operators.
const DEPTH_MAX: u16 = 48;
/// Operators, fields, calls and brackets of an expression. A chain of them is as deep as it is long, for the parser and for the
/// interpreter, and every level takes some of the thread's stack.
const OPERATIONS_MAX: usize = 80;
/// Stack of the thread that compiles: the parser takes much more of it for each level than the interpreter does.
const COMPILE_STACK: usize = 64 << 20;
/// Characters of an error that are worth keeping in a log line.
const ERROR_MAX: usize = 200;

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yields {
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// A whole number.
    Number,
}

/// Where an expression is evaluated, which says what is known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the call goes to a service.
    Request,
    /// When the service has answered.
    Response,
}

/// An expression that was checked.
pub struct Expression {
    text: Box<str>,
    root: IdedExpr,
    slots: Vec<Slot>,
    zone: TimeZone,
    yields: Yields,
    cost: u64,
    looks_at_parameters: bool,
    looks_at_headers: bool,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Why an expression gave no value for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Its arithmetic, or an index, went wrong.
    #[error("{0}")]
    Failed(String),
    /// The call has more parameters or header fields than rules look at.
    #[error("the call has more than {ENTRIES_MAX} {0}")]
    TooMany(&'static str),
}

/// Where an expression was written, and how it will be used.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The entry of the catalog.
    pub at: &'a At<'a>,
    /// The key of the entry that holds the expression.
    pub key: &'a str,
    /// When it is evaluated.
    pub stage: Stage,
    /// What bounds it.
    pub bounds: &'a Bounds,
    /// The zone of `time.hour` and its like.
    pub zone: &'a TimeZone,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Everything that is wrong with it, at the place of the key, with the line and column inside the expression.
    pub fn compile(text: &str, yields: Yields, place: Place<'_>) -> Result<Self, ConfigErrors> {
        std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().stack_size(COMPILE_STACK);
            let compiled = compiler.spawn_scoped(scope, || Self::compile_here(text, yields, place));
            match compiled.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(compiled)) => compiled,
                _ => Err(place.at.error(place.key, "the expression cannot be compiled now", "try again").into()),
            }
        })
    }

    fn compile_here(text: &str, yields: Yields, place: Place<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut complain = |message: String, remedy: &str| errors.push(place.at.error(place.key, message, remedy));
        if text.len() > place.bounds.source_max {
            let message = format!("an expression of {} bytes; at most {}", text.len(), place.bounds.source_max);
            complain(message, "divide it into several rules, or raise flow.source_max");
            return Err(errors);
        }
        let operations = operations(text);
        if operations > OPERATIONS_MAX {
            let message = format!("an expression of {operations} operations; at most {OPERATIONS_MAX}");
            complain(message, "use a list, as in method in ['GET', 'HEAD'], or divide it into several rules");
            return Err(errors);
        }
        // The parser is generated code; a panic of it must cost one reload, not the watcher.
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            Parser::new().max_recursion_depth(DEPTH_MAX).parse_with_source_info(text)
        }));
        let (mut root, source) = match parsed {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(found)) => {
                for (line, column, message) in syntax_errors(&found) {
                    complain(format!("{message}, at {line}:{column} of the expression"), "correct the expression");
                }
                return Err(errors);
            }
            Err(_panic) => {
                complain("the expression cannot be understood".to_owned(), "write it in another way");
                return Err(errors);
            }
        };
        let mut checker = Checker::new(place.stage);
        let checked = checker.check_root(&mut root, yields);
        for finding in checker.findings {
            let start = source.offset_for(finding.node).map_or(0, |(start, _)| start);
            let (line, column) = line_and_column(text, start);
            complain(format!("{}, at {line}:{column} of the expression", finding.message), &finding.remedy);
        }
        let Some(Checked { cost, .. }) = checked else { return Err(errors) };
        if cost > place.bounds.cost_max {
            let message = format!("the expression may take {cost} steps; at most {}", place.bounds.cost_max);
            complain(message, "go through fewer lists inside one another, or raise flow.cost_max");
        }
        let slots = checker.slots;
        let looks_at =
            |fields: &[Field]| slots.iter().any(|slot| matches!(slot, Slot::Field(field) if fields.contains(field)));
        let expression = Self {
            text: text.into(),
            root,
            looks_at_parameters: looks_at(&[Field::Query, Field::QueryAll]),
            looks_at_headers: looks_at(&[Field::Headers, Field::ResponseHeaders]),
            slots,
            zone: place.zone.clone(),
            yields,
            cost,
        };
        errors.into_result(())?;
        expression.try_sample(place)?;
        Ok(expression)
    }

    /// Evaluates it once, so that what the check above does not know of the interpreter is found at load too.
    fn try_sample(&self, place: Place<'_>) -> Result<(), ConfigErrors> {
        let sample = Sample::typical();
        let outcome = self.evaluate(&sample.input(place.stage), |_| Some(()));
        match outcome {
            Err(Fault::Execution(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UndeclaredReference(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::UnsupportedBinaryOperator(..)),
            )) => {
                let message = format!("the expression fails for every call: {}", short(&error.to_string()));
                Err(place.at.error(place.key, message, "correct the expression").into())
            }
            _ => Ok(()),
        }
    }

    /// Whether it is true of a call.
    ///
    /// # Errors
    /// When it cannot be said.
    pub fn test(&self, input: &Input<'_>) -> Result<bool, ExpressionError> {
        Ok(self.evaluate(input, |value| value.downcast_ref::<CelBool>().map(|value| *value.inner()))?)
    }

    /// The text it gives for a call.
    ///
    /// # Errors
    /// When there is none.
    pub fn text_of(&self, input: &Input<'_>) -> Result<String, ExpressionError> {
        Ok(self.evaluate(input, |value| value.downcast_ref::<CelString>().map(|value| value.inner().to_owned()))?)
    }

    /// The number it gives for a call.
    ///
    /// # Errors
    /// When there is none.
    pub fn number_of(&self, input: &Input<'_>) -> Result<i64, ExpressionError> {
        Ok(self.evaluate(input, |value| value.downcast_ref::<CelInt>().map(|value| *value.inner()))?)
    }

    /// The most steps it takes, as computed at load.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.text
    }

    /// What it gives.
    #[must_use]
    pub fn yields(&self) -> Yields {
        self.yields
    }

    /// The inputs it looks at.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Field(field) => Some(*field),
            Slot::Networks(_) => Some(Field::ClientAddress),
            Slot::Pattern(_) => None,
        })
    }

    fn evaluate<T>(&self, input: &Input<'_>, take: impl Fn(&CowVal<'_, '_>) -> Option<T>) -> Result<T, Fault> {
        if self.looks_at_parameters && parameter_count(input.query) > ENTRIES_MAX {
            return Err(Fault::TooMany("parameters"));
        }
        let is_long = |headers: Option<&http::HeaderMap>| headers.is_some_and(|headers| headers.len() > ENTRIES_MAX);
        if self.looks_at_headers
            && (is_long(input.header_map(Field::Headers)) || is_long(input.header_map(Field::ResponseHeaders)))
        {
            return Err(Fault::TooMany("header fields"));
        }
        let view = View::new(input, &self.slots, &self.zone);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&view);
        let value = Value::resolve_val(&self.root, &context).map_err(Fault::Execution)?;
        take(&value).ok_or_else(|| {
            let got = value.get_type().name().to_owned();
            Fault::Execution(ExecutionError::UnexpectedType { got, want: format!("{:?}", self.yields) })
        })
    }
}

/// A failed evaluation.
enum Fault {
    Execution(ExecutionError),
    TooMany(&'static str),
}

impl From<Fault> for ExpressionError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Execution(error) => Self::Failed(short(&error.to_string())),
            Fault::TooMany(what) => Self::TooMany(what),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(ERROR_MAX).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The functions of the language, and ours.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let added =
        environment
            .add_overload(check::MATCHES, "gatehouse_matches", vec![STRING_TYPE, DYN_TYPE], |arguments| {
                let [text, pattern] = arguments.as_slice() else { return Err(no_such(check::MATCHES)) };
                match (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>()) {
                    (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
                    _ => Err(no_such(check::MATCHES)),
                }
            })
            .and_then(|()| {
                environment.add_member_overload("lower", "gatehouse_lower", STRING_TYPE, vec![], |arguments| {
                    match arguments.first().and_then(|text| text.downcast_ref::<CelString>()) {
                        Some(text) => Ok(CowVal::owned(CelString::from(text.inner().to_lowercase()))),
                        None => Err(no_such("lower")),
                    }
                })
            })
            .and_then(|()| {
                environment.add_overload("size", "gatehouse_size", vec![DYN_TYPE], |arguments| {
                    match arguments.first().and_then(|value| value.as_sizer().map(|sizer| sizer.size())) {
                        Some(size) => Ok(CowVal::owned(size)),
                        None => Err(no_such("size")),
                    }
                })
            });
    if let Err(error) = added {
        tracing::error!(%error, "a function of expressions is missing");
    }
    Arc::new(environment)
});

fn no_such(function: &str) -> ExecutionError {
    ExecutionError::no_such_overload(function, Vec::new())
}

/// What the parser says, shortened to what an operator can use: line and column inside the expression, and a message.
fn syntax_errors(found: &ParseErrors) -> Vec<(isize, isize, Cow<'_, str>)> {
    const FINDINGS_MAX: usize = 3;
    let errors = found.errors.iter().take(FINDINGS_MAX);
    errors
        .map(|error| {
            let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
            (error.pos.0.max(1), error.pos.1.max(1), Cow::Owned(short(&message.replace("'<EOF>'", "the end"))))
        })
        .collect()
}

/// What may make a level of the expression, counted in its text. Texts in quotes do not count, unless raw texts
/// or comments make it hard to say where they end.
fn operations(text: &str) -> usize {
    let is_plain = !["//", "r'", "r\"", "R'", "R\"", "'''", "\"\"\""].iter().any(|quote| text.contains(quote));
    let mut within = None;
    let mut is_escaped = false;
    let mut count = 0;
    for character in text.chars() {
        match within {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if character == '\\' => is_escaped = true,
            Some(quote) if character == quote => within = None,
            Some(_) => {}
            None if is_plain && matches!(character, '"' | '\'') => within = Some(character),
            None if "+-*/%<>=!.[({?&|".contains(character) => count += 1,
            None => {}
        }
    }
    // Words that only contain it are few.
    count + text.matches("in").count()
}

/// Line and column (in characters) of a byte of the expression, both from 1.
fn line_and_column(text: &str, offset: u32) -> (usize, usize) {
    let (mut line, mut column) = (1, 1);
    let before = usize::try_from(offset).ok().and_then(|offset| text.get(..offset));
    for character in before.unwrap_or_default().chars() {
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    (line, column)
}

#[cfg(test)]
pub(crate) mod tests;
