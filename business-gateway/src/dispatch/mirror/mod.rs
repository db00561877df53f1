//! `mirror` of an API: a copy of a share of its calls goes to another service, too, and nobody waits for what becomes of it.
//!
//! A copy is made when the call's own turn has come. It costs no quota and takes no slot; it has places of its own
//! (`concurrency`), and where none is free it is left out and counted. A body is copied while it goes by, up to `body_max` and
//! as far as the node has room for bodies; then the copy is sent, marked with `x-gatehouse-mirror`, and its answer read to a
//! bound and thrown away. All of that happens in a task of its own: the call neither waits for it nor fails with it.
//!
//! Copied are safe methods unless the configuration says otherwise (RFC 9110, section 9.2.1): a call that changes something would
//! change it twice wherever the two services share anything, be it a database, a queue or a provider of payments.
//!
//! - [`metrics`]: what became of copies

pub mod metrics;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration};
use gatehouse_shared::{balance, clock};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use http_body::Body;
use schemars::JsonSchema;
use serde::Deserialize;

use self::metrics::MirrorMetrics;
use super::plan::Plan;
use super::request;
use super::service::{self, Service};
use super::split::share::Share;
use super::split::source::{Seen, Source};
use super::upstream::download::Download;
use super::upstream::{Head, ServiceRequest};
use super::{DispatchError, Notes, target};
use crate::accept::body::{Copied, Spout, Tap, TapError, Upload};
use crate::accept::room::Taken;
use crate::admit::api;
use crate::store::catalog::At;

/// By this a service knows a copy; its value is the name of the API.
pub const MIRROR_HEADER: HeaderName = HeaderName::from_static("x-gatehouse-mirror");
/// Most copies of one API under way on a node.
const CONCURRENCY_MAX: usize = 10_000;
/// The longest body that can be copied.
const BODY_MAX: ByteSize = ByteSize::mib(16);
/// The longest time for a copy.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// `mirror`: a copy of calls for another service, as written.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The `[[service]]` that gets the copies.
    pub service: String,
    /// The share of calls, in hundredths. Example: `5`.
    pub percent: f64,
    /// By what the share is taken: as `key` of a `[[split]]`; always the same calls, users or whatever it names. Calls that
    /// have none are not copied. Default: `"call"`, any calls.
    #[serde(default = "default_key")]
    pub key: String,
    /// The methods that are copied. Default: `["GET", "HEAD", "OPTIONS"]`, which change nothing.
    #[serde(default = "default_methods")]
    pub methods: Vec<String>,
    /// The longest body that is copied; calls with a longer one are not. At most 16 MiB. Default: `"64KiB"`.
    #[serde(default = "default_size")]
    pub body_max: ByteSize,
    /// Copies under way at a time, on each node; when there are that many, calls are not copied. At most 10000. Default: 32.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// From the sending of a copy to the end of its answer; at most a minute. Default: `"5s"`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// How much of an answer is read; then the rest of it is cut off. Default: `"64KiB"`.
    #[serde(default = "default_size")]
    pub answer_max: ByteSize,
}

fn default_key() -> String {
    "call".to_owned()
}

fn default_methods() -> Vec<String> {
    ["GET", "HEAD", "OPTIONS"].map(str::to_owned).into()
}

fn default_size() -> ByteSize {
    ByteSize::kib(64)
}

fn default_concurrency() -> usize {
    32
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(5)
}

/// Copies under way, by API. They outlive reloads, so that the bound counts across them.
pub type UnderWay = BTreeMap<Arc<str>, Arc<AtomicUsize>>;

/// The mirror of an API, as compiled.
#[derive(Debug)]
pub struct Mirror {
    api: Arc<str>,
    mark: HeaderValue,
    service: Arc<Service>,
    key: Source,
    share: Share,
    methods: Vec<Method>,
    body_max: usize,
    concurrency: usize,
    timeout: Duration,
    answer_max: u64,
    under_way: Arc<AtomicUsize>,
    /// Where copies are counted; looked up at the first one.
    metrics: OnceLock<MirrorMetrics>,
}

impl Mirror {
    /// Compiles the mirror of an API, if it has one. `services` are those that could be compiled, `written` are all.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        written: &api::Config,
        at: &At<'_>,
        services: &BTreeMap<Arc<str>, Arc<Service>>,
        all: &[service::Config],
        under_way: &mut UnderWay,
    ) -> Result<Option<Arc<Self>>, ConfigErrors> {
        let Some(mirror) = &written.mirror else { return Ok(None) };
        let mut errors = ConfigErrors::new();
        let at = At { positions: at.positions, path: at.key("mirror") };
        if written.service.is_none() {
            let message = "what a service answers can be mirrored, and the API has none";
            errors.push(at.error("service", message, "remove mirror, or add service to the API"));
        }
        let service = target::find(&mirror.service, &at, services, all, &mut errors);
        let key = Source::parse(&mirror.key);
        if let Err(error) = &key {
            errors.push(at.error("key", error.to_string(), error.remedy.clone()));
        }
        let share = Share::new("mirror", &written.name, mirror.percent);
        if share.is_none() {
            errors.push(at.error("percent", format!("{} is no share", mirror.percent), "write 0 to 100"));
        }
        let mut check = |holds: bool, key: &str, remedy: &str| {
            if !holds {
                errors.push(at.error(key, "out of bounds", remedy));
            }
        };
        check((1..=CONCURRENCY_MAX).contains(&mirror.concurrency), "concurrency", "write 1 to 10000");
        check(mirror.body_max <= BODY_MAX, "body_max", "write at most \"16MiB\"");
        let timeout = mirror.timeout.get();
        check(!timeout.is_zero() && timeout <= TIMEOUT_MAX, "timeout", "write \"1ms\" to \"1m\"");
        check(!mirror.methods.is_empty(), "methods", "name a method, or leave it out");
        let mut methods = Vec::with_capacity(mirror.methods.len());
        for (index, name) in mirror.methods.iter().enumerate() {
            let is_upper = !name.bytes().any(|byte| byte.is_ascii_lowercase());
            match Method::from_bytes(name.as_bytes()) {
                Ok(method) if is_upper => methods.push(method),
                _ => {
                    let message = format!("{name:?} is not a method");
                    errors.push(at.error(&format!("methods[{index}]"), message, "write it in upper case"));
                }
            }
        }
        errors.into_result(())?;
        // What is missing here has its errors above, or elsewhere.
        let (Some(service), Ok(key), Some(share)) = (service, key, share) else { return Ok(None) };
        let api: Arc<str> = written.name.as_str().into();
        Ok(Some(Arc::new(Self {
            mark: HeaderValue::from_str(&api).unwrap_or_else(|_unfit| HeaderValue::from_static("1")),
            service,
            key,
            share,
            methods,
            body_max: mirror.body_max.as_usize(),
            concurrency: mirror.concurrency,
            timeout,
            answer_max: mirror.answer_max.get(),
            under_way: Arc::clone(under_way.entry(Arc::clone(&api)).or_default()),
            metrics: OnceLock::new(),
            api,
        })))
    }

    /// Sends a copy of a call whose turn has come, if it is one of those that are copied. `room` is for its body.
    pub fn copy(
        self: &Arc<Self>,
        of: &metrics::Metrics,
        parts: &Parts,
        upload: &mut Upload,
        notes: &request::Notes<'_>,
        room: impl FnOnce() -> Taken,
    ) {
        if !self.is_meant(parts, notes) {
            return;
        }
        let metrics = self.metrics.get_or_init(|| of.of(&self.api));
        let length = upload.length();
        let most = u64::try_from(self.body_max).unwrap_or(u64::MAX);
        if length.unwrap_or_default().max(Body::size_hint(upload).lower()) > most {
            return metrics.skipped(Skipped::BodyTooLarge);
        }
        let Some(place) = Place::enter(self) else { return metrics.skipped(Skipped::Busy) };
        let mut parts = parts.clone();
        let mark = [(MIRROR_HEADER, self.mark.clone())];
        let Ok(head) = request::head(&mut parts, notes, self.service.protocol, length, &mark) else {
            return metrics.skipped(Skipped::Target);
        };
        let body = match upload {
            Upload::Empty => None,
            upload => {
                let (tap, spout) = Tap::new(self.body_max, room());
                upload.copy_to(tap);
                Some(spout)
            }
        };
        let copy = Copy {
            mirror: Arc::clone(self),
            place,
            head,
            client: notes.hop.client.ip(),
            authority: notes.authority.into(),
        };
        tokio::spawn(copy.run(body));
    }

    fn is_meant(&self, parts: &Parts, notes: &request::Notes<'_>) -> bool {
        let request_id = notes.hop.request_id;
        let seen = Seen { caller: notes.caller, client: notes.hop.client.ip(), request_id: request_id.as_str(), parts };
        self.methods.contains(&parts.method) && self.key.find(&seen).is_some_and(|uid| self.share.has(&uid))
    }
}

/// Why a call that was meant is not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// As many copies as allowed are under way.
    Busy,
    /// Its body is longer than is copied.
    BodyTooLarge,
    /// The node holds as much of bodies as it may.
    NoRoom,
    /// Its body did not come to its end.
    BodyCut,
    /// Its target cannot be said in the protocol of the service.
    Target,
}

impl From<TapError> for Skipped {
    fn from(error: TapError) -> Self {
        match error {
            TapError::TooLarge => Self::BodyTooLarge,
            TapError::NoRoom => Self::NoRoom,
            TapError::Cut => Self::BodyCut,
        }
    }
}

/// Why a copy that was sent has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No endpoint could be reached, or none takes calls now.
    Unreachable,
    /// The answer took too long.
    Timeout,
    /// The connection broke off, or what came is no answer.
    Broken,
}

impl From<DispatchError> for Failed {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Unreachable(_)
            | DispatchError::NoEndpoint
            | DispatchError::Saturated
            | DispatchError::QueueFull
            | DispatchError::Open(_) => Self::Unreachable,
            DispatchError::Timeout | DispatchError::Deadline => Self::Timeout,
            DispatchError::Broken(_)
            | DispatchError::Invalid(_)
            | DispatchError::Upload(_)
            | DispatchError::Upgrade => Self::Broken,
        }
    }
}

/// One of the places that copies of an API have; given up when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn enter(mirror: &Mirror) -> Option<Self> {
        let one_more = |count: usize| (count < mirror.concurrency).then_some(count + 1);
        mirror.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(&mirror.under_way)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A copy on its way.
#[derive(Debug)]
struct Copy {
    mirror: Arc<Mirror>,
    place: Place,
    head: Head,
    client: std::net::IpAddr,
    authority: Arc<str>,
}

impl Copy {
    /// Waits for the body, which the call itself bounds, and sends the copy.
    async fn run(self, body: Option<Spout>) {
        let Self { mirror, place, head, client, authority } = self;
        let Some(metrics) = mirror.metrics.get() else { return };
        let body = match body {
            None => None,
            Some(spout) => match spout.await.unwrap_or(Err(TapError::Cut)) {
                Ok(body) => Some(body),
                Err(error) => return metrics.skipped(error.into()),
            },
        };
        metrics.sent();
        let (data, room) = body.map(Copied::into_parts).unzip();
        let request = ServiceRequest { head, body: Upload::own(data.unwrap_or_default()) };
        let now = clock::now();
        let call = balance::Call { client, authority: &authority };
        let plan = Plan::new(&mirror.service, Some(mirror.timeout), call, now, now + mirror.timeout);
        let mut notes = Notes::default();
        let exchange = async {
            let answer = super::run(&plan, request, &mut notes).await.map_err(Failed::from)?;
            let status = answer.status();
            discard(answer.into_body(), mirror.answer_max).await.map(|()| status)
        };
        match tokio::time::timeout(mirror.timeout, Box::pin(exchange)).await {
            Ok(Ok(status)) => metrics.answered(status),
            Ok(Err(failed)) => metrics.failed(failed),
            Err(_elapsed) => metrics.failed(Failed::Timeout),
        }
        drop((place, room));
    }
}

/// Reads an answer to its end, or so much of it.
async fn discard(mut body: Download, most: u64) -> Result<(), Failed> {
    let mut body = pin!(&mut body);
    let mut left = most;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_broken| Failed::Broken)?;
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) else { return Ok(()) };
        left = rest;
    }
    Ok(())
}
