//! Calls inside of calls: the items of a batch, each of which is admitted like a call of its own, and the parts of an aggregate,
//! which was admitted as a whole.
//!
//! A part has a record of its own, so it has a line in the access log (with `part`) and counts among the calls of its API. What
//! its caller, its client and its deadline are is taken from the whole, never from what the part says.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use gatehouse_shared::hop::VerifiedHop;
use gatehouse_shared::id::TraceContext;
use http::{Request, Response};

use super::{AsItem, Call, Site, admit, finish, serve};
use crate::accept::body::Upload;
use crate::accept::caught::caught;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::respond::body::Outgoing;
use crate::respond::failure::Failure;
use crate::respond::record::Record;

/// What parts have of their call. It stands on its own, so a part may outlive the head of the answer.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Where the call is.
    pub site: Site,
    /// The node it came from.
    pub peer: SocketAddr,
    /// What the edge says of the call.
    pub hop: Arc<VerifiedHop>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The trace, with this tier's span.
    pub trace: Option<TraceContext>,
    /// The end of every wait.
    pub deadline: Instant,
    /// Which part of another call this is.
    pub part: Option<Box<str>>,
}

/// A call inside of a call.
#[derive(Debug)]
pub struct Part {
    /// Its name in the log; unique within its call.
    pub name: Box<str>,
    /// The authority that it is for.
    pub authority: Arc<str>,
    /// Its canonical path.
    pub path: Box<str>,
    /// Head and body; the target is the path and query as written.
    pub request: Request<Upload>,
    /// The end of every wait, not after that of the whole.
    pub deadline: Instant,
}

/// An item of a batch.
#[derive(Debug)]
pub struct Item {
    /// The call.
    pub part: Part,
    /// The API that it names, where it names one: no other is called.
    pub api: Option<Arc<str>>,
    /// How many items of the batch it stands for; each of them is charged.
    pub times: u64,
}

/// What becomes of a part.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response<Outgoing>> + Send + 'a>>;

impl Whole {
    /// Lets an item go the whole way of a call, from finding its API on; only who calls is known already. Whatever happens to
    /// it, there is an answer.
    #[must_use]
    pub fn admit(&self, item: Item) -> Answering<'_> {
        // A part that contains parts would be a future that contains itself.
        Box::pin(async move {
            let Item { part, api, times } = item;
            let (mut call, mut record) = self.begin(part);
            let item = AsItem { caller: Arc::clone(&self.caller), api, times };
            let outcome = match caught(pin!(admit(&self.site, &mut call, Some(item), &mut record))).await {
                Ok(outcome) => outcome,
                Err(panicked) => Err(panicked.into()),
            };
            finish(outcome, record)
        })
    }

    /// Lets a part be answered by whoever answers calls of `api`, in its turn: what the whole was admitted for includes it.
    /// Whatever happens to it, there is an answer; with one that was made here because of a failure comes
    /// [`Told`](crate::respond::failure::Told).
    pub async fn serve(&self, api: &Arc<Api>, part: Part) -> Response<Outgoing> {
        let (mut call, mut record) = self.begin(part);
        record.api = Some(Arc::clone(api));
        record.caller = Some(Arc::clone(&self.caller));
        let served = Box::pin(serve(&self.site, api, &self.caller, &mut call, &mut record));
        let outcome: Result<_, Failure> = match caught(pin!(served)).await {
            Ok(outcome) => outcome,
            Err(panicked) => Err(panicked.into()),
        };
        let told = outcome.as_ref().err().map(Failure::told);
        let mut answer = finish(outcome, record);
        if let Some(told) = told {
            answer.extensions_mut().insert(told);
        }
        answer
    }

    /// The call and the record of a part.
    pub(super) fn begin(&self, part: Part) -> (Call, Box<Record>) {
        let Part { name, authority, path, request, deadline } = part;
        let deadline = deadline.min(self.deadline);
        let hop = VerifiedHop { path, held: false, ..VerifiedHop::clone(&self.hop) };
        let hop = Arc::new(hop);
        let (parts, upload) = request.into_parts();
        let name = match &self.part {
            Some(whole) => format!("{whole}/{name}").into(),
            None => name,
        };
        let mut record = Record::part(self, &name, &hop, &parts);
        record.upload = upload.progress();
        (Call { parts, upload, authority, deadline, now: record.began, hop, introduced: None }, record)
    }
}
