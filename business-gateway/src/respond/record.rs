//! What is known of one call, written as one line of JSON when the call is over: answered, broken off, or given up by the edge.
//! The line is pushed to a bounded queue; a full queue drops it and counts that.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::hop::VerifiedHop;
use gatehouse_shared::id::{RequestId, TraceContext};
use gatehouse_shared::problem::{self, Reason};
use gatehouse_shared::shutdown::InFlightGuard;
use gatehouse_shared::telemetry::access_log::Line;
use http::request::Parts;
use http::{Method, Version};

use crate::accept::body::Progress;
use crate::accept::connection::{Busy, Connection};
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::admit::flow_rule;
use crate::admit::quota;
use crate::admit::route;
use crate::admit::traffic_group;
use crate::admit::validation;
use crate::dispatch;
use crate::dispatch::aggregate;
use crate::dispatch::cache::metrics::Outcome;
use crate::dispatch::request::TRACEPARENT_HEADER;
use crate::dispatch::split;
use crate::gateway::Gateway;
use crate::pipeline::Site;
use crate::pipeline::part::Whole;
use crate::respond::failure::{Executed, Failure};
use crate::respond::shaping;
use crate::respond::timings::Timings;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Whole,
    /// The service ended it early.
    Broken,
    /// The edge went away first.
    Abandoned,
}

/// The record of one call. Dropping it writes it down.
#[derive(Debug)]
pub struct Record {
    gateway: Arc<Gateway>,
    /// The node it came from.
    peer: SocketAddr,
    /// Keeps the connection busy, and the process from stopping, until the answer was handed over; a part leaves that to the
    /// whole.
    busy: Option<(Busy, InFlightGuard)>,
    /// Which part of the call it is, where it is one.
    part: Option<Box<str>>,
    /// How many items a batch has.
    pub items: Option<usize>,
    /// When the request's head was there.
    pub began: Instant,
    unix_ms: u64,
    method: Method,
    version: Version,
    generation: u64,
    is_logged: bool,
    /// The trace that a caller has begun, with this tier's span.
    pub trace: Option<TraceContext>,
    /// The path of a request that did not come through the edge, shortened.
    stray_path: Option<Box<str>>,
    /// The id of a request that did not come through the edge, once somebody asks for it.
    own_id: OnceLock<RequestId>,
    /// What the edge said.
    pub hop: Option<Arc<VerifiedHop>>,
    /// The API called.
    pub api: Option<Arc<Api>>,
    /// How the API was found.
    pub route: route::Notes,
    /// Who called it.
    pub caller: Option<Arc<Caller>>,
    /// What it was charged.
    pub quota: quota::Notes,
    /// Its place among the calls of its pool, which others get when this is dropped.
    pub traffic: traffic_group::Notes,
    /// The request's body.
    pub upload: Option<Arc<Progress>>,
    /// Whether it is as its API declares.
    pub validation: validation::Notes,
    /// What flow rules did to it.
    pub flow: flow_rule::Notes,
    /// What became of the shape of its answer.
    pub shape: shaping::Notes,
    /// What the cache did, where its API has one.
    pub cache: Option<Outcome>,
    /// Which branch it took.
    pub split: split::Notes,
    /// What became of it upstream.
    pub dispatch: dispatch::Notes,
    /// The parts it is made of.
    pub aggregate: aggregate::Notes,
    /// How long its steps took, where somebody may see it.
    pub timings: Option<Box<Timings>>,
    status: u16,
    reason: Option<&'static Reason>,
    cause: Option<String>,
    sent: u64,
    end: End,
}

/// Bytes of a stray request's path that are worth keeping.
const STRAY_PATH: usize = 200;

impl Record {
    /// Begins the record of a request.
    #[must_use]
    pub fn begin(site: &Site, connection: &Arc<Connection>, parts: &Parts) -> Box<Self> {
        let traceparent = single(&parts.headers, &TRACEPARENT_HEADER);
        let trace = traceparent.and_then(|value| TraceContext::continue_from(value).ok());
        let mut record = Self::new(site, connection.peer, parts);
        record.busy = Some((connection.enter(), site.gateway.in_flight.enter()));
        record.trace = trace;
        Box::new(record)
    }

    /// Begins the record of a part of a call.
    #[must_use]
    pub fn part(whole: &Whole, name: &str, hop: &Arc<VerifiedHop>, parts: &Parts) -> Box<Self> {
        let mut record = Self::new(&whole.site, whole.peer, parts);
        record.part = Some(name.into());
        record.hop = Some(Arc::clone(hop));
        record.trace = whole.trace;
        Box::new(record)
    }

    /// What the parts of this call have of it; `None` before it is known who calls.
    #[must_use]
    pub fn whole(&self, site: &Site, deadline: Instant) -> Option<Whole> {
        Some(Whole {
            site: site.clone(),
            peer: self.peer,
            hop: Arc::clone(self.hop.as_ref()?),
            caller: Arc::clone(self.caller.as_ref()?),
            trace: self.trace,
            deadline,
            part: self.part.clone(),
        })
    }

    fn new(site: &Site, peer: SocketAddr, parts: &Parts) -> Self {
        let unix_ms = clock::unix_ms();
        Self {
            gateway: Arc::clone(&site.gateway),
            peer,
            busy: None,
            part: None,
            items: None,
            began: clock::now(),
            unix_ms,
            method: parts.method.clone(),
            version: parts.version,
            generation: site.generation.number,
            is_logged: site.policy().access_log.sink != "off",
            trace: None,
            stray_path: None,
            own_id: OnceLock::new(),
            hop: None,
            api: None,
            route: route::Notes::default(),
            caller: None,
            quota: quota::Notes::default(),
            traffic: traffic_group::Notes::default(),
            upload: None,
            validation: validation::Notes::default(),
            flow: flow_rule::Notes::default(),
            shape: shaping::Notes::default(),
            cache: None,
            split: split::Notes::default(),
            dispatch: dispatch::Notes::default(),
            aggregate: aggregate::Notes::default(),
            timings: None,
            status: 0,
            reason: None,
            cause: None,
            sent: 0,
            end: End::Abandoned,
        }
    }

    /// A step is over that began with the end of the one before.
    pub fn step(&mut self, name: &'static str) {
        if let Some(timings) = &mut self.timings {
            timings.step(name, clock::now());
        }
    }

    /// Whether it is the record of a part of a call.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// Whether only the head of an answer is asked for.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// When the request arrived, in Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// The request id: the edge's, or one made here for a request that did not come through it.
    pub fn request_id(&self) -> RequestId {
        match &self.hop {
            Some(hop) => hop.request_id,
            None => *self.own_id.get_or_init(|| RequestId::new(self.unix_ms)),
        }
    }

    /// The request did not come through the edge; all there is to log of it is its path.
    pub fn is_stray(&mut self, path: &str) {
        self.stray_path = Some(path.chars().take(STRAY_PATH).collect());
    }

    /// Notes the status of the answer.
    pub fn answered(&mut self, status: http::StatusCode) {
        self.status = status.as_u16();
        self.quota.keep();
    }

    /// Notes why the answer was made here.
    pub fn failed(&mut self, failure: Failure) {
        if failure.executed == Executed::No {
            self.quota.give_back();
        }
        self.reason = Some(failure.reason);
        self.cause = failure.cause;
        self.gave_up();
    }

    /// Nothing is done for it any more but sending its answer, which was kept from before: its service has failed for this
    /// reason, if that is known.
    pub fn helped(&mut self, failure: Option<Failure>) {
        self.cause = failure.map(|failure| failure.cause.unwrap_or_else(|| failure.reason.code.to_owned()));
        self.gave_up();
    }

    fn gave_up(&mut self) {
        let now = clock::now();
        self.traffic.gave_up(self.upload.as_deref(), now);
        self.traffic.release(now);
    }

    /// Counts bytes of the answer's body.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Notes how the answer ended.
    pub fn end(&mut self, end: End) {
        self.end = end;
    }

    fn finish(&mut self) {
        // No answer at all: the edge reset the stream or closed the connection while the call was under way.
        if self.status == 0 {
            self.status = problem::CLIENT_CLOSED.status;
            self.reason = Some(&problem::CLIENT_CLOSED);
        }
        let now = clock::now();
        if let Some((busy, _)) = &mut self.busy {
            busy.leave(now);
        }
        self.traffic.gave_up(self.upload.as_deref(), now);
        // Whoever comes next shall not wait for the line to be written.
        self.traffic.release(now);
        let total = now.saturating_duration_since(self.began);
        let metrics = &self.gateway.metrics;
        let of_api = match &self.api {
            Some(api) => api.metrics.get_or_init(|| metrics.of_api(&api.name)),
            None => &self.gateway.without_api,
        };
        of_api.record(self.status, total, self.dispatch.waited);
        self.split.count(metrics, self.dispatch.waited, self.end == End::Broken);
        if let Some(reason) = self.reason {
            metrics.refused(reason);
        }
        if self.end == End::Broken {
            metrics.broken.inc();
        }
        if !self.is_logged {
            return;
        }
        // A full queue is counted there.
        let line = self.line(total);
        let _was_taken = self.gateway.log.push(line);
    }
}

impl Record {
    /// The line of the access log; its fields are described in docs/OPERATIONS.md.
    fn line(&self, total: Duration) -> String {
        let request_id = self.request_id();
        let mut line = Line::begin(self.unix_ms);
        line.plain("request_id", request_id.as_str());
        if let Some(trace) = &self.trace {
            line.plain("trace_id", trace.to_header().trace_id());
        }
        line.optional_utf8("part", self.part.as_deref());
        line.utf8("node", &self.gateway.node);
        if let Some(hop) = &self.hop {
            line.ip("client", hop.client.ip());
            line.utf8("edge", &hop.edge);
        } else {
            line.address("peer", self.peer);
        }
        line.plain("protocol", protocol(self.version));
        // A method is a token (RFC 9110 section 9.1).
        line.plain("method", self.method.as_str());
        let path = self.hop.as_ref().map(|hop| &*hop.path).or(self.stray_path.as_deref());
        line.optional_utf8("path", path);
        line.number("status", u64::from(self.status));
        line.optional_utf8("reason", self.reason.map(|reason| reason.code));
        line.optional_utf8("cause", self.cause.as_deref());
        line.optional_utf8("limit", self.quota.limit.as_deref());
        line.optional_utf8("end", self.end.as_str());
        let bytes_in = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        if bytes_in > 0 {
            line.number("bytes_in", bytes_in);
        }
        line.number("bytes_out", self.sent);
        line.millis("duration_ms", total);
        if let Some(api) = &self.api {
            line.plain("api", &api.name);
        }
        self.route.write(&mut line);
        if let Some(caller) = &self.caller {
            if let (Some(app), Some(scheme)) = (&caller.app, caller.scheme) {
                line.utf8("app", &app.key);
                line.plain("scheme", scheme.as_str());
            }
            if let Some(user) = &caller.user {
                line.utf8("user", user);
            }
        }
        self.validation.write(&mut line);
        if let Some(items) = self.items {
            line.number("items", u64::try_from(items).unwrap_or(u64::MAX));
        }
        self.flow.write(&mut line);
        self.shape.write(&mut line);
        if let Some(group) = &self.traffic.group {
            line.utf8("group", &group.name);
        }
        if let Some(waited) = self.traffic.waited {
            line.millis("queued_ms", waited);
        }
        line.optional_utf8("cache", self.cache.map(Outcome::as_str));
        self.aggregate.write(&mut line);
        self.split.write(&mut line);
        line.optional_plain("service", self.dispatch.service.as_deref());
        if let Some(endpoint) = self.dispatch.endpoint {
            line.millis("upstream_ms", self.dispatch.waited);
            line.address("endpoint", endpoint);
            line.number("retries", u64::from(self.dispatch.retries));
        }
        self.dispatch.attempts.write(&mut line);
        line.number("generation", self.generation);
        line.end()
    }
}

impl End {
    /// What the log says; nothing in the usual case.
    fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Broken => Some("broken"),
            Self::Abandoned => Some("abandoned"),
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a http::HeaderMap, name: &http::HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // The edge went away; where an endpoint was chosen, something may have been sent.
        if self.dispatch.endpoint.is_some() {
            self.quota.keep();
        }
        self.finish();
    }
}
