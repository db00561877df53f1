//! Answers to anonymous reads, kept for a short time: a page that everybody wants is fetched once, by one request, however many
//! ask for it meanwhile.
//!
//! What is decided here: which requests may be answered from memory at all ([`Cache::consider`]), what they are kept under
//! ([`mod@key`]), and which answers are kept ([`Cache::judge`]). The mechanics (one writer at a time, conditional and range
//! requests, stale answers) are Pingora's, the memory is [`store`]'s.
//!
//! A request is anonymous when it brings no credentials (`[limits] credentials`), no cookie and no body; whatever is kept was
//! said by tier two to be for nobody in particular. All of admission comes before: a hit costs a client its limits, and the
//! rules have seen the request.
//!
//! While an answer is stale one request fetches a new one, and waits for it; the others get the stale one. Nothing is fetched
//! behind the back of requests: every request that tier two sees has a client, an id and a place in the limits.

pub mod config;
pub mod key;
pub mod store;

use std::time::{Duration, SystemTime};

use gatehouse_shared::clock;
use gatehouse_shared::hop::{Auth, Origin};
use http::{HeaderMap, HeaderName, Method, header};
use pingora::cache::cache_control::{CacheControl, InterpretCacheControl};
use pingora::cache::lock::CacheKeyLockImpl;
use pingora::cache::predictor::Predictor;
use pingora::cache::{CacheKey, CacheMeta, CachePhase, NoCacheReason, RespCacheable};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

pub use config::{Config, Keep, RouteConfig};
pub use store::Store;

use super::REQUEST_ID;
use crate::admit::RequestView;
use crate::context::Context;

/// How long requests wait for the one that fetches; then each goes its own way.
const PATIENCE: Duration = Duration::from_secs(10);
/// Shards of the memory of what was not kept, and places in each: requests for it do not wait for each other.
const SHARDS: usize = 16;
const PLACES: usize = 1024;

/// Fields by which callers prove who they are to tier two.
const CREDENTIALS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("signature"),
    HeaderName::from_static("signature-input"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-ca-key"),
    HeaderName::from_static("x-ca-signature"),
    HeaderName::from_static("x-session-token"),
];

/// Fields of one answer, not of the next to the same question.
const OF_ONE: [HeaderName; 3] =
    [REQUEST_ID, HeaderName::from_static("ratelimit"), HeaderName::from_static("ratelimit-policy")];

/// The cache of this process.
pub struct Cache {
    /// What is kept.
    pub store: &'static Store,
    lock: &'static CacheKeyLockImpl,
    predictor: &'static Predictor<SHARDS>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Cache").field("store", &self.store.size()).finish_non_exhaustive()
    }
}

impl Cache {
    /// The cache of a process. Pingora wants its parts to be there for ever, so they are never given back; make one.
    #[must_use]
    pub fn leak() -> Self {
        let store = Box::leak(Box::new(Store::new(Config::default().max_bytes.get())));
        let lock = Box::leak(pingora::cache::lock::CacheLock::new_boxed(PATIENCE));
        let predictor = Box::leak(Box::new(Predictor::new(PLACES, None)));
        Self { store, lock, predictor }
    }

    /// Lets a request be answered from memory if its route says so and it is an anonymous read.
    pub fn consider(&self, session: &mut Session, context: &mut Context) {
        let Some((keep, config)) = kept_by(context) else { return };
        let head = session.req_header();
        let is_read = matches!(head.method, Method::GET | Method::HEAD) && !context.has_body();
        let has_cookies = head.headers.contains_key(header::COOKIE);
        if !is_read || (has_cookies && !keep.ignore_cookies) || has_credentials(&head.headers, context) {
            return;
        }
        let (max_bytes, entry_max) = (config.max_bytes.get(), config.entry_max.get());
        context.drops_cookies = has_cookies;
        self.store.bound(max_bytes);
        session.cache.enable(self.store, None, Some(self.predictor), Some(self.lock), None);
        session.cache.set_max_file_size_bytes(usize::try_from(entry_max).unwrap_or(usize::MAX));
    }

    /// Whether an answer from tier two is kept, and for how long.
    #[must_use]
    pub fn judge(&self, head: &ResponseHeader, context: &Context) -> RespCacheable {
        let no = RespCacheable::Uncacheable(NoCacheReason::OriginNotCache);
        let Some((keep, _)) = kept_by(context) else { return no };
        let is_for_all = context
            .outcome
            .result
            .as_ref()
            .is_some_and(|result| result.origin == Origin::Service && result.auth == Auth::Anonymous);
        if !is_for_all || !keep.statuses.contains(&head.status) || !may_be_kept(&head.headers, keep) {
            return no;
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(clock::unix_ms());
        let Some(fresh_for) = lifetime(head, keep, now) else { return no };
        let mut kept = head.clone();
        for name in OF_ONE {
            kept.remove_header(&name);
        }
        RespCacheable::Cacheable(CacheMeta::new(now + fresh_for, now, keep.stale, keep.stale, kept))
    }
}

fn kept_by(context: &Context) -> Option<(&Keep, &Config)> {
    let keep = context.route.as_deref()?.cache.as_ref()?;
    Some((keep, &context.arrival.as_deref()?.policy.value.cache))
}

/// Whether a request brings what tier two may take for credentials, or what `[limits] credentials` names.
fn has_credentials(headers: &HeaderMap, context: &Context) -> bool {
    let Some(arrival) = context.arrival.as_deref() else { return true };
    let (message, connection) = (&arrival.message, &arrival.connection);
    // The open-platform style puts them into the query.
    let signs = |pair: &str| pair.split('=').next().is_some_and(|name| matches!(name, "sign" | "app_key" | "session"));
    let view = RequestView::new(message, headers, connection, context.client, None, context.started_unix_ms);
    CREDENTIALS.iter().any(|name| headers.contains_key(name))
        || connection.tls.as_deref().is_some_and(|tls| tls.client.is_some())
        || message.query().is_some_and(|query| query.split('&').any(signs))
        || arrival.policy.value.credentials.are_in(&view)
}

/// What the answer to a request is kept under.
///
/// # Errors
///
/// Its route keeps nothing, which [`Cache::consider`] has ruled out.
pub fn key(session: &Session, context: &Context) -> pingora::Result<CacheKey> {
    let (Some((keep, _)), Some(arrival)) = (kept_by(context), context.arrival.as_deref()) else {
        return Error::e_explain(ErrorType::InternalError, "nothing is kept here");
    };
    let scheme = if arrival.connection.tls.is_some() { "https" } else { "http" };
    let message = &arrival.message;
    let headers = &session.req_header().headers;
    let key = key::of(scheme, message.authority(), message.raw_target(), &keep.headers, headers);
    Ok(CacheKey::new(key, ""))
}

/// Whether anything in the head of an answer says that it is for somebody, or depends on what the key does not hold.
fn may_be_kept(headers: &HeaderMap, keep: &Keep) -> bool {
    let depends = |field: &str| {
        let field = field.trim();
        !field.is_empty() && !keep.headers.iter().any(|name| name.as_str().eq_ignore_ascii_case(field))
    };
    let varies = |value: &http::HeaderValue| value.to_str().map_or(true, |value| value.split(',').any(depends));
    !headers.contains_key(header::SET_COOKIE)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !headers.contains_key(header::WWW_AUTHENTICATE)
        && !headers.get_all(header::VARY).iter().any(varies)
}

/// How long an answer is fresh: as long as it says itself, at most as long as its route says.
fn lifetime(head: &ResponseHeader, keep: &Keep, now: SystemTime) -> Option<Duration> {
    let control = CacheControl::from_resp_headers(head);
    let Some(control) = control.filter(|_| head.headers.contains_key(header::CACHE_CONTROL)) else {
        let Some(expires) = pingora::cache::filters::calculate_expires_header_time(head) else {
            return Some(keep.lifetime).filter(|_| !head.headers.contains_key(header::EXPIRES));
        };
        let left = expires.duration_since(now).ok()?;
        return Some(left.min(keep.lifetime)).filter(|left| !left.is_zero());
    };
    let is_private = control.private() || control.private_field_names().is_some();
    if is_private || control.no_store() || control.no_cache() || control.no_cache_field_names().is_some() {
        return None;
    }
    let stated = match control.fresh_duration() {
        Some(stated) => stated,
        None => keep.lifetime,
    };
    Some(stated.min(keep.lifetime)).filter(|stated| !stated.is_zero())
}

/// Whether a stale answer is given: to all but the one who fetches a new one, and to everybody when no node can be reached.
#[must_use]
pub fn serves_stale(session: &Session, error: Option<&Error>) -> bool {
    match error {
        None => !session.cache.is_cache_lock_writer(),
        Some(error) => *error.esource() == ErrorSource::Upstream,
    }
}

/// Whether the answer comes from memory.
#[must_use]
pub fn is_hit(session: &Session) -> bool {
    matches!(session.cache.phase(), CachePhase::Hit | CachePhase::Stale | CachePhase::StaleUpdating)
}

/// What logs and metrics say of it; nothing for a request that passed by.
#[must_use]
pub fn outcome(session: &Session) -> Option<&'static str> {
    match session.cache.phase() {
        CachePhase::Hit => Some("hit"),
        CachePhase::Stale | CachePhase::StaleUpdating => Some("stale"),
        CachePhase::Miss => Some("miss"),
        CachePhase::Expired | CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Some("expired"),
        CachePhase::Bypass => Some("uncacheable"),
        CachePhase::Disabled(NoCacheReason::NeverEnabled) | CachePhase::Uninit | CachePhase::CacheKey => None,
        CachePhase::Disabled(_) => Some("uncacheable"),
    }
}

#[cfg(test)]
mod tests;
