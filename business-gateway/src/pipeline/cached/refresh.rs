//! Asking a service in the background for an answer that is over and was given all the same.
//!
//! The call is made in the name of whoever is in the key: of nobody in particular where an answer is shared. It has the headers of
//! the call that caused it, as far as they may reach the service, and takes its turn like any other.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::clock;
use http::Request;

use super::{Asking, Way, Wish};
use crate::accept::body::Upload;
use crate::accept::caught::caught;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::dispatch::cache::Refreshing;
use crate::dispatch::cache::answer::Stored;
use crate::dispatch::cache::flight::{Flight, Turn};
use crate::dispatch::cache::key::Key;
use crate::dispatch::service::Service;
use crate::pipeline::part::Part;
use crate::pipeline::{Call, Site, finish};
use crate::respond::failure::Failure;
use crate::respond::record::Record;

/// What such a call is called in the log.
const NAME: &str = "refresh";

/// What asks.
struct Refresh {
    site: Site,
    api: Arc<Api>,
    service: Arc<Service>,
    caller: Arc<Caller>,
    wish: Wish,
    key: Key,
    stale: Arc<Stored>,
}

impl Asking<'_> {
    /// Lets a call in the background ask the service, unless one does already.
    pub(super) fn refresh(self, stored: &Arc<Stored>, call: &Call, record: &Record) {
        let (way, cache) = (self.way, self.way.cache());
        let Turn::Mine(flight) = cache.flights.join(cache.flight_key(&self.key, self.request)) else { return };
        let Some(refreshing) = cache.refresh(way.settings()) else { return };
        let deadline = clock::now() + way.api.timeout.unwrap_or(way.service.timeout);
        let Some(whole) = record.whole(way.site, deadline) else { return };
        let body = match &call.upload {
            Upload::Whole(held) => held.data().cloned().unwrap_or_default(),
            _ => Bytes::new(),
        };
        let mut head = call.parts.clone();
        self.wish.rules.key.cut(&mut head, way.caller);
        let request = Request::from_parts(head, Upload::own(body));
        let (authority, path) = (Arc::clone(&call.authority), call.hop.path.clone());
        let (call, record) = whole.begin(Part { name: NAME.into(), authority, path, request, deadline });
        let asking = Refresh {
            site: whole.site,
            api: Arc::clone(way.api),
            service: Arc::clone(way.service),
            caller: self.wish.rules.key.introduced(way.caller),
            wish: Wish { is_head: false, wants_status: false, ..self.wish.clone() },
            key: self.key,
            stale: Arc::clone(stored),
        };
        tokio::spawn(asking.run(flight, refreshing, call, record));
    }
}

impl Refresh {
    async fn run(self, flight: Flight, refreshing: Refreshing, mut call: Call, mut record: Box<Record>) {
        let Self { site, api, service, caller, wish, key, stale } = self;
        (record.api, record.caller) = (Some(Arc::clone(&api)), Some(Arc::clone(&caller)));
        let way = Way { site: &site, api: &api, service: &service, caller: &caller };
        let request = call.parts.headers.clone();
        let asking = Asking { way, wish: &wish, key, request: &request };
        let fetching = Box::pin(asking.fetch(Some(flight), Some(stale), &mut call, &mut record));
        let outcome: Result<_, Failure> = match caught(pin!(fetching)).await {
            Ok(outcome) => outcome,
            Err(panicked) => Err(panicked.into()),
        };
        let answer = finish(outcome, record);
        // What is kept is here already; what is too large is not read to its end.
        if let Err(error) = answer.into_body().collect(wish.rules.answer_max).await {
            tracing::debug!(%error, "an answer was asked for in the background and not kept");
        }
        drop(refreshing);
    }
}
