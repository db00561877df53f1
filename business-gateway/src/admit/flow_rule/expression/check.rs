//! What an expression means before it ever runs: every name is an input, every operation has operands of its kind, and the
//! steps and bytes it may take have a bound. On the way the names of inputs, the regular expressions and the networks are
//! replaced by slots, so that nothing is looked up by name or compiled later.
//!
//! The bound is computed from the inside out: a step for each operation, one for each 256 bytes of a text that is looked
//! through (64 for a regular expression), and a macro takes its step once for every entry of what it goes through. Header
//! fields and parameters count as [`ENTRIES_MAX`] entries, texts of the call as [`TEXT`] bytes, which is more than an edge
//! lets pass.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use gatehouse_shared::cidr::Network;
use gatehouse_shared::config::nearest;

use super::super::input::{ENTRIES_MAX, Field, FieldKind};
use super::value::{Pattern, Slot};
use super::{Stage, Yields};

/// Our name of a match with a compiled regular expression.
pub(super) const MATCHES: &str = "@matches";
/// Bytes of a text of the call.
const TEXT: u64 = 64 * 1024;
/// Bytes of a scope; all of them come in one header.
const SCOPE: u64 = 512;
/// Bytes of the longest text that an expression may make.
const TEXT_MAX: u64 = 4 * TEXT;
/// Bytes of a compiled regular expression.
const PATTERN_MAX: usize = 1 << 20;
/// Entries of a list.
const ENTRIES: u64 = ENTRIES_MAX as u64;

/// What kind of value a part of an expression gives, and how large it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Number,
    Fraction,
    Text(u64),
    List(u64, Box<Shape>),
    /// What a look-up costs, and what it gives.
    Dictionary(u64, Box<Shape>),
    /// The entries of an empty list.
    Anything,
}

/// What is known of a part that is right.
pub(super) struct Checked {
    pub(super) shape: Shape,
    pub(super) cost: u64,
}

/// What is wrong with a part.
pub(super) struct Finding {
    pub(super) node: u64,
    pub(super) message: String,
    pub(super) remedy: String,
}

pub(super) struct Checker {
    pub(super) slots: Vec<Slot>,
    pub(super) findings: Vec<Finding>,
    stage: Stage,
    /// Of the macros around.
    variables: Vec<(String, Shape)>,
}

const FUNCTIONS: [&str; 9] =
    ["size", "contains", "startsWith", "endsWith", "matches", "lower", "int", "double", "string"];

impl Checker {
    pub(super) fn new(stage: Stage) -> Self {
        Self { slots: Vec::new(), findings: Vec::new(), stage, variables: Vec::new() }
    }

    pub(super) fn check_root(&mut self, root: &mut IdedExpr, yields: Yields) -> Option<Checked> {
        let node = root.id;
        let checked = self.check(root)?;
        let fits = match yields {
            Yields::Bool => checked.shape == Shape::Bool,
            Yields::Text => matches!(checked.shape, Shape::Text(_)),
            Yields::Number => checked.shape == Shape::Number,
        };
        if !fits {
            let wanted = match yields {
                Yields::Bool => "true or false",
                Yields::Text => "a text",
                Yields::Number => "a whole number",
            };
            return self.complain(
                node,
                format!("{} where {wanted} is needed", checked.shape.name()),
                "compare or convert it",
            );
        }
        self.findings.is_empty().then_some(checked)
    }

    fn complain<T>(&mut self, node: u64, message: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        self.findings.push(Finding { node, message: message.into(), remedy: remedy.into() });
        None
    }

    fn check(&mut self, part: &mut IdedExpr) -> Option<Checked> {
        let node = part.id;
        let checked = self.check_part(part)?;
        let bytes = checked.shape.bytes();
        if bytes > TEXT_MAX {
            let message = format!("texts that may have {bytes} bytes; at most {TEXT_MAX}");
            return self.complain(node, message, "put fewer texts together");
        }
        Some(checked)
    }

    fn check_part(&mut self, part: &mut IdedExpr) -> Option<Checked> {
        let node = part.id;
        if let Some(path) = path_of(&part.expr)
            && !self.is_variable(path.split('.').next().unwrap_or_default())
        {
            return self.check_input(part, &path);
        }
        match &mut part.expr {
            Expr::Literal(literal) => {
                let shape = match literal {
                    LiteralValue::Boolean(_) => Shape::Bool,
                    LiteralValue::Int(_) => Shape::Number,
                    LiteralValue::Double(_) => Shape::Fraction,
                    LiteralValue::String(text) => Shape::Text(length(text.inner())),
                    LiteralValue::Null | LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
                        return self.complain(
                            node,
                            "a value that no input is compared with",
                            "write a text, a number, true or false",
                        );
                    }
                };
                Some(Checked { shape, cost: 1 })
            }
            Expr::Ident(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, shape)| Checked { shape: shape.clone(), cost: 1 })
            }
            Expr::Select(select) => {
                if select.test {
                    let remedy = "write \"name\" in headers, or compare with \"\": what is not there is empty";
                    return self.complain(node, "has() is of no use here", remedy);
                }
                let operand = self.check(&mut select.operand)?;
                match operand.shape {
                    Shape::Dictionary(each, entry) => {
                        Some(Checked { shape: *entry, cost: operand.cost.saturating_add(each) })
                    }
                    other => {
                        self.complain(node, format!("{} has no field `{}`", other.name(), select.field), "remove it")
                    }
                }
            }
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return self.complain(node, "optional entries are not supported", "remove the question mark");
                }
                let (mut cost, mut entry) = (1_u64, Shape::Anything);
                let count = u64::try_from(list.elements.len()).unwrap_or(u64::MAX);
                for element in &mut list.elements {
                    let checked = self.check(element)?;
                    cost = cost.saturating_add(checked.cost);
                    entry = self.join(element.id, &entry, &checked.shape)?;
                }
                Some(Checked { shape: Shape::List(count, Box::new(entry)), cost })
            }
            Expr::Comprehension(comprehension) => self.check_comprehension(comprehension),
            Expr::Call(call) => self.check_call(node, call),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.complain(node, "maps and messages are not supported", "compare with texts, numbers or lists")
            }
        }
    }

    fn is_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| known == name)
    }

    /// A dotted name that is no variable: an input, or an entry of one.
    fn check_input(&mut self, part: &mut IdedExpr, path: &str) -> Option<Checked> {
        let node = part.id;
        if let Some(field) = Field::by_name(path) {
            if field.is_of_answer() && self.stage == Stage::Request {
                let remedy = "write at = \"response\" in the rule";
                return self.complain(node, format!("`{path}` is not known before the service has answered"), remedy);
            }
            part.expr = Expr::Ident(self.slot(Slot::Field(field)));
            return Some(Checked { shape: shape_of(field), cost: 1 });
        }
        // `headers.host` is `headers["host"]`.
        if let Some((table, _)) = path.rsplit_once('.')
            && Field::by_name(table).is_some_and(|field| matches!(shape_of(field), Shape::Dictionary(..)))
            && let Expr::Select(select) = &mut part.expr
        {
            let operand = self.check(&mut select.operand)?;
            let Shape::Dictionary(each, entry) = operand.shape else { return None };
            return Some(Checked { shape: *entry, cost: operand.cost.saturating_add(each) });
        }
        let prefix = format!("{path}.");
        let names = || Field::ALL.iter().map(|field| field.name());
        let members: Vec<&str> = names().filter(|name| name.starts_with(&prefix)).collect();
        if !members.is_empty() {
            let remedy = format!("name one of its fields: {}", members.join(", "));
            return self.complain(node, format!("`{path}` is not a value"), remedy);
        }
        let remedy = match nearest(path, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("what there is: {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.complain(node, format!("no input `{path}`"), remedy)
    }

    fn slot(&mut self, slot: Slot) -> String {
        let same = |known: &Slot| matches!((known, &slot), (Slot::Field(one), Slot::Field(other)) if one == other);
        let index = self.slots.iter().position(same).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        format!("@{index}")
    }

    /// The common kind of two values that stand for one another.
    fn join(&mut self, node: u64, one: &Shape, other: &Shape) -> Option<Shape> {
        match join(one, other) {
            Some(shape) => Some(shape),
            None => {
                let message = format!("{} and {} where one kind of value is needed", one.name(), other.name());
                self.complain(node, message, "convert one of them, as with string() or int()")
            }
        }
    }

    /// `all`, `exists`, `exists_one`, `filter` and `map`, as the parser has spelt them out.
    fn check_comprehension(&mut self, part: &mut ComprehensionExpr) -> Option<Checked> {
        let range = self.check(&mut part.iter_range)?;
        let (count, entry) = match range.shape {
            Shape::List(count, entry) => (count, *entry),
            Shape::Dictionary(..) => (ENTRIES, Shape::Text(TEXT)),
            other => {
                let message = format!("{} has no entries to go through", other.name());
                return self.complain(part.iter_range.id, message, "go through a list, headers or query");
            }
        };
        let init = self.check(&mut part.accu_init)?;
        let outer = self.variables.len();
        self.variables.push((part.iter_var.clone(), entry));
        self.variables.push((part.accu_var.clone(), init.shape.clone()));
        let condition = self.check(&mut part.loop_cond);
        let step = self.check(&mut part.loop_step);
        let shape = match (&init.shape, step.as_ref().map(|step| &step.shape)) {
            (Shape::List(..), Some(Shape::List(added, entry))) => {
                Shape::List(added.saturating_mul(count), entry.clone())
            }
            (shape, _) => shape.clone(),
        };
        self.variables.truncate(outer);
        self.variables.push((part.accu_var.clone(), shape));
        let result = self.check(&mut part.result);
        self.variables.truncate(outer);
        let (condition, step, result) = (condition?, step?, result?);
        let each = condition.cost.saturating_add(step.cost).saturating_add(1);
        let cost = range.cost.saturating_add(each.saturating_mul(count)).saturating_add(result.cost);
        Some(Checked { shape: result.shape, cost })
    }

    fn check_call(&mut self, node: u64, call: &mut CallExpr) -> Option<Checked> {
        let target_path = call.target.as_ref().and_then(|target| path_of(&target.expr));
        if call.func_name == "within" {
            return self.check_within(node, call, target_path.as_deref());
        }
        if call.func_name == "matches" {
            return self.check_matches(node, call);
        }
        let mut parts = Vec::with_capacity(call.args.len() + 1);
        for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            parts.push(self.check(part));
        }
        let parts: Vec<Checked> = parts.into_iter().collect::<Option<_>>()?;
        let cost = parts.iter().fold(1_u64, |sum, part| sum.saturating_add(part.cost));
        let shapes: Vec<&Shape> = parts.iter().map(|part| &part.shape).collect();
        match operation(&call.func_name, call.target.is_some(), &shapes) {
            Ok((shape, more)) => Some(Checked { shape, cost: cost.saturating_add(more) }),
            Err(Misuse::Kinds) => {
                let kinds: Vec<&str> = shapes.iter().map(|shape| shape.name()).collect();
                let name = operator_name(&call.func_name);
                let remedy = "convert one of them, as with string() or int()";
                self.complain(node, format!("{name} is not for {}", kinds.join(" and ")), remedy)
            }
            Err(Misuse::Unknown) => {
                let remedy = match nearest(&call.func_name, FUNCTIONS) {
                    Some(name) => format!("did you mean {name}()?"),
                    None => format!("what there is: {}, client.within", FUNCTIONS.join(", ")),
                };
                self.complain(node, format!("no function `{}`", call.func_name), remedy)
            }
        }
    }

    /// `client.within("10.0.0.0/8", …)` becomes a slot of its own.
    fn check_within(&mut self, node: u64, call: &mut CallExpr, target: Option<&str>) -> Option<Checked> {
        const USE: &str = "write client.within(\"10.0.0.0/8\"), with networks in quotes";
        if target != Some("client") || call.args.is_empty() {
            return self.complain(node, "within() is asked of `client`, with networks", USE);
        }
        let mut networks = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
                return self.complain(argument.id, "a network that is not written in quotes", USE);
            };
            match text.inner().parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => return self.complain(argument.id, error.to_string(), USE),
            }
        }
        let cost = 1 + length_of(&networks);
        let name = self.slot(Slot::Networks(networks));
        // The call is replaced by the slot in the shape of `slot == true`, since only the arguments can be changed here.
        call.func_name = operators::EQUALS.to_owned();
        call.target = None;
        call.args = vec![
            IdedExpr { id: node, expr: Expr::Ident(name) },
            IdedExpr { id: node, expr: Expr::Literal(LiteralValue::Boolean(true.into())) },
        ];
        Some(Checked { shape: Shape::Bool, cost })
    }

    /// `text.matches("…")` becomes a call with a compiled pattern.
    fn check_matches(&mut self, node: u64, call: &mut CallExpr) -> Option<Checked> {
        let text = call.target.take().map(|target| *target);
        let mut parts: Vec<IdedExpr> = text.into_iter().chain(std::mem::take(&mut call.args)).collect();
        let (Some(pattern), Some(mut text), true) = (parts.pop(), parts.pop(), parts.is_empty()) else {
            return self.complain(
                node,
                "matches() compares a text with one pattern",
                "write path.matches(\"^/v[0-9]+/\")",
            );
        };
        let checked = self.check(&mut text)?;
        let Shape::Text(bytes) = checked.shape else {
            return self.complain(
                node,
                format!("matches() is not for {}", checked.shape.name()),
                "convert it with string()",
            );
        };
        let Expr::Literal(LiteralValue::String(literal)) = &pattern.expr else {
            let remedy = "write the pattern in quotes, so that it is compiled once";
            return self.complain(pattern.id, "a pattern that is not written in quotes", remedy);
        };
        let compiled = match regex::RegexBuilder::new(literal.inner()).size_limit(PATTERN_MAX).build() {
            Ok(compiled) => compiled,
            Err(error) => {
                let message = error.to_string();
                let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                return self.complain(pattern.id, format!("not a regular expression: {last}"), "correct the pattern");
            }
        };
        let name = self.slot(Slot::Pattern(Pattern(compiled)));
        call.func_name = MATCHES.to_owned();
        call.args = vec![text, IdedExpr { id: pattern.id, expr: Expr::Ident(name) }];
        Some(Checked { shape: Shape::Bool, cost: checked.cost.saturating_add(2 + bytes / 64) })
    }
}

enum Misuse {
    /// The operation is not for such values.
    Kinds,
    /// There is none of that name.
    Unknown,
}

/// What an operation gives, and what it costs beside its parts.
fn operation(name: &str, is_member: bool, parts: &[&Shape]) -> Result<(Shape, u64), Misuse> {
    use Shape::{Anything, Bool, Dictionary, Fraction, List, Number, Text};
    let scan = |bytes: &u64| bytes / 256;
    Ok(match (name, is_member, parts) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, false, [Bool, Bool]) => (Bool, 0),
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, false, [Bool]) => (Bool, 0),
        (operators::CONDITIONAL, false, [Bool, yes, no]) => (join(yes, no).ok_or(Misuse::Kinds)?, 0),
        (operators::EQUALS | operators::NOT_EQUALS, false, [Bool, Bool]) => (Bool, 0),
        (
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            false,
            [one, other],
        ) => match (one, other) {
            (Number | Fraction, Number | Fraction) => (Bool, 0),
            (Text(one), Text(other)) => (Bool, scan(one.min(other))),
            _ => return Err(Misuse::Kinds),
        },
        (operators::ADD, false, [Number, Number]) => (Number, 0),
        (operators::ADD, false, [Fraction, Fraction]) => (Fraction, 0),
        (operators::ADD, false, [Text(one), Text(other)]) => {
            // One more, so that what is made here never counts as a text of the call.
            let bytes = one.saturating_add(*other).saturating_add(1);
            (Text(bytes), scan(&bytes))
        }
        (operators::ADD, false, [List(one, entry), List(other, more)]) => {
            let count = one.saturating_add(*other);
            (List(count, Box::new(join(entry, more).ok_or(Misuse::Kinds)?)), count)
        }
        (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE, false, [one, other]) => match (one, other) {
            (Number, Number) => (Number, 0),
            (Fraction, Fraction) => (Fraction, 0),
            _ => return Err(Misuse::Kinds),
        },
        (operators::MODULO, false, [Number, Number]) | (operators::NEGATE, false, [Number]) => (Number, 0),
        (operators::NEGATE, false, [Fraction]) => (Fraction, 0),
        (operators::IN, false, [Text(bytes), Dictionary(each, _)]) => (Bool, each + scan(bytes)),
        (operators::IN, false, [one, List(count, entry)]) => {
            if !matches!(join(one, entry), Some(Bool | Number | Fraction | Text(_))) {
                return Err(Misuse::Kinds);
            }
            (Bool, count.saturating_mul(1 + scan(&one.bytes())))
        }
        (operators::INDEX, false, [Dictionary(each, entry), Text(bytes)]) => ((**entry).clone(), each + scan(bytes)),
        (operators::INDEX, false, [List(_, entry), Number]) if **entry != Anything => {
            ((**entry).clone(), scan(&entry.bytes()))
        }
        ("size", _, [Text(bytes)]) => (Number, scan(bytes)),
        ("size", _, [List(..)]) | ("size", false, [Dictionary(..)]) => (Number, ENTRIES),
        ("contains" | "startsWith" | "endsWith", true, [Text(one), Text(other)]) => {
            (Bool, scan(&one.saturating_add(*other)))
        }
        // Some letters have lower-case forms of more bytes.
        ("lower", true, [Text(bytes)]) => (Text(bytes.saturating_mul(2)), scan(bytes)),
        ("int", false, [Number | Fraction | Text(_)]) => (Number, 0),
        ("double", false, [Number | Fraction | Text(_)]) => (Fraction, 0),
        ("string", false, [Text(bytes)]) => (Text(*bytes), 0),
        ("string", false, [Number | Fraction | Bool]) => (Text(32), 0),
        (name, ..) if FUNCTIONS.contains(&name) || is_operator(name) => return Err(Misuse::Kinds),
        _ => return Err(Misuse::Unknown),
    })
}

fn is_operator(name: &str) -> bool {
    name.contains('_') && !name.chars().any(|character| character.is_ascii_alphanumeric()) || name == operators::IN
}

/// `_&&_` as people write it.
fn operator_name(name: &str) -> String {
    if name == operators::IN { "`in`".to_owned() } else { format!("`{}`", name.replace('_', "")) }
}

fn join(one: &Shape, other: &Shape) -> Option<Shape> {
    Some(match (one, other) {
        (Shape::Anything, shape) | (shape, Shape::Anything) => shape.clone(),
        (Shape::Text(one), Shape::Text(other)) => Shape::Text(*one.max(other)),
        (Shape::List(one, entry), Shape::List(other, more)) => {
            Shape::List(*one.max(other), Box::new(join(entry, more)?))
        }
        (one, other) if one == other => one.clone(),
        _ => return None,
    })
}

impl Shape {
    fn name(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a whole number",
            Self::Fraction => "a fraction",
            Self::Text(_) => "a text",
            Self::List(..) => "a list",
            Self::Dictionary(..) => "a dictionary",
            Self::Anything => "nothing",
        }
    }

    /// Bytes of all texts in it, at most.
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(bytes) => *bytes,
            Self::List(count, entry) => match entry.bytes() {
                // Texts of the call are at most as long together as one may be alone.
                bytes if bytes <= TEXT => bytes,
                bytes => count.saturating_mul(bytes),
            },
            _ => 0,
        }
    }
}

fn shape_of(field: Field) -> Shape {
    match field.kind() {
        FieldKind::Text => Shape::Text(TEXT),
        FieldKind::Number => Shape::Number,
        FieldKind::Texts => Shape::List(ENTRIES, Box::new(Shape::Text(SCOPE))),
        FieldKind::Dictionary => Shape::Dictionary(lookup(field), Box::new(Shape::Text(TEXT))),
        FieldKind::ListDictionary => {
            let values = Shape::List(ENTRIES, Box::new(Shape::Text(TEXT)));
            Shape::Dictionary(lookup(field), Box::new(values))
        }
        FieldKind::NumberDictionary => Shape::Dictionary(lookup(field), Box::new(Shape::Number)),
    }
}

/// A query is gone through for each look-up; header fields and counters are found by hash.
fn lookup(field: Field) -> u64 {
    if matches!(field, Field::Query | Field::QueryAll) { ENTRIES } else { 4 }
}

/// `a.b.c` for names joined by dots.
fn path_of(part: &Expr) -> Option<String> {
    match part {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", path_of(&select.operand.expr)?, select.field)),
        _ => None,
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn length_of<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}
