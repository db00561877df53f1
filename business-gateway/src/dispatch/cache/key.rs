//! What tells answers apart, and what of a call reaches the service.
//!
//! The two belong together: what is not in the key does not reach the service, except for the few headers by which a client
//! negotiates and about which the service can say `Vary`. So nobody can put an answer into the cache that depends on something
//! of their own, and give it to others.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use ring::digest;

use super::config::Scope;
use crate::admit::caller::Caller;
use crate::store::apps::Scheme;

/// Longest body that is part of a key, in bytes.
pub const LONGEST_BODY: u64 = 64 * 1024;

/// By these a client negotiates; an answer that depends on one has it in `Vary`.
const NEGOTIATED: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_CHARSET, header::ACCEPT_LANGUAGE];
/// These say what the body of the request means: they count where it counts.
const OF_BODY: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];
/// These frame the request, or are the gateway's own.
const CARRIED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];
/// What the platform scheme adds to a query, different for each call.
const OF_PLATFORM: [&str; 3] = ["timestamp", "app_key", "sign_method"];

/// A key: the SHA-256 of all parts, so that nobody can make two calls meet that are not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// As it is shown.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The key of one variant of what this one stands for.
    #[must_use]
    pub fn variant<'a>(&self, by: impl Iterator<Item = (&'a HeaderName, &'a HeaderMap)>) -> Self {
        hashed(|put| {
            put(&self.0);
            for (name, headers) in by {
                part(put, name.as_str().as_bytes());
                values(put, headers, name);
            }
        })
    }

    /// Its first byte, by which keys spread.
    #[must_use]
    pub fn first(&self) -> u8 {
        self.0[0]
    }
}

/// Where a parameter of a path stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// After so many slashes but the first.
    pub index: usize,
    /// Whether it takes everything that follows.
    pub is_rest: bool,
}

impl Place {
    /// What stands there; empty where the path is shorter.
    #[must_use]
    pub fn of<'p>(&self, path: &'p str) -> &'p str {
        let path = path.strip_prefix('/').unwrap_or(path);
        let found = match self.is_rest {
            true => path.splitn(self.index.saturating_add(1), '/').nth(self.index),
            false => path.split('/').nth(self.index),
        };
        found.unwrap_or_default()
    }
}

/// What of the path counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKey {
    /// All of the canonical one.
    Whole,
    /// All of it as the client wrote it, which is what the service gets.
    Raw,
    /// These parameters.
    Parameters(Vec<Place>),
}

/// What of the query counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryKey {
    /// All parameters.
    All,
    /// These, by name in alphabetical order.
    Listed(Vec<String>),
}

/// What tells answers of an API apart.
#[derive(Debug, Clone)]
pub struct KeyRules {
    /// Who shares them.
    pub scope: Scope,
    /// Whether users get what is kept for everybody.
    pub for_users: bool,
    /// What of the path counts.
    pub path: PathKey,
    /// What of the query counts.
    pub query: QueryKey,
    /// Headers that count, in alphabetical order.
    pub headers: Vec<HeaderName>,
    /// Cookies that count, in alphabetical order.
    pub cookies: Vec<String>,
    /// Headers that the service gets all the same.
    pub pass: Vec<HeaderName>,
    /// The application's plan.
    pub plan: bool,
    /// The application's class.
    pub class: bool,
    /// The application's field level.
    pub field_level: bool,
    /// The scopes of the call.
    pub scopes: bool,
    /// The request's body, with what says how to read it.
    pub body: bool,
}

/// A call, as far as its key is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The API.
    pub api: &'a str,
    /// The head of the request.
    pub head: &'a Parts,
    /// The authority that the client named.
    pub authority: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// The body, where it counts.
    pub body: &'a [u8],
}

impl KeyRules {
    /// The key of a call.
    #[must_use]
    pub fn key(&self, asked: &Asked<'_>) -> Key {
        hashed(|put| self.write(asked, put))
    }

    /// Writes every part with what it is and how long it is, so that different calls never read the same.
    fn write(&self, asked: &Asked<'_>, put: &mut dyn FnMut(&[u8])) {
        let Asked { api, head, authority, path, caller, body } = *asked;
        part(put, api.as_bytes());
        part(put, method(&head.method).as_str().as_bytes());
        // Nearly always it is in lower case already.
        match authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => part(put, authority.to_ascii_lowercase().as_bytes()),
            false => part(put, authority.as_bytes()),
        }
        self.write_caller(caller, put);
        match &self.path {
            PathKey::Whole => labelled(put, b"path", path.as_bytes()),
            PathKey::Raw => labelled(put, b"raw", head.uri.path().as_bytes()),
            PathKey::Parameters(places) => {
                count(put, b"parameters", places.len());
                places.iter().for_each(|place| part(put, place.of(path).as_bytes()));
            }
        }
        let query = head.uri.query().unwrap_or_default();
        if !query.is_empty() || self.query != QueryKey::All {
            let mut pairs: Vec<&str> = query.split('&').filter(|pair| self.counts(pair, caller)).collect();
            // Pairs of one name keep their order, which may mean something.
            pairs.sort_by(|one, other| name_of(one).cmp(name_of(other)));
            count(put, b"query", pairs.len());
            pairs.iter().for_each(|pair| part(put, pair.as_bytes()));
        }
        for name in &self.headers {
            labelled(put, b"header", name.as_str().as_bytes());
            values(put, &head.headers, name);
        }
        for name in &self.cookies {
            labelled(put, b"cookie", name.as_bytes());
            let found = cookies(&head.headers).filter(|cookie| cookie_name(cookie) == name.as_bytes());
            let found: Vec<&[u8]> = found.collect();
            count(put, b"values", found.len());
            found.iter().for_each(|cookie| part(put, cookie));
        }
        if self.body {
            labelled(put, b"body", body);
            OF_BODY.iter().for_each(|name| values(put, &head.headers, name));
        }
    }

    fn write_caller(&self, caller: &Caller, put: &mut dyn FnMut(&[u8])) {
        let app = caller.app.as_deref();
        match self.scope {
            Scope::Shared => part(put, b"shared"),
            Scope::App => labelled(put, b"app", caller.app_key().as_bytes()),
            Scope::User => {
                labelled(put, b"user", caller.app_key().as_bytes());
                optional(put, caller.user.as_deref().map(str::as_bytes));
            }
        }
        if self.plan {
            part(put, b"plan");
            optional(put, app.and_then(|app| app.plan.as_deref()).map(str::as_bytes));
        }
        if self.class {
            part(put, b"class");
            optional(put, app.and_then(|app| app.class.as_deref()).map(str::as_bytes));
        }
        if self.field_level {
            labelled(put, b"level", &[app.map_or(0, |app| app.field_level)]);
        }
        if self.scopes {
            let mut scopes: Vec<&str> = caller.scopes.iter().flatten().map(|scope| &**scope).collect();
            scopes.sort_unstable();
            part(put, if caller.scopes.is_some() { b"scopes" } else { b"no scopes" });
            count(put, b"values", scopes.len());
            scopes.iter().for_each(|scope| part(put, scope.as_bytes()));
        }
    }

    /// Whether a pair of the query counts, and reaches the service.
    fn counts(&self, pair: &str, caller: &Caller) -> bool {
        let name = name_of(pair);
        match &self.query {
            QueryKey::Listed(names) => names.binary_search_by(|known| known.as_str().cmp(name)).is_ok(),
            QueryKey::All => caller.scheme != Some(Scheme::Platform) || !OF_PLATFORM.contains(&name),
        }
    }

    /// Whether the service gets a header of the request.
    #[must_use]
    pub fn lets_through(&self, name: &HeaderName) -> bool {
        NEGOTIATED.contains(name)
            || CARRIED.contains(name)
            || (self.body && OF_BODY.contains(name))
            || self.headers.contains(name)
            || self.pass.contains(name)
    }

    /// The headers of a `Vary` by which answers under one key still differ; `None` when nobody can tell.
    ///
    /// What does not reach the service is the same for all of them, and what is in the key need not be compared again.
    #[must_use]
    pub fn varies_by(&self, answer: &HeaderMap) -> Option<Vec<HeaderName>> {
        let mut by: Vec<HeaderName> = Vec::new();
        for value in answer.get_all(header::VARY) {
            for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if name == b"*" {
                    return None;
                }
                // What is not a name cannot be in a request either.
                let Ok(name) = HeaderName::from_bytes(name) else { continue };
                let differs = NEGOTIATED.contains(&name) || self.pass.contains(&name);
                if differs && !self.headers.contains(&name) && !by.contains(&name) {
                    by.push(name);
                }
            }
        }
        by.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        Some(by)
    }

    /// Leaves of a request what the service may see of it, and asks for a whole answer that is not encoded.
    pub fn cut(&self, head: &mut Parts, caller: &Caller) {
        if head.method == Method::HEAD {
            head.method = Method::GET;
        }
        if let Some(query) = head.uri.query()
            && !query.split('&').all(|pair| self.counts(pair, caller))
        {
            let kept: Vec<&str> = query.split('&').filter(|pair| self.counts(pair, caller)).collect();
            let path = head.uri.path();
            let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
            let mut uri = std::mem::take(&mut head.uri).into_parts();
            // What is left of a target is one.
            uri.path_and_query =
                PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).ok().or(uri.path_and_query);
            head.uri = Uri::from_parts(uri).unwrap_or_default();
        }
        let cookie = self.kept_cookies(&head.headers);
        let gone: Vec<HeaderName> = head.headers.keys().filter(|name| !self.lets_through(name)).cloned().collect();
        for name in gone {
            head.headers.remove(name);
        }
        if let Some(cookie) = cookie {
            head.headers.insert(header::COOKIE, cookie);
        }
        head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }

    fn kept_cookies(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.cookies.is_empty() {
            return None;
        }
        let is_kept = |cookie: &&[u8]| self.cookies.iter().any(|name| name.as_bytes() == cookie_name(cookie));
        let kept: Vec<&[u8]> = cookies(headers).filter(is_kept).collect();
        if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(b"; ".as_slice())).ok() }
    }

    /// Who the service is told calls: as much of the caller as is in the key.
    #[must_use]
    pub fn introduced(&self, caller: &Caller) -> Arc<Caller> {
        let app = if self.scope == Scope::Shared { None } else { caller.app.clone() };
        let user = if self.scope == Scope::User { caller.user.clone() } else { None };
        // Scopes are named to a service with the application that they were given to.
        let scopes = if self.scopes && app.is_some() { caller.scopes.clone() } else { None };
        Arc::new(Caller { app, scheme: None, user, scopes })
    }
}

/// What answers the method: GET for HEAD.
fn method(method: &Method) -> &Method {
    if *method == Method::HEAD { &Method::GET } else { method }
}

/// The name in a pair of a query, as it is written.
fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let crumbs = headers.get_all(header::COOKIE).iter();
    let cookies = crumbs.flat_map(|crumb| crumb.as_bytes().split(|byte| *byte == b';'));
    cookies.map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty())
}

fn cookie_name(cookie: &[u8]) -> &[u8] {
    cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn hashed(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    write(&mut |bytes| hash.update(bytes));
    let mut key = [0; 32];
    key.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Key(key)
}

/// The length comes first, so that no two lists of parts read the same.
fn part(put: &mut dyn FnMut(&[u8]), bytes: &[u8]) {
    put(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    put(bytes);
}

fn labelled(put: &mut dyn FnMut(&[u8]), label: &[u8], bytes: &[u8]) {
    part(put, label);
    part(put, bytes);
}

fn count(put: &mut dyn FnMut(&[u8]), label: &[u8], count: usize) {
    part(put, label);
    put(&u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes());
}

fn optional(put: &mut dyn FnMut(&[u8]), bytes: Option<&[u8]>) {
    count(put, b"optional", usize::from(bytes.is_some()));
    part(put, bytes.unwrap_or_default());
}

fn values(put: &mut dyn FnMut(&[u8]), headers: &HeaderMap, name: &HeaderName) {
    count(put, b"values", headers.get_all(name).iter().count());
    headers.get_all(name).iter().for_each(|value| part(put, value.as_bytes()));
}

#[cfg(test)]
pub(crate) mod tests;
