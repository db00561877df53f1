//! What became of a call: an answer, or a failure that says who is to blame.

use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::problem::{self, Reason};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use minijinja::Value;
use serde::Serialize;

use super::call::{Call, Unmade};
use super::config::{AnswerKind, Bounds};
use super::json;
use crate::accept::room::Taken;
use crate::respond::body::{CollectError, Outgoing};
use crate::respond::failure::{Executed, Failure, Told};

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered.
    Answered(Answered),
    /// It failed.
    Failed(Failed),
    /// It was not made, and nobody minds.
    Skipped,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// Its status, of success.
    pub status: StatusCode,
    /// Its headers.
    pub headers: Arc<HeaderMap>,
    /// Its body as JSON.
    pub body: Bytes,
    /// The body as a value, where something looks at it.
    pub value: Value,
    /// Parts of the answer that failed, where it is one of an aggregate.
    pub lacks: Vec<Lack>,
    /// What it takes of what the node may hold.
    pub taken: Option<Taken>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Failed {
    /// What the client is told.
    pub reason: &'static Reason,
    /// The status for the whole, if this part is needed.
    pub status: u16,
    /// The status that the service has answered, if it has.
    pub answered: Option<u16>,
    /// What the client is told of this case.
    pub detail: String,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u64>,
    /// Whether a service may have executed it.
    pub executed: Executed,
    /// The bound that was hit.
    pub bound: Option<&'static str>,
}

/// A part that is not in the answer, as the client is told.
#[derive(Debug, Clone, Serialize)]
pub struct Lack {
    /// Its name; of an aggregate inside of an aggregate with that of the call, as in `order/stock`.
    pub part: String,
    /// The status: what the service has answered, or what the gate would have.
    pub status: u16,
    /// The problem code.
    pub code: &'static str,
    /// Whose fault it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_code: Option<&'static str>,
    /// Seconds after which it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Whether another value stands in its place.
    pub default: bool,
}

/// Put with the answer of an aggregate, for one around it.
#[derive(Debug, Clone)]
pub struct Lacks(pub Arc<[Lack]>);

impl Failed {
    fn new(reason: &'static Reason, detail: String) -> Self {
        let (status, retry_after) = (reason.status, (reason.status == 503).then_some(1));
        Self { reason, status, answered: None, detail, retry_after, executed: Executed::Perhaps, bound: None }
    }

    fn hit(self, bound: &'static str) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// A call whose request cannot be made.
    #[must_use]
    pub fn unmade(call: &Call, unmade: &Unmade) -> Self {
        let (reason, detail) = if unmade.is_of_request {
            (&problem::AGGREGATE_INPUT_INVALID, format!("{} of the part {:?} {}", unmade.what, call.name, unmade.why))
        } else {
            (&problem::AGGREGATE_PART_NOT_MADE, format!("{} of the part {:?} {}", unmade.what, call.name, unmade.why))
        };
        Self { executed: Executed::No, ..Self::new(reason, detail) }
    }

    /// A call that needs the answer of one that has none.
    #[must_use]
    pub fn without(call: &Call, other: &str) -> Self {
        let detail = format!("the part {:?} needs the answer of {other:?}", call.name);
        Self { executed: Executed::No, ..Self::new(&problem::AGGREGATE_PART_NOT_MADE, detail) }
    }

    /// The gate has refused it, or could not reach the service.
    fn told(call: &Call, told: &Told) -> Self {
        Self {
            status: told.status,
            retry_after: told.retry_after,
            executed: told.executed,
            ..Self::new(told.reason, format!("the part {:?}: {}", call.name, told.reason.title))
        }
    }

    /// The service has answered something else than success.
    fn answered(call: &Call, status: StatusCode, headers: &HeaderMap) -> Self {
        let number = status.as_u16();
        let (reason, whole) = match number {
            // What stands between the gate and the service is not the caller's doing.
            401 | 407 | 408 | 421 | 425 | 429 | 431 => (&problem::AGGREGATE_PART_FAILED, 502),
            400..=499 => (&problem::AGGREGATE_PART_REFUSED, number),
            503 | 504 => (&problem::AGGREGATE_PART_FAILED, number),
            _ => (&problem::AGGREGATE_PART_FAILED, 502),
        };
        let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            status: whole,
            answered: Some(number),
            retry_after: seconds.or((whole == 503).then_some(1)),
            ..Self::new(reason, format!("the part {:?} was answered with {number}", call.name))
        }
    }

    /// A condition that cannot be judged.
    #[must_use]
    pub fn condition(call: &Call) -> Self {
        let unmade = Unmade { what: "when".to_owned(), why: "cannot be computed", is_of_request: false };
        Self::unmade(call, &unmade)
    }

    /// It was not over in time.
    #[must_use]
    pub fn late(call: &Call) -> Self {
        Self::new(&problem::DEADLINE_EXCEEDED, format!("the part {:?} did not end in time", call.name))
    }

    /// All answers together are longer than they may be.
    #[must_use]
    pub fn too_much(call: &Call) -> Self {
        Self::unusable(call, "is too long together with those of the others").hit("sum_max")
    }

    /// The gate itself is at fault.
    #[must_use]
    pub fn internal(call: &Call) -> Self {
        Self::new(&problem::INTERNAL_ERROR, format!("the part {:?} cannot be made", call.name))
    }

    fn no_room(call: &Call) -> Self {
        let detail = format!("no room for the answer of the part {:?}", call.name);
        Self::new(&problem::AGGREGATE_NO_ROOM, detail).hit("held_max")
    }

    fn unusable(call: &Call, why: &str) -> Self {
        Self::new(&problem::AGGREGATE_PART_UNUSABLE, format!("the answer of the part {:?} {why}", call.name))
    }

    /// What the client is told where the whole is answered without it.
    #[must_use]
    pub fn lack(&self, call: &Call, default: bool) -> Lack {
        Lack {
            part: call.name.to_string(),
            status: self.answered.unwrap_or(self.status),
            code: self.reason.code,
            sub_code: self.reason.sub_code,
            retry_after: self.retry_after,
            default,
        }
    }

    /// The same for the whole, which needs this part. `executed` is whether a service may have executed any part.
    #[must_use]
    pub fn of_whole(self, executed: Executed) -> Failure {
        let mut failure = Failure::refused(self.reason).about(self.detail);
        failure.status = self.status;
        failure.retry_after = self.retry_after;
        failure.executed = executed;
        failure
    }
}

/// Reads the answer to a call. `taken` is the room for it.
pub async fn read(call: &Call, mut answer: Response<Outgoing>, bounds: &Bounds, mut taken: Taken) -> Outcome {
    if let Some(told) = answer.extensions().get::<Told>() {
        return Outcome::Failed(Failed::told(call, told));
    }
    let status = answer.status();
    if !status.is_success() {
        return Outcome::Failed(Failed::answered(call, status, answer.headers()));
    }
    let lacks = answer.extensions_mut().remove::<Lacks>().map(|lacks| lacks.0);
    let lacks = lacks.iter().flat_map(|lacks| lacks.iter());
    let lacks = lacks.map(|lack| Lack { part: format!("{}/{}", call.name, lack.part), ..lack.clone() }).collect();
    let (parts, body) = answer.into_parts();
    let answered = Answered {
        status,
        headers: Arc::new(parts.headers),
        body: Bytes::from_static(b"null"),
        value: Value::from(()),
        lacks,
        taken: None,
    };
    if call.answer == AnswerKind::None {
        return Outcome::Answered(answered);
    }
    if is_encoded(&answered.headers) {
        return Outcome::Failed(Failed::unusable(call, "is compressed, which nobody asked for"));
    }
    let body = match body.collect(bounds.part).await {
        Ok(body) => body,
        Err(CollectError::TooLarge) => {
            return Outcome::Failed(Failed::unusable(call, "is too long").hit("part_max"));
        }
        Err(CollectError::Broken(_)) => return Outcome::Failed(Failed::unusable(call, "was broken off")),
    };
    if !taken.grow(body.len()) {
        return Outcome::Failed(Failed::no_room(call));
    }
    match parse(call, body, bounds, &mut taken) {
        Ok((body, value)) => Outcome::Answered(Answered { body, value, taken: Some(taken), ..answered }),
        Err(failed) => Outcome::Failed(failed),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity")
}

/// A body as JSON, and as a value where something looks at it.
fn parse(call: &Call, body: Bytes, bounds: &Bounds, taken: &mut Taken) -> Result<(Bytes, Value), Failed> {
    if call.answer == AnswerKind::Text {
        let text = std::str::from_utf8(&body).map_err(|_invalid| Failed::unusable(call, "is not text in UTF-8"))?;
        let written = serde_json::to_vec(text).map_err(|_error| Failed::unusable(call, "is not text in UTF-8"))?;
        return Ok((Bytes::from(written), Value::from(text)));
    }
    // RFC 9110, section 15.3.5, has answers without content.
    if body.is_empty() {
        return Ok((Bytes::from_static(b"null"), Value::from(())));
    }
    let Some(weight) = json::weight(&body, bounds.depth) else {
        return Err(Failed::unusable(call, "is too deep").hit("depth_max"));
    };
    let not_json = || Failed::unusable(call, "is not JSON");
    let value = match call.is_read {
        true if weight > bounds.value => {
            return Err(Failed::unusable(call, "has too many parts of its own").hit("value_max"));
        }
        true if !taken.grow(weight) => return Err(Failed::no_room(call)),
        true => {
            let text = std::str::from_utf8(&body).map_err(|_invalid| not_json())?;
            serde_json::from_str(text).map_err(|_error| not_json())?
        }
        false if json::is_valid(&body) => Value::UNDEFINED,
        false => return Err(not_json()),
    };
    Ok((body, value))
}
