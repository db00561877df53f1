//! An answer as a template of JSON. A value can never break out of its place, whatever it is and however the template is
//! written: values come into the text between marks that neither a template nor a value can contain, and `Sink` follows the
//! text and decides what a value means where it stands. In the place of a value it is that value in JSON; inside of a text it
//! is a part of the text; anywhere else the template is wrong.

use std::io;

use bytes::Bytes;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::expression::Names;
use super::json;
use super::language;

/// Before a value. JSON has no control characters but blanks.
const BEGIN: char = '\u{1}';
/// After it.
const END: char = '\u{2}';
/// The name of the only template of an environment.
const NAME: &str = "answer";
/// Bytes of a template.
const SOURCE_MAX: usize = 256 * 1024;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    language: Environment<'static>,
    /// What it looks at.
    pub(super) names: Names,
    answer_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is longer than it may be.
    #[error("the template makes more than {0} bytes")]
    TooLong(usize),
    /// It takes more steps than it may.
    #[error("the template takes more steps than it may")]
    Fuel,
    /// What it makes is not JSON.
    #[error("the template does not make JSON: {0}")]
    NotJson(&'static str),
    /// An operation in it is not for such values.
    #[error("the template failed")]
    Failed(#[source] Error),
}

impl Template {
    /// Compiles a template that may take `fuel` steps and make `answer_max` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(source: &str, fuel: u64, answer_max: usize) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("a template of {} bytes; at most {SOURCE_MAX}", source.len()));
        }
        language::check_template(source)?;
        let mut language = language::environment();
        language.set_fuel(Some(fuel));
        language.set_formatter(|out, _, value| {
            out.write_str(BEGIN.encode_utf8(&mut [0; 4]))?;
            let mut writer = Formatted(out);
            serde_json::to_writer(&mut writer, value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, "not a value of JSON").with_source(error))?;
            out.write_str(END.encode_utf8(&mut [0; 4]))?;
            Ok(())
        });
        let at = |error: &Error| match error.line() {
            Some(line) => format!("line {line}: {}", language::describe(error)),
            None => language::describe(error),
        };
        language.add_template_owned(NAME, source.to_owned()).map_err(|error| at(&error))?;
        let names = language.get_template(NAME).map_err(|error| at(&error))?.undeclared_variables(true);
        Ok(Self { language, names: Names::new(names, source), answer_max })
    }

    /// What it makes of what `scope` knows.
    ///
    /// # Errors
    /// When it makes nothing, too much, or no JSON.
    pub fn render(&self, scope: &Value) -> Result<Bytes, TemplateError> {
        let mut sink = Sink::new(self.answer_max);
        let template = self.language.get_template(NAME).map_err(TemplateError::Failed)?;
        let rendered = template.render_captured_to(scope.clone(), &mut sink).map(drop);
        if let Some(error) = sink.error {
            return Err(error);
        }
        rendered.map_err(|error| match error.kind() {
            ErrorKind::OutOfFuel => TemplateError::Fuel,
            _ => TemplateError::Failed(error),
        })?;
        if !json::is_valid(&sink.text) {
            return Err(TemplateError::NotJson("the text around the values is wrong"));
        }
        Ok(Bytes::from(sink.text))
    }
}

/// Lets JSON be written into the output of a template.
struct Formatted<'a, 'o>(&'a mut minijinja::Output<'o>);

impl io::Write for Formatted<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a template's text goes: it follows the JSON and puts every value where it belongs.
struct Sink {
    text: Vec<u8>,
    most: usize,
    place: Place,
    /// The last byte outside of a text that is not a blank; 0 at the beginning, [`VALUE`] after a value.
    last: u8,
    /// A value inside of a text, as far as it came.
    held: Vec<u8>,
    error: Option<TemplateError>,
}

/// Stands for a value in [`Sink::last`].
const VALUE: u8 = 2;

/// Where in the JSON the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Text,
    /// After a backslash in a text.
    Escape,
    /// In a value in the place of a value.
    Value,
    /// In a value inside of a text.
    ValueInText,
}

impl Sink {
    fn new(most: usize) -> Self {
        Self { text: Vec::new(), most, place: Place::Between, last: 0, held: Vec::new(), error: None }
    }

    fn take(&mut self, byte: u8) -> Result<(), TemplateError> {
        let is_begin = u32::from(byte) == u32::from(BEGIN);
        let is_end = u32::from(byte) == u32::from(END);
        match self.place {
            Place::Between if is_begin => {
                if !matches!(self.last, 0 | b'[' | b'{' | b',' | b':') {
                    return Err(TemplateError::NotJson("a value that follows another without a comma"));
                }
                self.place = Place::Value;
                return Ok(());
            }
            Place::Between => {
                if !byte.is_ascii_whitespace() {
                    if self.last == VALUE && !matches!(byte, b',' | b']' | b'}' | b':') {
                        return Err(TemplateError::NotJson("a value that is followed by something else than a comma"));
                    }
                    self.last = byte;
                }
                if byte == b'"' {
                    self.place = Place::Text;
                }
            }
            Place::Text if is_begin => {
                self.held.clear();
                self.place = Place::ValueInText;
                return Ok(());
            }
            Place::Text => match byte {
                b'"' => self.place = Place::Between,
                b'\\' => self.place = Place::Escape,
                _ => {}
            },
            Place::Escape if is_begin => return Err(TemplateError::NotJson("a value after a backslash")),
            Place::Escape => self.place = Place::Text,
            Place::Value if is_end => {
                (self.place, self.last) = (Place::Between, VALUE);
                return Ok(());
            }
            Place::Value => {}
            Place::ValueInText if is_end => {
                self.place = Place::Text;
                return self.put_held();
            }
            Place::ValueInText => {
                if self.text.len() + self.held.len() >= self.most {
                    return Err(TemplateError::TooLong(self.most));
                }
                self.held.push(byte);
                return Ok(());
            }
        }
        self.put(&[byte])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TemplateError> {
        if self.text.len().saturating_add(bytes.len()) > self.most {
            return Err(TemplateError::TooLong(self.most));
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// A value inside of a text: a text without its quotes, a number as it is, nothing for nothing.
    fn put_held(&mut self) -> Result<(), TemplateError> {
        match self.held.as_slice() {
            [b'"', inside @ .., b'"'] => self.text.extend_from_slice(inside),
            b"null" => {}
            [b'{' | b'[', ..] => return Err(TemplateError::NotJson("an object or a list inside of a text")),
            scalar => self.text.extend_from_slice(scalar),
        }
        Ok(())
    }
}

/// The bytes of a value before its end, if there are any, and what follows them.
fn after_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| u32::from(*byte) == u32::from(END)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).filter(|(value, _)| !value.is_empty())
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            // Most of an answer is values, of which nothing but the end needs a look.
            let plain = if self.place == Place::Value { after_value(rest) } else { None };
            let taken = match plain {
                Some((value, after)) => {
                    rest = after;
                    self.put(value)
                }
                None => {
                    rest = after;
                    self.take(*byte)
                }
            };
            if let Err(error) = taken {
                self.error = Some(error);
                return Err(io::Error::other("see Sink::error"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn render(source: &str, scope: &Json) -> Result<Json, String> {
        let template = Template::compile(source, 10_000, 4096)?;
        let text = template.render(&Value::from(Serde(scope))).map_err(|error| error.to_string())?;
        serde_json::from_slice(&text).map_err(|error| panic!("{error}: {text:?}"))
    }

    #[test]
    fn a_value_is_json_in_the_place_of_a_value_and_a_part_of_a_text_inside_of_one() {
        let scope = json!({"name": "O\"Brien\\", "age": 7, "tags": ["a", "</b>"], "gone": null, "key": "k\n"});
        let source = r#"{"name": {{ name }}, "text": "Hello {{ name }}, {{ age }}{{ gone }}!", "tags": {{ tags }},
            {{ key }}: [{% for tag in tags %}{{ tag }}{% if not loop.last %},{% endif %}{% endfor %}],
            "absent": {{ absent.of.this }}, "is": {{ age > 5 }}, "\"": {{ {"a": age} }} }"#;
        let expected = json!({
            "name": "O\"Brien\\", "text": "Hello O\"Brien\\, 7!", "tags": ["a", "</b>"], "k\n": ["a", "</b>"],
            "absent": null, "is": true, "\"": {"a": 7},
        });
        assert_eq!(render(source, &scope), Ok(expected));
    }

    #[test]
    fn a_template_that_does_not_make_json_fails() {
        let scope = json!({"a": 1, "b": 2, "o": {}});
        let cases = [
            ("[{{ a }}{{ b }}]", "follows another"),
            ("[1{{ a }}]", "follows another"),
            ("[{{ a }}1]", "followed by something else"),
            ("[\"x\"{{ a }}]", "follows another"),
            ("[\"{{ o }}\"]", "inside of a text"),
            ("[\"\\{{ a }}\"]", "after a backslash"),
            ("[{{ a }},]", "around the values"),
            ("{% if b == 3 %}1{% endif %}", "around the values"),
        ];
        for (source, expected) in cases {
            let found = render(source, &scope).unwrap_err();
            assert!(found.contains(expected), "{source}: {found}");
        }
    }

    #[test]
    fn steps_and_bytes_are_bounded() {
        let scope = json!({"list": vec![0; 200], "text": "x".repeat(300)});
        let long = "[{% for a in list %}\"{{ text }}\",{% endfor %}1]";
        assert_eq!(render(long, &scope).unwrap_err(), "the template makes more than 4096 bytes");
        let long = "[{% for a in list %}{{ text }},{% endfor %}1]";
        assert_eq!(render(long, &scope).unwrap_err(), "the template makes more than 4096 bytes");
        let slow = "{% for a in list %}{% for b in list %}{% endfor %}{% endfor %}1";
        assert_eq!(render(slow, &scope).unwrap_err(), "the template takes more steps than it may");
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
            "[\",:{}\\[\\]\\\\\u{1}\u{2}\u{0} ]{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-z\"\\\\]{0,4}", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_breaks_out_of_its_place(one in any_json(), other in any_json(), text in any::<String>()) {
            let scope = json!({"one": one, "other": other, "text": text});
            let source = r#"{"one": {{ one }}, "list": [{{ other }}, {{ text }}], "said": "<{{ text }}>"}"#;
            let expected = json!({"one": one, "list": [other, text], "said": format!("<{text}>")});
            prop_assert_eq!(render(source, &scope), Ok(expected));
        }

        #[test]
        fn whatever_a_template_is_its_text_is_json_or_there_is_none(
            source in "([{}\\[\\],:\"\\\\ 1a]|\\{\\{ one \\}\\}|\\{\\{ text \\}\\}){0,12}", one in any_json(), text in any::<String>(),
        ) {
            let scope = json!({"one": one, "text": text});
            // It panics there if the text is not JSON.
            let _outcome = render(&source, &scope);
        }
    }
}
