//! An answer as it is kept, and how it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gatehouse_shared::hop::{Auth, HopResult};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::control::Times;
use super::squeeze;
use super::tag::Tag;
use crate::dispatch::request::REQUEST_ID_HEADER;
use crate::respond::body::Outgoing;
use crate::respond::shape::{RESULT, result};

/// What a header costs in a map beside its text, and an answer beside its parts, in bytes; estimates from above.
const HEADER_COSTS: usize = 120;
const ANSWER_COSTS: usize = 512;

/// A body that is kept.
#[derive(Debug, Clone)]
pub enum Kept {
    /// As it is sent.
    Plain(Bytes),
    /// Compressed; with its length.
    Squeezed(Bytes, usize),
}

impl Kept {
    /// How many bytes it is when it is sent.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Squeezed(_, length) => *length,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Squeezed(bytes, _) => bytes.len(),
        }
    }
}

/// An answer that is kept. It never changes, but for two marks.
#[derive(Debug)]
pub struct Stored {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those of one connection, of the tiers, and of one call.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Kept,
    /// By which request headers it differs from others under its key, and what they were.
    pub by: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// When it is what.
    pub times: Times,
    /// When its service was asked last, in Unix milliseconds.
    pub asked: u64,
    /// Up to which purge it is known to stand; see [`super::purge`].
    pub checked: AtomicU64,
    /// Until when its service is not asked again, because it has just failed.
    pub hold_off: AtomicU64,
}

impl Stored {
    /// What it weighs in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of_headers = |headers: &HeaderMap| -> usize {
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_COSTS).sum()
        };
        let by = |(name, values): &(HeaderName, Vec<HeaderValue>)| -> usize {
            name.as_str().len() + values.iter().map(|value| value.len() + HEADER_COSTS).sum::<usize>() + HEADER_COSTS
        };
        ANSWER_COSTS
            + self.body.weight()
            + of_headers(&self.headers)
            + self.by.iter().map(by).sum::<usize>()
            + self.tags.len() * size_of::<Tag>()
    }

    /// Whether it answers a request with these headers.
    #[must_use]
    pub fn suits(&self, request: &HeaderMap) -> bool {
        self.by.iter().all(|(name, values)| request.get_all(name).iter().eq(values.iter()))
    }

    /// Whether it and another one answer the same requests.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.by == other.by
    }

    /// The answer to a call with these headers: all of it, or that what the client has is still right. A `HEAD` gets no body.
    ///
    /// `None` when the body cannot be read back, which does not happen to what was written here.
    #[must_use]
    pub fn give(&self, call: &Given<'_>, now: u64) -> Option<Response<Outgoing>> {
        let is_same = self.status == StatusCode::OK && is_same(&self.headers, call.request);
        let body = if is_same || call.is_head { Bytes::new() } else { self.plain()? };
        let mut answer = Response::new(Outgoing::own(body));
        *answer.headers_mut() = self.headers.clone();
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        if is_same {
            for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
                headers.remove(name);
            }
        } else if call.is_head && self.status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.length()));
        }
        headers.insert(header::AGE, HeaderValue::from(self.times.age(now)));
        headers.insert(RESULT, result(&HopResult { auth: call.auth, ..HopResult::SERVICE }));
        if is_same {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Some(answer)
    }

    /// Its body as it is sent; `None` when that cannot be read back.
    #[must_use]
    pub fn plain(&self) -> Option<Bytes> {
        match &self.body {
            Kept::Plain(bytes) => Some(bytes.clone()),
            Kept::Squeezed(bytes, length) => squeeze::plain(bytes, *length),
        }
    }

    /// What a service is asked when it may still be right: by its tag, or else by its date.
    pub fn ask_whether_it_changed(&self, request: &mut HeaderMap) {
        if let Some(tag) = self.headers.get(header::ETAG) {
            request.insert(header::IF_NONE_MATCH, tag.clone());
        } else if let Some(date) = self.headers.get(header::LAST_MODIFIED) {
            request.insert(header::IF_MODIFIED_SINCE, date.clone());
        }
    }

    /// The same, confirmed by a 304 with these headers (RFC 9111, section 3.2).
    #[must_use]
    pub fn confirmed(&self, confirmation: &HeaderMap, times: Times, asked: u64, as_of: u64) -> Self {
        let mut headers = self.headers.clone();
        for name in confirmation.keys() {
            let of_the_body = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_TYPE];
            if is_kept(name) && !of_the_body.contains(name) && *name != header::CONTENT_RANGE {
                headers.remove(name);
                for value in confirmation.get_all(name) {
                    headers.append(name.clone(), owned(value));
                }
            }
        }
        let (checked, hold_off) = (AtomicU64::new(as_of), AtomicU64::new(0));
        Self { headers, times, asked, checked, hold_off, ..self.with_body(self.body.clone()) }
    }

    /// The same with its body in another form.
    #[must_use]
    pub fn with_body(&self, body: Kept) -> Self {
        Self {
            status: self.status,
            headers: self.headers.clone(),
            body,
            by: self.by.clone(),
            tags: self.tags.clone(),
            times: self.times,
            asked: self.asked,
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
            hold_off: AtomicU64::new(self.hold_off.load(Ordering::Relaxed)),
        }
    }

    /// Its service has failed: it is not asked again before `until`.
    pub fn hold_off_until(&self, until: u64) {
        self.hold_off.store(until, Ordering::Relaxed);
    }

    /// Whether it may be given without asking its service, at `now`: it is fresh, or its service has just failed.
    #[must_use]
    pub fn state(&self, now: u64) -> State {
        if now < self.times.fresh {
            return State::Fresh;
        }
        if now < self.hold_off.load(Ordering::Relaxed) && now < self.times.error.max(self.times.revalidate) {
            return State::HeldOff;
        }
        if now < self.times.revalidate { State::Stale } else { State::Over }
    }
}

/// What an answer that is kept is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is given.
    Fresh,
    /// It is given, and nobody asks the service: it has just failed.
    HeldOff,
    /// It is given, and one call asks the service.
    Stale,
    /// The service is asked first.
    Over,
}

/// To whom an answer is given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The headers of the request.
    pub request: &'a HeaderMap,
    /// Whether it is a `HEAD`.
    pub is_head: bool,
    /// What the edge is told of the caller.
    pub auth: Auth,
}

/// Whether what a client has is what it would get (RFC 9110, section 13).
fn is_same(answer: &HeaderMap, request: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let Some(tag) = answer.get(header::ETAG).map(|tag| weak(tag.as_bytes())) else { return false };
        let mut asked = request.get_all(header::IF_NONE_MATCH).iter();
        return asked.any(|list| list.as_bytes() == b"*" || tags_of(list.as_bytes()).any(|known| weak(known) == tag));
    }
    let Some(modified) = answer.get(header::LAST_MODIFIED) else { return false };
    match request.get(header::IF_MODIFIED_SINCE) {
        None => false,
        Some(since) if since == modified => true,
        Some(_) => {
            let since = super::control::date(request, &header::IF_MODIFIED_SINCE);
            let modified = super::control::date(answer, &header::LAST_MODIFIED);
            since.zip(modified).is_some_and(|(since, modified)| modified <= since)
        }
    }
}

/// The entity tags of a list; a comma inside of one separates nothing.
fn tags_of(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.split(move |byte| {
        if *byte == b'"' {
            is_quoted = !is_quoted;
        }
        *byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// An entity tag for the weak comparison.
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a header of an answer is kept: it does not belong to one call.
#[must_use]
pub fn is_kept(name: &HeaderName) -> bool {
    *name != RESULT && *name != REQUEST_ID_HEADER && *name != header::AGE && *name != header::SET_COOKIE
}

/// The headers of an answer that are kept, in memory of their own: as they came they hold on to all that was read with them.
#[must_use]
pub fn kept_headers(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| is_kept(name));
    let mut own = HeaderMap::with_capacity(headers.len() + 3);
    for (name, value) in kept {
        // A name that is not a standard one holds on to what was read, too.
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_error| name.clone());
        own.append(name, owned(value));
    }
    own
}

/// The values of the headers by which answers differ, in memory of their own.
#[must_use]
pub fn kept_values(by: Vec<HeaderName>, request: &HeaderMap) -> Vec<(HeaderName, Vec<HeaderValue>)> {
    by.into_iter()
        .map(|name| {
            let values = request.get_all(&name).iter().map(owned).collect();
            (name, values)
        })
        .collect()
}

fn owned(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_error| value.clone())
}

/// Everything that is kept under one key.
#[derive(Debug, Default)]
pub struct Slot {
    /// Answers that differ by headers of the request, the one that came last at the end.
    pub variants: Vec<Arc<Stored>>,
    /// Until then calls do not wait for each other, because the last answer could not be kept; in Unix milliseconds.
    pub pass_until: u64,
}

/// Answers under one key at most; the oldest goes.
pub const MOST_VARIANTS: usize = 8;

impl Slot {
    /// What it weighs in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        // The key is there twice, and the table has room to spare.
        let own = size_of::<Self>() + 4 * size_of::<super::key::Key>();
        own + self.variants.iter().map(|stored| stored.weight() + size_of::<Arc<Stored>>()).sum::<usize>()
    }

    /// The answer to a request with these headers.
    #[must_use]
    pub fn find(&self, request: &HeaderMap) -> Option<&Arc<Stored>> {
        self.variants.iter().rev().find(|stored| stored.suits(request))
    }

    /// The same with one more answer.
    #[must_use]
    pub fn with(&self, stored: &Arc<Stored>) -> Self {
        let mut variants: Vec<_> = self.variants.iter().filter(|known| !stored.replaces(known)).cloned().collect();
        if variants.len() >= MOST_VARIANTS {
            variants.remove(0);
        }
        variants.push(Arc::clone(stored));
        Self { variants, pass_until: 0 }
    }
}

#[cfg(test)]
pub(crate) mod tests;
