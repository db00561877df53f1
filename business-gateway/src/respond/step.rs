//! One step of a transform: what is done with a JSON document.

use gatehouse_shared::config::ConfigErrors;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::fields::path::{self, Step as PathStep};
use super::template::Inputs;
use super::transform::Text;
use crate::store::catalog::At;

/// A step, as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// What is done: `"rename"` a member, `"move"` one to another place, `"remove"` one, `"set"` one, or `"wrap"` the whole
    /// document into an object.
    pub op: Op,
    /// The member: names with dots in between; `*` is every member or element, in `"rename"` and `"remove"`.
    /// Example: `"orders.*.id"`.
    pub path: Option<String>,
    /// The new name (`"rename"`, `"wrap"`) or place (`"move"`).
    pub to: Option<String>,
    /// The value (`"set"`); a text may be a template. Example: `"{{ request_id }}"`.
    pub value: Option<Value>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// A member gets another name, at its place.
    Rename,
    /// A member goes to another place.
    Move,
    /// A member goes.
    Remove,
    /// A member gets a value, or comes.
    Set,
    /// The document becomes the one member of an object.
    Wrap,
}

/// Most bytes of a new name, which a document may have for every eight of its bytes.
const NAME_MAX: usize = 64;

/// A step, as compiled. What its path does not lead to stays as it is.
#[derive(Debug)]
pub enum Step {
    /// Gives a member another name.
    Rename(Place, Box<str>),
    /// Takes a member elsewhere.
    Move(Place, Place),
    /// Removes a member.
    Remove(Place),
    /// Sets a member.
    Set(Place, Member),
    /// Makes an object around the document.
    Wrap(Box<str>),
}

/// Where a member is: the way to what holds it, and its name.
#[derive(Debug)]
pub struct Place {
    way: Vec<PathStep>,
    last: PathStep,
}

/// What a member is set to.
#[derive(Debug)]
pub enum Member {
    /// A value.
    Value(Value),
    /// A text that depends on the call.
    Text(Text),
}

impl Step {
    /// Compiles the list at `key`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile_all(written: &[StepConfig], key: &str, at: &At<'_>) -> Result<Vec<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut steps = Vec::with_capacity(written.len());
        for (index, step) in written.iter().enumerate() {
            match Self::compile(step) {
                Ok(step) => steps.push(step),
                Err((name, message)) => {
                    let remedy = "write { op = \"rename\", path = \"a.b\", to = \"c\" }, \"move\" with path and to, \"remove\" \
                                  with path, \"set\" with path and value, or \"wrap\" with to";
                    errors.push(at.error(&format!("{key}[{index}].{name}"), message, remedy));
                }
            }
        }
        errors.into_result(steps)
    }

    fn compile(step: &StepConfig) -> Result<Self, (&'static str, String)> {
        let name = || {
            let name = step.to.as_deref().filter(|name| (1..=NAME_MAX).contains(&name.len()));
            name.map(Box::<str>::from).ok_or_else(|| ("to", format!("no name of 1 to {NAME_MAX} bytes")))
        };
        let path = |stars| place("path", step.path.as_deref(), stars);
        let unused: &[(&'static str, bool)] = match step.op {
            Op::Rename | Op::Move => &[("value", step.value.is_some())],
            Op::Remove => &[("value", step.value.is_some()), ("to", step.to.is_some())],
            Op::Set => &[("to", step.to.is_some())],
            Op::Wrap => &[("value", step.value.is_some()), ("path", step.path.is_some())],
        };
        if let Some((key, _)) = unused.iter().find(|(_, is_there)| *is_there) {
            return Err((*key, format!("this step has no {key:?}")));
        }
        Ok(match step.op {
            Op::Rename => {
                let place = path(Stars::OnTheWay)?;
                Self::Rename(place, name()?)
            }
            Op::Move => Self::Move(path(Stars::Nowhere)?, place("to", step.to.as_deref(), Stars::Nowhere)?),
            Op::Remove => Self::Remove(path(Stars::Anywhere)?),
            Op::Set => {
                // A value for every element of a list could be larger than any bound.
                let place = path(Stars::Nowhere)?;
                let member = match step.value.clone() {
                    None => return Err(("value", "no value".to_owned())),
                    Some(Value::String(text)) => Member::Text(
                        Text::compile(&text)
                            .map_err(|message| ("value", format!("the template is wrong: {message}")))?,
                    ),
                    Some(value) => Member::Value(value),
                };
                Self::Set(place, member)
            }
            Op::Wrap => Self::Wrap(name()?),
        })
    }

    /// The text of the step that may be a template.
    #[must_use]
    pub fn text(&self) -> Option<&Text> {
        match self {
            Self::Set(_, Member::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The document after this step.
    ///
    /// # Errors
    /// When a template fails.
    pub fn apply(&self, mut document: Value, inputs: &Inputs) -> Result<Value, Failure> {
        match self {
            Self::Rename(place, to) => each(&mut document, &place.way, Missing::Stays, &mut |holder| {
                let (Value::Object(members), PathStep::Name(from)) = (holder, &place.last) else { return };
                if !members.contains_key(&**from) {
                    return;
                }
                let renamed =
                    std::mem::take(members).into_iter().filter(|(name, _)| **name != **to || **name == **from);
                *members =
                    renamed.map(|(name, value)| (if *name == **from { to.to_string() } else { name }, value)).collect();
            }),
            Self::Move(from, to) => {
                let mut moved = None;
                each(&mut document, &from.way, Missing::Stays, &mut |holder| moved = take(holder, &from.last));
                if let Some(moved) = moved {
                    set(&mut document, to, &moved);
                }
            }
            Self::Remove(place) => {
                each(&mut document, &place.way, Missing::Stays, &mut |holder| remove(holder, &place.last))
            }
            Self::Set(place, member) => {
                let value = match member {
                    Member::Value(value) => value.clone(),
                    Member::Text(text) => Value::from(text.render(inputs)?),
                };
                set(&mut document, place, &value);
            }
            Self::Wrap(name) => {
                let members: Map<String, Value> = [(name.to_string(), document)].into_iter().collect();
                return Ok(Value::Object(members));
            }
        }
        Ok(document)
    }
}

/// Where stars may stand in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stars {
    Nowhere,
    OnTheWay,
    Anywhere,
}

fn place(key: &'static str, text: Option<&str>, stars: Stars) -> Result<Place, (&'static str, String)> {
    let text = text.ok_or_else(|| (key, format!("no {key:?}")))?;
    let mut way = path::parse(text).map_err(|error| (key, format!("{text:?} is not a path: {error}")))?;
    let last = way.pop().ok_or_else(|| (key, "no name".to_owned()))?;
    if way.contains(&PathStep::Deep) {
        return Err((key, "\"**\" is not for transforms".to_owned()));
    }
    let (on_the_way, at_the_end) = (way.contains(&PathStep::Any), last == PathStep::Any);
    if (on_the_way && stars == Stars::Nowhere) || (at_the_end && stars != Stars::Anywhere) {
        return Err((key, "no star here".to_owned()));
    }
    Ok(Place { way, last })
}

/// What happens on the way to a member where nothing is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Stays,
    /// An object comes.
    Comes,
}

/// Visits whatever the way leads to; no deeper than the way is long.
fn each(value: &mut Value, way: &[PathStep], missing: Missing, visit: &mut dyn FnMut(&mut Value)) {
    let Some((step, way)) = way.split_first() else { return visit(value) };
    if missing == Missing::Comes && value.is_null() {
        *value = Value::Object(Map::new());
    }
    match (value, step) {
        (Value::Object(members), PathStep::Name(name)) => {
            if missing == Missing::Comes {
                each(members.entry(&**name).or_insert(Value::Null), way, missing, visit);
            } else if let Some(value) = members.get_mut(&**name) {
                each(value, way, missing, visit);
            }
        }
        (Value::Array(elements), PathStep::Name(name)) => {
            if let Some(value) = name.parse::<usize>().ok().and_then(|index| elements.get_mut(index)) {
                each(value, way, missing, visit);
            }
        }
        (Value::Object(members), PathStep::Any) => {
            for value in members.values_mut() {
                each(value, way, missing, visit);
            }
        }
        (Value::Array(elements), PathStep::Any) => {
            for value in elements {
                each(value, way, missing, visit);
            }
        }
        _ => {}
    }
}

fn take(holder: &mut Value, last: &PathStep) -> Option<Value> {
    let PathStep::Name(name) = last else { return None };
    match holder {
        Value::Object(members) => members.shift_remove(&**name),
        Value::Array(elements) => {
            let index = name.parse::<usize>().ok().filter(|index| *index < elements.len())?;
            Some(elements.remove(index))
        }
        _ => None,
    }
}

fn remove(holder: &mut Value, last: &PathStep) {
    match (holder, last) {
        (Value::Object(members), PathStep::Any) => members.clear(),
        (Value::Array(elements), PathStep::Any) => elements.clear(),
        (holder, last) => drop(take(holder, last)),
    }
}

fn set(document: &mut Value, place: &Place, value: &Value) {
    each(document, &place.way, Missing::Comes, &mut |holder| {
        let PathStep::Name(name) = &place.last else { return };
        if holder.is_null() {
            *holder = Value::Object(Map::new());
        }
        match holder {
            Value::Object(members) => drop(members.insert(name.to_string(), value.clone())),
            Value::Array(elements) => {
                if let Some(element) = name.parse::<usize>().ok().and_then(|index| elements.get_mut(index)) {
                    *element = value.clone();
                }
            }
            _ => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(steps: Value, document: Value) -> Result<Value, String> {
        let steps: Vec<StepConfig> = serde_json::from_value(steps).unwrap();
        let mut document = document;
        for step in &steps {
            let step = Step::compile(step).map_err(|(key, message)| format!("{key}: {message}"))?;
            document = step.apply(document, &Inputs::none()).map_err(|failure| format!("{failure:?}"))?;
        }
        Ok(document)
    }

    #[test]
    fn members_change_their_names_and_places() {
        for (step, before, after) in [
            (json!({"op": "rename", "path": "a", "to": "b"}), json!({"x": 1, "a": 2, "b": 3}), json!({"x": 1, "b": 2})),
            (json!({"op": "rename", "path": "a", "to": "a"}), json!({"a": 2}), json!({"a": 2})),
            (
                json!({"op": "rename", "path": "l.*.a", "to": "b"}),
                json!({"l": [{"a": 1}, 2, {}]}),
                json!({"l": [{"b": 1}, 2, {}]}),
            ),
            (
                json!({"op": "move", "path": "a.b", "to": "c.d"}),
                json!({"a": {"b": 1, "e": 2}}),
                json!({"a": {"e": 2}, "c": {"d": 1}}),
            ),
            (json!({"op": "move", "path": "none", "to": "c"}), json!({"a": 1}), json!({"a": 1})),
            (json!({"op": "move", "path": "l.0", "to": "first"}), json!({"l": [1, 2]}), json!({"l": [2], "first": 1})),
            (json!({"op": "remove", "path": "a.*"}), json!({"a": [1, 2], "b": 1}), json!({"a": [], "b": 1})),
            (
                json!({"op": "remove", "path": "*.b"}),
                json!({"a": {"b": 1, "c": 2}, "d": 1}),
                json!({"a": {"c": 2}, "d": 1}),
            ),
            (json!({"op": "set", "path": "a.b.c", "value": [1]}), json!({}), json!({"a": {"b": {"c": [1]}}})),
            (
                json!({"op": "set", "path": "l.1.a", "value": true}),
                json!({"l": [1, {}]}),
                json!({"l": [1, {"a": true}]}),
            ),
            (json!({"op": "set", "path": "a", "value": "text"}), json!([1]), json!([1])),
            (json!({"op": "wrap", "to": "data"}), json!([1]), json!({"data": [1]})),
        ] {
            let found = apply(json!([step.clone()]), before.clone()).unwrap();
            assert_eq!(found.to_string(), after.to_string(), "{step} {before}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (step, expected) in [
            (json!({"op": "rename", "path": "a"}), "to: no name"),
            (json!({"op": "rename", "path": "*", "to": "b"}), "path: no star here"),
            (json!({"op": "move", "path": "a.*.b", "to": "c"}), "path: no star here"),
            (json!({"op": "remove", "path": "**.a"}), "path: \"**\" is not for transforms"),
            (json!({"op": "remove", "path": "/a"}), "path: \"/a\" is not a path"),
            (json!({"op": "remove", "path": "a", "to": "b"}), "to: this step has no \"to\""),
            (json!({"op": "set", "path": "a"}), "value: no value"),
            (json!({"op": "set", "path": "a.*.b", "value": 1}), "path: no star here"),
            (json!({"op": "set", "path": "a", "value": "{{ nobody }}"}), "value: the template is wrong"),
            (json!({"op": "wrap", "path": "a", "to": "b"}), "path: this step has no \"path\""),
        ] {
            let error = apply(json!([step.clone()]), json!({})).unwrap_err();
            assert!(error.starts_with(expected), "{step}: {error}");
        }
    }
}
