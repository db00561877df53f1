//! `cache` of `[[api]]`: as written, and as compiled.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::key::{KeyRules, PathKey, Place, QueryKey};
use super::metrics::ApiCounters;
use super::tag::{LONGEST_TAG, TagTemplate};
use crate::admit::api;
use crate::admit::caller::Caller;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::catalog::At;

/// Longest time for which an answer is kept, whoever says so.
pub const LONGEST_LIFE_MS: u64 = 31 * 86_400_000;
/// Tags that an API may give its answers.
const MOST_TAGS: usize = 16;
/// Headers and cookies of one key.
const MOST_NAMES: usize = 32;

/// `[[api]] cache`: whether answers are kept, for whom, and for how long.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long an answer counts as fresh: where its service says nothing, always, or at most, as `cache_control` says.
    pub lifetime: HumanDuration,
    /// What the service's `Cache-Control` and `Expires` say: `"honour"`, they decide and `lifetime` is for answers without them;
    /// `"cap"`, the same, with no time longer than the ones written here; `"override"`, the times written here decide.
    /// `no-store` and `private` count in any case. Default: `"honour"`.
    #[serde(default)]
    pub cache_control: CacheControl,
    /// How long after that an answer is still given at once, while one call asks the service anew. Default: `"0s"`.
    #[serde(default)]
    pub stale_while_revalidate: HumanDuration,
    /// How long after its lifetime an answer is given when the service fails, or answers 500, 502, 503 or 504. Default: `"0s"`.
    #[serde(default)]
    pub stale_if_error: HumanDuration,
    /// Statuses of 400 and above whose answers are kept too, and for how long; the shorter of this and what the service says.
    /// Default: none. Example: `{ 404 = "10s" }`.
    #[serde(default)]
    pub negative: BTreeMap<String, HumanDuration>,
    /// Who shares an answer: `"app"`, the calls of one application; `"user"`, those of one user of one application; `"shared"`,
    /// all applications. Default: `"app"`.
    #[serde(default)]
    pub scope: Scope,
    /// With `scope = "app"` or `"shared"`: whether calls that act for a user are answered from what is kept for everybody, too.
    /// The service is not told of the user then. Default: false.
    #[serde(default)]
    pub for_users: bool,
    /// What tells answers apart, beside the API, the host, the scope and the method.
    #[serde(default)]
    pub key: KeyConfig,
    /// Request headers that the service gets although they are not in the key: its answer must not depend on them, unless it
    /// says so with `Vary`. Default: none. Example: `["user-agent"]`.
    #[serde(default)]
    pub pass: Vec<String>,
    /// Methods whose answers are kept; `GET` takes `HEAD` too. Another one needs `key.body`. Default: `["GET"]`.
    #[serde(default = "default_methods")]
    pub methods: Vec<String>,
    /// The largest body of an answer that is kept. Default: `"1MiB"`.
    #[serde(default = "default_answer_max")]
    pub answer_max: ByteSize,
    /// Tags of every answer, by which answers are purged together; `{name}` stands for a parameter of the path. Default: none.
    /// Example: `["orders", "order:{id}"]`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// A header of the service's answers with further tags, separated by spaces or commas; clients do not see it. Default: none.
    /// Example: `"x-cache-tags"`.
    pub tag_header: Option<String>,
    /// Whether the nodes of the fleet share what they keep, through Redis. Default: false.
    #[serde(default)]
    pub fleet: bool,
    /// When the answer says what the cache did, in `Cache-Status` (RFC 9211): `"asked"`, when the call has the header
    /// `want-cache-status`; `"always"`; `"never"`. Default: `"asked"`.
    #[serde(default)]
    pub status: StatusHeader,
}

/// `key`: what tells answers apart.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// Parameters of the path that count. Default: the whole path.
    pub path: Option<Vec<String>>,
    /// Parameters of the query that count, sorted; others do not reach the service. Default: all.
    pub query: Option<Vec<String>>,
    /// Request headers that count. Default: none. Example: `["x-tenant"]`.
    pub headers: Vec<String>,
    /// Cookies that count; others do not reach the service. Default: none.
    pub cookies: Vec<String>,
    /// The application's plan. Default: false.
    pub plan: bool,
    /// The application's class. Default: false.
    pub class: bool,
    /// The application's field level. Default: false.
    pub field_level: bool,
    /// The scopes of the token or session; the service gets them then. Default: false.
    pub scopes: bool,
    /// The request's body, up to 64 KiB; calls with a longer one are not answered from the cache. Default: false.
    pub body: bool,
}

/// What the service's own word counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheControl {
    /// It decides.
    #[default]
    Honour,
    /// It decides, within bounds.
    Cap,
    /// It decides nothing but whether an answer may be kept at all.
    Override,
}

/// Who shares an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One application.
    #[default]
    App,
    /// One user of one application.
    User,
    /// All applications.
    Shared,
}

/// When answers say what the cache did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusHeader {
    /// When the call asks for it.
    #[default]
    Asked,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn default_methods() -> Vec<String> {
    vec!["GET".to_owned()]
}

fn default_answer_max() -> ByteSize {
    ByteSize::mib(1)
}

/// What an API says of its cache, as compiled.
#[derive(Debug)]
pub struct OfApi {
    /// How long answers live.
    pub lives: Lives,
    /// What tells answers apart.
    pub key: KeyRules,
    /// Methods whose answers are kept.
    pub methods: Vec<Method>,
    /// The largest body that is kept, in bytes.
    pub answer_max: u64,
    /// Tags of every answer.
    pub tags: Vec<TagTemplate>,
    /// Where the service names further tags.
    pub tag_header: Option<HeaderName>,
    /// Whether the fleet shares them.
    pub fleet: bool,
    /// When answers say what the cache did.
    pub status: StatusHeader,
    /// Where its calls are counted; looked up at the first call.
    pub counters: OnceLock<ApiCounters>,
}

/// How long answers live, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    /// Fresh.
    pub fresh: u64,
    /// Given while one call asks anew.
    pub revalidate: u64,
    /// Given when the service fails.
    pub error: u64,
    /// Statuses of failures, and how long they are kept.
    pub negative: Vec<(StatusCode, u64)>,
    /// What the service's own word counts.
    pub control: CacheControl,
    /// Whether the answers belong to one user, so that `private` ones may be kept for that user.
    pub is_of_a_user: bool,
}

impl OfApi {
    /// Compiles what an API says of its cache.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(config: &Config, path: &PathTemplate, raw_path: bool, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let lives = lives(config, at, &mut errors);
        let key = key_rules(config, path, raw_path, at, &mut errors);
        let methods = methods(config, at, &mut errors);
        let tags = tags(config, path, at, &mut errors);
        let tag_header = config.tag_header.as_deref().and_then(|name| header_name(name, "tag_header", at, &mut errors));
        if config.for_users && config.scope == Scope::User {
            errors.push(at.error(
                "cache.for_users",
                "answers of one user are for users already",
                "remove for_users, or choose another scope",
            ));
        }
        if config.answer_max.get() == 0 {
            errors.push(at.error("cache.answer_max", "no answer would be kept", "write at least \"1B\""));
        }
        errors.into_result(Self {
            lives,
            key,
            methods,
            answer_max: config.answer_max.get(),
            tags,
            tag_header,
            fleet: config.fleet,
            status: config.status,
            counters: OnceLock::new(),
        })
    }

    /// What an API says of its cache; `None` where it has none.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of(api: &api::Config, path: &PathTemplate, at: &At<'_>) -> Result<Option<Self>, ConfigErrors> {
        let Some(config) = &api.cache else { return Ok(None) };
        let mut errors = ConfigErrors::new();
        if api.pass_credentials {
            errors.push(at.error(
                "cache",
                "the service gets no credentials of calls that may be answered from a cache",
                "remove the cache, or pass_credentials",
            ));
        }
        if api.service.is_none() {
            errors.push(at.error("cache", "only answers of a service are kept", "remove the cache, or name a service"));
        }
        let compiled = errors.collect(Self::compile(config, path, api.raw_path, at));
        errors.into_result(compiled)
    }

    /// Whether a call may be given what is kept, and may leave its answer for others, as far as its head can say.
    #[must_use]
    pub fn is_for(&self, head: &Parts, caller: &Caller) -> bool {
        let (key, headers) = (&self.key, &head.headers);
        // What is answered to these is for this call only. Credentials that are still here were not looked at.
        let is_of_one = headers.contains_key(header::RANGE)
            || headers.contains_key(header::IF_MATCH)
            || headers.contains_key(header::IF_UNMODIFIED_SINCE)
            || (headers.contains_key(header::AUTHORIZATION) && !key.headers.contains(&header::AUTHORIZATION));
        let is_of_user = caller.user.is_some() && key.scope != Scope::User && !key.for_users;
        self.takes(&head.method) && !is_of_one && !is_of_user
    }

    /// Whether answers to calls of this method are looked for.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.methods.contains(method)
    }
}

fn millis(key: &str, duration: HumanDuration, at: &At<'_>, errors: &mut ConfigErrors) -> u64 {
    let millis = u64::try_from(duration.get().as_millis()).unwrap_or(u64::MAX);
    if millis > LONGEST_LIFE_MS {
        errors.push(at.error(&format!("cache.{key}"), "longer than an answer is ever kept", "write at most \"31d\""));
    }
    millis.min(LONGEST_LIFE_MS)
}

fn lives(config: &Config, at: &At<'_>, errors: &mut ConfigErrors) -> Lives {
    let fresh = millis("lifetime", config.lifetime, at, errors);
    let revalidate = millis("stale_while_revalidate", config.stale_while_revalidate, at, errors);
    let error = millis("stale_if_error", config.stale_if_error, at, errors);
    let mut negative = Vec::with_capacity(config.negative.len());
    for (status, duration) in &config.negative {
        let key = format!("negative.{status}");
        let life = millis(&key, *duration, at, errors);
        match status.parse::<u16>().ok().and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) if status.as_u16() >= 400 => negative.push((status, life)),
            _ => errors.push(at.error(
                &format!("cache.{key}"),
                format!("{status:?} is not the status of a failure"),
                "write one of 400 to 599, as in { 404 = \"10s\" }",
            )),
        }
    }
    if fresh == 0 && config.cache_control == CacheControl::Override && revalidate == 0 && error == 0 {
        errors.push(at.error(
            "cache.lifetime",
            "no answer would ever be given from the cache",
            "write a lifetime, or remove the cache",
        ));
    }
    let is_of_a_user = config.scope == Scope::User;
    Lives { fresh, revalidate, error, negative, control: config.cache_control, is_of_a_user }
}

fn key_rules(config: &Config, path: &PathTemplate, raw_path: bool, at: &At<'_>, errors: &mut ConfigErrors) -> KeyRules {
    let written = &config.key;
    for (key, names) in [
        ("key.query", written.query.as_deref().unwrap_or_default()),
        ("key.headers", &written.headers),
        ("key.cookies", &written.cookies),
        ("pass", &config.pass),
    ] {
        if names.len() > MOST_NAMES {
            errors.push(at.error(&format!("cache.{key}"), "more names than a key may have", "write at most 32"));
        }
        if names.iter().any(String::is_empty) {
            errors.push(at.error(&format!("cache.{key}"), "an empty name", "remove it"));
        }
    }
    let path_key = match &written.path {
        None if raw_path => PathKey::Raw,
        None => PathKey::Whole,
        Some(names) => {
            let mut places = Vec::with_capacity(names.len());
            for name in names {
                match place_of(path, name) {
                    Some(place) => places.push(place),
                    None => errors.push(at.error(
                        "cache.key.path",
                        format!("the path has no parameter {name:?}"),
                        "name the parameters of \"path\", without braces",
                    )),
                }
            }
            PathKey::Parameters(places)
        }
    };
    let mut header_list = |key: &str, names: &[String]| -> Vec<HeaderName> {
        let mut list: Vec<_> = names.iter().filter_map(|name| header_name(name, key, at, errors)).collect();
        list.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        list.dedup();
        list
    };
    let headers = header_list("key.headers", &written.headers);
    let pass = header_list("pass", &config.pass);
    for name in headers.iter().chain(&pass) {
        if is_our_own(name) {
            errors.push(at.error(
                "cache",
                format!("the header {:?} is the cache's own business", name.as_str()),
                "remove it from key.headers and pass; cookies are named in key.cookies",
            ));
        }
    }
    if pass.contains(&header::AUTHORIZATION) {
        errors.push(at.error(
            "cache.pass",
            "an answer to a call with credentials would be given to others",
            "name \"authorization\" in key.headers, or choose scope = \"user\"",
        ));
    }
    let mut cookies = written.cookies.clone();
    cookies.sort_unstable();
    cookies.dedup();
    let query = written.query.clone().map_or(QueryKey::All, |mut names| {
        names.sort_unstable();
        names.dedup();
        QueryKey::Listed(names)
    });
    KeyRules {
        scope: config.scope,
        for_users: config.for_users,
        path: path_key,
        query,
        headers,
        cookies,
        pass,
        plan: written.plan,
        class: written.class,
        field_level: written.field_level,
        scopes: written.scopes,
        body: written.body,
    }
}

/// Headers that the cache handles itself.
fn is_our_own(name: &HeaderName) -> bool {
    [
        header::COOKIE,
        header::HOST,
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::ACCEPT_ENCODING,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
    ]
    .contains(name)
}

fn methods(config: &Config, at: &At<'_>, errors: &mut ConfigErrors) -> Vec<Method> {
    let mut methods = Vec::with_capacity(config.methods.len());
    for (index, name) in config.methods.iter().enumerate() {
        let key = format!("cache.methods[{index}]");
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if method == Method::HEAD => {
                errors.push(at.error(&key, "HEAD is answered from what GET has brought", "write \"GET\""));
            }
            Ok(method) if method != Method::GET && !config.key.body => errors.push(at.error(
                &key,
                format!("what {name} answers depends on its body, which is not in the key"),
                "add key = { body = true }",
            )),
            Ok(method) => methods.push(method),
            Err(_) => {
                errors.push(at.error(
                    &key,
                    format!("{name:?} is not a method"),
                    "write it in upper case, as in \"GET\"",
                ));
            }
        }
    }
    if config.methods.is_empty() {
        errors.push(at.error("cache.methods", "no method, so nothing is kept", "write [\"GET\"]"));
    }
    methods
}

fn tags(config: &Config, path: &PathTemplate, at: &At<'_>, errors: &mut ConfigErrors) -> Vec<TagTemplate> {
    if config.tags.len() > MOST_TAGS {
        errors.push(at.error("cache.tags", "more tags than an answer may have", "write at most 16"));
    }
    let mut tags = Vec::with_capacity(config.tags.len());
    for (index, text) in config.tags.iter().enumerate() {
        let key = format!("cache.tags[{index}]");
        if text.len() > LONGEST_TAG {
            errors.push(at.error(&key, "longer than a tag may be", "write at most 128 bytes"));
            continue;
        }
        match TagTemplate::parse(text, |name| place_of(path, name)) {
            Ok(tag) => tags.push(tag),
            Err(message) => {
                errors.push(at.error(&key, message, "a tag is text with parameters of the path, as in \"order:{id}\""));
            }
        }
    }
    tags
}

/// Where in the path a parameter stands.
fn place_of(path: &PathTemplate, name: &str) -> Option<Place> {
    path.segments().iter().enumerate().find_map(|(index, segment)| match segment {
        Segment::Parameter(known) if **known == *name => Some(Place { index, is_rest: false }),
        Segment::Rest(known) if **known == *name => Some(Place { index, is_rest: true }),
        _ => None,
    })
}

fn header_name(name: &str, key: &str, at: &At<'_>, errors: &mut ConfigErrors) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        errors.push(at.error(&format!("cache.{key}"), format!("{name:?} is not the name of a header"), "correct it"));
    }
    parsed
}

#[cfg(test)]
mod tests;
