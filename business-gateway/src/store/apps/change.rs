//! Making, changing and removing applications and authorisations of users.
//!
//! A change is based on a version: who has not seen the latest one is refused. It is written to the store, announced to all nodes,
//! and only then acknowledged; a new application is handed out when every node has heard of it, or knows that it has not.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_shared::clock;
use gatehouse_store::app::{Announced, RecordKind, Written};
use serde::Serialize;

use super::funnel::Kind as _;
use super::keyring::{Form, SealError, random_text};
use super::origin::{Change, OriginError};
use super::record::{ApiKeyRecord, Applications, Record, SecretRecord, SessionRecord, SubjectRecord, bytes32, open};
use super::{Apps, Kept, Listener as _, check};

/// Most API keys of an application.
const MOST_API_KEYS: usize = 16;
/// Most live secrets and public keys of an application.
const MOST_LIVE: usize = 2;
/// Longest life of an authorisation of a user.
const LONGEST_SESSION: Duration = Duration::from_secs(366 * 86_400);
/// How often an announcement is tried.
const ANNOUNCEMENTS: usize = 3;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There are no keys to seal it with.
    #[error("applications cannot be kept: [apps] of business.toml has no sealing_keys")]
    NoKeys,
    /// It is written in a file.
    #[error("the application stands in a file of the catalog")]
    Declared,
    /// There is one already.
    #[error("there is an application {0:?} already")]
    Exists(String),
    /// There is none.
    #[error("there is no {0}")]
    Missing(String),
    /// Somebody else has changed it.
    #[error("the version is {0} now")]
    Changed(u64),
    /// It would not be valid.
    #[error("{0}")]
    Invalid(String),
    /// The store did not do it, or did not say so.
    #[error(transparent)]
    Store(#[from] OriginError),
    /// It is done, but the other nodes were not told.
    #[error("the change is made, but other nodes hear of it only when they read it again: {0}; make it again")]
    NotAnnounced(OriginError),
    /// The record cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The record is not understood.
    #[error("the stored record cannot be used: {0}")]
    Damaged(String),
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct Done {
    /// The key of the application.
    pub key: String,
    /// As it was; `None`: not there.
    pub before: Option<Record>,
    /// As it is; `None`: gone.
    pub after: Option<Record>,
    /// Its version since.
    pub version: u64,
}

/// A secret in clear, for the only time.
#[derive(Clone)]
pub struct Fresh {
    /// Its id.
    pub id: String,
    /// The secret.
    pub clear: String,
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Fresh").field("id", &self.id).finish_non_exhaustive()
    }
}

fn now_unix() -> u64 {
    clock::unix_ms() / 1_000
}

impl Apps {
    fn kept(&self) -> Result<&Kept, ChangeError> {
        self.kept.as_ref().ok_or(ChangeError::NoKeys)
    }

    fn changeable(&self, key: &str) -> Result<&Kept, ChangeError> {
        if self.live.current().value.apps.declared.find(key).is_some() {
            return Err(ChangeError::Declared);
        }
        check::app_key(key).map_err(ChangeError::Invalid)?;
        self.kept()
    }

    /// An application as the store has it now, and its version.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn stored(&self, key: &str) -> Result<(Record, u64), ChangeError> {
        let kept = self.kept()?;
        check::app_key(key).map_err(ChangeError::Invalid)?;
        let stored = kept.origin.read(RecordKind::App, key).await?;
        let missing = || ChangeError::Missing(format!("application {key:?}"));
        let sealed = stored.record.ok_or_else(missing)?;
        let record = open(&kept.keys, RecordKind::App, key, stored.version, &sealed).map_err(ChangeError::Damaged)?;
        Ok((record, stored.version))
    }

    /// The applications behind `after` in alphabetical order, with what is stored of each; `None` for a record that cannot be
    /// opened.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn list(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, Option<Record>, u64)>, ChangeError> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let keys = kept.origin.keys(after, most).await?;
        let stored = kept.origin.read_many(RecordKind::App, &keys).await?;
        let opened = keys.into_iter().zip(stored).map(|(key, stored)| {
            let sealed = stored.record.as_deref();
            let record = sealed.and_then(|sealed| open(&kept.keys, RecordKind::App, &key, stored.version, sealed).ok());
            (key, record, stored.version)
        });
        Ok(opened.collect())
    }

    /// Makes an application, with a key of its own unless one is given, and with a first secret.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn create(&self, key: Option<String>, mut record: Record) -> Result<(Done, Fresh), ChangeError> {
        let key = match key {
            Some(key) => key,
            None => self.kept()?.keys.make_app_key()?,
        };
        let kept = self.changeable(&key)?;
        if kept.keys.form_of_app_key(&key) == Form::Forged {
            return Err(ChangeError::Invalid("keys that begin with \"ak_\" are made here".to_owned()));
        }
        validate(&record)?;
        let stored = kept.origin.read(RecordKind::App, &key).await?;
        if stored.record.is_some() {
            return Err(ChangeError::Exists(key));
        }
        let secret = fresh_secret()?;
        record.created_unix = now_unix();
        record.secrets = vec![secret_record(&secret)];
        let version = self.put(kept, &key, stored.version, None, Some(&record)).await?;
        // Whatever a node takes for unknown was so when it last asked; by now all have asked again, or no longer trust that.
        if let Some(follower) = &kept.follower {
            tokio::time::sleep(follower.pace().lease()).await;
        }
        Ok((Done { key, before: None, after: Some(record), version }, secret))
    }

    /// Changes an application. `expected` is the version the change is based on; without, the latest one.
    ///
    /// # Errors
    /// As [`ChangeError`] says; `edit` may refuse with a sentence.
    pub async fn change<T>(
        &self,
        key: &str,
        expected: Option<u64>,
        edit: impl FnOnce(&mut Record) -> Result<T, ChangeError> + Send,
    ) -> Result<(Done, T), ChangeError> {
        let kept = self.changeable(key)?;
        let (before, version) = self.stored(key).await?;
        if expected.is_some_and(|expected| expected != version) {
            return Err(ChangeError::Changed(version));
        }
        let mut after = before.clone();
        after.secrets.retain(|secret| secret.expires_unix.is_none_or(|end| now_unix() < end));
        after.api_keys.retain(|key| key.expires_unix.is_none_or(|end| now_unix() < end));
        let made = edit(&mut after)?;
        validate(&after)?;
        let version = self.put(kept, key, version, Some(&before), Some(&after)).await?;
        Ok((Done { key: key.to_owned(), before: Some(before), after: Some(after), version }, made))
    }

    /// Removes an application.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn remove(&self, key: &str, expected: Option<u64>) -> Result<Done, ChangeError> {
        let kept = self.changeable(key)?;
        let (before, version) = self.stored(key).await?;
        if expected.is_some_and(|expected| expected != version) {
            return Err(ChangeError::Changed(version));
        }
        let version = self.put(kept, key, version, Some(&before), None).await?;
        Ok(Done { key: key.to_owned(), before: Some(before), after: None, version })
    }

    /// Writes an application with the index of its subjects, and tells everybody.
    async fn put(
        &self,
        kept: &Kept,
        key: &str,
        version: u64,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Result<u64, ChangeError> {
        let of = |record: Option<&Record>| record.map(|record| record.subjects.clone()).unwrap_or_default();
        let (old, new) = (of(before), of(after));
        for subject in new.iter().filter(|subject| !old.contains(subject)) {
            self.claim(kept, subject, key).await?;
        }
        let version = kept.write(RecordKind::App, key, version, after, None).await?;
        for subject in old.iter().filter(|subject| !new.contains(subject)) {
            kept.release(subject, key).await?;
        }
        Ok(version)
    }

    /// Makes a subject that of one application, unless it is that of another one.
    async fn claim(&self, kept: &Kept, subject: &str, key: &str) -> Result<(), ChangeError> {
        let stored = kept.origin.read(RecordKind::Subject, subject).await?;
        let declared = self.live.current().value.apps.declared.find_by_subject(subject).map(|app| app.key.to_string());
        let holder = match &stored.record {
            Some(sealed) => {
                let record: SubjectRecord = open(&kept.keys, RecordKind::Subject, subject, stored.version, sealed)
                    .map_err(ChangeError::Damaged)?;
                Some(record.app)
            }
            None => None,
        };
        let other = match declared.or(holder) {
            Some(holder) if holder == key => return Ok(()),
            Some(holder) => holder,
            None => return kept.hold(subject, stored.version, key).await,
        };
        // An index that is behind, as after a change that broke off, is no hindrance.
        let is_held = match self.stored(&other).await {
            Ok((record, _)) => record.subjects.iter().any(|one| one == subject),
            Err(ChangeError::Missing(_)) => self.live.current().value.apps.declared.find(&other).is_some(),
            Err(error) => return Err(error),
        };
        if is_held {
            return Err(ChangeError::Invalid(format!("the subject {subject:?} is that of application {other:?}")));
        }
        kept.hold(subject, stored.version, key).await
    }

    /// Authorises an application for a user, for some time. Gives the token, for the only time.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn authorize(
        &self,
        app: &str,
        user: String,
        scopes: Vec<String>,
        life: Duration,
    ) -> Result<(Fresh, SessionRecord), ChangeError> {
        let kept = self.kept()?;
        let is_declared = self.live.current().value.apps.declared.find(app).is_some();
        if !is_declared {
            self.stored(app).await?;
        }
        check::text(&user).map_err(ChangeError::Invalid)?;
        if user.is_empty() || scopes.len() > check::MOST_ITEMS {
            return Err(ChangeError::Invalid("an authorisation needs a user and at most 256 scopes".to_owned()));
        }
        scopes.iter().try_for_each(|scope| check::name(scope)).map_err(ChangeError::Invalid)?;
        if life < Duration::from_secs(1) || life > LONGEST_SESSION {
            return Err(ChangeError::Invalid("an authorisation lasts 1s to 366d".to_owned()));
        }
        let token = kept.keys.make_token(app)?;
        let id = kept.keys.id_of_token(app, &token);
        let record = SessionRecord { user, scopes, expires_unix: now_unix().saturating_add(life.as_secs()) };
        let until = Some(record.expires_unix.saturating_mul(1_000));
        kept.write(RecordKind::Session, &format!("{app}/{id}"), 0, Some(&record), until).await?;
        Ok((Fresh { id, clear: token }, record))
    }

    /// Ends an authorisation of a user.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn revoke(&self, app: &str, id: &str) -> Result<SessionRecord, ChangeError> {
        let kept = self.kept()?;
        check::app_key(app).and_then(|()| check::app_key(id)).map_err(ChangeError::Invalid)?;
        let key = format!("{app}/{id}");
        let stored = kept.origin.read(RecordKind::Session, &key).await?;
        let missing = || ChangeError::Missing(format!("session {id:?} of application {app:?}"));
        let sealed = stored.record.ok_or_else(missing)?;
        let before: SessionRecord =
            open(&kept.keys, RecordKind::Session, &key, stored.version, &sealed).map_err(ChangeError::Damaged)?;
        kept.write::<SessionRecord>(RecordKind::Session, &key, stored.version, None, None).await?;
        Ok(before)
    }

    /// The id of a token that was handed out for an application.
    ///
    /// # Errors
    /// It was not.
    pub fn id_of_token(&self, app: &str, token: &str) -> Result<String, ChangeError> {
        let keys = &self.kept()?.keys;
        let is_ours = keys.is_token_of(app, token);
        is_ours
            .then(|| keys.id_of_token(app, token))
            .ok_or_else(|| ChangeError::Missing(format!("session with this token of application {app:?}")))
    }

    /// A new API key for an application: `KEY.SECRET`, and what is kept of it.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub fn make_api_key(&self, app: &str, expires_unix: Option<u64>) -> Result<(Fresh, ApiKeyRecord), ChangeError> {
        let keys = &self.kept()?.keys;
        let (id, secret) = (fresh_id()?, random_text::<32>()?);
        let hash = STANDARD.encode(keys.hash_of_api_key(app, secret.as_bytes()));
        let record = ApiKeyRecord { id: id.clone(), hash, created_unix: now_unix(), expires_unix };
        Ok((Fresh { id, clear: format!("{app}.{secret}") }, record))
    }
}

impl Kept {
    /// Writes a record of any kind in its next version, and tells everybody.
    async fn write<T: Serialize>(
        &self,
        kind: RecordKind,
        key: &str,
        expected: u64,
        record: Option<&T>,
        until: Option<u64>,
    ) -> Result<u64, ChangeError> {
        let sealed = match record {
            Some(record) => {
                let text = serde_json::to_vec(record).map_err(|error| ChangeError::Invalid(error.to_string()))?;
                Some(self.keys.seal(kind, key, expected.saturating_add(1), &text)?)
            }
            None => None,
        };
        let change = Change { kind, key, expected, record: sealed.as_deref(), until };
        let version = match self.origin.write(change).await? {
            Written::Stored(version) => version,
            Written::Unexpected(version) => return Err(ChangeError::Changed(version)),
        };
        if kind == Applications::KIND {
            self.filter.insert(self.keys.mark(key));
        }
        let change = Announced { kind, key: key.to_owned(), version };
        self.changed(&change, clock::now());
        let mut announced = self.origin.announce(&change).await;
        for _again in 1..ANNOUNCEMENTS {
            if announced.is_ok() {
                break;
            }
            announced = self.origin.announce(&change).await;
        }
        announced.map(|()| version).map_err(ChangeError::NotAnnounced)
    }

    async fn hold(&self, subject: &str, version: u64, app: &str) -> Result<(), ChangeError> {
        let record = SubjectRecord { app: app.to_owned() };
        self.write(RecordKind::Subject, subject, version, Some(&record), None).await.map(|_version| ())
    }

    /// Gives a subject up, if it is that of the application.
    async fn release(&self, subject: &str, key: &str) -> Result<(), ChangeError> {
        let stored = self.origin.read(RecordKind::Subject, subject).await?;
        let Some(sealed) = stored.record else { return Ok(()) };
        let record: SubjectRecord =
            open(&self.keys, RecordKind::Subject, subject, stored.version, &sealed).map_err(ChangeError::Damaged)?;
        if record.app != key {
            return Ok(());
        }
        let removed = self.write::<SubjectRecord>(RecordKind::Subject, subject, stored.version, None, None);
        removed.await.map(|_version| ())
    }
}

/// A new secret, 160 random bits.
fn fresh_secret() -> Result<Fresh, ChangeError> {
    Ok(Fresh { id: fresh_id()?, clear: random_text::<32>()? })
}

fn fresh_id() -> Result<String, ChangeError> {
    Ok(random_text::<8>()?)
}

fn secret_record(secret: &Fresh) -> SecretRecord {
    SecretRecord {
        id: secret.id.clone(),
        secret: STANDARD.encode(secret.clear.as_bytes()),
        created_unix: now_unix(),
        expires_unix: None,
    }
}

/// Gives an application a new secret. The one before ends after `keep_old_for`; an older one ends at once.
///
/// # Errors
/// As [`ChangeError`] says.
pub fn rotate_secret(record: &mut Record, keep_old_for: Duration) -> Result<Fresh, ChangeError> {
    let secret = fresh_secret()?;
    let end = now_unix().saturating_add(keep_old_for.as_secs());
    let newest = record.secrets.iter().max_by_key(|secret| secret.created_unix).map(|secret| secret.id.clone());
    record.secrets.retain(|old| Some(&old.id) == newest.as_ref() && !keep_old_for.is_zero());
    for old in &mut record.secrets {
        old.expires_unix = Some(old.expires_unix.map_or(end, |before| before.min(end)));
    }
    record.secrets.push(secret_record(&secret));
    Ok(secret)
}

/// Whether an application may be stored like this.
fn validate(record: &Record) -> Result<(), ChangeError> {
    let texts = [Some(&record.name), record.owner.as_ref()];
    texts.into_iter().flatten().try_for_each(|text| check::text(text)).map_err(ChangeError::Invalid)?;
    let names = record.packages.iter().chain(&record.plan).chain(&record.class);
    names.into_iter().try_for_each(|name| check::name(name)).map_err(ChangeError::Invalid)?;
    record.subjects.iter().try_for_each(|subject| check::subject(subject)).map_err(ChangeError::Invalid)?;
    for (name, count, most) in [
        ("packages", record.packages.len(), check::MOST_ITEMS),
        ("networks", record.networks.len(), check::MOST_ITEMS),
        ("subjects", record.subjects.len(), check::MOST_ITEMS),
        ("API keys", record.api_keys.len(), MOST_API_KEYS),
        ("public keys", record.public_keys.len(), MOST_LIVE),
        ("secrets", record.secrets.len(), MOST_LIVE),
    ] {
        if count > most {
            return Err(ChangeError::Invalid(format!("{count} {name}; there may be {most}")));
        }
    }
    if let Some(key) = record.public_keys.iter().find(|key| bytes32(&key.key).is_none()) {
        return Err(ChangeError::Invalid(format!("the public key {:?} is not 32 bytes in Base64", key.id)));
    }
    Ok(())
}
