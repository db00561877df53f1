//! The W3C trace context (<https://www.w3.org/TR/trace-context-2/>): the `traceparent` header.
//!
//! `tracestate` passes through unchanged when the trace is continued, and must be removed when a new one is started.

use std::fmt;

use super::{RequestId, read_hex, write_hex};

/// The place of one hop in a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

/// Why a `traceparent` is not usable; a new trace is started then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceParentError {
    /// Not `version-traceid-parentid-flags` in lower-case hexadecimal digits of the right lengths.
    #[error("malformed traceparent")]
    Malformed,
    /// Version `ff`, which the specification forbids.
    #[error("forbidden traceparent version")]
    Version,
    /// A trace id or parent id of zeros only.
    #[error("traceparent with an id of zeros")]
    Zero,
}

/// The flags this version of the specification defines: sampled, and random trace id.
const KNOWN_FLAGS: u8 = 0b11;
/// The trace id was chosen at random.
const RANDOM_TRACE_ID: u8 = 0b10;
/// `00-` + 32 + `-` + 16 + `-` + 2.
const LENGTH: usize = 55;

impl TraceContext {
    /// Continues a trace with a new span id.
    ///
    /// # Errors
    /// When the header is not valid by the specification.
    pub fn continue_from(traceparent: &[u8]) -> Result<Self, TraceParentError> {
        use TraceParentError::{Malformed, Version, Zero};
        let (head, rest) = traceparent.split_at_checked(LENGTH).ok_or(Malformed)?;
        let mut parts = head.split(|byte| *byte == b'-');
        let mut next = || parts.next().ok_or(Malformed);
        let [version] = read_hex::<1>(next()?).ok_or(Malformed)?;
        let trace_id = read_hex::<16>(next()?).ok_or(Malformed)?;
        let parent_id = read_hex::<8>(next()?).ok_or(Malformed)?;
        let [flags] = read_hex::<1>(next()?).ok_or(Malformed)?;
        match (version, rest.first()) {
            (0xff, _) => return Err(Version),
            (0, Some(_)) => return Err(Malformed),
            (_, Some(byte)) if *byte != b'-' => return Err(Malformed),
            _ => {}
        }
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(Zero);
        }
        Ok(Self { trace_id, span_id: new_span_id(), flags: flags & KNOWN_FLAGS })
    }

    /// Starts a new trace, not sampled. Its id is that of the request, so that one name finds both; of the 16 bytes the last
    /// ten are random, and the specification's flag promises that for the last seven.
    #[must_use]
    pub fn start(request: &RequestId) -> Self {
        Self { trace_id: request.to_bytes(), span_id: new_span_id(), flags: RANDOM_TRACE_ID }
    }

    /// Whether the caller asked for this trace to be recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The value of `traceparent` for the next hop; its parent is this hop's span.
    #[must_use]
    pub fn to_header(&self) -> TraceParent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let fields: [(&[u8], std::ops::Range<usize>); 3] =
            [(&self.trace_id, 3..35), (&self.span_id, 36..52), (std::slice::from_ref(&self.flags), 53..55)];
        for (bytes, range) in fields {
            if let Some(out) = text.get_mut(range) {
                write_hex(bytes, out);
            }
        }
        TraceParent(text)
    }

    /// The trace id as 32 lower-case hexadecimal digits, for logs.
    #[must_use]
    pub fn trace_id(&self) -> String {
        let mut text = [0; 32];
        write_hex(&self.trace_id, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn new_span_id() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_header().as_str())
    }
}

/// The text of a `traceparent` header, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; LENGTH]);

impl TraceParent {
    /// The header value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The trace id in it, for logs.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn continues_a_trace_with_its_own_span() {
        let context = TraceContext::continue_from(GOOD.as_bytes()).unwrap();
        let header = context.to_header();
        assert_eq!(header.trace_id(), context.trace_id());
        assert!(header.as_str().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(header.as_str().ends_with("-01"));
        assert!(!header.as_str().contains("00f067aa0ba902b7"));
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
    }

    #[test]
    fn a_new_trace_is_valid_and_not_sampled() {
        let request = RequestId::new(7);
        let context = TraceContext::start(&request);
        assert!(!context.is_sampled());
        assert_eq!(context.trace_id(), request.as_str());
        TraceContext::continue_from(context.to_header().as_str().as_bytes()).unwrap();
    }

    #[test]
    fn refuses_malformed_parents() {
        use TraceParentError::{Malformed, Version, Zero};
        let cases = [
            ("", Malformed),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", Malformed),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", Malformed),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x", Malformed),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", Malformed),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Malformed),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Version),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", Zero),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", Zero),
        ];
        for (text, error) in cases {
            assert_eq!(TraceContext::continue_from(text.as_bytes()).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_this_one() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-more";
        let context = TraceContext::continue_from(later.as_bytes()).unwrap();
        assert!(context.to_header().as_str().starts_with("00-4bf9") && context.to_header().as_str().ends_with("-01"));
    }

    proptest! {
        #[test]
        fn anything_gives_a_valid_context(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let context = TraceContext::continue_from(&bytes).unwrap_or_else(|_| TraceContext::start(&RequestId::new(1)));
            assert!(TraceContext::continue_from(context.to_header().as_str().as_bytes()).is_ok());
        }
    }
}
