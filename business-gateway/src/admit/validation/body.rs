//! What a body may be: its media type, and what its schema says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

use super::finding::{Finding, Findings, Place, below};
use super::read::{Duplicates, Limits, read};
use super::schema::{Judge, Judged};
use super::shape::{Encoding, Shape, Split, members, value};
use super::text::{Plus, decoded, pairs};

/// The media type of a JSON document.
pub const JSON: &str = "application/json";
/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// A media type that a body may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    kind: Box<str>,
    /// `*` for any, `*+json` for any with this ending.
    sub: Box<str>,
}

impl Media {
    /// Parses `application/json`, `application/*+json`, `text/*` or `*/*`; parameters are left out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (kind, sub) = text.split_once('/')?;
        let is_token = |text: &str, has_star: bool| {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !text.is_empty() && text.bytes().all(|byte| is_good(byte) || (has_star && byte == b'*'))
        };
        let is_right = is_token(kind, true) && is_token(sub, true) && (kind == "*") <= (sub == "*");
        let is_right = is_right && (!kind.contains('*') || kind == "*");
        let is_right = is_right && (!sub.contains('*') || sub == "*" || sub.starts_with("*+"));
        is_right.then(|| Self { kind: kind.into(), sub: sub.into() })
    }

    /// Whether a media type, in lower case, is one of these.
    #[must_use]
    pub fn fits(&self, media: &str) -> bool {
        let Some((kind, sub)) = media.split_once('/') else { return false };
        let fits_sub = match self.sub.strip_prefix('*') {
            Some(ending) => sub.ends_with(ending),
            None => *self.sub == *sub,
        };
        (&*self.kind == "*" || *self.kind == *kind) && fits_sub
    }

    /// The more precise of two that fit counts.
    fn precision(&self) -> usize {
        match (&*self.kind, self.sub.strip_prefix('*')) {
            (_, None) => 3,
            (_, Some(ending)) if !ending.is_empty() => 2,
            ("*", _) => 0,
            _ => 1,
        }
    }
}

/// What the schema of a body is, and what a form's fields are.
#[derive(Debug)]
pub struct BodySchema {
    judge: Judge,
    fields: BTreeMap<Box<str>, Shape>,
}

impl BodySchema {
    /// What a form's fields are follows from the schema.
    #[must_use]
    pub fn new(mut judge: Judge) -> Self {
        let schema = judge.schema.take();
        let members = members(&schema).into_iter();
        let fields = members.map(|(name, member)| (name.into(), Shape::within(&schema, member)));
        Self { fields: fields.collect(), judge }
    }
}

/// What is declared of a body.
#[derive(Debug)]
pub struct Body {
    /// The media types that it may have, and their schemas; `None` for any type and none.
    pub types: Option<Vec<(Media, Option<Arc<BodySchema>>)>>,
    /// Whether there has to be one.
    pub is_required: bool,
    /// What bounds the reading of it.
    pub limits: Limits,
    /// The longest one that is held.
    pub max: u64,
}

/// How a body is to be judged.
#[derive(Debug)]
pub enum How<'b> {
    /// Not at all.
    Unread,
    /// As JSON.
    Json(&'b BodySchema),
    /// As a form.
    Form(&'b BodySchema),
}

impl Body {
    /// What the head of a request with a body says of it.
    ///
    /// # Errors
    /// When it is of another type than declared, or encoded so that it cannot be judged.
    pub fn how(&self, headers: &HeaderMap) -> Result<How<'_>, Finding> {
        let Some(types) = &self.types else { return Ok(How::Unread) };
        let refuse = |message: &'static str| Err(Finding::new(Place::Body, "", "contentType", message));
        let mut lines = headers.get_all(CONTENT_TYPE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return refuse("there must be one Content-Type");
        };
        let Ok(text) = line.to_str() else { return refuse("the Content-Type has characters beyond ASCII") };
        let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let found = types.iter().filter(|(range, _)| range.fits(&media)).max_by_key(|(range, _)| range.precision());
        let Some((_, schema)) = found else { return refuse("the type of the body is not one of those declared") };
        let Some(schema) = schema else { return Ok(How::Unread) };
        let is_json = media == JSON || media.ends_with("+json");
        if !is_json && media != FORM {
            return Ok(How::Unread);
        }
        if !is_utf8(text) {
            return refuse("JSON and forms are in UTF-8");
        }
        let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
            let message = "a compressed body cannot be judged: send it as it is";
            return Err(Finding::new(Place::Body, "", "contentEncoding", message));
        }
        Ok(if is_json { How::Json(schema) } else { How::Form(schema) })
    }

    /// Judges a body.
    pub fn check(&self, how: &How<'_>, body: &[u8], most: u64, findings: &mut Findings) {
        let (schema, value, values) = match how {
            How::Unread => return,
            How::Json(schema) => match read(body, &self.limits) {
                Ok(read) => (schema, read.value, read.values),
                Err((finding, _)) => return findings.push(finding),
            },
            How::Form(schema) => match form(body, schema, &self.limits, findings) {
                Some((value, values)) => (schema, value, values),
                None => return,
            },
        };
        let judged = Judged { value: &value, values, bytes: body.len(), place: Place::Body, base: "" };
        schema.judge.judge(judged, most, findings);
    }
}

/// Whether the parameters of a media type name UTF-8, if they name anything.
fn is_utf8(text: &str) -> bool {
    let parameters = text.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets.all(|(_, value)| {
        let value = value.trim().trim_matches('"');
        ["utf-8", "utf8", "us-ascii"].iter().any(|name| value.eq_ignore_ascii_case(name))
    })
}

/// A form as an object; `None` where it cannot be read.
fn form(body: &[u8], schema: &BodySchema, limits: &Limits, findings: &mut Findings) -> Option<(Value, usize)> {
    let whole = |rule, message: &'static str| Finding::new(Place::Body, "", rule, message);
    match fields(body, limits) {
        Ok((fields, values)) => {
            let mut wrong = Vec::new();
            let (object, values) = object(fields, values, schema, limits, &mut wrong);
            if values > limits.values {
                wrong.push(whole("values", "the form has too many values"));
            }
            let is_right = wrong.is_empty();
            wrong.into_iter().for_each(|finding| findings.push(finding));
            is_right.then(|| (object.into(), values))
        }
        Err((rule, message)) => {
            findings.push(whole(rule, message));
            None
        }
    }
}

/// The texts of a form by name, and how many there are.
type Fields<'b> = (BTreeMap<Cow<'b, str>, Vec<&'b str>>, usize);

fn fields<'b>(body: &'b [u8], limits: &Limits) -> Result<Fields<'b>, (&'static str, &'static str)> {
    let text = std::str::from_utf8(body).map_err(|_error| ("encoding", "the form is no UTF-8"))?;
    let mut fields: BTreeMap<Cow<'_, str>, Vec<&str>> = BTreeMap::new();
    let mut values = 1;
    for (name, text) in pairs(text) {
        values += 1;
        if values > limits.values {
            return Err(("values", "the form has too many fields"));
        }
        let name = decoded(name, Plus::Space);
        let name = name.ok_or(("encoding", "the percent-encoding of a name is broken, or no UTF-8"))?;
        fields.entry(name).or_default().push(text);
    }
    Ok((fields, values))
}

/// The fields as an object, and how many values it consists of.
fn object(
    fields: BTreeMap<Cow<'_, str>, Vec<&str>>,
    mut values: usize,
    schema: &BodySchema,
    limits: &Limits,
    wrong: &mut Vec<Finding>,
) -> (Map<String, Value>, usize) {
    let mut object = Map::new();
    for (name, texts) in fields {
        let mut pointer = String::new();
        below(&mut pointer, &name);
        let shape = schema.fields.get(&*name).copied().unwrap_or(Shape::One(super::shape::Scalars::default()));
        // An object inside of a form is written as JSON, as OpenAPI says.
        if shape == Shape::Object {
            let text = texts.first().and_then(|text| decoded(text, Plus::Space));
            let inner = Limits { depth: limits.depth.saturating_sub(1), ..*limits };
            match text.map(|text| read(text.as_bytes(), &inner)) {
                Some(Ok(read)) if texts.len() == 1 => {
                    values += read.values;
                    object.insert(name.into_owned(), read.value);
                }
                _ => wrong.push(Finding::new(Place::Body, &pointer, "syntax", "must be one JSON document")),
            }
            continue;
        }
        let texts = match limits.duplicates {
            Duplicates::Last if matches!(shape, Shape::One(_)) => texts.last().map(std::slice::from_ref),
            _ => Some(texts.as_slice()),
        };
        let texts = texts.unwrap_or_default();
        match value(shape, Split::Repeated, Encoding::Percent(Plus::Space), texts, Place::Body, &pointer) {
            Ok((value, _)) => {
                object.insert(name.into_owned(), value);
            }
            Err(finding) => wrong.push(finding),
        }
    }
    (object, values)
}
