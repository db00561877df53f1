//! Everything that an API may say of the shape of its answers, and where it comes in: around whoever answers a call.
//!
//! On the way in the request is asked for what can be read here; on the way out the answer loses the fields that its caller may
//! not see. APIs that say nothing have no [`Shaping`], and pay nothing.

use std::sync::Arc;
use std::time::Instant;

use gatehouse_shared::config::{ByteSize, ConfigErrors, Positions, SecretSource, Sources};
use gatehouse_shared::problem;
use gatehouse_shared::telemetry::access_log::Line;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use ring::hmac;
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::Outgoing;
use super::compress::Encoding;
use super::cors::Judged;
use super::failure::{Executed, Failure};
use super::fallback::Fallback;
use super::fields::rewriter::DocumentBounds;
use super::fields::rule::{FieldPolicies, Fields};
use super::fields::{self, UNREADABLE, Withheld};
use super::template::{Facts, Inputs};
use super::transform::Transform;
use crate::accept::room::Room;
use crate::admit::api::{self, Api};
use crate::admit::caller::Caller;
use crate::metrics::ShapeMetrics;
use crate::pipeline::Call;
use crate::store::catalog::{At, Catalog};

/// `[shape]` of `business.toml`: what bounds the shaping of answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Objects and lists in each other, in an answer that is read for hidden fields. Default: 64.
    pub depth_max: usize,
    /// The longest name of a member in such an answer. Default: `"4KiB"`.
    pub name_max: ByteSize,
    /// Answers of a known length up to this are read to their end before their head is sent, so that one that cannot be read is
    /// a 502; longer ones are read as they flow, and broken off. Default: `"64KiB"`.
    pub whole_max: ByteSize,
    /// Memory for bodies that are transformed at a time, each counted with sixteen times its length. Default: `"256MiB"`.
    pub held_max: ByteSize,
    /// The secret under which `mask = "hash"` hashes values, 32 bytes or more. Default: none.
    pub hash_key: Option<SecretSource>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            depth_max: 64,
            name_max: ByteSize::kib(4),
            whole_max: ByteSize::kib(64),
            held_max: ByteSize::mib(256),
            hash_key: None,
        }
    }
}

/// `[shape]` as compiled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For answers of which parts are hidden.
    pub fields: fields::Settings,
    /// Memory for bodies that are transformed.
    pub held_max: u64,
}

/// Bytes that a key has at least.
const KEY_MIN: usize = 32;

impl Settings {
    /// Compiles `[shape]`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(config: &Config, positions: &Positions, sources: &mut Sources) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut refuse = |key: &str, message: &str, remedy: &str| {
            errors.push(positions.error(&format!("shape.{key}"), message, Some(remedy.to_owned())));
        };
        if !(1..=512).contains(&config.depth_max) {
            refuse("depth_max", "no depth that is read", "write 1 to 512");
        }
        if !(16..=1 << 20).contains(&config.name_max.get()) {
            refuse("name_max", "not a length of names", "write \"16B\" to \"1MiB\"");
        }
        if config.whole_max.get() > 16 << 20 {
            refuse("whole_max", "more than an answer that is short", "write \"0B\" to \"16MiB\"");
        }
        if config.held_max.get() < 1 << 20 {
            refuse("held_max", "no room for bodies", "write at least \"1MiB\"");
        }
        let mut hash_key = None;
        if let Some(source) = &config.hash_key {
            match sources.secret(source) {
                Ok(secret) if secret.expose().len() >= KEY_MIN => {
                    hash_key = Some(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
                }
                Ok(_) => refuse("hash_key", "too short for a key", "write 32 random bytes or more into it"),
                Err(error) => refuse("hash_key", &error, "name a file that this process can read"),
            }
        }
        let document = DocumentBounds { depth: config.depth_max, name: config.name_max.as_usize() };
        let fields = fields::Settings { document, hash_key, whole_max: config.whole_max.get() };
        errors.into_result(Self { fields, held_max: config.held_max.get() })
    }

    /// What APIs need of it has to be there.
    ///
    /// # Errors
    /// The APIs that need what is not.
    pub fn check(&self, catalog: &Catalog) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let needs_key = |shaping: &Shaping| shaping.fields.as_ref().is_some_and(|fields| fields.needs_key);
        let apis = catalog.apis.iter().filter(|api| api.shaping.as_deref().is_some_and(needs_key));
        for api in apis.filter(|_| self.fields.hash_key.is_none()) {
            let message = format!("the API {:?} hashes fields, and there is no key to hash them with", api.name);
            let remedy = "write [shape] with hash_key = { file = \"…\" } into business.toml";
            let file = crate::store::file::CATALOG;
            errors.push(gatehouse_shared::config::ConfigError::about_file(file, message).with_remedy(remedy));
        }
        errors.into_result(())
    }
}

/// What an API says of the shape of its answers, as compiled.
#[derive(Debug)]
pub struct Shaping {
    /// What it hides.
    pub fields: Option<Fields>,
    /// What is answered when the service fails.
    pub fallback: Option<Fallback>,
    /// What is changed of bodies and header fields.
    pub transform: Option<Transform>,
}

impl Shaping {
    /// Compiles what an API says; `None` where it says nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        written: &api::Config,
        at: &At<'_>,
        policies: &FieldPolicies,
    ) -> Result<Option<Box<Self>>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let fields = errors.collect(policies.of_api(&written.name, &written.fields, at)).flatten();
        let fallback = written.default.as_ref().and_then(|default| errors.collect(Fallback::compile(default, at)));
        let transform = written.transform.as_ref().and_then(|it| errors.collect(Transform::compile(it, at)));
        let says_something = fields.is_some() || fallback.is_some() || transform.is_some();
        errors.into_result(says_something.then(|| Box::new(Self { fields, fallback, transform })))
    }

    /// Asks for an answer that can be read here, whoever calls: a cache keeps one answer for all.
    pub fn ask(&self, parts: &mut Parts) {
        if self.fields.is_some() || self.transform.as_ref().is_some_and(Transform::reads_answers) {
            for name in UNREADABLE {
                parts.headers.remove(name);
            }
        }
    }

    /// What templates need to know of a call, which is gone when they do.
    #[must_use]
    pub fn inputs(&self, facts: Facts<'_>) -> Inputs {
        let of_default = self.fallback.as_ref().map_or(&[][..], Fallback::wants);
        let of_transform = self.transform.as_ref().map_or(&[][..], Transform::wants);
        match (of_default, of_transform) {
            ([], []) => Inputs::none(),
            (wants, []) | ([], wants) => Inputs::of(facts, wants),
            (of_default, of_transform) => Inputs::of(facts, &[of_default, of_transform].concat()),
        }
    }

    /// The body of a request, as the service wants it.
    ///
    /// # Errors
    /// When it is not what the API expects.
    pub async fn request(
        &self,
        call: &mut Call,
        inputs: &Inputs,
        surroundings: Surroundings<'_>,
    ) -> Result<(), Failure> {
        let Some(transform) = self.transform.as_ref().filter(|transform| transform.reads_requests()) else {
            return Ok(());
        };
        let Surroundings { settings, metrics, room, .. } = surroundings;
        let outcome = transform.request(call, inputs, room, settings.held_max).await;
        metrics.transformed("request", outcome.is_ok());
        outcome
    }

    /// The default value in the place of a failure that it is for.
    #[must_use]
    pub fn default_for(
        &self,
        failure: &Failure,
        inputs: &Inputs,
        surroundings: Surroundings<'_>,
        notes: &mut Notes,
    ) -> Option<Result<Response<Outgoing>, Failure>> {
        let fallback = self.fallback.as_ref().filter(|fallback| fallback.is_for(failure))?;
        Some(surroundings.default(fallback, inputs, failure.reason.code, notes))
    }

    /// The answer as its caller may see it.
    ///
    /// # Errors
    /// When it must not be sent.
    pub async fn shape(
        &self,
        answer: Response<Outgoing>,
        inputs: &Inputs,
        surroundings: Surroundings<'_>,
        notes: &mut Notes,
    ) -> Result<Response<Outgoing>, Failure> {
        let Surroundings { settings, metrics, room, caller, deadline, .. } = surroundings;
        if let Some(fallback) = self.fallback.as_ref().filter(|fallback| fallback.is_for_status(answer.status())) {
            return surroundings.default(fallback, inputs, "status", notes);
        }
        let level = caller.app.as_ref().map_or(0, |app| app.field_level);
        let mut answer = answer;
        if let Some(hidden) = self.fields.as_ref().and_then(|fields| fields.hidden_from(level)) {
            notes.level = Some(level);
            answer = fields::filter(hidden, &settings.fields, metrics, answer, deadline).await?;
        }
        if let Some(transform) = &self.transform {
            let outcome = transform.answer(answer, inputs, room, settings.held_max, deadline).await;
            metrics.transformed("answer", outcome.is_ok());
            answer = outcome?;
        }
        Ok(answer)
    }
}

/// What shaping needs to know of a call.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// What all answers have in common.
    pub settings: &'a Settings,
    /// Where it is counted.
    pub metrics: &'a ShapeMetrics,
    /// Room for bodies that are transformed.
    pub room: &'a Arc<Room>,
    /// The API.
    pub api: &'a Api,
    /// Who calls.
    pub caller: &'a Caller,
    /// The end of every wait.
    pub deadline: Instant,
}

impl Surroundings<'_> {
    fn default(
        self,
        fallback: &Fallback,
        inputs: &Inputs,
        cause: &'static str,
        notes: &mut Notes,
    ) -> Result<Response<Outgoing>, Failure> {
        notes.default = Some(cause);
        self.metrics.default_of(&self.api.name, cause);
        fallback.answer(inputs, self.caller.auth(), cause)
    }
}

/// What is noted of an answer's shape for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// The level of the caller, where something was hidden from it.
    level: Option<u8>,
    /// Why the default value of the API was answered.
    default: Option<&'static str>,
    /// How the answer may be compressed.
    encoding: Option<Encoding>,
    /// What is said to pages of other origins, and whether the call is a browser's question.
    cors: Option<(Judged, IsPreflight)>,
}

/// Whether a call is a browser's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsPreflight {
    No,
    Yes,
}

impl Notes {
    /// Notes what the request says that counts for its answer, of a call that is no browser's question: the page it comes from,
    /// and how the answer may be compressed.
    pub fn judge(&mut self, api: &Api, parts: &Parts, metrics: &ShapeMetrics) {
        if api.compress.is_some() {
            self.encoding = Encoding::asked(&parts.headers);
        }
        let Some(cors) = &api.cors else { return };
        let judged = cors.judge(&parts.headers);
        if let Some(outcome) = judged.outcome() {
            metrics.cors(outcome);
        }
        self.cors = Some((judged, IsPreflight::No));
    }

    /// Answers a browser that asks whether a page may call `api` with `method`; `None` where the API leaves that to others.
    ///
    /// # Errors
    /// When it may not.
    pub fn preflight(
        &mut self,
        api: &Api,
        method: &Method,
        parts: &Parts,
        metrics: &ShapeMetrics,
    ) -> Option<Result<Response<Outgoing>, Failure>> {
        let cors = api.cors.as_ref()?;
        let answer = cors.answer(&parts.headers, method, &api.methods);
        metrics.cors(if answer.is_ok() { "preflight" } else { "preflight_refused" });
        self.cors = Some((cors.judge(&parts.headers), IsPreflight::Yes));
        Some(answer)
    }

    /// The answer, compressed where the API and the caller want it.
    #[must_use]
    pub fn compress(&self, api: &Api, answer: Response<Outgoing>, metrics: &ShapeMetrics) -> Response<Outgoing> {
        match &api.compress {
            Some(compress) => compress.answer(answer, self.encoding, metrics),
            None => answer,
        }
    }

    /// Says to pages of other origins what is to be said.
    pub fn add_to(&mut self, headers: &mut HeaderMap) {
        if let Some((judged, is_preflight)) = self.cors.take() {
            judged.add_to(headers, is_preflight == IsPreflight::Yes);
        }
    }

    /// Writes them into the line of the access log.
    pub fn write(&self, line: &mut Line) {
        if let Some(level) = self.level {
            line.number("field_level", u64::from(level));
        }
        line.optional_utf8("default", self.default);
    }
}

impl From<Withheld> for Failure {
    fn from(withheld: Withheld) -> Self {
        let mut failure = match withheld {
            Withheld::Deadline => Self::refused(&problem::DEADLINE_EXCEEDED),
            _ => Self::refused(&problem::ANSWER_WITHHELD),
        };
        failure.executed = Executed::Perhaps;
        failure.cause = Some(withheld.to_string());
        failure
    }
}
