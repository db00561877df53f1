//! Field levels: what of a JSON answer an application may see.
//!
//! - [`rule`]: which fields are hidden from whom
//! - [`path`]: where a field is
//! - [`mask`]: what stands in its place
//! - [`automaton`]: all paths at once
//! - [`rewriter`]: the document on its way
//! - [`text`], [`number`]: the inside of its tokens
//!
//! An answer is rewritten while it flows. What cannot be read for hidden fields is not sent: before the head is out the call
//! fails with `answer_withheld`, later the answer is broken off. A redirect or error that is not JSON keeps its status and
//! loses its body.

pub mod automaton;
pub mod mask;
pub mod number;
pub mod path;
pub mod rewriter;
pub mod rule;
pub mod text;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use ring::hmac;

use self::automaton::Automaton;
use self::rewriter::{DocumentBounds, Form, Rewriter, Unfit};
use super::body::{Outgoing, OutgoingError};
use super::entity::{self, Media};
use crate::dispatch::wait::until;
use crate::metrics::ShapeMetrics;

/// Longest piece of an answer that is made at once, in bytes.
const PIECE_MAX: usize = 16 * 1024;

/// What all answers have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a document may take.
    pub document: DocumentBounds,
    /// The key of hashed values.
    pub hash_key: Option<hmac::Key>,
    /// Answers of a known length up to this are read to their end before their head is sent.
    pub whole_max: u64,
}

/// Why an answer is not sent.
#[derive(Debug, thiserror::Error)]
pub enum Withheld {
    /// Another media type than JSON.
    #[error("the media type of the answer is not JSON")]
    MediaType,
    /// Another charset than UTF-8.
    #[error("the charset of the answer is not UTF-8")]
    Charset,
    /// It is compressed.
    #[error("the answer is compressed although it was asked for as it is")]
    Compressed,
    /// A part of an answer.
    #[error("the answer is a part of one")]
    Partial,
    /// It cannot be rewritten.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// It was broken off.
    #[error("the answer was broken off")]
    Broken(#[source] OutgoingError),
    /// The deadline passed before its first piece.
    #[error("no piece of the answer before the deadline")]
    Deadline,
}

impl Withheld {
    fn as_str(&self) -> &'static str {
        match self {
            Self::MediaType => "media_type",
            Self::Charset => "charset",
            Self::Compressed => "compressed",
            Self::Partial => "partial",
            Self::Unfit(Unfit::NotJson) => "not_json",
            Self::Unfit(Unfit::CutOff) => "cut_off",
            Self::Unfit(Unfit::TooDeep) => "too_deep",
            Self::Unfit(Unfit::NameTooLong) => "name_too_long",
            Self::Broken(_) => "broken",
            Self::Deadline => "deadline",
        }
    }
}

/// The answer without what `hidden` says. Its first piece, and where it is short all of it, has been looked at before this
/// returns.
///
/// # Errors
/// When it must not be sent.
pub async fn filter(
    hidden: &Arc<Automaton>,
    settings: &Settings,
    metrics: &ShapeMetrics,
    answer: Response<Outgoing>,
    deadline: Instant,
) -> Result<Response<Outgoing>, Withheld> {
    let outcome = begin(hidden, settings, metrics, answer, deadline).await;
    if let Err(withheld) = &outcome {
        metrics.withheld(withheld.as_str());
    }
    outcome
}

async fn begin(
    hidden: &Arc<Automaton>,
    settings: &Settings,
    metrics: &ShapeMetrics,
    answer: Response<Outgoing>,
    deadline: Instant,
) -> Result<Response<Outgoing>, Withheld> {
    let (mut parts, body) = answer.into_parts();
    let form = form(parts.status, &parts.headers);
    entity::has_changed(&mut parts.headers);
    if body.is_end_stream() {
        return Ok(Response::from_parts(parts, body));
    }
    let form = match form {
        Ok(form) => form,
        // What went wrong is told, how the service puts it is not.
        Err(_) if !parts.status.is_success() => {
            metrics.withheld("emptied");
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_ENCODING);
            return Ok(Response::from_parts(parts, Outgoing::own(Bytes::new())));
        }
        Err(withheld) => return Err(withheld),
    };
    metrics.filtered.inc();
    let is_short = body.size_hint().exact().is_some_and(|length| length <= settings.whole_max);
    let rewriter = Rewriter::new(Arc::clone(hidden), settings.hash_key.clone(), settings.document, form);
    let mut filtered = Filtered {
        inner: body,
        rest: Bytes::new(),
        first: Bytes::new(),
        rewriter,
        is_over: false,
        metrics: metrics.clone(),
    };
    let mut first = Vec::new();
    let most = settings.whole_max.saturating_mul(2);
    loop {
        let piece = until(deadline, std::future::poll_fn(|cx| filtered.poll_piece(cx)));
        match piece.await.map_err(|_elapsed| Withheld::Deadline)? {
            Some(piece) => first.extend_from_slice(&piece?),
            None => return Ok(Response::from_parts(parts, Outgoing::own(first.into()))),
        }
        let length = u64::try_from(first.len()).unwrap_or(u64::MAX);
        if !is_short && !filtered.inner.is_end_stream() || length > most {
            filtered.first = first.into();
            return Ok(Response::from_parts(parts, Outgoing::made(Box::pin(filtered))));
        }
    }
}

/// How the body of an answer is read.
fn form(status: StatusCode, headers: &HeaderMap) -> Result<Form, Withheld> {
    if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(header::CONTENT_RANGE) {
        return Err(Withheld::Partial);
    }
    if entity::is_encoded(headers) {
        return Err(Withheld::Compressed);
    }
    match entity::media(headers) {
        Media::Json | Media::None => Ok(Form::Document),
        Media::JsonLines => Ok(Form::Lines),
        Media::OtherCharset => Err(Withheld::Charset),
        Media::Other => Err(Withheld::MediaType),
    }
}

/// What a request asks for that would make its answer unreadable here.
pub const UNREADABLE: [HeaderName; 3] = [header::ACCEPT_ENCODING, header::RANGE, header::IF_RANGE];

/// An answer that is rewritten while it flows.
struct Filtered {
    inner: Outgoing,
    /// What has come and was not looked at yet.
    rest: Bytes,
    /// What was looked at before the head was sent.
    first: Bytes,
    rewriter: Rewriter,
    is_over: bool,
    metrics: ShapeMetrics,
}

impl Filtered {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Withheld>>> {
        while !self.is_over {
            if !self.rest.is_empty() {
                let mut out = Vec::with_capacity(self.rest.len().min(PIECE_MAX));
                match self.rewriter.feed(&self.rest, &mut out, PIECE_MAX) {
                    Ok(taken) => self.rest.advance(taken.min(self.rest.len())),
                    Err(unfit) => return self.end(unfit.into()),
                }
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(out.into())));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                // Trailers may say anything, of a body that nobody gets.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return self.end(Withheld::Broken(error)),
                None => {
                    let mut out = Vec::new();
                    if let Err(unfit) = self.rewriter.finish(&mut out) {
                        return self.end(unfit.into());
                    }
                    self.is_over = true;
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(out.into())));
                    }
                }
            }
        }
        Poll::Ready(None)
    }

    fn end(&mut self, withheld: Withheld) -> Poll<Option<Result<Bytes, Withheld>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(withheld)))
    }
}

impl Body for Filtered {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(PIECE_MAX);
            return Poll::Ready(Some(Ok(Frame::data(self.first.split_to(length)))));
        }
        let piece = ready!(self.poll_piece(cx));
        Poll::Ready(piece.map(|piece| match piece {
            Ok(piece) => Ok(Frame::data(piece)),
            Err(withheld) => {
                self.metrics.withheld(withheld.as_str());
                Err(match withheld {
                    Withheld::Broken(error) => error,
                    _ => OutgoingError::Made("the rest of the answer could not be read for hidden fields"),
                })
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.first.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        self.metrics.masked.inc_by(self.rewriter.masked());
    }
}

#[cfg(test)]
mod tests;
