//! Reads the body of an answer that is to be kept. One that turns out too long or too slow goes on from where it is.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::accept::room::Taken;
use crate::dispatch::wait::until;
use crate::respond::body::{Outgoing, OutgoingError};

/// What came of it.
#[derive(Debug)]
pub enum Gathered {
    /// All of it, in memory of its own.
    Whole(Bytes),
    /// It cannot be kept, and is as it was.
    Passed(Box<Outgoing>),
    /// It broke off.
    Broken(OutgoingError),
}

/// Reads a body of at most `most` bytes until `deadline`, as far as there is room.
pub async fn gather(mut body: Outgoing, most: u64, mut room: Taken, deadline: Instant) -> Gathered {
    if body.size_hint().lower() > most {
        return Gathered::Passed(Box::new(body));
    }
    let mut frames = VecDeque::new();
    let mut length = 0_usize;
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let frame = match until(deadline, next).await {
            Ok(None) => return Gathered::Whole(joined(&frames, length)),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Gathered::Broken(error),
            Err(_elapsed) => break,
        };
        // Trailers belong to what was sent once.
        let Some(piece) = frame.data_ref() else {
            frames.push_back(frame);
            break;
        };
        let bytes = piece.len();
        length = length.saturating_add(bytes);
        frames.push_back(frame);
        if u64::try_from(length).is_ok_and(|length| length > most) || !room.grow(bytes) {
            break;
        }
    }
    Gathered::Passed(Box::new(Outgoing::made(Box::pin(Resumed { frames, body, _room: room }))))
}

/// What was read holds on to the buffers that it came in; what is kept must not.
fn joined(frames: &VecDeque<Frame<Bytes>>, length: usize) -> Bytes {
    let mut whole = Vec::with_capacity(length);
    frames.iter().filter_map(Frame::data_ref).for_each(|piece| whole.extend_from_slice(piece));
    Bytes::from(whole)
}

/// A body of which some was read already.
struct Resumed {
    frames: VecDeque<Frame<Bytes>>,
    body: Outgoing,
    _room: Taken,
}

impl Body for Resumed {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self.frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gatehouse_shared::clock;
    use http_body_util::BodyExt;

    use super::*;
    use crate::accept::room::Room;

    /// Pieces, and then an end, an error or nothing more.
    struct Pieces(VecDeque<&'static str>, Option<Result<(), OutgoingError>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = OutgoingError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
            if let Some(piece) = self.0.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))));
            }
            match self.1.take() {
                Some(Ok(())) => {
                    self.1 = Some(Ok(()));
                    Poll::Ready(None)
                }
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                None => Poll::Pending,
            }
        }
    }

    async fn gathered(
        pieces: &[&'static str],
        end: Option<Result<(), OutgoingError>>,
        most: u64,
        room: u64,
    ) -> Gathered {
        let body = Outgoing::made(Box::pin(Pieces(pieces.iter().copied().collect(), end)));
        let room = Arc::new(Room::default()).enter(room);
        gather(body, most, room, clock::now() + Duration::from_millis(30)).await
    }

    async fn passed(gathered: Gathered) -> Bytes {
        let Gathered::Passed(body) = gathered else { panic!("{gathered:?}") };
        Outgoing::collect(*body, 1 << 20).await.unwrap()
    }

    #[tokio::test]
    async fn a_body_within_its_bounds_is_read_whole() {
        let Gathered::Whole(whole) = gathered(&["ab", "", "cd"], Some(Ok(())), 4, 4).await else { panic!() };
        assert_eq!(whole, "abcd");
        let Gathered::Whole(empty) = gathered(&[], Some(Ok(())), 4, 4).await else { panic!() };
        assert!(empty.is_empty());
    }

    #[tokio::test]
    async fn a_longer_one_goes_on_with_nothing_missing() {
        assert_eq!(passed(gathered(&["ab", "cd", "e", "f"], Some(Ok(())), 4, 9).await).await, "abcdef");
        assert_eq!(passed(gathered(&["ab", "cd", "e"], Some(Ok(())), 9, 3).await).await, "abcde", "no room");
        let body = Outgoing::own(Bytes::from_static(b"abcdef"));
        let room = Arc::new(Room::default()).enter(9);
        assert_eq!(passed(gather(body, 4, room, clock::now()).await).await, "abcdef", "its length is known");
    }

    #[tokio::test]
    async fn a_slow_one_is_not_waited_for_and_a_broken_one_is_not_kept() {
        let Gathered::Passed(mut body) = gathered(&["ab"], None, 9, 9).await else { panic!() };
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        let broken = Some(Err(OutgoingError::Idle));
        assert!(matches!(gathered(&["ab"], broken, 9, 9).await, Gathered::Broken(OutgoingError::Idle)));
    }
}
