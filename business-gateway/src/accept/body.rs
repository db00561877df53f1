//! The body a caller sends, on its way to a service: counted, bounded, and never waited for without a limit.
//!
//! A body that is dropped before its end over HTTP/1 (the service answered early, the call was refused) is read on for a
//! bounded while, because a caller that is still writing would otherwise see a reset instead of the answer.

mod tap;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatehouse_shared::clock;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

pub use self::tap::{Copied, Spout, Tap, TapError};
use super::http2::Arriving;
use super::room::Taken;

/// How long an early answer's unread body is read on at most.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What bounds one body; part of [`super::Bounds`].
#[derive(Debug, Clone, Copy)]
pub struct BodyBounds {
    /// Bytes of one body.
    pub max: u64,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// Bytes read and thrown away after an early answer over HTTP/1.
    pub drain: u64,
}

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The caller went away or broke the framing.
    #[error("the caller ended the body early")]
    Aborted,
    /// Nothing came for [`BodyBounds::idle`].
    #[error("the caller stopped sending the body")]
    Idle,
    /// More came than [`BodyBounds::max`].
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// How far a body is; shared between the body, which moves into the connection to the service, and the call it belongs to.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    bytes: AtomicU64,
    /// Microseconds after `began`, plus one; 0 while the body has not ended.
    ended: AtomicU64,
    touched: AtomicBool,
    fault: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self {
            began: clock::now(),
            bytes: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            fault: AtomicU64::new(0),
        }
    }

    /// Bytes taken from the caller so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a piece was taken; if so, the body cannot be sent a second time.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// When the last piece was taken.
    #[must_use]
    pub fn ended_at(&self) -> Option<Instant> {
        let after = self.ended.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.began + Duration::from_micros(after))
    }

    /// Why the body ended early, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<UploadError> {
        match self.fault.load(Ordering::Acquire) {
            0 => None,
            1 => Some(UploadError::Idle),
            2 => Some(UploadError::TooLarge),
            _ => Some(UploadError::Aborted),
        }
    }

    fn fail(&self, error: UploadError) {
        let code = match error {
            UploadError::Idle => 1,
            UploadError::TooLarge => 2,
            UploadError::Aborted => 3,
        };
        self.fault.store(code, Ordering::Release);
    }

    fn end(&self) {
        let after = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.ended.store(after + 1, Ordering::Release);
    }
}

/// The body of a request as it goes to a service.
#[derive(Debug, Default)]
pub enum Upload<B: Source = Arriving> {
    /// No body.
    #[default]
    Empty,
    /// A body that is still coming.
    Streaming(Box<Inbound<B>>),
    /// A body that was read to its end before it is sent on.
    Whole(Box<Whole>),
}

/// A body that was read to its end; see [`Upload::hold`].
#[derive(Debug)]
pub struct Whole {
    /// `None` once it was sent on.
    data: Option<Bytes>,
    trailers: Option<http::HeaderMap>,
    progress: Arc<Progress>,
    /// `None` where whoever made the body has taken room for it.
    _room: Option<Taken>,
}

/// Why a body is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldError {
    /// There is more of it than is held.
    TooLarge,
    /// The node holds as much as it may.
    NoRoom,
    /// It ended early.
    Upload(UploadError),
}

/// Where a body comes from: a connection of the edge, or a test.
pub trait Source: Body<Data = Bytes> + Unpin + Send + 'static {}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Source for B {}

impl<B: Source> Upload<B> {
    /// Puts `body` under `bounds`.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`] when the announced length already is.
    pub fn new(body: B, version: http::Version, bounds: &BodyBounds) -> Result<Self, UploadError> {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        let is_too_large = body.size_hint().exact().is_some_and(|length| length > bounds.max);
        let inbound = Inbound::new(body, version, *bounds);
        if is_too_large {
            return Err(UploadError::TooLarge);
        }
        Ok(Self::Streaming(Box::new(inbound)))
    }

    /// A body made here. Room for it is the concern of whoever made it.
    #[must_use]
    pub fn own(data: Bytes) -> Self {
        if data.is_empty() {
            return Self::Empty;
        }
        let progress = Arc::new(Progress::new());
        progress.bytes.store(u64::try_from(data.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        progress.end();
        Self::Whole(Box::new(Whole { data: Some(data), trailers: None, progress, _room: None }))
    }

    /// How far the body is; `None` when there is none.
    #[must_use]
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streaming(inbound) => Some(Arc::clone(&inbound.progress)),
            Self::Whole(whole) => Some(Arc::clone(&whole.progress)),
        }
    }

    /// Its length, when it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        Body::size_hint(self).exact()
    }

    /// Reads the body to its end, `most` bytes at most and as far as there is `room`, and keeps it for the service. It can still be sent whole.
    ///
    /// # Errors
    /// When it is larger, or ends early; what was read of it is gone then.
    pub async fn hold(&mut self, most: u64, mut room: Taken) -> Result<Bytes, HoldError> {
        let inbound = match self {
            Self::Empty => return Ok(Bytes::new()),
            Self::Whole(whole) => return Ok(whole.data.clone().unwrap_or_default()),
            Self::Streaming(inbound) => inbound,
        };
        if inbound.size_hint().lower() > most {
            return Err(HoldError::TooLarge);
        }
        let (mut data, mut trailers) = (Bytes::new(), None);
        let mut joined = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut **inbound).poll_frame(cx)).await {
            match frame.map_err(HoldError::Upload)?.into_data() {
                Ok(piece) => {
                    let length = joined.len().max(data.len()).saturating_add(piece.len());
                    if u64::try_from(length).unwrap_or(u64::MAX) > most {
                        return Err(HoldError::TooLarge);
                    }
                    if !room.grow(piece.len()) {
                        return Err(HoldError::NoRoom);
                    }
                    // A small body comes in one piece, which need not be copied.
                    if data.is_empty() && joined.is_empty() {
                        data = piece;
                    } else {
                        if joined.is_empty() {
                            joined.extend_from_slice(&std::mem::take(&mut data));
                        }
                        joined.extend_from_slice(&piece);
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        if !joined.is_empty() {
            data = Bytes::from(joined);
        }
        let progress = Arc::clone(&inbound.progress);
        progress.touched.store(false, Ordering::Relaxed);
        *self = Self::Whole(Box::new(Whole { data: Some(data.clone()), trailers, progress, _room: Some(room) }));
        Ok(data)
    }

    /// Puts another body in the place of one that is held; what is not held stays.
    pub fn replace(&mut self, data: Bytes) {
        if let Self::Whole(whole) = self {
            whole.data = Some(data);
        }
    }

    /// Waits until the first piece of the body is there, and keeps it for the service.
    ///
    /// # Errors
    /// When the body ends early.
    pub async fn wait_for_first_piece(&mut self) -> Result<(), UploadError> {
        let Self::Streaming(inbound) = self else { return Ok(()) };
        if inbound.first.is_some() {
            return Ok(());
        }
        let first = std::future::poll_fn(|cx| Pin::new(&mut **inbound).poll_frame(cx)).await;
        match first {
            Some(Ok(frame)) => {
                inbound.first = Some(frame);
                // Nothing went to a service yet, so the body can still be sent whole.
                inbound.progress.touched.store(false, Ordering::Relaxed);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => {
                *self = Self::Empty;
                Ok(())
            }
        }
    }
}

impl<B: Source> Body for Upload<B> {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(inbound) => Pin::new(&mut **inbound).poll_frame(cx),
            Self::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(inbound) => inbound.is_end_stream(),
            Self::Whole(whole) => whole.data.as_ref().is_none_or(Bytes::is_empty) && whole.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(inbound) => inbound.size_hint(),
            Self::Whole(whole) => {
                let length = whole.data.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Whole {
    /// The body; `None` once it was sent on.
    #[must_use]
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        self.progress.touched.store(true, Ordering::Relaxed);
        if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
            return Some(Frame::data(data));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

/// A body that is still coming.
#[derive(Debug)]
pub struct Inbound<B: Source> {
    /// `None` once it was handed to the task that drains it.
    body: Option<B>,
    progress: Arc<Progress>,
    /// Taken while waiting for a held body.
    first: Option<Frame<Bytes>>,
    /// Gets a copy of what goes to the service.
    tap: Option<Box<Tap>>,
    bounds: BodyBounds,
    is_http2: bool,
    state: State,
    /// Made at the first wait, armed while waiting.
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Ended,
    Failed(UploadError),
}

impl<B: Source> Inbound<B> {
    fn new(body: B, version: http::Version, bounds: BodyBounds) -> Self {
        Self {
            body: Some(body),
            progress: Arc::new(Progress::new()),
            first: None,
            tap: None,
            bounds,
            is_http2: version == http::Version::HTTP_2,
            state: State::Coming,
            sleep: None,
            is_waiting: false,
        }
    }

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            this.progress.touched.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(first)));
        }
        if this.state != State::Coming {
            return Poll::Ready(None);
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let next = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ready!(this.poll_idle(cx));
                return Poll::Ready(Some(Err(this.fail(UploadError::Idle))));
            }
        };
        this.is_waiting = false;
        match next {
            Some(Ok(frame)) => {
                this.progress.touched.store(true, Ordering::Relaxed);
                if let Some(data) = frame.data_ref() {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    let sum = this.progress.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
                    if sum > this.bounds.max {
                        return Poll::Ready(Some(Err(this.fail(UploadError::TooLarge))));
                    }
                    tap::take(&mut this.tap, data);
                }
                if this.has_come_to_its_end() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(this.fail(UploadError::Aborted)))),
            // hyper ends a body cleanly when its HTTP/2 stream is reset with NO_ERROR; only END_STREAM is an end.
            None if this.is_http2 && !this.has_come_to_its_end() => {
                Poll::Ready(Some(Err(this.fail(UploadError::Aborted))))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.bounds.idle;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if !self.is_waiting {
            self.is_waiting = true;
            sleep.as_mut().reset(tokio::time::Instant::now() + idle);
        }
        sleep.as_mut().poll(cx)
    }

    fn fail(&mut self, error: UploadError) -> UploadError {
        self.state = State::Failed(error);
        self.progress.fail(error);
        error
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.progress.end();
        tap::end(&mut self.tap);
    }

    fn has_come_to_its_end(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.state == State::Ended || self.has_come_to_its_end())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let Some(first) = self.first.as_ref().and_then(Frame::data_ref) else { return hint };
        let first = u64::try_from(first.len()).unwrap_or(u64::MAX);
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower().saturating_add(first));
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper.saturating_add(first));
        }
        sum
    }
}

impl<B: Source> Drop for Inbound<B> {
    fn drop(&mut self) {
        let is_over = matches!(self.state, State::Ended | State::Failed(UploadError::Aborted));
        // A large body on HTTP/2 ends with a reset of its stream. A small one is under way already: a reset would reach the edge
        // in the middle of writing it, and cost its client the connection.
        let is_reset = self.is_http2 && self.size_hint().upper().is_none_or(|most| most > SMALL);
        if is_over || is_reset || self.bounds.drain == 0 {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(body) = self.body.take() else { return };
        let bytes = self.bounds.drain;
        runtime.spawn(async move {
            // Whether the caller finished in time or not, the connection is hyper's again.
            let _finished = tokio::time::timeout(DRAIN_TIME, drain(body, bytes)).await;
        });
    }
}

/// A body up to this length is read to its end over HTTP/2 too: one default window.
const SMALL: u64 = 64 * 1024;

async fn drain<B: Source>(mut body: B, bytes: u64) {
    let mut left = bytes;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests;
