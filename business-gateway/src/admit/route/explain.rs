//! Every API that a call could mean, in the order in which it asks them, why each takes it or not, and the request as the service
//! would get it. The same code decides as for a real call; nothing is called, counted or charged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_shared::hop::{Scheme, VerifiedHop};
use gatehouse_shared::id::{RequestId, TraceContext};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde::{Deserialize, Serialize};

use super::question::Question;
use super::{Notes, When};
use crate::admit::api::{self, Api, plain_host};
use crate::admit::caller::Caller;
use crate::admit::matcher::{Candidate, Fit, Miss};
use crate::dispatch::cache::config as cache;
use crate::dispatch::request::{self, TargetError};
use crate::dispatch::split::source::Seen;
use crate::policy::Policy;
use crate::respond::failure::Failure;
use crate::store::apps::{App, Status};

use super::search::HoldFault;

/// A call that is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The method.
    pub method: String,
    /// The URL, or its path and query; then `Host` may be among the headers.
    pub url: String,
    /// Header fields.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The client's address. Default: 127.0.0.1.
    pub client: Option<IpAddr>,
    /// When it is made, as RFC 3339 writes it. Default: now.
    pub at: Option<String>,
    /// The body. Default: none.
    pub body: Option<String>,
    /// The key of the application that calls, for what is made of it. Default: nobody.
    pub app: Option<String>,
}

/// Why a sample is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Not a method.
    #[error("{0:?} is not a method")]
    Method(String),
    /// Not a URL.
    #[error("{0:?} is not a URL; write \"https://host/path?query\" or \"/path?query\"")]
    Url(String),
    /// Not a header.
    #[error("{0:?} is not a header field")]
    Header(String),
    /// Not a time.
    #[error("{0:?} is not a time; write it as in 2026-01-31T23:59:00Z")]
    Time(String),
}

/// What becomes of a made-up call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The method.
    pub method: String,
    /// The authority.
    pub authority: String,
    /// The path that decides.
    pub path: String,
    /// The client.
    pub client: IpAddr,
    /// When.
    pub at: String,
    /// What is different from a real call.
    pub hints: Vec<String>,
    /// Every API with the host and the path, in the order in which they are asked.
    pub considered: Vec<Considered>,
    /// The API that takes it.
    pub api: Option<String>,
    /// Code and status of the refusal, where none does.
    pub refused: Option<Refused>,
    /// The parameters of the path.
    pub parameters: Vec<(String, String)>,
    /// The service that answers.
    pub service: Option<String>,
    /// The split, the branch and the level that chose it; `None` where the API has no split.
    pub split: Option<String>,
    /// The head of the request as the service would get it.
    pub request: Option<Head>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its code.
    pub code: String,
    /// Its status.
    pub status: u16,
}

/// One API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Its name.
    pub api: String,
    /// Its hosts; empty for any.
    pub hosts: Vec<String>,
    /// Its methods; empty for any.
    pub methods: Vec<String>,
    /// Its path.
    pub path: String,
    /// Its `when.priority`.
    pub priority: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Its predicates, in the order in which they are judged; also those that a real call would not come to.
    pub predicates: Vec<Judged>,
}

/// What became of an API that was considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It takes the call.
    Chosen,
    /// It does not take the method.
    OtherMethod,
    /// A predicate of it does not hold.
    Passed,
    /// Only the body could say, and it cannot be looked at.
    Undecided,
    /// Another one took the call before it was asked.
    NotAsked,
}

/// One predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What it asks for.
    pub predicate: String,
    /// Whether the call passes.
    pub holds: bool,
    /// What it saw.
    pub saw: String,
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The method.
    pub method: String,
    /// The target; for HTTP/2 with the authority.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The header fields.
    pub headers: Vec<(String, String)>,
}

/// A sample with everything parsed.
struct Prepared {
    parts: Parts,
    authority: Arc<str>,
    path: Box<str>,
    client: IpAddr,
    unix_ms: u64,
    scheme: Scheme,
    body: Vec<u8>,
    app: Option<String>,
}

/// Explains what becomes of a sample under a policy.
///
/// # Errors
/// When the sample is no call.
pub fn explain(policy: &Policy, sample: &Sample) -> Result<Explanation, SampleError> {
    let call = prepare(sample)?;
    let catalog = &policy.catalog;
    let head = Question::of(&call.parts, &call.authority, &call.path, call.client, call.unix_ms);
    let whole = head.with_body(&call.body);
    let is_too_large = u64::try_from(call.body.len()).unwrap_or(u64::MAX) > policy.routing.body_max.get();
    let (found, question) = match api::find(catalog, &head, &mut Notes::default()) {
        Err(Miss::Undecided) if is_too_large => (Err(Failure::from(HoldFault::TooLarge)), head),
        Err(Miss::Undecided) => (api::find(catalog, &whole, &mut Notes::default()).map_err(Failure::from), whole),
        found => (found.map_err(Failure::from), head),
    };
    let found = found.map(Arc::clone);
    let candidates = catalog.matcher.candidates(&plain_host(&call.authority), &call.path, &call.parts.method);
    let chosen = found.as_ref().ok();
    let mut is_decided = false;
    let considered = candidates.iter().map(|candidate| consider(candidate, chosen, &question, &mut is_decided));
    let considered = considered.collect();
    let mut explanation = Explanation {
        method: call.parts.method.to_string(),
        authority: call.authority.to_string(),
        path: call.path.to_string(),
        client: call.client,
        at: clock::rfc3339(call.unix_ms),
        hints: hints(&call.path),
        considered,
        api: chosen.map(|api| api.name.to_string()),
        refused: found.as_ref().err().map(refused),
        parameters: Vec::new(),
        service: None,
        split: None,
        request: None,
    };
    if let Ok(api) = found {
        let parameters = api.path.parameters(&call.path).into_iter();
        explanation.parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if let Err(error) = to_service(&api, call, &mut explanation) {
            explanation.refused = Some(refused(&error.into()));
        }
    }
    Ok(explanation)
}

fn consider(
    candidate: &Candidate<'_, Arc<Api>>,
    chosen: Option<&Arc<Api>>,
    question: &Question<'_>,
    is_decided: &mut bool,
) -> Considered {
    let api = candidate.value;
    let fit = api.when.as_ref().map_or(Fit::Yes, |when| when.judge(question));
    let outcome = if !candidate.takes_method {
        Outcome::OtherMethod
    } else if *is_decided {
        Outcome::NotAsked
    } else if chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, api)) {
        Outcome::Chosen
    } else if fit == Fit::Unknown {
        Outcome::Undecided
    } else {
        Outcome::Passed
    };
    *is_decided |= matches!(outcome, Outcome::Chosen | Outcome::Undecided);
    let predicates = api.when.iter().flat_map(When::predicates).map(|predicate| Judged {
        predicate: predicate.to_string(),
        holds: predicate.judge(question) == Fit::Yes,
        saw: predicate.seen(question),
    });
    Considered {
        api: api.name.to_string(),
        hosts: api.hosts.clone(),
        methods: api.methods.iter().map(ToString::to_string).collect(),
        path: api.path.to_string(),
        priority: api.when.as_ref().map_or(0, |when| when.rank().priority),
        outcome,
        predicates: predicates.collect(),
    }
}

fn refused(failure: &Failure) -> Refused {
    Refused { code: failure.reason.code.to_owned(), status: failure.status }
}

/// The service, and the head of the request as it would get it; nothing of both where no service answers.
fn to_service(api: &Api, call: Prepared, explanation: &mut Explanation) -> Result<(), TargetError> {
    let Some(service) = api.target.service() else { return Ok(()) };
    let mut parts = call.parts;
    let hop = VerifiedHop {
        request_id: RequestId::new(call.unix_ms),
        client: SocketAddr::new(call.client, 0),
        scheme: call.scheme,
        tls: None,
        subject: None,
        fingerprint: None,
        path: call.path,
        left: Duration::ZERO,
        edge: "explain".into(),
        expires_unix_ms: 0,
        held: false,
    };
    let caller = Caller { app: call.app.map(|key| Arc::new(stand_in(&key))), ..Caller::anonymous() };
    // A service whose answers are kept is told what is in their key, and a split sees no more than that.
    let is_kept = |cache: &&Arc<cache::OfApi>| {
        cache.is_for(&parts, &caller) && parts.method != Method::HEAD && (call.body.is_empty() || cache.key.body)
    };
    let kept = api.cache.as_ref().filter(is_kept);
    let introduced = kept.map(|cache| cache.key.introduced(&caller));
    if let Some(cache) = kept {
        cache.key.cut(&mut parts, &caller);
    }
    let seen = Seen { caller: &caller, client: call.client, request_id: hop.request_id.as_str(), parts: &parts };
    let choice = api.split.as_ref().and_then(|split| split.choose(&seen));
    let branch = choice.map(|choice| choice.branch);
    let service = branch.and_then(|branch| branch.service.as_ref()).unwrap_or(service);
    explanation.service = Some(service.name.to_string());
    explanation.split = choice.map(|choice| {
        let level = choice.level.map_or_else(|| "no level".to_owned(), |level| format!("level {level}"));
        format!("{}: {} by {level}", choice.branch.split, choice.branch.name)
    });
    let traceparent = TraceContext::start(&hop.request_id).to_header();
    let notes = request::Notes {
        authority: &call.authority,
        hop: &hop,
        caller: introduced.as_deref().unwrap_or(&caller),
        path_to_service: api.path_to_service,
        rewrite: api.rewrite.as_deref(),
        traceparent: traceparent.as_str(),
    };
    let length = u64::try_from(call.body.len()).ok();
    let marks = branch.map(|branch| branch.headers()).unwrap_or_default();
    request::show(&mut parts, &notes, service.protocol, length, marks)?;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    explanation.request = Some(Head {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        version: format!("{:?}", parts.version),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
    });
    Ok(())
}

/// An application of which only the key is known.
pub(crate) fn stand_in(key: &str) -> App {
    App {
        key: key.into(),
        name: key.into(),
        owner: None,
        status: Status::Enabled,
        expires_unix: None,
        plan: None,
        class: None,
        packages: Vec::new(),
        networks: Vec::new(),
        field_level: 0,
        schemes: Vec::new(),
        secrets: Vec::new(),
        public_keys: Vec::new(),
        api_keys: Vec::new(),
        subjects: Vec::new(),
        platform_md5: false,
        version: 0,
    }
}

fn prepare(sample: &Sample) -> Result<Prepared, SampleError> {
    let method = Method::from_bytes(sample.method.as_bytes());
    let method = method.map_err(|_error| SampleError::Method(sample.method.clone()))?;
    let no_url = || SampleError::Url(sample.url.clone());
    let (scheme, authority, target) = match sample.url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let scheme = match scheme {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => return Err(no_url()),
            };
            (scheme, Some(authority), target)
        }
        None => (Scheme::Http, None, sample.url.as_str()),
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let target = target.split('#').next().unwrap_or_default();
    if authority.is_none() && !sample.url.starts_with('/') {
        return Err(no_url());
    }
    let request = Request::builder().method(method).uri(target).body(()).map_err(|_error| no_url())?;
    let (mut parts, ()) = request.into_parts();
    for (name, value) in &sample.headers {
        let no_header = || SampleError::Header(name.clone());
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_error| no_header())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_error| no_header())?;
        parts.headers.append(parsed, value);
    }
    if let Some(authority) = authority {
        let value = HeaderValue::from_str(authority).map_err(|_error| no_url())?;
        parts.headers.insert(header::HOST, value);
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let unix_ms = match &sample.at {
        Some(text) => clock::parse_rfc3339(text).ok_or_else(|| SampleError::Time(text.clone()))?,
        None => clock::unix_ms(),
    };
    Ok(Prepared {
        authority: host.into(),
        path: parts.uri.path().into(),
        client: sample.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        unix_ms,
        scheme,
        body: sample.body.clone().unwrap_or_default().into_bytes(),
        app: sample.app.clone(),
        parts,
    })
}

/// What is different from a real call.
fn hints(path: &str) -> Vec<String> {
    let mut hints = Vec::new();
    let is_dots = |segment: &str| segment == "." || segment == "..";
    let is_plain_encoding = |piece: &str| {
        let byte = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            || piece.get(..2).is_some_and(|digits| digits.bytes().any(|digit| digit.is_ascii_lowercase()))
    };
    let is_changed = path.contains("//")
        || path.contains([';', '\\'])
        || path.split('/').any(is_dots)
        || path.split('%').skip(1).any(is_plain_encoding);
    if is_changed {
        hints.push("the edge makes another path of this one, and that decides; give the canonical path".to_owned());
    }
    hints
}

#[cfg(test)]
mod tests;
