//! Bodies that are one value: a GraphQL document.

use super::outcome::{Outcome, Progress};
use super::{Malformed, Sink};

/// Collects the whole body and hands it over under the name the document has in a JSON request, so that one exclusion
/// serves both (GraphQL over HTTP: the member `query`).
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    body: Vec<u8>,
    progress: Progress,
}

impl Reader {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.body.extend_from_slice(piece);
    }

    /// Remembers that there was more; what there is of it is handed over at the end.
    pub(super) fn stop(&mut self, malformed: Malformed) {
        self.progress.fail(malformed);
    }

    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Outcome {
        if std::str::from_utf8(&self.body).is_err() {
            self.progress.fail(Malformed::Utf8);
        }
        if !self.body.is_empty() && self.progress.count(1) {
            sink.argument(b"json.query", &self.body);
        }
        self.progress.outcome
    }
}
