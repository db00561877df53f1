//! What is used of limits, for rules: as this node knows it. What other nodes hold in advance counts as used, and what they
//! have used since this node last heard of the store is missing.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::limit::KeyHasher;

use super::limit::{Limits, Way};
use super::quotas::Quotas;
use super::subject::Digests;
use super::{Settings, Subject};
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::Counters;

/// What is used by whoever makes one call.
#[derive(Clone, Copy)]
pub struct Usage<'a> {
    quotas: &'a Arc<Quotas>,
    limits: &'a Arc<Limits>,
    fleet: &'a KeyHasher,
    api: &'a str,
    caller: &'a Caller,
    client: IpAddr,
}

/// The same, for longer than the call can be borrowed.
struct Kept {
    quotas: Arc<Quotas>,
    limits: Arc<Limits>,
    fleet: KeyHasher,
    api: Box<str>,
    caller: Caller,
    client: IpAddr,
}

impl<'a> Usage<'a> {
    /// What is used by the caller of an API.
    #[must_use]
    pub fn of(
        quotas: &'a Arc<Quotas>,
        limits: &'a Arc<Limits>,
        settings: &'a Settings,
        api: &'a Api,
        caller: &'a Caller,
        client: IpAddr,
    ) -> Self {
        Self { quotas, limits, fleet: &settings.fleet, api: &api.name, caller, client }
    }
}

impl Counters for Usage<'_> {
    fn used(&self, limit: &str) -> Option<u64> {
        let limit = self.limits.find(limit)?;
        let app = self.caller.app.as_deref();
        let subject = Subject {
            api: self.api,
            app: app.map(|app| &*app.key),
            plan: app.and_then(|app| app.plan.as_deref()),
            user: self.caller.user.as_deref(),
            client: self.client,
            head: None,
        };
        let (most, rate) = limit.most(&subject);
        let now = self.quotas.unix_ms(self.quotas.now());
        let left = match &limit.way {
            Way::Told(counts) => counts.get(rate)?.peek(limit.by.find(&subject, self.fleet)?.key, 1, now).remaining,
            Way::Leased(table) => {
                let held = table.find(limit.by.find_here(&mut Digests::new(&subject))?.key)?;
                let lease = held.lease();
                if !lease.standing().0.contains(now) {
                    return Some(0);
                }
                lease.left()
            }
        };
        Some(most.saturating_sub(left))
    }

    fn kept(&self) -> Arc<dyn Counters> {
        Arc::new(Kept {
            quotas: Arc::clone(self.quotas),
            limits: Arc::clone(self.limits),
            fleet: *self.fleet,
            api: self.api.into(),
            caller: self.caller.clone(),
            client: self.client,
        })
    }
}

impl Kept {
    fn usage(&self) -> Usage<'_> {
        let Self { quotas, limits, fleet, api, caller, client } = self;
        Usage { quotas, limits, fleet, api, caller, client: *client }
    }
}

impl Counters for Kept {
    fn used(&self, limit: &str) -> Option<u64> {
        self.usage().used(limit)
    }

    fn kept(&self) -> Arc<dyn Counters> {
        self.usage().kept()
    }
}
