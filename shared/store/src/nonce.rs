//! Nonces that a fleet has seen: one write that succeeds once, on whichever node it is made.

use std::sync::Arc;
use std::time::Duration;

use crate::key::Key;
use crate::redis::{Command, Redis, StoreError};

/// The nonces of a fleet in Redis.
#[derive(Clone, Debug)]
pub struct RedisNonces {
    redis: Arc<Redis>,
}

impl RedisNonces {
    /// Those in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    /// Notes that `owner` used `nonce`; true when nobody has noted that within `life`. One round trip.
    ///
    /// # Errors
    /// As [`StoreError`] says; after [`StoreError::Lost`] the nonce may have been noted. [`StoreError::Refused`] too for names
    /// that are empty or too long.
    pub async fn claim(&self, owner: &str, nonce: &str, life: Duration) -> Result<bool, StoreError> {
        let key = Key::nonce(owner, nonce).map_err(|error| StoreError::Refused(error.to_string().into()))?;
        let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        let command = Command::on("SET", &key).arg(1).arg("NX").arg("PX").arg(millis);
        let answer: Option<String> = self.redis.one(command).await?;
        Ok(answer.is_some())
    }
}
