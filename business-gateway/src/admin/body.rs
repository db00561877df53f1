//! The body of a call, bounded.

use std::pin::pin;

use gatehouse_shared::admin::Answer;
use gatehouse_shared::problem;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// Longest body, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// Bytes of a longer one that are read on and thrown away: whoever is still sending does not read the answer.
const DISCARDED: usize = 8 << 20;

/// Reads a body.
///
/// # Errors
/// The answer to one that is too long or breaks off.
pub(super) async fn read(body: Incoming) -> Result<Vec<u8>, Answer> {
    let mut whole = Vec::new();
    let mut length = 0_usize;
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| {
            Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(&format!("the body broke off: {error}")))
        })?;
        let Some(piece) = frame.data_ref() else { continue };
        length = length.saturating_add(piece.len());
        if length > DISCARDED {
            break;
        }
        if length <= LONGEST {
            whole.extend_from_slice(piece);
        }
    }
    if length > LONGEST { Err(Answer::problem(&problem::ADMIN_BODY_TOO_LARGE)) } else { Ok(whole) }
}
