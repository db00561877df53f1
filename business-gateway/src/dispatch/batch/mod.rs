//! Many calls in one request. Each item goes the whole way of a call ([`Whole::admit`]): its API is found by host, path and method,
//! its caller is that of the batch, and permission, flow rules, quota and slot are its own. The batch itself holds no slot: it
//! would wait for itself.
//!
//! - [`json`], [`text`]: the two forms, read into what is [`asked`] for
//! - [`item`]: from what is asked for to a request, as strictly as the edge judges one
//! - [`run`]: all items, several at a time, the same reads once
//! - [`mod@answer`]: what came of an item, as it is written
//! - [`stream`]: the answers in order, or as items finish
//! - [`metrics`]: what is counted
//!
//! Nothing of a batch is executed before all of it was read. From then on nothing that happens to one item changes another one.
//!
//! [`Whole::admit`]: crate::pipeline::part::Whole::admit

pub mod asked;
pub mod json;
pub mod text;
pub mod item;
pub mod run;
pub mod answer;
pub mod stream;
pub mod metrics;

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::config::{ByteSize, ConfigErrors};
use gatehouse_shared::hop::{HopResult, Origin, Retry};
use gatehouse_shared::problem;
use http::Response;
use http::header::{self, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use self::asked::{Asked, Fault, Unfit};
use self::item::essence;
use self::run::Run;
use self::stream::{Answers, Order};
use crate::accept::body::HoldError;
use crate::admit::api;
use crate::admit::app::of_api::{OnStoreFailure, Replay};
use crate::dispatch::wait::until;
use crate::pipeline::{Call, Site};
use crate::respond::body::Outgoing;
use crate::respond::failure::Failure;
use crate::respond::record::Record;
use crate::respond::shape;
use crate::store::catalog::At;

/// Most items that can be allowed.
const ITEMS_MOST: usize = 1_000;
/// `application/x-ndjson`: one answer a line.
const NDJSON: &str = "application/x-ndjson";

/// `batch = { … }` of an API: its calls are batches of other calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Items of one batch, 1 to 1000. Default: 50.
    pub items_max: usize,
    /// Items of one batch that are under way at a time; further ones wait. Default: 50.
    pub concurrency: usize,
    /// The longest body of a batch. Signed ones are bounded by `signed_body_max` of the API, too. Default: `"1MiB"`.
    pub body_max: ByteSize,
    /// The longest body of the answer to one item; a longer one is an error of that item. Default: `"1MiB"`.
    pub item_answer_max: ByteSize,
    /// The answers of one batch together, as they are written; items that find no room any more are not executed. Default:
    /// `"8MiB"`.
    pub answers_max: ByteSize,
    /// Whether the text form of open platforms is taken beside the JSON form. The rules of the outer gate see it as one text and
    /// not as parameters. Default: false.
    pub text: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            items_max: 50,
            concurrency: 50,
            body_max: ByteSize::mib(1),
            item_answer_max: ByteSize::mib(1),
            answers_max: ByteSize::mib(8),
            text: false,
        }
    }
}

/// A batch as compiled.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Items of one batch.
    pub items_max: usize,
    /// Items under way at a time.
    pub concurrency: usize,
    /// The longest body.
    pub body_max: u64,
    /// The longest body of the answer to one item.
    pub item_answer_max: u64,
    /// All answers together.
    pub answers_max: u64,
    /// Whether the text form is taken.
    pub text: bool,
}

impl Batch {
    /// Compiles what is written at `at`, which is the API `written`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(config: &Config, written: &api::Config, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(at.error(key, message, remedy));
            }
        };
        let is_some = |size: ByteSize| size.get() > 0;
        check((1..=ITEMS_MOST).contains(&config.items_max), "batch.items_max", "not 1 to 1000 items", "write 50");
        check(config.concurrency > 0, "batch.concurrency", "no item would begin", "write at least 1");
        check(is_some(config.body_max), "batch.body_max", "no batch would pass", "write \"1MiB\"");
        check(is_some(config.item_answer_max), "batch.item_answer_max", "no answer would fit", "write \"1MiB\"");
        check(
            config.answers_max.get() >= config.item_answer_max.get(),
            "batch.answers_max",
            "less than the answer to one item may have",
            "write a multiple of item_answer_max",
        );
        check(written.methods == ["POST"], "methods", "a batch is a body that is posted", "write methods = [\"POST\"]");
        check(!written.batchable, "batchable", "a batch inside of a batch", "leave it out");
        check(!written.pass_credentials, "pass_credentials", "a batch has no service to pass them to", "leave it out");
        check(!written.raw_path, "raw_path", "a batch has no service", "leave it out");
        check(written.split.is_none(), "split", "a batch has no service", "write it to the APIs that are batchable");
        check(written.mirror.is_none(), "mirror", "a batch has no service", "write it to the APIs that are batchable");
        check(written.pool.is_none(), "pool", "a batch takes no slot: its items do", "write it to their APIs");
        check(written.concurrency.is_none(), "concurrency", "a batch takes no slot", "write batch.concurrency");
        // An item has no signature of its own, so what is asked of the batch counts for whatever is in it.
        check(
            !matches!(written.replay, Some(Replay::Off | Replay::Node)),
            "replay",
            "items that change something could be repeated by repeating the batch",
            "leave it out, or write \"fleet\"",
        );
        check(
            written.replay_on_store_failure == OnStoreFailure::Closed,
            "replay_on_store_failure",
            "items that change something could be repeated by repeating the batch",
            "leave it out",
        );
        errors.into_result(Self {
            items_max: config.items_max,
            concurrency: config.concurrency,
            body_max: config.body_max.get(),
            item_answer_max: config.item_answer_max.get(),
            answers_max: config.answers_max.get(),
            text: config.text,
        })
    }
}

/// Answers a batch. What stands in `record` says who calls; the items are under way when this returns.
///
/// # Errors
/// When it is no batch; then nothing of it was executed.
pub async fn answer(
    site: &Site,
    batch: &Batch,
    api: &api::Api,
    call: &mut Call,
    record: &mut Record,
) -> Result<Response<Outgoing>, Failure> {
    let form = Form::of(&call.parts.headers, batch)?;
    let is_streamed = wants_lines(&call.parts.headers);
    let body = hold(site, batch, call).await?;
    let Ok(text) = std::str::from_utf8(&body) else {
        return Err(Failure::refused(&problem::BATCH_INVALID).about("a batch is UTF-8 text"));
    };
    let items = match &form {
        Form::Json => json::read(text, batch.items_max)?.into_iter().map(Ok).collect(),
        Form::Text(separator) => {
            text::resolve(text::read(text, separator.as_deref(), batch.items_max)?, &site.policy().catalog)
        }
    };
    let items: Vec<Result<Asked<'_>, Unfit>> = items;
    if items.is_empty() {
        return Err(Failure::refused(&problem::BATCH_INVALID).about("there is no item in the batch"));
    }
    let count = items.len();
    let deadline = deadline(call, api);
    let Some(whole) = record.whole(site, deadline) else { return Err(Failure::refused(&problem::INTERNAL_ERROR)) };
    let request_id = record.request_id();
    let auth = whole.caller.auth();
    record.items = Some(count);
    site.gateway.metrics.batch.batch(form.name());

    let order = match form {
        _ if is_streamed => Order::AsTheyFinish,
        Form::Json => Order::Array { count },
        Form::Text(separator) => Order::Text(separator.unwrap_or_else(|| text::SEPARATOR.into())),
    };
    let run = Run::new(whole, batch.clone(), api, &call.authority, order.clone());
    let works = run.works(items, &body);
    // The body of the batch is held as long as items may be sent that are parts of it.
    let held = std::mem::take(&mut call.upload);
    let answers = Answers::start(run, works, held, &order, count);

    let mut answer = Response::new(Outgoing::made(Box::pin(answers)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(order.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(super::request::REQUEST_ID_HEADER, id);
    }
    // Every item is one request of those that the edge limits, whatever becomes of it.
    let cost = u32::try_from(count).unwrap_or(u32::MAX);
    shape::tell(headers, &HopResult { origin: Origin::Gateway, auth, cost, retry: Retry::Never, node: false });
    Ok(answer)
}

/// How a batch is written.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// With the separator that the client names.
    Text(Option<Box<str>>),
}

impl Form {
    fn of(headers: &HeaderMap, batch: &Batch) -> Result<Self, Failure> {
        let kind = headers.get(header::CONTENT_TYPE).map(essence).unwrap_or_default();
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Failure::refused(&problem::BATCH_TYPE_UNSUPPORTED).about("a batch is not packed"));
        }
        if kind.eq_ignore_ascii_case("application/json") {
            return Ok(Self::Json);
        }
        if !batch.text || !kind.eq_ignore_ascii_case("text/plain") {
            let types = if batch.text { "application/json or text/plain" } else { "application/json" };
            return Err(Failure::refused(&problem::BATCH_TYPE_UNSUPPORTED).about(format!("it is of the type {types}")));
        }
        let Some(separator) = headers.get(text::SEPARATOR_HEADER) else { return Ok(Self::Text(None)) };
        let separator = separator.to_str().ok().filter(|text| (1..=text::SEPARATOR_MAX).contains(&text.len()));
        let separator = separator.filter(|text| !text.contains(['&', '=']));
        match separator {
            Some(separator) => Ok(Self::Text(Some(separator.into()))),
            None => Err(Failure::refused(&problem::BATCH_INVALID)
                .about("the separator is 1 to 64 characters of printable ASCII without & and =")),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text(_) => "text",
        }
    }
}

/// Whether a client wants each answer as soon as it is there.
fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(NDJSON));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

async fn hold(site: &Site, batch: &Batch, call: &mut Call) -> Result<Bytes, Failure> {
    let room = site.gateway.identity.room.enter(site.policy().credentials.held_max);
    let too_large = || Failure::refused(&problem::BATCH_TOO_LARGE).about("the body is longer than a batch may be");
    let body = match until(call.deadline, call.upload.hold(batch.body_max, room)).await? {
        Ok(body) => body,
        Err(HoldError::TooLarge) => return Err(too_large()),
        Err(HoldError::NoRoom) => return Err(Failure::refused(&problem::HELD_BODIES_FULL)),
        Err(HoldError::Upload(error)) => return Err(error.into()),
    };
    // It may have been held before, for its signature.
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > batch.body_max { Err(too_large()) } else { Ok(body) }
}

/// The end of every wait of an item: a little before that of the batch, so that what is finished then still reaches the client.
fn deadline(call: &Call, api: &api::Api) -> std::time::Instant {
    /// Most that is kept back for writing the answer.
    const RESERVE: std::time::Duration = std::time::Duration::from_millis(250);
    let now = clock::now();
    let left = call.deadline.saturating_duration_since(now);
    let left = left.saturating_sub((left / 20).min(RESERVE));
    now + api.timeout.map_or(left, |timeout| timeout.min(left))
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let reason = match fault {
            Fault::Unreadable { .. } => &problem::BATCH_INVALID,
            Fault::TooMany => &problem::BATCH_TOO_LARGE,
        };
        Self::refused(reason).about(fault.to_string())
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Invalid(what) => Self::refused(&problem::BATCH_ITEM_INVALID).about(what),
            Unfit::UnknownApi => Self::refused(&problem::API_NOT_FOUND),
        }
    }
}

#[cfg(test)]
mod tests;
