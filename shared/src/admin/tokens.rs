//! Checking tokens, and the commands that change them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use subtle::ConstantTimeEq;

use super::lockout::Lockout;
use super::store::{FILE, Records, TokenError, TokenRecord, hash, write_private};
use super::{AdminDenial, Role, Who};
use crate::process::prepare_state_dir;

/// The tokens of an admin listener.
#[derive(Debug)]
pub struct Tokens {
    state_dir: PathBuf,
    /// Held for one admin call; the data plane never takes it.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: Records,
    /// The time stamp and length of the file when it was read.
    stamp: Option<(SystemTime, u64)>,
    lockout: Lockout,
}

impl Tokens {
    /// Opens the tokens of a state directory. On first start one for each role is made: hashes go to `admin-tokens.toml`,
    /// the tokens themselves, once, to `admin-token-ROLE`, all readable by the owner only.
    ///
    /// # Errors
    /// When the directory cannot be written, or the file is damaged or can be read by others: an admin listener without
    /// safe credentials does not start.
    pub fn open_or_create(state_dir: &Path) -> Result<Self, TokenError> {
        prepare_state_dir(state_dir).map_err(|cause| TokenError::Io { path: state_dir.to_owned(), cause })?;
        let records = match Records::read(state_dir)? {
            Some(records) => records,
            None => create(state_dir)?,
        };
        let inner = Inner { records, stamp: stamp(state_dir), lockout: Lockout::default() };
        Ok(Self { state_dir: state_dir.to_owned(), inner: Mutex::new(inner) })
    }

    /// Who holds the bearer token of an `Authorization` header, if its role suffices.
    ///
    /// Tokens that a command has added or revoked since count at once. Unknown tokens count as failures of the client:
    /// after ten within a minute it is locked out, with whatever token, until the minute is over.
    ///
    /// # Errors
    /// Why the call is refused.
    pub fn authorize(
        &self,
        authorization: Option<&str>,
        needed: Role,
        client: IpAddr,
        now: Instant,
    ) -> Result<Who, AdminDenial> {
        let mut inner = self.lock();
        if let Some(retry_after) = inner.lockout.remaining(client, now) {
            return Err(AdminDenial::LockedOut { retry_after });
        }
        let Some(token) = authorization.and_then(bearer) else { return Err(AdminDenial::Missing) };
        self.refresh(&mut inner);
        let hash = hash(token);
        let is_it = |record: &&TokenRecord| bool::from(record.sha256.as_bytes().ct_eq(hash.as_bytes()));
        let Some(record) = inner.records.token.iter().find(is_it) else {
            inner.lockout.failed(client, now);
            return Err(AdminDenial::Wrong);
        };
        if record.role < needed {
            return Err(AdminDenial::Role);
        }
        Ok(Who { name: record.name.clone(), role: record.role })
    }

    /// Reads the file again when it has changed; what cannot be read changes nothing.
    fn refresh(&self, inner: &mut Inner) {
        let stamp = stamp(&self.state_dir);
        if stamp == inner.stamp {
            return;
        }
        inner.stamp = stamp;
        match Records::read(&self.state_dir) {
            Ok(records) => inner.records = records.unwrap_or_default(),
            Err(error) => tracing::error!(%error, "changed admin tokens are not taken over"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create(state_dir: &Path) -> Result<Records, TokenError> {
    let mut records = Records::default();
    for role in Role::ALL {
        let token = records.generate(role.as_str(), role)?;
        let path = state_dir.join(format!("admin-token-{role}"));
        write_private(&path, format!("{token}\n").as_bytes())?;
        tracing::info!(%role, file = %path.display(), "admin token made");
    }
    // Last: a start that failed before this point makes new ones.
    records.write(state_dir)?;
    Ok(records)
}

fn stamp(state_dir: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(state_dir.join(FILE)).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Makes a token and gives it in clear: the only time it is known.
///
/// # Errors
/// When the name is taken or not fit, or the file cannot be read or written.
pub fn add(state_dir: &Path, name: &str, role: Role) -> Result<String, TokenError> {
    prepare_state_dir(state_dir).map_err(|cause| TokenError::Io { path: state_dir.to_owned(), cause })?;
    let mut records = Records::read(state_dir)?.unwrap_or_default();
    let token = records.generate(name, role)?;
    records.write(state_dir)?;
    Ok(token)
}

/// The tokens, without anything secret but their hashes.
///
/// # Errors
/// When the file cannot be read.
pub fn list(state_dir: &Path) -> Result<Vec<TokenRecord>, TokenError> {
    Ok(Records::read(state_dir)?.unwrap_or_default().token)
}

/// Removes a token; a running process refuses it from its next call on.
///
/// # Errors
/// When there is none of this name, or the file cannot be read or written.
pub fn revoke(state_dir: &Path, name: &str) -> Result<(), TokenError> {
    let mut records = Records::read(state_dir)?.unwrap_or_default();
    let before = records.token.len();
    records.token.retain(|record| record.name != name);
    if records.token.len() == before {
        return Err(TokenError::Unknown(name.to_owned()));
    }
    records.write(state_dir)
}
