//! The body a service answers with. It holds its connection and its place until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gatehouse_shared::balance::Lease;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::ExchangeError;
use super::http1::Http1;
use super::http2::Stream;
use super::pool::Place;
use crate::accept::body::Progress;

/// The service, or the connection to it, ended the body before its end.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The connection failed.
    #[error("the service ended its answer early")]
    Connection(#[source] ExchangeError),
    /// The HTTP/2 stream was reset as if nothing were wrong, but the answer was not whole.
    #[error("the service reset its answer before the end")]
    Reset,
}

/// An answer's body as it comes from a service.
#[derive(Debug)]
pub struct Download {
    carrier: Carrier,
    /// Given up at the end.
    place: Option<Place>,
    /// How far the request's body is; an answer that is early may be reset after its end.
    upload: Option<Arc<Progress>>,
    /// Counts at the balance for as long as the answer lasts.
    lease: Option<Lease>,
}

#[derive(Debug)]
enum Carrier {
    /// `None` once the connection was put back.
    Http1(Option<Box<Http1>>),
    Http2(Incoming, Option<Stream>),
}

impl Download {
    pub(super) fn http1(connection: Box<Http1>, place: Place) -> Self {
        let mut download =
            Self { carrier: Carrier::Http1(Some(connection)), place: Some(place), upload: None, lease: None };
        download.end_if_complete();
        download
    }

    pub(super) fn http2(body: Incoming, stream: Stream, place: Place) -> Self {
        let mut download =
            Self { carrier: Carrier::Http2(body, Some(stream)), place: Some(place), upload: None, lease: None };
        download.end_if_complete();
        download
    }

    /// Tells which request body this is the answer to, and which lease lasts as long as it.
    pub fn belongs_to(&mut self, upload: Option<Arc<Progress>>, lease: Lease) {
        self.upload = upload;
        if self.place.is_some() {
            self.lease = Some(lease);
        }
    }

    fn end_if_complete(&mut self) {
        if self.is_end_stream() {
            self.end();
        }
    }

    /// Puts the connection back, then gives the place up.
    fn end(&mut self) {
        let Some(place) = self.place.take() else { return };
        match &mut self.carrier {
            Carrier::Http1(connection) => {
                if let Some(mut connection) = connection.take()
                    && connection.can_be_parked()
                {
                    place.endpoint().park(connection);
                }
            }
            Carrier::Http2(_, stream) => *stream = None,
        }
        self.lease = None;
    }

    /// hyper takes an HTTP/2 reset with NO_ERROR for the end of a body. It is one only after a whole answer, which the service
    /// may cut off from an upload that it does not want (RFC 9113 section 8.1).
    fn was_cut(&self) -> bool {
        let Carrier::Http2(body, _) = &self.carrier else { return false };
        if body.is_end_stream() {
            return false;
        }
        let upload_is_over = self.upload.as_ref().is_none_or(|upload| upload.ended_at().is_some());
        upload_is_over || body.size_hint().exact().is_some_and(|missing| missing > 0)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let next = match &mut self.carrier {
            Carrier::Http1(None) => None,
            Carrier::Http1(Some(connection)) => ready!(connection.poll_frame(cx)),
            Carrier::Http2(body, _) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(ExchangeError::Http2))
            }
        };
        match next {
            Some(Ok(frame)) => {
                self.end_if_complete();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(DownloadError::Connection(error)))),
            None if self.was_cut() => Poll::Ready(Some(Err(DownloadError::Reset))),
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.carrier {
            Carrier::Http1(connection) => connection.as_ref().is_none_or(|connection| connection.is_end_stream()),
            Carrier::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.carrier {
            Carrier::Http1(None) => SizeHint::with_exact(0),
            Carrier::Http1(Some(connection)) => connection.size_hint(),
            Carrier::Http2(body, _) => body.size_hint(),
        }
    }
}
