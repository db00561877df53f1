//! The body of a request on its way to a node, as it comes from the client.

use std::{
    future::{pending, poll_fn},
    time::Duration,
};

use bytes::Bytes;
use h2::SendStream;
use pingora::{Error, ErrorType, Result, proxy::Session, time::timeout};

use super::request;
use crate::context::Context;

/// What is left of a request to hand on.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    write_timeout: Duration,
    phase: Phase,
    /// A piece that waits for room in the node's window.
    piece: Bytes,
    /// Whether that piece is the last.
    is_last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client's next piece is waited for.
    Reading,
    /// The node takes nothing at the moment.
    Full,
    /// All of it was handed on.
    Done,
    /// The node wants no more of it.
    Unwanted,
}

/// What happened on the way of a request.
pub(super) enum Event {
    /// The client sent a piece, or (`None`) the end of its body.
    Piece(Option<Bytes>),
    /// The client is gone, or sent what it must not.
    Client(pingora::BError),
    /// The node takes more, or never will.
    Room(bool),
    /// The node took nothing for too long.
    Stuck,
}

impl Upload {
    /// The rest of a request whose head went out with `stream`; `is_done` when that was all.
    pub(super) fn new(stream: SendStream<Bytes>, write_timeout: Duration, is_done: bool) -> Self {
        let phase = if is_done { Phase::Done } else { Phase::Reading };
        Self { stream, write_timeout, phase, piece: Bytes::new(), is_last: false }
    }

    /// Whether everything was handed on.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The next thing that happens; may be dropped and called again at any time. Once all was handed on only the client's
    /// leaving does.
    pub(super) async fn next(&mut self, session: &mut Session) -> Event {
        match self.phase {
            Phase::Full => {
                let room = timeout(self.write_timeout, poll_fn(|task| self.stream.poll_capacity(task)));
                let came = |room| match room {
                    Ok(room) => Event::Room(matches!(room, Some(Ok(_)))),
                    Err(_) => Event::Stuck,
                };
                // Only HTTP/2 says that a client has left without reading what it sends.
                let Some(left) = session.as_mut().watch_h2_stream_close() else { return came(room.await) };
                tokio::select! {
                    biased;
                    room = room => came(room),
                    left = left => Event::Client(match left {
                        Ok(reason) => Error::explain(ErrorType::H2Error, format!("the client left: {reason}")).into_down(),
                        Err(error) => error.into_down(),
                    }),
                }
            }
            Phase::Unwanted => pending().await,
            Phase::Reading | Phase::Done => match session.as_mut().read_body_or_idle(self.phase == Phase::Done).await {
                Ok(piece) => Event::Piece(piece),
                Err(error) => Event::Client(error.into_down()),
            },
        }
    }

    /// Does what follows from an event.
    ///
    /// # Errors
    ///
    /// The client is gone, sent something malformed, or the rules refuse what it sent; the node is stuck.
    pub(super) async fn handle(&mut self, event: Event, session: &mut Session, context: &mut Context) -> Result<()> {
        match event {
            Event::Piece(_) if self.phase != Phase::Reading => Ok(()),
            Event::Piece(piece) => {
                let is_last = session.as_mut().is_body_done();
                self.take(piece, is_last, session, context).await
            }
            Event::Room(true) => {
                self.send();
                Ok(())
            }
            Event::Room(false) => {
                self.phase = Phase::Unwanted;
                Ok(())
            }
            Event::Client(error) => Err(error),
            Event::Stuck => {
                let late = Error::explain(ErrorType::WriteTimedout, "the node took nothing of the request's body");
                Err(late.into_up())
            }
        }
    }

    /// Hands on a piece, as far as the rules let it pass.
    ///
    /// # Errors
    ///
    /// The body is too long, or the rules refuse it.
    pub(super) async fn take(
        &mut self,
        mut piece: Option<Bytes>,
        is_last: bool,
        session: &Session,
        context: &mut Context,
    ) -> Result<()> {
        let is_last = is_last || piece.is_none();
        request::pass(context, session, &mut piece, is_last).await?;
        let piece = piece.unwrap_or_default();
        if piece.is_empty() && !is_last {
            return Ok(());
        }
        self.stream.reserve_capacity(piece.len());
        (self.piece, self.is_last) = (piece, is_last);
        let has_room = self.piece.is_empty() || self.stream.capacity() > 0;
        if has_room {
            self.send();
        } else {
            self.phase = Phase::Full;
        }
        Ok(())
    }

    /// All of the piece at once: what is beyond the window waits in the connection, one piece at most.
    fn send(&mut self) {
        let sent = self.stream.send_data(std::mem::take(&mut self.piece), self.is_last);
        self.phase = match (sent, self.is_last) {
            (Err(_), _) => Phase::Unwanted,
            (Ok(()), true) => Phase::Done,
            (Ok(()), false) => Phase::Reading,
        };
    }
}
