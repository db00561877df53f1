//! Which branch a call took, and what became of it there.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::telemetry::access_log::Line;
use http::{HeaderMap, Response};

use super::source::Seen;
use super::{Branch, Split};
use crate::admit::flow_rule;
use crate::dispatch::DispatchError;
use crate::dispatch::request::Marks;
use crate::dispatch::service::Service;
use crate::metrics::Metrics;

/// What is noted of a call whose API has a split; nothing of others.
#[derive(Debug, Default)]
pub struct Notes(Option<Taken>);

#[derive(Debug)]
struct Taken {
    branch: Arc<Branch>,
    level: Option<usize>,
    sent: Sent,
}

/// How far the call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It was refused before its turn came, which says nothing of the branch.
    No,
    /// There is no answer yet.
    Waiting,
    /// The service answered it, or the caller broke it off.
    Well,
    /// The service failed it: a status of 500 to 599, or no answer.
    Failed,
}

impl Notes {
    /// The service that answers a call: that of its branch, or `usual`, which is that of the API.
    pub fn choose<'s>(
        &mut self,
        split: Option<&'s Arc<Split>>,
        usual: &'s Arc<Service>,
        seen: &Seen<'_>,
        flow: &mut flow_rule::Notes,
    ) -> &'s Arc<Service> {
        let Some(choice) = split.and_then(|split| split.choose(seen)) else { return usual };
        flow.tags.extend(choice.branch.tags.iter().cloned());
        self.0 = Some(Taken { branch: Arc::clone(choice.branch), level: choice.level, sent: Sent::No });
        choice.branch.service.as_ref().unwrap_or(usual)
    }

    /// The request is sent now; returns the headers that the branch sets on it.
    pub fn send(&mut self) -> Marks<'_> {
        let Some(taken) = &mut self.0 else { return &[] };
        taken.sent = Sent::Waiting;
        taken.branch.headers()
    }

    /// Notes what the service made of the call.
    pub fn answered<B>(&mut self, answer: &Result<Response<B>, DispatchError>) {
        let Some(taken) = &mut self.0 else { return };
        taken.sent = match answer {
            Ok(answer) if answer.status().is_server_error() => Sent::Failed,
            // A caller who does not bring the body to its end.
            Ok(_) | Err(DispatchError::Upload(_)) => Sent::Well,
            Err(_) => Sent::Failed,
        };
    }

    /// Names the branch in a header of the answer, where the split says so.
    pub fn name(&self, headers: &mut HeaderMap) {
        let header = self.0.as_ref().and_then(|taken| taken.branch.answer_header.as_ref());
        if let Some((name, value)) = header {
            headers.insert(name, value.clone());
        }
    }

    /// Counts the call. `waited` is the time from the first try to the head of the answer or to giving up; `is_broken`: the service
    /// ended its answer early.
    pub fn count(&self, metrics: &Metrics, waited: Duration, is_broken: bool) {
        let Some(Taken { branch, sent, .. }) = self.0.as_ref().filter(|taken| taken.sent != Sent::No) else { return };
        // Who gave up waited for nothing that ended; an open breaker lets nobody wait.
        let waited = Some(waited).filter(|waited| *sent != Sent::Waiting && !waited.is_zero());
        let is_error = *sent == Sent::Failed || is_broken;
        branch.counts.add(waited, is_error);
        branch.metrics.get_or_init(|| metrics.splits.of(&branch.split, &branch.name)).add(waited, is_error);
    }

    /// Writes down what there is.
    pub fn write(&self, line: &mut Line) {
        let Some(Taken { branch, level, .. }) = &self.0 else { return };
        line.utf8("split", &branch.split);
        line.utf8("branch", &branch.name);
        if let Some(level) = level {
            line.number("split_level", u64::try_from(*level).unwrap_or(u64::MAX));
        }
    }
}
