//! What is used of limits, for rules: as this node knows it. What other nodes hold in advance counts as used, and what they
//! have used since this node last heard of the store is missing.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::limit::KeyHasher;

use super::limit::{Limit, Limits, Way};
use super::quotas::Quotas;
use super::{Settings, Subject};
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::admit::flow_rule::Counters;

/// What is used by whoever makes one call.
#[derive(Clone)]
pub struct Usage<'a> {
    quotas: Arc<Quotas>,
    limits: Arc<Limits>,
    fleet: KeyHasher,
    api: Cow<'a, str>,
    app: Option<Cow<'a, str>>,
    plan: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
    client: IpAddr,
}

impl<'a> Usage<'a> {
    /// What is used by the caller of an API.
    #[must_use]
    pub fn of(
        quotas: &Arc<Quotas>,
        limits: &Arc<Limits>,
        settings: &Settings,
        api: &'a Api,
        caller: &'a Caller,
        client: IpAddr,
    ) -> Self {
        let app = caller.app.as_deref();
        Self {
            quotas: Arc::clone(quotas),
            limits: Arc::clone(limits),
            fleet: settings.fleet,
            api: Cow::Borrowed(&api.name),
            app: app.map(|app| Cow::Borrowed(&*app.key)),
            plan: app.and_then(|app| app.plan.as_deref()).map(Cow::Borrowed),
            user: caller.user.as_deref().map(Cow::Borrowed),
            client,
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            api: &self.api,
            app: self.app.as_deref(),
            plan: self.plan.as_deref(),
            user: self.user.as_deref(),
            client: self.client,
            head: None,
        }
    }
}

impl Counters for Usage<'_> {
    fn used(&self, limit: &str) -> Option<u64> {
        let limit = self.limits.find(limit)?;
        let subject = self.subject();
        let (most, rate) = limit.most(&subject);
        let now = self.quotas.unix_ms(self.quotas.now());
        let left = match &limit.way {
            Way::Told(counts) => counts.get(rate)?.peek(limit.by.find(&subject, &self.fleet)?.key, 1, now).remaining,
            Way::Leased(table) => {
                let held = table.find(limit.by.find(&subject, &Limit::hasher())?.key)?;
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
        let kept = |text: &Option<Cow<'_, str>>| text.as_ref().map(|text| Cow::Owned(text.clone().into_owned()));
        Arc::new(Usage {
            quotas: Arc::clone(&self.quotas),
            limits: Arc::clone(&self.limits),
            fleet: self.fleet,
            api: Cow::Owned(self.api.clone().into_owned()),
            app: kept(&self.app),
            plan: kept(&self.plan),
            user: kept(&self.user),
            client: self.client,
        })
    }
}
