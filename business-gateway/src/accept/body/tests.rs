use super::*;
use crate::accept::room::Room;
use http::Version;
use http_body_util::{BodyExt, Full};

const BOUNDS: BodyBounds = BodyBounds { max: 8, idle: Duration::from_millis(30), drain: 0 };

/// A body of the given pieces that never ends.
#[derive(Debug)]
struct Pieces(Vec<&'static str>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(Frame::data(self.0.remove(0).into())))) }
    }
}

/// A body of the given pieces and no more.
#[derive(Debug)]
struct Finite(Vec<&'static str>);

impl Body for Finite {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

fn upload(pieces: Vec<&'static str>) -> Upload<Pieces> {
    Upload::new(Pieces(pieces), Version::HTTP_11, &BOUNDS).unwrap()
}

#[tokio::test]
async fn gives_up_on_a_caller_that_stops_sending() {
    let mut body = upload(vec!["abc"]);
    let progress = body.progress().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::Idle);
    assert_eq!((progress.bytes(), progress.fault()), (3, Some(UploadError::Idle)));
    assert_eq!(progress.ended_at(), None);
}

#[tokio::test]
async fn refuses_more_than_the_bound() {
    let mut body = upload(vec!["abcd", "efgh", "i"]);
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::TooLarge);
    let announced = Upload::new(Full::<Bytes>::from("123456789"), Version::HTTP_11, &BOUNDS);
    assert_eq!(announced.unwrap_err(), UploadError::TooLarge);
}

#[tokio::test]
async fn the_first_piece_of_a_held_body_is_kept() {
    let mut body = upload(vec!["abc", "de"]);
    let progress = body.progress().unwrap();
    body.wait_for_first_piece().await.unwrap();
    assert!(!progress.is_touched());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert!(progress.is_touched());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "de");
}

fn room() -> Taken {
    Arc::new(Room::default()).enter(1024)
}

#[tokio::test]
async fn a_body_that_is_held_is_sent_whole() {
    for pieces in [vec!["abcd"], vec!["ab", "", "cd"]] {
        let mut body = Upload::new(Finite(pieces), Version::HTTP_11, &BOUNDS).unwrap();
        let progress = body.progress().unwrap();
        assert_eq!(body.hold(4, room()).await.unwrap(), "abcd");
        assert_eq!(body.hold(4, room()).await.unwrap(), "abcd", "held already");
        assert!(!progress.is_touched() && progress.ended_at().is_some());
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
        assert!(progress.is_touched());
    }
    assert_eq!(upload(vec!["abc", "de"]).hold(4, room()).await, Err(HoldError::TooLarge));
    assert_eq!(upload(vec!["abc"]).hold(4, room()).await, Err(HoldError::Upload(UploadError::Idle)));
    let small = Arc::new(Room::default());
    assert_eq!(upload(vec!["abc", "d"]).hold(4, small.enter(3)).await, Err(HoldError::NoRoom));
    assert_eq!(small.used(), 0);
}

#[tokio::test]
async fn knows_its_length_and_its_end() {
    let mut body = Upload::new(Full::<Bytes>::from("12345"), Version::HTTP_11, &BOUNDS).unwrap();
    body.wait_for_first_piece().await.unwrap();
    assert_eq!(body.size_hint().exact(), Some(5));
    let progress = body.progress().unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "12345");
    assert!(progress.ended_at().is_some());
    assert!(Upload::new(Full::<Bytes>::default(), Version::HTTP_11, &BOUNDS).unwrap().is_end_stream());
}

#[tokio::test]
async fn a_copy_is_taken_as_the_body_goes_by() {
    let small = Arc::new(Room::default());
    let mut body = Upload::new(Finite(vec!["ab", "", "cd"]), Version::HTTP_11, &BOUNDS).unwrap();
    // As a held body waits: its first piece was read before the tap came.
    body.wait_for_first_piece().await.unwrap();
    let (tap, mut spout) = Tap::new(4, small.enter(1024));
    body.copy_to(tap);
    assert!(spout.try_recv().is_err(), "the body did not go by yet");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
    let copied = spout.await.unwrap().unwrap();
    assert_eq!((&*copied.data, small.used()), (&b"abcd"[..], 4));
    drop(copied);
    assert_eq!((small.used(), small.refused()), (0, 0));
}

#[tokio::test]
async fn a_copy_that_cannot_be_taken_is_no_hindrance() {
    let small = Arc::new(Room::default());
    for (most, room, expected) in [(3, 1024, TapError::TooLarge), (4, 3, TapError::NoRoom)] {
        let mut body = Upload::new(Finite(vec!["ab", "cd"]), Version::HTTP_11, &BOUNDS).unwrap();
        let (tap, spout) = Tap::new(most, small.enter(room));
        body.copy_to(tap);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
        assert_eq!(spout.await.unwrap().unwrap_err(), expected);
        assert_eq!((small.used(), small.refused()), (0, 0));
    }
    let mut body = upload(vec!["ab"]);
    let (tap, spout) = Tap::new(4, small.enter(4));
    body.copy_to(tap);
    drop(body.frame().await);
    drop(body);
    assert!(spout.await.is_err(), "nobody has sent the rest");
    assert_eq!(small.used(), 0);
}

#[tokio::test]
async fn a_body_that_is_whole_is_copied_at_once() {
    let small = Arc::new(Room::default());
    for (text, mut body) in [("", Upload::<Finite>::Empty), ("abc", Upload::own("abc".into()))] {
        let (tap, mut spout) = Tap::new(4, small.enter(4));
        body.copy_to(tap);
        assert_eq!(spout.try_recv().unwrap().unwrap().data, text);
    }
}
