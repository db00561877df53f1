//! What the calls of an API are charged.

use std::sync::Arc;

use http::HeaderValue;

use super::charge::Standing;
use super::config::Mode;
use super::limit::Limit;

/// The limits of an API, in the order written.
#[derive(Debug, Default)]
pub struct OfApi {
    limits: Box<[Arc<Limit>]>,
    /// `RateLimit-Policy` for those without a plan, as long as no window has another length than usual: it is the same for nearly
    /// all calls.
    policy: Option<HeaderValue>,
}

impl OfApi {
    /// These limits.
    #[must_use]
    pub fn new(limits: Vec<Arc<Limit>>) -> Self {
        let obeyed = limits.iter().filter(|limit| limit.mode == Mode::Enforce);
        let members: Vec<_> = obeyed.map(|limit| limit.usual_policy()).collect();
        let policy = HeaderValue::try_from(members.join(&b", "[..])).ok();
        Self { limits: limits.into(), policy }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }

    /// What callers who stand like this are told of their limits, where it is what most are told.
    pub(super) fn policy<'a>(&self, standings: impl Iterator<Item = Standing<'a>>) -> Option<HeaderValue> {
        let mut obeyed = self.limits.iter().filter(|limit| limit.mode == Mode::Enforce);
        for standing in standings {
            if !std::ptr::eq(&**obeyed.next()?, standing.limit) || !standing.is_usual() {
                return None;
            }
        }
        self.policy.clone().filter(|_| obeyed.next().is_none())
    }
}
