//! Header fields that tell callers where they stand.
//!
//! `"draft"` is draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "app-day";q=100000;w=86400` and
//! `RateLimit: "app-day";r=99998;t=31622`, a member for each limit. `"classic"` is what came before it, in seconds, about the limit of
//! which the smallest part is left.

use gatehouse_shared::limit::write_field;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::charge::Standing;
use super::config::Headers;
use super::of_api::OfApi;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const CLASSIC_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const CLASSIC_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const CLASSIC_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Bytes that three limits with names of usual length take.
const USUAL_LENGTH: usize = 128;

/// Header fields, ready to be added to an answer.
#[derive(Debug, Clone)]
pub enum Fields {
    /// `RateLimit` and `RateLimit-Policy`.
    Draft(HeaderValue, HeaderValue),
    /// Limit, remaining and reset.
    Classic(u64, u64, u64),
}

impl Fields {
    /// The fields about these standings with the limits of an API; `None` where nobody is to be told.
    #[must_use]
    pub fn new<'a>(
        headers: Headers,
        standings: impl Iterator<Item = Standing<'a>> + Clone,
        of_api: &OfApi,
    ) -> Option<Self> {
        match headers {
            Headers::Off => None,
            Headers::Draft => draft(standings, of_api),
            Headers::Classic => {
                let part_left = |standing: &Standing<'_>| {
                    u128::from(standing.remaining) * u128::from(u64::MAX) / u128::from(standing.most.max(1))
                };
                let tightest = standings.min_by_key(part_left)?;
                Some(Self::Classic(tightest.most, tightest.remaining, tightest.reset))
            }
        }
    }

    /// Adds them, in place of what a service says of its own.
    pub fn add_to(self, headers: &mut HeaderMap) {
        match self {
            Self::Draft(standing, policy) => {
                headers.insert(RATE_LIMIT, standing);
                headers.insert(RATE_LIMIT_POLICY, policy);
            }
            Self::Classic(limit, remaining, reset) => {
                headers.insert(CLASSIC_LIMIT, limit.into());
                headers.insert(CLASSIC_REMAINING, remaining.into());
                headers.insert(CLASSIC_RESET, reset.into());
            }
        }
    }
}

fn draft<'a>(standings: impl Iterator<Item = Standing<'a>> + Clone, of_api: &OfApi) -> Option<Fields> {
    let mut field = Vec::with_capacity(USUAL_LENGTH);
    for standing in standings.clone() {
        if !field.is_empty() {
            field.extend_from_slice(b", ");
        }
        write_field(&mut field, &standing.limit.name, standing.remaining, standing.reset).ok()?;
    }
    if field.is_empty() {
        return None;
    }
    let mut field = HeaderValue::try_from(field).ok()?;
    // It differs from answer to answer, so HTTP/2 need not keep it in its table; the policy stays the same.
    field.set_sensitive(true);
    let policy = match of_api.policy(standings.clone()) {
        Some(policy) => policy,
        None => HeaderValue::try_from(policy(standings)).ok()?,
    };
    Some(Fields::Draft(field, policy))
}

fn policy<'a>(standings: impl Iterator<Item = Standing<'a>>) -> Vec<u8> {
    let members: Vec<_> = standings.map(|standing| standing.limit.policy(standing.rate, standing.window)).collect();
    members.join(&b", "[..])
}
