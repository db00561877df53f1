//! Who calls by an item of a batch: the caller of the batch, as far as the API that the item calls would know it, were the item
//! sent alone.

use std::sync::Arc;

use super::Refusal;
use super::of_api::Access;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::dispatch::target::Target;
use crate::store::apps::Scheme;

/// Why an item cannot call an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotForItems {
    /// The API is not for items of batches.
    #[error("the API is not batchable")]
    NotBatchable,
    /// The path of the API that the item names means another one.
    #[error("the path of the named API means another API here")]
    AnotherApi,
    /// The caller is nobody who may call it.
    #[error("{0}")]
    Refused(#[source] Refusal),
}

impl From<Refusal> for NotForItems {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Who calls `api` by an item of a batch that `caller` calls. `named` is the API that the item names, where it does.
///
/// # Errors
/// As [`NotForItems`] says.
pub fn of_item(api: &Api, caller: Arc<Caller>, named: Option<&str>) -> Result<Arc<Caller>, NotForItems> {
    // A batch is never batchable; should it ever be, batches would nest without end.
    if !api.batchable || matches!(api.target, Target::Batch(_)) {
        return Err(NotForItems::NotBatchable);
    }
    if named.is_some_and(|named| *named != *api.name) {
        return Err(NotForItems::AnotherApi);
    }
    let credentials = &api.credentials;
    if !credentials.looks_at_any() {
        return Ok(if caller.app.is_none() { caller } else { Arc::default() });
    }
    let Some(scheme) = caller.scheme.filter(|_| caller.app.is_some()) else {
        return if credentials.access == Access::Open { Ok(caller) } else { Err(Refusal::Missing.into()) };
    };
    let is_taken = credentials.schemes.contains(&scheme) && (scheme != Scheme::Platform || credentials.has_plain_path);
    if !is_taken {
        return Err(Refusal::Refused("the API does not take the scheme of the batch").into());
    }
    // The session of a user counts where the API is for users; a token speaks of its user everywhere.
    let is_of_session = caller.user.is_some() && scheme != Scheme::Jwt;
    match credentials.access {
        Access::User if caller.user.is_none() => Err(Refusal::UserMissing.into()),
        Access::App | Access::Open if is_of_session => {
            Ok(Arc::new(Caller { user: None, scopes: None, ..Caller::clone(&caller) }))
        }
        _ => Ok(caller),
    }
}
