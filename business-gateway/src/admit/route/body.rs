//! Fields of a body: one that a JSON pointer finds, or one of a form. What is not of the media type, is compressed, or does not
//! parse, carries no field at all; a field that is there twice has no value that counts.

use std::borrow::Cow;
use std::fmt;

use gatehouse_shared::config::ConfigErrors;
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::question::Question;
use super::text::{Test, Written};
use crate::admit::flow_rule::input::parameters;
use crate::store::catalog::At;

/// Segments of a JSON pointer: the depth to which a document is looked into.
const DEPTH_MAX: usize = 32;

/// A field of the body, and one test. The body is then held whole before the API of a call is known; `body_max` of `[routing]`
/// says up to which length.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it stands in a JSON body, as a JSON pointer (RFC 6901). Example: `"/order/kind"`.
    pub json: Option<String>,
    /// Its name in a form (`application/x-www-form-urlencoded`).
    pub form: Option<String>,
    /// `true`: it is there, with whatever value; `false`: it is not.
    pub present: Option<bool>,
    /// It is this text; numbers count in their shortest form, `true`, `false` and `null` as such, objects and lists are no text.
    pub equals: Option<String>,
    /// It is one of these texts.
    pub one_of: Option<Vec<String>>,
    /// It begins so.
    pub prefix: Option<String>,
    /// This expression finds something in it; `^` and `$` tie it to both ends. Linear in the length of the text.
    pub regex: Option<String>,
}

/// Where in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spot {
    Json { pointer: Box<str>, path: Vec<Box<str>> },
    Form(Box<str>),
}

/// A test of a field of the body.
#[derive(Debug, Clone)]
pub struct Field {
    spot: Spot,
    test: Test,
}

/// What a body carries in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found<'a> {
    Nothing,
    Text(Cow<'a, str>),
    /// An object or a list, or several values.
    NoText,
}

impl Field {
    /// Compiles the entry at `key`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, at: &At<'_>, key: &str) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let spot = match (&written.json, &written.form) {
            (Some(pointer), None) => {
                let path = path_of(pointer);
                if path.is_none() {
                    let remedy = "begin it with a slash, as in \"/order/kind\", with 32 segments at most";
                    errors.push(at.error(&format!("{key}.json"), format!("{pointer:?} is not a pointer"), remedy));
                }
                path.map(|path| Spot::Json { pointer: pointer.as_str().into(), path })
            }
            (None, Some(name)) if !name.is_empty() => Some(Spot::Form(name.as_str().into())),
            _ => {
                errors.push(at.error(key, "not exactly one field", "write one of json and form"));
                None
            }
        };
        let test = Written {
            present: written.present,
            equals: written.equals.as_deref(),
            one_of: written.one_of.as_deref(),
            prefix: written.prefix.as_deref(),
            regex: written.regex.as_deref(),
        };
        let test = errors.collect(Test::compile(test, at, key));
        match (spot, test) {
            (Some(spot), Some(test)) => errors.into_result(Self { spot, test }),
            _ => Err(errors),
        }
    }

    /// Whether a call passes; `None` where only the body can say. A body that is not of the media type needs no look.
    #[must_use]
    pub fn fits(&self, question: &Question<'_>) -> Option<bool> {
        if !self.is_of_type(question) {
            return Some(self.test.passes_nothing());
        }
        Some(match self.spot.find(question.body?) {
            Found::Nothing => self.test.passes_nothing(),
            Found::Text(text) => self.test.passes(text.as_bytes()),
            Found::NoText => matches!(self.test, Test::Present),
        })
    }

    /// Whether no call passes both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.spot == other.spot && self.test.excludes(&other.test)
    }

    /// What the call carries there, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        if !self.is_of_type(question) {
            return "not such a body".to_owned();
        }
        let Some(body) = question.body else { return "not looked at".to_owned() };
        match self.spot.find(body) {
            Found::Nothing => "not there".to_owned(),
            Found::Text(text) => format!("{text:?}"),
            Found::NoText => "no text".to_owned(),
        }
    }

    fn is_of_type(&self, question: &Question<'_>) -> bool {
        let media_type = question.media_type();
        let ends_in_json = media_type.rsplit_once('+').is_some_and(|(_, end)| end.eq_ignore_ascii_case("json"));
        let is_of_type = match self.spot {
            Spot::Json { .. } => media_type.eq_ignore_ascii_case("application/json") || ends_in_json,
            Spot::Form(_) => media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded"),
        };
        is_of_type && !question.headers.contains_key(header::CONTENT_ENCODING)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            Spot::Json { pointer, .. } => write!(out, "body {pointer} {}", self.test),
            Spot::Form(name) => write!(out, "form {name} {}", self.test),
        }
    }
}

impl Spot {
    fn find<'b>(&self, body: &'b [u8]) -> Found<'b> {
        match self {
            Self::Json { path, .. } => {
                let mut document = serde_json::Deserializer::from_slice(body);
                let found = Seek(path).deserialize(&mut document);
                // What follows the document would be read by a service that is less strict.
                match (found, document.end()) {
                    (Ok(found), Ok(())) => found,
                    _ => Found::Nothing,
                }
            }
            Self::Form(name) => {
                let Ok(form) = std::str::from_utf8(body) else { return Found::Nothing };
                let mut values = parameters(form).filter(|(known, _)| **known == **name).map(|(_, value)| value);
                match (values.next(), values.next()) {
                    (None, _) => Found::Nothing,
                    (Some(value), None) => Found::Text(value),
                    _ => Found::NoText,
                }
            }
        }
    }
}

/// The segments of a JSON pointer (RFC 6901); an empty one means the whole document, which is no field.
fn path_of(pointer: &str) -> Option<Vec<Box<str>>> {
    let segments: Vec<&str> = pointer.strip_prefix('/')?.split('/').collect();
    if segments.len() > DEPTH_MAX {
        return None;
    }
    let unescaped = |segment: &str| {
        let plain = segment.replace("~1", "").replace("~0", "");
        (!plain.contains('~')).then(|| segment.replace("~1", "/").replace("~0", "~").into())
    };
    segments.into_iter().map(unescaped).collect()
}

/// Looks for what is at the end of a path, and passes over everything else without keeping it.
#[derive(Clone, Copy)]
struct Seek<'p>(&'p [Box<str>]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<Found<'de>, D::Error> {
        document.deserialize_any(self)
    }
}

impl Seek<'_> {
    /// A text that stands here: it is what was looked for when the path ends here.
    fn text<'de>(self, text: Cow<'de, str>) -> Found<'de> {
        if self.0.is_empty() { Found::Text(text) } else { Found::Nothing }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON document")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Found<'de>, E> {
        Ok(self.text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Found<'de>, E> {
        Ok(self.text(value.to_string().into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Found<'de>, E> {
        Ok(self.text(value.to_string().into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Found<'de>, E> {
        Ok(self.text(value.to_string().into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Found<'de>, E> {
        Ok(self.text(Cow::Borrowed("null")))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(self.text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Found<'de>, E> {
        Ok(self.text(text.to_owned().into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let Some((name, rest)) = self.0.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::NoText);
        };
        let mut found = None;
        while let Some(key) = map.next_key::<Name<'de>>()? {
            if key.0 != **name {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(Seek(rest))?;
            // Which of two values a service takes is not known here.
            found = Some(if found.is_none() { value } else { Found::NoText });
        }
        Ok(found.unwrap_or(Found::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found<'de>, A::Error> {
        let Some((wanted, rest)) = self.0.split_first() else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Found::NoText);
        };
        let is_index = wanted.len() == 1 || !wanted.starts_with('0');
        let wanted = wanted.parse::<usize>().ok().filter(|_| is_index && wanted.bytes().all(|it| it.is_ascii_digit()));
        let (mut found, mut index) = (Found::Nothing, 0_usize);
        loop {
            if Some(index) == wanted {
                match list.next_element_seed(Seek(rest))? {
                    Some(value) => found = value,
                    None => return Ok(found),
                }
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index = index.saturating_add(1);
        }
    }
}

/// The name of a field, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Positions;
    use http::{HeaderMap, HeaderValue, Method};

    fn compile(text: &str) -> Result<Field, String> {
        let positions = Positions::default();
        let at = At { positions: &positions, path: "api[0]".to_owned() };
        Field::compile(&toml::from_str(text).unwrap(), &at, "when.body[0]").map_err(|errors| errors.to_string())
    }

    fn fits(text: &str, media_type: &'static str, body: Option<&str>) -> Option<bool> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media_type));
        let client = [192, 0, 2, 1].into();
        let (headers, body) = (&headers, body.map(str::as_bytes));
        let question =
            Question { authority: "h", path: "/", method: &Method::POST, query: "", headers, client, unix_ms: 0, body };
        compile(text).unwrap().fits(&question)
    }

    fn json(pointer: &str, body: &str) -> Found<'static> {
        let path = path_of(pointer).unwrap();
        let spot = Spot::Json { pointer: pointer.into(), path };
        match spot.find(body.as_bytes()) {
            Found::Text(text) => Found::Text(text.into_owned().into()),
            Found::Nothing => Found::Nothing,
            Found::NoText => Found::NoText,
        }
    }

    #[test]
    fn a_pointer_finds_what_stands_there() {
        let body = r#" {"a": {"b": [1, "x", {"c/d~": true}], "e": null, "f": 1.5, "\u0067": "é", "h": -3}} "#;
        for (pointer, expected) in [
            ("/a/b/0", "1"),
            ("/a/b/1", "x"),
            ("/a/b/2/c~1d~0", "true"),
            ("/a/e", "null"),
            ("/a/f", "1.5"),
            ("/a/g", "é"),
            ("/a/h", "-3"),
        ] {
            assert_eq!(json(pointer, body), Found::Text(expected.into()), "{pointer}");
        }
        for pointer in ["/b", "/a/b/3", "/a/b/00", "/a/b/01", "/a/b/-", "/a/e/x", "/a/b/1/0", "/"] {
            assert_eq!(json(pointer, body), Found::Nothing, "{pointer}");
        }
        for pointer in ["/a", "/a/b", "/a/b/2"] {
            assert_eq!(json(pointer, body), Found::NoText, "{pointer}");
        }
    }

    #[test]
    fn what_services_read_in_different_ways_has_no_value() {
        assert_eq!(json("/a", r#"{"a": 1, "a": 2}"#), Found::NoText);
        assert_eq!(json("/a", r#"{"a": 1, "\u0061": 1}"#), Found::NoText);
        for body in [r#"{"a": 1} x"#, r#"{"a": 1"#, r#"{"a": 1,}"#, "", "\u{feff}{\"a\": 1}", r#"{"b": nul, "a": 1}"#] {
            assert_eq!(json("/a", body), Found::Nothing, "{body}");
        }
        let deep = format!("{{\"a\": {}1{}, \"b\": 2}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json("/b", &deep), Found::Text("2".into()), "what is passed over may be of any depth");
    }

    #[test]
    fn only_a_body_of_the_type_is_looked_at() {
        let field = "json = \"/kind\"\nequals = \"x\"";
        let body = Some("{\"kind\": \"x\"}");
        assert_eq!(fits(field, "application/json; charset=utf-8", None), None, "only the body can say");
        assert_eq!(fits(field, "application/json", body), Some(true));
        assert_eq!(fits(field, "application/vnd.shop+JSON", body), Some(true));
        assert_eq!(fits(field, "text/plain", None), Some(false), "nothing is held for it");
        assert_eq!(fits("json = \"/kind\"\npresent = false", "text/plain", None), Some(true));
        assert_eq!(
            fits("form = \"a\"\nequals = \"1 2\"", "application/x-www-form-urlencoded", Some("b=&a=1+2")),
            Some(true)
        );
        assert_eq!(
            fits("form = \"a\"\nequals = \"1\"", "application/x-www-form-urlencoded", Some("a=1&a=1")),
            Some(false)
        );
        assert_eq!(
            fits("form = \"a\"\npresent = true", "application/x-www-form-urlencoded", Some("a=1&a=2")),
            Some(true)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("json = \"kind\"\nequals = \"x\"", "\"kind\" is not a pointer"),
            ("json = \"/a~2\"\nequals = \"x\"", "is not a pointer"),
            ("json = \"/a\"\nform = \"a\"\nequals = \"x\"", "not exactly one field"),
            ("form = \"\"\nequals = \"x\"", "not exactly one field"),
            ("json = \"/a\"", "not exactly one test"),
        ] {
            let error = compile(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
