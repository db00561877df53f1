//! Transforms: other header fields of an answer, and another shape of JSON bodies, each held whole within a bound.
//!
//! Header fields are changed in every answer of the service; bodies of answers only where they tell of success (2xx), so that an
//! error stays what it is. A body that cannot be transformed is not handed on as it is: nobody has asked for that shape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gatehouse_shared::config::{ByteSize, ConfigErrors};
use gatehouse_shared::hop::is_internal;
use gatehouse_shared::problem;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::body::{CollectError, Outgoing};
use super::entity::{self, Media};
use super::failure::{Executed, Failure};
use super::step::{Step, StepConfig};
use super::template::{Escape, FUEL, Inputs, Template, TemplateBounds};
use crate::accept::body::{HoldError, Upload};
use crate::accept::room::Room;
use crate::dispatch::wait::until;
use crate::pipeline::Call;
use crate::store::catalog::At;

/// `transform` of an API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header fields of answers that are taken away. Default: none. Example: `["server", "x-powered-by"]`.
    #[serde(default)]
    pub remove_headers: Vec<String>,
    /// Header fields that answers have in the place of those of the service; values may be templates. Default: none.
    #[serde(default)]
    pub set_headers: BTreeMap<String, String>,
    /// Header fields that answers have beside those of the service; values may be templates. Default: none.
    #[serde(default)]
    pub add_headers: BTreeMap<String, String>,
    /// What is done with the JSON body of an answer with a status of 2xx, in this order. Default: nothing.
    #[serde(default)]
    pub answer: Vec<StepConfig>,
    /// What is done with the JSON body of a request, in this order. Default: nothing.
    #[serde(default)]
    pub request: Vec<StepConfig>,
    /// The longest body that is transformed. Default: `"1MiB"`.
    #[serde(default = "default_body_max")]
    pub body_max: ByteSize,
}

fn default_body_max() -> ByteSize {
    ByteSize::mib(1)
}

/// How much memory a document takes, as a multiple of its length: a number of one digit and its comma become a value of 32 bytes.
const WEIGHT: usize = 16;
/// What a template in a value may write.
const VALUE: TemplateBounds = TemplateBounds { fuel: FUEL, output: 8 * 1024 };

/// Transforms, as compiled.
#[derive(Debug)]
pub struct Transform {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Text)>,
    add: Vec<(HeaderName, Text)>,
    answer: Vec<Step>,
    request: Vec<Step>,
    body_max: u64,
    wants: Vec<&'static str>,
}

/// A text that may be a template.
#[derive(Debug)]
pub enum Text {
    /// It is none.
    Whole(String),
    /// It is one.
    Template(Box<Template>),
}

impl Text {
    /// Compiles a text.
    ///
    /// # Errors
    /// When it is a template, and a wrong one.
    pub fn compile(text: &str) -> Result<Self, String> {
        if !text.contains("{{") && !text.contains("{%") {
            return Ok(Self::Whole(text.to_owned()));
        }
        Template::compile(text, Escape::Nothing, VALUE).map(|template| Self::Template(Box::new(template)))
    }

    /// The inputs it uses.
    #[must_use]
    pub fn wants(&self) -> &[&'static str] {
        match self {
            Self::Whole(_) => &[],
            Self::Template(template) => template.wants(),
        }
    }

    /// The text of a call.
    ///
    /// # Errors
    /// When the template fails.
    pub fn render(&self, inputs: &Inputs) -> Result<String, Failure> {
        match self {
            Self::Whole(text) => Ok(text.clone()),
            Self::Template(template) => {
                let bytes = template.render(inputs)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }
}

/// What is the gate's own business.
const NOT_TO_BE_CHANGED: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONTENT_ENCODING,
    header::CONNECTION,
    header::TRAILER,
    header::UPGRADE,
    header::TE,
    header::DATE,
];

impl Transform {
    /// Compiles `transform` of the entry at `at`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut remove = Vec::new();
        for (index, name) in written.remove_headers.iter().enumerate() {
            remove.extend(field(name, &format!("transform.remove_headers[{index}]"), at, &mut errors));
        }
        let set = fields(&written.set_headers, "set_headers", at, &mut errors);
        let add = fields(&written.add_headers, "add_headers", at, &mut errors);
        let answer = errors.collect(Step::compile_all(&written.answer, "transform.answer", at)).unwrap_or_default();
        let request = errors.collect(Step::compile_all(&written.request, "transform.request", at)).unwrap_or_default();
        let body_max = written.body_max.get();
        if !(1..=64 << 20).contains(&body_max) {
            errors.push(at.error("transform.body_max", "not a length of bodies", "write \"1B\" to \"64MiB\""));
        }
        let texts =
            set.iter().chain(&add).map(|(_, text)| text).chain(answer.iter().chain(&request).filter_map(Step::text));
        let mut wants: Vec<&'static str> = texts.flat_map(|text| text.wants().iter().copied()).collect();
        wants.sort_unstable();
        wants.dedup();
        errors.into_result(Self { remove, set, add, answer, request, body_max, wants })
    }

    /// The inputs it uses.
    #[must_use]
    pub fn wants(&self) -> &[&'static str] {
        &self.wants
    }

    /// Whether the service is asked for a body that can be read here.
    #[must_use]
    pub fn reads_answers(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Whether the bodies of requests are transformed.
    #[must_use]
    pub fn reads_requests(&self) -> bool {
        !self.request.is_empty()
    }

    /// The body of a request in its other shape. `most` bytes of bodies are held in `room`.
    ///
    /// # Errors
    /// When there is a body that is not JSON, too long, or for which there is no room.
    pub async fn request(&self, call: &mut Call, inputs: &Inputs, room: &Arc<Room>, most: u64) -> Result<(), Failure> {
        if matches!(call.upload, Upload::Empty) {
            return Ok(());
        }
        let refused = |detail: &str| Failure::refused(&problem::BODY_UNTRANSFORMED).about(detail);
        if entity::is_encoded(&call.parts.headers) {
            return Err(refused("the body is compressed"));
        }
        if !matches!(entity::media(&call.parts.headers), Media::Json | Media::None) {
            return Err(refused("the media type is not JSON in UTF-8"));
        }
        let held = until(call.deadline, call.upload.hold(self.body_max, room.enter(most))).await?;
        let data = held.map_err(|error| match error {
            HoldError::TooLarge => Failure::refused(&problem::TRANSFORM_BODY_TOO_LARGE),
            HoldError::NoRoom => Failure::refused(&problem::TRANSFORM_NO_ROOM),
            HoldError::Upload(error) => error.into(),
        })?;
        if data.is_empty() {
            return Ok(());
        }
        let mut taken = room.enter(most);
        if !taken.grow(data.len().saturating_mul(WEIGHT)) {
            return Err(Failure::refused(&problem::TRANSFORM_NO_ROOM));
        }
        let value: Value =
            serde_json::from_slice(&data).map_err(|_error| refused("the body is not one JSON document"))?;
        let data = Bytes::from(apply(&self.request, value, inputs)?.to_string());
        let length = data.len();
        call.upload.replace(data);
        entity::has_changed(&mut call.parts.headers);
        call.parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(())
    }

    /// An answer in its other shape. `most` bytes of bodies are held in `room`.
    ///
    /// # Errors
    /// When it cannot be transformed.
    pub async fn answer(
        &self,
        answer: Response<Outgoing>,
        inputs: &Inputs,
        room: &Arc<Room>,
        most: u64,
        deadline: Instant,
    ) -> Result<Response<Outgoing>, Failure> {
        let (mut parts, mut body) = answer.into_parts();
        if self.reads_answers() && parts.status.is_success() {
            let is_there = !http_body::Body::is_end_stream(&body);
            if is_there {
                body = self.answer_body(parts.status, &parts.headers, body, inputs, room, most, deadline).await?;
            }
            entity::has_changed(&mut parts.headers);
        }
        self.change(&mut parts.headers, inputs)?;
        Ok(Response::from_parts(parts, body))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an answer, and what bounds it")]
    async fn answer_body(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Outgoing,
        inputs: &Inputs,
        room: &Arc<Room>,
        most: u64,
        deadline: Instant,
    ) -> Result<Outgoing, Failure> {
        if status == StatusCode::PARTIAL_CONTENT || entity::is_encoded(headers) {
            return Err(untransformed("the answer is compressed, or a part of one"));
        }
        if !matches!(entity::media(headers), Media::Json | Media::None) {
            return Err(untransformed("the media type of the answer is not JSON in UTF-8"));
        }
        let announced = http_body::Body::size_hint(&body).exact().unwrap_or(self.body_max).min(self.body_max);
        let mut taken = room.enter(most);
        if !taken.grow(usize::try_from(announced).unwrap_or(usize::MAX).saturating_mul(WEIGHT)) {
            let mut failure = Failure::refused(&problem::TRANSFORM_NO_ROOM);
            failure.executed = Executed::Perhaps;
            return Err(failure);
        }
        let data = match until(deadline, body.collect(self.body_max)).await {
            Ok(Ok(data)) => data,
            Ok(Err(CollectError::TooLarge)) => {
                return Err(untransformed("the answer is larger than may be transformed"));
            }
            Ok(Err(CollectError::Broken(_))) => return Err(untransformed("the answer was broken off")),
            Err(_elapsed) => {
                let mut failure = Failure::refused(&problem::DEADLINE_EXCEEDED);
                failure.executed = Executed::Perhaps;
                return Err(failure);
            }
        };
        let value = serde_json::from_slice(&data).map_err(|_error| untransformed("the answer is not JSON"))?;
        Ok(Outgoing::own(Bytes::from(apply(&self.answer, value, inputs)?.to_string())))
    }

    fn change(&self, headers: &mut HeaderMap, inputs: &Inputs) -> Result<(), Failure> {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, text) in &self.set {
            // What a client wrote may not fit into a header field; then there is none.
            headers.remove(name);
            if let Ok(value) = HeaderValue::from_str(&text.render(inputs)?) {
                headers.insert(name.clone(), value);
            }
        }
        for (name, text) in &self.add {
            if let Ok(value) = HeaderValue::from_str(&text.render(inputs)?) {
                headers.append(name.clone(), value);
            }
        }
        Ok(())
    }
}

fn untransformed(cause: &str) -> Failure {
    let mut failure = Failure::refused(&problem::ANSWER_UNTRANSFORMED);
    failure.executed = Executed::Perhaps;
    failure.cause = Some(cause.to_owned());
    failure
}

fn apply(steps: &[Step], mut value: Value, inputs: &Inputs) -> Result<Value, Failure> {
    for step in steps {
        value = step.apply(value, inputs)?;
    }
    Ok(value)
}

fn field(name: &str, key: &str, at: &At<'_>, errors: &mut ConfigErrors) -> Option<HeaderName> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if !NOT_TO_BE_CHANGED.contains(&name) && !is_internal(name.as_str()) => Some(name),
        _ => {
            errors.push(at.error(key, format!("the header field {name:?} cannot be changed"), "name another one"));
            None
        }
    }
}

fn fields(
    written: &BTreeMap<String, String>,
    key: &str,
    at: &At<'_>,
    errors: &mut ConfigErrors,
) -> Vec<(HeaderName, Text)> {
    let mut fields = Vec::with_capacity(written.len());
    for (name, value) in written {
        let key = format!("transform.{key}");
        let Some(name) = field(name, &key, at, errors) else { continue };
        match Text::compile(value) {
            Ok(Text::Whole(text)) if HeaderValue::from_str(&text).is_err() => {
                errors.push(at.error(&key, format!("{text:?} is not the value of a header field"), "correct it"));
            }
            Ok(text) => fields.push((name, text)),
            Err(message) => {
                errors.push(at.error(&key, format!("the template of {name} is wrong: {message}"), "correct it"));
            }
        }
    }
    fields
}
