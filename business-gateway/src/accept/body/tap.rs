//! A copy of a body on its way to a service: taken piece by piece as the pieces go by, so that the call never waits for it.

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::sync::oneshot;

use super::{Source, State, Upload};
use crate::accept::room::Taken;

/// Why there is no copy of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// There is more of it than is copied.
    #[error("the body is larger than is copied")]
    TooLarge,
    /// The node holds as much of bodies as it may.
    #[error("no room for a copy of the body")]
    NoRoom,
    /// It did not come to its end.
    #[error("the body did not come to its end")]
    Cut,
}

/// The copy of a body, which takes its room for as long as it lives.
#[derive(Debug)]
pub struct Copied {
    /// The body.
    pub data: Bytes,
    room: Taken,
}

impl Copied {
    /// The body, and what it takes of the room of the node.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Taken) {
        (self.data, self.room)
    }
}

/// Takes a copy of a body.
#[derive(Debug)]
pub struct Tap {
    most: usize,
    data: BytesMut,
    room: Taken,
    to: oneshot::Sender<Result<Copied, TapError>>,
}

/// Where a copy comes out, once the body was sent on. A sender that is gone says [`TapError::Cut`].
pub type Spout = oneshot::Receiver<Result<Copied, TapError>>;

impl Tap {
    /// A tap for a body of at most so many bytes, for which `room` is taken.
    #[must_use]
    pub fn new(most: usize, room: Taken) -> (Box<Self>, Spout) {
        let (to, spout) = oneshot::channel();
        (Box::new(Self { most, data: BytesMut::new(), room, to }), spout)
    }

    /// Takes a piece.
    fn add(&mut self, piece: &[u8]) -> Result<(), TapError> {
        if self.data.len().saturating_add(piece.len()) > self.most {
            return Err(TapError::TooLarge);
        }
        if !self.room.try_grow(piece.len()) {
            return Err(TapError::NoRoom);
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    fn close(self, outcome: Result<(), TapError>) {
        let Self { data, room, to, .. } = self;
        // Whoever wanted the copy may have given up.
        let _unwanted = to.send(outcome.map(|()| Copied { data: data.freeze(), room })).is_err();
    }
}

/// A piece goes by.
pub(super) fn take(tap: &mut Option<Box<Tap>>, piece: &[u8]) {
    if let Some(open) = tap
        && let Err(error) = open.add(piece)
        && let Some(tap) = tap.take()
    {
        tap.close(Err(error));
    }
}

/// The body has come to its end.
pub(super) fn end(tap: &mut Option<Box<Tap>>) {
    if let Some(tap) = tap.take() {
        tap.close(Ok(()));
    }
}

impl<B: Source> Upload<B> {
    /// Lets `tap` take a copy of what goes to the service; trailers are left out.
    pub fn copy_to(&mut self, tap: Box<Tap>) {
        let mut tap = Some(tap);
        match self {
            Self::Empty => end(&mut tap),
            Self::Whole(whole) => {
                take(&mut tap, whole.data.as_deref().unwrap_or_default());
                end(&mut tap);
            }
            Self::Streaming(inbound) => {
                if let Some(first) = inbound.first.as_ref().and_then(Frame::data_ref) {
                    take(&mut tap, first);
                }
                if inbound.state == State::Ended {
                    end(&mut tap);
                }
                inbound.tap = tap;
            }
        }
    }
}
