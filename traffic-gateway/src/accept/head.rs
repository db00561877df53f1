//! Reads HTTP/1 heads within their bounds, and parks connections between requests.
//!
//! A parked connection owns no buffer: bytes pass through the worker thread's scratch and are kept only once there are any.
//! The first byte has to come within the idle timeout, the whole head within the head timeout after it. Bare line feeds,
//! leading empty lines, too many lines and bytes that begin no request are refused as soon as they are seen, not when
//! the head is complete.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;
use gatehouse_shared::clock;
use gatehouse_shared::message::bytes::is_token;
use gatehouse_shared::problem::{self, Reason};
use memchr::memchr;

use super::config::Bounds;
use super::scratch;
use super::wire::Wire;

/// What came of waiting for a head.
pub(super) enum Arrived {
    /// A whole head, its empty line included; what came behind it is with the wire.
    Head { head: BytesMut, since: Instant },
    /// The client left, or was idle for too long, or the process is stopping: there is nobody to answer.
    Gone,
    /// This is what came, and why it is refused.
    Refused { head: BytesMut, reason: &'static Reason },
}

/// Waits for the next head. `stopping` completes when parked connections are to close.
pub(super) async fn read(
    wire: &mut Wire,
    bounds: &Bounds,
    mut stopping: Pin<&mut impl Future<Output = ()>>,
) -> Arrived {
    let mut head = wire.take_early();
    let mut scan = Scan::default();
    let mut since = clock::now();
    let mut deadline = since + if head.is_empty() { bounds.idle_timeout } else { bounds.head_timeout };
    loop {
        match scan.look(&head, bounds) {
            Ok(Some(length)) => {
                if head.len() > length {
                    wire.keep_early(head.split_off(length));
                }
                return Arrived::Head { head, since };
            }
            Ok(None) => {}
            Err(reason) => return Arrived::Refused { head, reason },
        }
        let was_parked = head.is_empty();
        let outcome = poll_fn(|context| {
            if let Poll::Ready(read) = wire.poll_fill(context, &mut head, scratch::SIZE) {
                return Poll::Ready(if matches!(read, Ok(count) if count > 0) { Outcome::Bytes } else { Outcome::End });
            }
            if was_parked && stopping.as_mut().poll(context).is_ready() {
                return Poll::Ready(Outcome::End);
            }
            if wire.watchdog.is_due(context, deadline) { Poll::Ready(Outcome::Late) } else { Poll::Pending }
        })
        .await;
        match outcome {
            Outcome::Bytes if was_parked => {
                since = clock::now();
                deadline = since + bounds.head_timeout;
            }
            Outcome::Bytes => {}
            Outcome::Late if !was_parked => return Arrived::Refused { head, reason: &problem::HEAD_TIMEOUT },
            Outcome::Late | Outcome::End => return Arrived::Gone,
        }
    }
}

enum Outcome {
    Bytes,
    End,
    Late,
}

/// Looks for the end of a head, each byte once however it is cut.
#[derive(Default)]
struct Scan {
    at: usize,
    line_start: usize,
    lines: usize,
}

impl Scan {
    /// The length of the head when it is complete.
    fn look(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<usize>, &'static Reason> {
        match bytes.first() {
            None => return Ok(None),
            Some(b'\r' | b'\n') => return Err(&problem::LEADING_EMPTY_LINES),
            Some(byte) if !is_token(*byte) => return Err(&problem::REQUEST_LINE_INVALID),
            Some(_) => {}
        }
        while let Some(offset) = memchr(b'\n', bytes.get(self.at..).unwrap_or_default()) {
            let end = self.at + offset + 1;
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            if end > bounds.head_max {
                break;
            }
            match line {
                b"\r\n" => return Ok(Some(end)),
                [.., b'\r', b'\n'] => {}
                _ => return Err(&problem::BARE_LINE_FEED),
            }
            self.lines += 1;
            // The request line is none of the fields.
            if self.lines > bounds.fields_max + 1 {
                return Err(&problem::TOO_MANY_FIELDS);
            }
            self.line_start = end;
            self.at = end;
        }
        self.at = bytes.len();
        match bytes.len() {
            length if length <= bounds.head_max => Ok(None),
            _ if self.lines == 0 => Err(&problem::TARGET_TOO_LONG),
            _ => Err(&problem::HEAD_TOO_LARGE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::accept::tests::bounds;

    fn look(bytes: &[u8], cuts: &[usize], bounds: &Bounds) -> Result<Option<usize>, &'static str> {
        let mut scan = Scan::default();
        for &cut in cuts {
            if let Some(length) = scan.look(&bytes[..cut], bounds).map_err(|reason| reason.code)? {
                return Ok(Some(length));
            }
        }
        scan.look(bytes, bounds).map_err(|reason| reason.code)
    }

    #[test]
    fn finds_the_end_and_refuses_early() {
        let bounds = bounds();
        let look = |bytes: &str| look(bytes.as_bytes(), &[], &bounds);
        assert_eq!(look("GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"), Ok(Some(27)));
        assert_eq!(look("GET / HTTP/1.1\r\nHost: x\r\n\r"), Ok(None));
        assert_eq!(look("GET / HTTP/1.1\n"), Err("bare_line_feed"));
        assert_eq!(look("GET / HTTP/1.1\r\nHost: x\n"), Err("bare_line_feed"));
        assert_eq!(look(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(101))), Err("too_many_fields"));
        assert_eq!(look(&"a".repeat(32 * 1024)), Ok(None));
        assert_eq!(look(&"a".repeat(32 * 1024 + 1)), Err("target_too_long"));
        let head = |length: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(length - 23));
        assert_eq!(look(&head(32 * 1024)), Ok(Some(32 * 1024)));
        assert_eq!(look(&head(32 * 1024 + 1)), Err("head_too_large"));
    }

    proptest! {
        /// However the bytes are cut, the same is found.
        #[test]
        fn cuts_do_not_matter(lines in proptest::collection::vec("[A-Za-z: \r\n]{0,9}", 0..9), mut cuts: Vec<u8>) {
            let bounds = bounds_once();
            let bytes = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            cuts.sort_unstable();
            let cuts = cuts.iter().map(|cut| usize::from(*cut).min(bytes.len())).collect::<Vec<_>>();
            prop_assert_eq!(look(bytes.as_bytes(), &cuts, bounds), look(bytes.as_bytes(), &[], bounds));
        }
    }

    fn bounds_once() -> &'static Bounds {
        static BOUNDS: std::sync::OnceLock<Bounds> = std::sync::OnceLock::new();
        BOUNDS.get_or_init(bounds)
    }
}
