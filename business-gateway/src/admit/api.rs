//! Which API a call means. Decided by the host, the canonical path (the one the edge computed), the method, and where several APIs
//! share those by their predicates ([`super::route`]).
//!
//! Numbers come from `[[api]]` in the catalog; a call that no API takes is a 404, one whose method no API takes a 405.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatehouse_shared::config::{ByteSize, HumanDuration};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::app::of_api::{Access, Credentials, OnStoreFailure, Replay, SIGNED_BODY_MAX};
use super::flow_rule::ApiRules;
use super::matcher::{Fit, Miss};
use super::path::PathTemplate;
use super::permission::ApiPermission;
use super::quota;
use super::route::{self, When, question::Question};
use super::traffic_group::OfApi;
use super::validation::{self, Validation};
use crate::dispatch::batch;
use crate::dispatch::cache::config as cache;
use crate::dispatch::mirror::{self, Mirror};
use crate::dispatch::of_api::{Upstream, UpstreamConfig};
use crate::dispatch::rewrite::{self, Rewrite};
use crate::dispatch::split::Split;
use crate::dispatch::target::Target;
use crate::metrics::ApiMetrics;
use crate::respond::compress::{self, Compress};
use crate::respond::cors::{self, Cors};
use crate::respond::envelope::Envelope;
use crate::respond::fields::rule::FieldConfig;
use crate::respond::shaping::Shaping;
use crate::respond::{fallback, fixed, transform};
use crate::store::apps::Scheme;
use crate::store::catalog::Catalog;

/// `[[api]]`: what callers may call, as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The API's name in logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders.list"`.
    pub name: String,
    /// The `[[service]]` that answers.
    pub service: Option<String>,
    /// The `[[aggregate]]` that answers, in the place of a service; `timeout` is the time for all of it then.
    pub aggregate: Option<String>,
    /// The `[[split]]` that decides which of several services answers; `service` is the one of its branch `default`. Default: none.
    pub split: Option<String>,
    /// Sends copies of a share of its calls to another service, too. Default: none.
    /// Example: `{ service = "orders-next", percent = 5 }`.
    pub mirror: Option<mirror::Config>,
    /// Its calls are batches of calls of other APIs; instead of `service`. `{}` for one with all defaults.
    pub batch: Option<batch::Config>,
    /// Whether it can be called by an item of a batch. Default: false.
    #[serde(default)]
    pub batchable: bool,
    /// Host names it is offered under: exact, or `*.example.com` for every subdomain. Default: any host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Methods it takes, in upper case; `GET` takes `HEAD` too unless another API declares it. Default: any method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The path: literal segments, `{name}` for any one segment, `{*name}` at the end for everything that follows.
    /// Example: `"/orders/{id}"`.
    pub path: String,
    /// Which of the calls with its host, path and method it takes. Default: all.
    pub when: Option<route::Config>,
    /// What its service gets instead of what the client sent. Default: nothing is changed.
    pub rewrite: Option<rewrite::Config>,
    /// Send the service the path as the client wrote it instead of the canonical one. Default: false.
    #[serde(default)]
    pub raw_path: bool,
    /// How refusals are written: `"problem"` (RFC 9457, with their status) or `"platform"` (status 200 and `error_response`,
    /// as clients of open platforms expect). Default: `"problem"`.
    #[serde(default)]
    pub envelope: Envelope,
    /// Time from the end of the request's body to the head of the answer; of a batch, to the last of its items. Default: the
    /// service's.
    pub timeout: Option<HumanDuration>,
    /// Whom it is for: `"app"`, applications; `"user"`, applications that act for a user; `"open"`, everybody. Credentials that
    /// come with a call of an open API have to be right all the same, unless `schemes` is empty. Default: `"app"`.
    #[serde(default)]
    pub access: Access,
    /// The schemes it takes; what an application does not have switched on does not count. Empty, for an open API: credentials
    /// are not looked at and go to the service. Default: all.
    pub schemes: Option<Vec<Scheme>>,
    /// Where a signed call is remembered, so that it counts once: `"node"`, by the node that took it; `"fleet"`, in the store,
    /// which every signed call then waits for; `"off"`, nowhere. Default: `"fleet"` for methods that change something where
    /// there is a store, otherwise `"node"`.
    pub replay: Option<Replay>,
    /// What becomes of signed calls with `replay = "fleet"` when the store does not answer: `"closed"`, they are refused;
    /// `"open"`, the node alone remembers them. Default: `"closed"`.
    #[serde(default)]
    pub replay_on_store_failure: OnStoreFailure,
    /// A signed body is held whole until it is checked; up to this length. Default: `"1MiB"`.
    #[serde(default = "default_signed_body_max")]
    pub signed_body_max: ByteSize,
    /// Whether the service gets the credentials of a call too. Default: false.
    #[serde(default)]
    pub pass_credentials: bool,
    /// Scopes that a token or session needs; credentials that carry none are not limited by them. Default: none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// A CEL expression that must be true of a call. Example: `"client.within('10.0.0.0/8')"`. Default: none.
    pub condition: Option<String>,
    /// `[[flow_rule]]`s that are judged, beside those that name this API; in the order in which the catalog lists them.
    /// Default: none.
    #[serde(default)]
    pub flow_rules: Vec<String>,
    /// The `[[limit]]`s that its calls are charged, by name. Default: none. Example: `["app-day", "api-second"]`.
    #[serde(default)]
    pub limits: Vec<String>,
    /// How important its calls are: a level that a `[[group]]` asks for. Default: none.
    pub level: Option<String>,
    /// How its calls are sent to the service, where that differs from other calls of it.
    #[serde(default)]
    pub upstream: UpstreamConfig,
    /// The `[[pool]]` whose slots its calls take. Default: that with the name of the service, if there is one.
    pub pool: Option<String>,
    /// Its calls at a time, all nodes together, so that it cannot fill its pool when it hangs. Default: `api_concurrency` of
    /// the pool.
    pub concurrency: Option<u32>,
    /// Fields of JSON answers that are hidden from applications of a lower `field_level`; those of each `[[field_policy]]` for
    /// the API come on top. Default: none. Example: `[{ path = "**.card", level = 3, mask = "last4" }]`.
    #[serde(default)]
    pub fields: Vec<FieldConfig>,
    /// Which pages of other origins may call it from a browser. Default: none.
    pub cors: Option<cors::Config>,
    /// Whether its answers are compressed, and which. Default: none. Never for answers that hold a secret beside what others may
    /// have written.
    pub compress: Option<compress::Config>,
    /// The answer to its calls, where no service gives one. Default: none.
    pub answer: Option<fixed::Config>,
    /// Other header fields of answers, and another shape of JSON bodies. Default: none.
    pub transform: Option<transform::Config>,
    /// What is answered when its service fails. Default: none.
    pub default: Option<fallback::Config>,
    /// Whether answers of the service are kept, for whom, and for how long. Default: they are not.
    /// Example: `{ lifetime = "30s", stale_if_error = "10m" }`.
    pub cache: Option<cache::Config>,
    /// What its calls look like: parameters and body; the others are refused. Default: not looked at.
    pub validate: Option<validation::config::Config>,
}

fn default_signed_body_max() -> ByteSize {
    SIGNED_BODY_MAX
}

/// An API as compiled.
pub struct Api {
    /// Its name.
    pub name: Arc<str>,
    /// Who answers.
    pub target: Target,
    /// Which of several services answers; `None`: that of the target.
    pub split: Option<Arc<Split>>,
    /// Who gets copies of its calls.
    pub mirror: Option<Arc<Mirror>>,
    /// Whether it can be called by an item of a batch.
    pub batchable: bool,
    /// The hosts it is offered under; empty for any.
    pub hosts: Vec<String>,
    /// The methods it takes; empty for any.
    pub methods: Vec<Method>,
    /// Its path.
    pub path: PathTemplate,
    /// Which of the calls with these it takes; `None` for all.
    pub when: Option<When>,
    /// What its service gets instead of what the client sent.
    pub rewrite: Option<Box<Rewrite>>,
    /// Whether the service gets the path as the client wrote it.
    pub path_to_service: PathToService,
    /// How its refusals are written.
    pub envelope: Envelope,
    /// From the end of the request's body to the head of the answer; `None`: as the service says.
    pub timeout: Option<Duration>,
    /// How its calls are sent, where it says so.
    pub upstream: Upstream,
    /// What it says of credentials.
    pub credentials: Credentials,
    /// How important its calls are; empty for none.
    pub level: Box<str>,
    /// What it asks of its callers.
    pub permission: ApiPermission,
    /// What operators say of its calls.
    pub flow_rules: ApiRules,
    /// What its calls look like; `None` where that is not looked at.
    pub validation: Option<Box<Validation>>,
    /// What its calls are charged.
    pub limits: quota::OfApi,
    /// Its group, its pool and its cap.
    pub traffic: OfApi,
    /// What it says of the shape of its answers; none for most.
    pub shaping: Option<Box<Shaping>>,
    /// Which pages of other origins may call it; none for most.
    pub cors: Option<Box<Cors>>,
    /// Whether its answers are compressed; none for most.
    pub compress: Option<Box<Compress>>,
    /// Whether answers of its service are kept.
    pub cache: Option<Arc<cache::OfApi>>,
    /// Where its calls are counted; looked up at the first call.
    pub metrics: OnceLock<ApiMetrics>,
}

/// Which path a service receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathToService {
    /// The one that routing looked at.
    Canonical,
    /// The one the client wrote.
    Raw,
}

impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Api").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The API of a call.
///
/// # Errors
/// [`Miss`] when no API takes it, or only its body could say which one does.
pub fn find<'a>(catalog: &'a Catalog, question: &Question<'_>, notes: &mut route::Notes) -> Result<&'a Arc<Api>, Miss> {
    let judge = |api: &Arc<Api>| {
        let Some(when) = &api.when else { return Fit::Yes };
        notes.judged = notes.judged.saturating_add(1);
        when.judge(question)
    };
    catalog.matcher.find(&plain_host(question.authority), question.path, question.method, judge)
}

/// The host of an authority as the matcher knows it: in lower case, without port and final dot.
#[must_use]
pub fn plain_host(authority: &str) -> Cow<'_, str> {
    let host = host_of(authority);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

/// The host of an authority, without port and final dot.
#[must_use]
pub fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_no_port_and_no_final_dot() {
        let cases = [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.:8080", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ];
        for (authority, host) in cases {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }
}
