//! What a failed attempt means: may it be tried on another node, and does it count against this one?
//!
//! The rules are those of the hop. *Nothing was sent* — the connection could not be opened, a pooled one turned out to be
//! dead, tier two refused the stream or said GOAWAY before it — : any method, on another node. *The transport died before
//! any byte of the response*: idempotent methods, once. *Anything later*, a timeout, or a request body that is no longer
//! wholly in Pingora's retry buffer: never. Every error leaves here decided, since Pingora panics on an undecided one.

use gatehouse_shared::{balance::Outcome, clock};
use h2::Reason;
use http::Method;
use pingora::{BError, Error, ErrorSource, ErrorType, RetryType, proxy::Session};

use crate::{balance::opener::AT_HAND, context::Context};

/// Pingora's word for a stream that the connection refused while the head was being written: nothing left this process.
const REFUSED_BY_CONNECTION: &str = "while sending request";

/// Pingora's word, and ours, for a pooled connection that died before a stream could be added.
const POOLED_WAS_DEAD: &str = "while creating new stream";

/// Why a request could not be put on a connection to a node: nothing of it was sent. Either the connection takes no more
/// ([`is_dead_channel`]), or the head is one that HTTP/2 forbids, which is our mistake.
pub fn not_sent(error: h2::Error) -> BError {
    match error.is_io() || error.is_go_away() || error.is_reset() {
        true => Error::because(ErrorType::H2Error, POOLED_WAS_DEAD, error).into_up(),
        false => Error::because(ErrorType::InternalError, "a head that HTTP/2 forbids", error).into_in(),
    }
}

/// Whether a request was not sent because its connection takes no more.
pub fn is_dead_channel(error: &BError) -> bool {
    context_of(error) == Some(POOLED_WAS_DEAD)
}

/// Why the head of an answer did not come over h2c. A stream that was refused (RFC 9113, section 8.7), or that the node had not
/// looked at when it said GOAWAY, may go elsewhere.
pub fn no_head(error: h2::Error) -> BError {
    let is_untouched = error.is_remote()
        && (error.is_go_away() && error.reason() == Some(Reason::NO_ERROR)
            || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM));
    let kind = match error.is_io() {
        true => ErrorType::ReadError,
        false if error.is_library() => ErrorType::InvalidH2,
        false => ErrorType::H2Error,
    };
    let mut error = Error::because(kind, "while reading the head of an answer", error).into_up();
    error.set_retry(is_untouched);
    error
}

/// No connection to the node: nothing was sent, so any method may go to another one.
pub fn connect_failed(context: &mut Context, mut error: BError) -> BError {
    if *error.etype() == AT_HAND {
        context.attempt.look_again();
        error.set_retry(true);
        return error;
    }
    let stale = context_of(&error) == Some(POOLED_WAS_DEAD);
    if stale {
        context.attempt.went_stale();
    } else {
        let outcome = match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Outcome::ConnectTimedOut,
            _ => Outcome::ConnectFailed,
        };
        context.attempt.answered(outcome, clock::now());
        context.attempt.connect_failed();
    }
    context.outcome.note(&error);
    error.set_retry(context.attempt.may_try_again(stale));
    error
}

/// The exchange with the node broke off.
pub fn broke_off(context: &mut Context, session: &mut Session, mut error: BError) -> BError {
    let source = error.esource().clone();
    if source != ErrorSource::Upstream {
        error.set_retry(false);
        return error;
    }
    context.outcome.note(&error);
    let nothing_sent = error.retry == RetryType::Decided(true) || context_of(&error) == Some(REFUSED_BY_CONNECTION);
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let uploading = !session.as_mut().is_body_empty();
    let says_nothing_of_the_node = nothing_sent || (timed_out && uploading);
    if !says_nothing_of_the_node {
        context.attempt.answered(Outcome::TransportFailed, clock::now());
    }
    let begun = context.outcome.upstream_head.is_some() || session.response_written().is_some();
    let may = !begun
        && !timed_out
        && !session.as_ref().retry_buffer_truncated()
        && (nothing_sent || is_idempotent(&session.req_header().method))
        && context.attempt.may_try_again(nothing_sent);
    error.set_retry(may);
    error
}

fn context_of(error: &BError) -> Option<&str> {
    error.context.as_ref().map(|context| context.as_str())
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}
