//! The body of an answer on its way to the edge. It carries the record of its call, so that the record ends when the body does,
//! whichever way that is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::record::{End, Record};
use crate::dispatch::upstream::download::{Download, DownloadError};

/// Longest piece of an answer that is handed to the edge at once, in bytes: the usual frame of HTTP/2 (RFC 9113, section 4.2).
/// An edge holds up to nine frames for a client that does not read, beside the window of its stream.
const PIECE_MAX: usize = 16 * 1024;

/// Why an answer that had begun was broken off. The edge sees a reset or a closed connection, never a clean end.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The service ended it early.
    #[error("the service ended its answer early")]
    Service(#[source] DownloadError),
    /// The service sent nothing for too long.
    #[error("the service stopped sending its answer")]
    Idle,
    /// What is made of it here cannot be made.
    #[error("{0}")]
    Made(&'static str),
}

/// Why a body is not held whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// There is more of it than may be held.
    #[error("the answer is larger than may be held")]
    TooLarge,
    /// It was broken off.
    #[error("the answer was broken off")]
    Broken(#[source] OutgoingError),
}

/// A body that is made here, piece by piece.
pub type Made = Pin<Box<dyn Body<Data = Bytes, Error = OutgoingError> + Send>>;

/// An answer's body.
#[derive(Debug)]
pub struct Outgoing {
    source: Source,
    /// Put off by one poll, so that the head is on its way before the answer is broken off: without a head the edge would take
    /// this node for the culprit.
    error: Option<OutgoingError>,
    record: Option<Box<Record>>,
}

enum Source {
    Ended,
    /// Made here.
    Own(Bytes),
    /// Boxed, because an answer is moved from step to step.
    Service(Box<Relay>),
    Made(Made),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Ended => "Ended",
            Self::Own(_) => "Own",
            Self::Service(_) => "Service",
            Self::Made(_) => "Made",
        })
    }
}

#[derive(Debug)]
struct Relay {
    body: Download,
    /// What is left of a piece that was too long.
    rest: Bytes,
    idle: Duration,
    /// Made at the first wait, armed while waiting.
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Outgoing {
    /// A body made here.
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        Self { source: if bytes.is_empty() { Source::Ended } else { Source::Own(bytes) }, error: None, record: None }
    }

    /// A service's body; `idle` bounds the wait between two pieces.
    #[must_use]
    pub fn service(body: Download, idle: Duration) -> Self {
        Self {
            source: Source::Service(Box::new(Relay { body, rest: Bytes::new(), idle, sleep: None, is_waiting: false })),
            error: None,
            record: None,
        }
    }

    /// A body that is made here, piece by piece, perhaps of another one.
    #[must_use]
    pub fn made(body: Made) -> Self {
        Self { source: Source::Made(body), error: None, record: None }
    }

    /// Reads the body to its end, `most` bytes at most. Its record, if it carries one, ends with it.
    ///
    /// # Errors
    /// When it is larger, or broken off; what was read of it is gone then.
    pub async fn collect(mut self, most: u64) -> Result<Bytes, CollectError> {
        let is_too_large = |length: usize| u64::try_from(length).unwrap_or(u64::MAX) > most;
        if self.size_hint().lower() > most {
            return Err(CollectError::TooLarge);
        }
        let (mut first, mut joined) = (Bytes::new(), Vec::new());
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let Ok(piece) = frame.map_err(CollectError::Broken)?.into_data() else { continue };
            if is_too_large(first.len().max(joined.len()).saturating_add(piece.len())) {
                return Err(CollectError::TooLarge);
            }
            // A small body comes in one piece, which need not be copied.
            if first.is_empty() && joined.is_empty() {
                first = piece;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&std::mem::take(&mut first));
                }
                joined.extend_from_slice(&piece);
            }
        }
        Ok(if joined.is_empty() { first } else { Bytes::from(joined) })
    }

    /// The record that ends with this body.
    pub fn carry(&mut self, record: Box<Record>) {
        self.record = Some(record);
        self.end_if_complete();
    }

    fn end(&mut self, end: End) {
        self.source = Source::Ended;
        if let Some(mut record) = self.record.take() {
            record.end(end);
        }
    }

    fn end_if_complete(&mut self) {
        if self.is_end_stream() {
            self.end(End::Whole);
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        if let Some(error) = self.error.take() {
            tracing::debug!(%error, "answer broken off");
            self.end(End::Broken);
            return Poll::Ready(Some(Err(error)));
        }
        let next = match &mut self.source {
            Source::Ended => None,
            Source::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Ended;
                Some(Ok(Frame::data(bytes)))
            }
            Source::Service(relay) => ready!(relay.poll_frame(cx)),
            Source::Made(body) => ready!(body.as_mut().poll_frame(cx)),
        };
        match next {
            Some(Ok(frame)) => {
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.sent(data.len());
                }
                self.end_if_complete();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.error = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.end(End::Whole);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ended => true,
            Source::Own(_) => false,
            Source::Service(relay) => relay.rest.is_empty() && relay.body.is_end_stream(),
            Source::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Source::Service(relay) => relay.size_hint(),
            Source::Made(body) => body.size_hint(),
        }
    }
}

impl Relay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(take_piece(&mut self.rest)))));
        }
        if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(next.map(|frame| match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    self.rest = data;
                    Ok(Frame::data(take_piece(&mut self.rest)))
                }
                Ok(Err(trailers)) => Ok(trailers),
                Err(error) => Err(OutgoingError::Service(error)),
            }));
        }
        let idle = self.idle;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if !self.is_waiting {
            self.is_waiting = true;
            sleep.as_mut().reset(tokio::time::Instant::now() + idle);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(OutgoingError::Idle)))
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// The first of `rest`, at most [`PIECE_MAX`] bytes of it.
pub(crate) fn take_piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE_MAX))
}
