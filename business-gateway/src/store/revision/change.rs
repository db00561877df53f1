//! Making a change: applied to what is in force, checked as a load would check it, stored, and in force here when the call
//! returns. In Redis it becomes a new revision by compare-and-set; in files it is a file in `catalog.d`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::admin::Role;
use gatehouse_shared::clock;
use gatehouse_shared::config::{SourceFile, Sources};
use gatehouse_shared::process::write_atomically;
use gatehouse_store::StoreError;
use gatehouse_store::catalog::{Head, Published, RedisCatalog, Sealed};

use super::edit::{Edit, IfMatch, Refusal, check_role};
use super::follow::{Asked, Revisions};
use super::last_good::{self, Kept};
use super::{Settings, candidate};
use crate::policy::Policy;
use crate::store::catalog::difference::{Change, Difference, difference};
use crate::store::catalog::objects::Objects;
use crate::store::file;

/// Times a change is made anew because somebody else was faster.
const TRIES: usize = 8;

/// Times a revision is looked for whose answer was lost, and the time before each: together shorter than an admin call may
/// take.
const LOOKS: u32 = 8;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Who makes a change, and why.
#[derive(Debug, Clone)]
pub struct Author {
    /// The name of the admin token.
    pub by: String,
    /// What they may change.
    pub role: Role,
    /// Why, in their words.
    pub why: Option<String>,
}

/// A change to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What is to be changed.
    pub edit: Edit,
    /// What it expects to find.
    pub if_match: IfMatch,
    /// Publish whatever Redis has, as when it has lost revisions.
    pub force: bool,
    /// What is done, where the edit does not say it best.
    pub what: Option<String>,
}

/// A change that was made.
#[derive(Debug)]
pub struct Done {
    /// The catalog before.
    pub before: Objects,
    /// The catalog now.
    pub after: Objects,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The revision it became; `None` in files, or where nothing has changed.
    pub head: Option<Head>,
    /// Why it is stored and not in force on this node, if so.
    pub not_in_force: Option<String>,
}

impl Revisions {
    /// Makes a change.
    ///
    /// # Errors
    /// Why it is not made; after [`gatehouse_store::StoreError::Lost`] it may have been all the same.
    pub async fn change(&self, wanted: &Wanted, author: &Author) -> Result<Done, Refusal> {
        let _turn = self.turn.lock().await;
        let done = match self.store() {
            Some((settings, redis)) => self.publish(&settings, redis, wanted, author).await,
            None => self.write_files(wanted, author.role).await,
        };
        self.metrics.changed(done.is_ok());
        done
    }

    async fn publish(
        &self,
        settings: &Arc<Settings>,
        redis: &RedisCatalog,
        wanted: &Wanted,
        author: &Author,
    ) -> Result<Done, Refusal> {
        for _try in 0..TRIES {
            let generation = self.live.current();
            let written = &generation.value.written;
            let (before, known) = (&written.objects, written.revision());
            let after = wanted.edit.apply(before, wanted.if_match)?;
            let differences = difference(before, &after);
            check_role(&differences, author.role)?;
            // What comes from files is no revision yet: it becomes one, changed or not.
            if after == *before && known > 0 && !matches!(wanted.edit, Edit::Republish) {
                return Ok(Done { before: before.clone(), after, differences, head: None, not_in_force: None });
            }
            let (expected, newest) = match wanted.force {
                true => force(settings, redis, known).await?,
                false => ((known > 0).then(|| known.to_string()), known),
            };
            self.check(after.clone())
                .await
                .map_err(|errors| Refusal::Invalid { errors, objects: Box::new(after.clone()) })?;
            let document = after.to_json().to_string();
            if document.len() > settings.document_max {
                return Err(Refusal::TooLarge(document.len(), settings.document_max));
            }
            let head = Head {
                revision: newest.saturating_add(1),
                unix_ms: clock::unix_ms(),
                by: author.by.clone(),
                node: self.node.clone(),
                what: wanted.what.clone().unwrap_or_else(|| wanted.edit.what()),
                why: author.why.clone(),
                sha256: String::new(),
            };
            let sealed = settings.keys.seal(head.clone(), document);
            let published = redis.publish(expected.as_deref(), head.revision, &sealed, settings.history).await;
            let published = match published {
                Err(StoreError::Lost(why)) => self.look_after(settings, redis, head.revision, &sealed, why).await,
                published => published,
            };
            match published? {
                Published::Stored => {
                    if let Err(error) = redis.announce(head.revision).await {
                        tracing::debug!(%error, "a revision of the catalog is not announced; nodes find it all the same");
                    }
                    let not_in_force = self.take(settings, sealed).await.err();
                    return Ok(Done { before: before.clone(), after, differences, head: Some(head), not_in_force });
                }
                Published::Unexpected(Some(current)) if current > known => {
                    // Somebody was faster: what they published counts, and this change is made to it.
                    if let Asked::Refused(revision) = self.catch_up(settings, redis).await? {
                        let why = self.refused().map(|refused| refused.errors.join("; ")).unwrap_or_default();
                        return Err(Refusal::Unaccepted(revision, why));
                    }
                }
                Published::Unexpected(current) if !wanted.force => {
                    return Err(Refusal::Behind { redis: current, node: known });
                }
                Published::Unexpected(_) => {}
            }
        }
        Err(Refusal::Busy)
    }

    /// The answer was lost: whether the revision is there says what became of it.
    async fn look_after(
        &self,
        settings: &Settings,
        redis: &RedisCatalog,
        revision: u64,
        sealed: &Sealed,
        why: Arc<str>,
    ) -> Result<Published, StoreError> {
        for _look in 0..LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            match redis.read(revision, settings.document_max).await {
                Ok(Some(stored)) if stored == *sealed => return Ok(Published::Stored),
                Ok(_) => break,
                Err(error) => tracing::debug!(%error, "what became of a revision of the catalog is not known yet"),
            }
        }
        Err(StoreError::Lost(why))
    }

    async fn write_files(&self, wanted: &Wanted, role: Role) -> Result<Done, Refusal> {
        if matches!(wanted.edit, Edit::Republish) {
            return Err(Refusal::NoRevisions);
        }
        let (live, wanted) = (Arc::clone(&self.live), wanted.clone());
        let written = tokio::task::spawn_blocking(move || {
            let before = live.current();
            let mut done = change_files(live.dir(), Some(&before.value), &wanted.edit, wanted.if_match, role)?;
            if let gatehouse_shared::live::ReloadOutcome::Failed(errors) = live.reload() {
                done.not_in_force = Some(errors.to_string());
            }
            Ok(done)
        });
        written.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked.to_string()).into()))
    }

    /// A revision that is kept.
    ///
    /// # Errors
    /// When it is not, or must not be believed, or Redis does not answer.
    pub async fn revision(&self, revision: u64) -> Result<Kept, Refusal> {
        let written = self.live.current().value.written.clone();
        if let Some(head) = written.head().filter(|head| head.revision == revision) {
            return Ok(Kept { head: head.clone(), objects: written.objects });
        }
        let (settings, redis) = self.store().ok_or(Refusal::NoRevisions)?;
        let sealed = redis.read(revision, settings.document_max).await?.ok_or(Refusal::NoRevision(revision))?;
        let kept = last_good::understand(&settings, &sealed).map_err(|why| Refusal::Unaccepted(revision, why))?;
        if kept.head.revision != revision {
            return Err(Refusal::Unaccepted(revision, "it says another number".to_owned()));
        }
        Ok(kept)
    }

    /// The last revisions, the newest first: what is said of each, or why it must not be believed.
    ///
    /// # Errors
    /// When Redis does not answer, or the catalog is in files.
    pub async fn history(&self, most: usize) -> Result<Vec<(u64, Result<Head, String>)>, Refusal> {
        let (settings, redis) = self.store().ok_or(Refusal::NoRevisions)?;
        let history = redis.history(most.min(settings.history)).await?;
        let opened = history.into_iter().map(|(revision, sealed)| {
            let head = settings.keys.open_head(&sealed).map_err(|error| error.to_string());
            let head = head.and_then(|head| match head.revision == revision {
                true => Ok(head),
                false => Err(format!("it is revision {}, stored under another number", head.revision)),
            });
            (revision, head)
        });
        Ok(opened.collect())
    }
}

/// What Redis has, whatever it is, and the greatest revision that is certain to exist. A number there that nobody signed
/// does not count.
async fn force(settings: &Settings, redis: &RedisCatalog, known: u64) -> Result<(Option<String>, u64), Refusal> {
    let text = redis.current_text().await?;
    let mut newest = known;
    if let Some(revision) = text.as_deref().and_then(|text| text.parse().ok()).filter(|revision| *revision > known)
        && let Some(sealed) = redis.read(revision, settings.document_max).await?
        && settings.keys.open(&sealed).is_ok_and(|head| head.revision == revision)
    {
        newest = revision;
    }
    Ok((text, newest))
}

/// Makes a change in the files of `dir`; `before` is the running policy, if there is one.
///
/// # Errors
/// Why it is not made.
pub fn change_files(
    dir: &Path,
    before: Option<&Policy>,
    edit: &Edit,
    if_match: IfMatch,
    role: Role,
) -> Result<Done, Refusal> {
    let mut sources = Sources::new(dir);
    let invalid = |errors| Refusal::Invalid { errors, objects: Box::default() };
    let files = file::files(&mut sources).map_err(invalid)?;
    let (_, known) = file::understand(&files).map_err(invalid)?;
    let after = edit.apply(&known, if_match)?;
    let differences = difference(&known, &after);
    check_role(&differences, role)?;
    let fixed = in_catalog_toml(&files, &differences)?;
    if !fixed.is_empty() {
        return Err(Refusal::InFiles(fixed));
    }
    let refused = |errors| Refusal::Invalid { errors, objects: Box::new(after.clone()) };
    Policy::load_from(dir, before, |_, _| candidate(after.clone())).map_err(refused)?;
    let mut texts = Vec::with_capacity(differences.len());
    for Difference { kind, name, change, .. } in &differences {
        let object = after.get(kind, name).filter(|_| *change != Change::Removed);
        let text = object.map(|object| file::text_of(kind, object)).transpose();
        let text =
            text.map_err(|message| io::Error::new(io::ErrorKind::InvalidData, format!("{kind} {name}: {message}")))?;
        texts.push((dir.join(file::path_of(kind, name)), text));
    }
    fs::create_dir_all(dir.join(file::FOLDER))?;
    // What is new comes first, so that nothing that stays refers to what is gone.
    for (path, text) in texts.iter().filter_map(|(path, text)| text.as_ref().map(|text| (path, text))) {
        write_atomically(path, text.as_bytes(), 0o644)?;
    }
    for (path, _) in texts.iter().filter(|(_, text)| text.is_none()) {
        fs::remove_file(path)?;
    }
    Ok(Done { before: known, after, differences, head: None, not_in_force: None })
}

/// Which of the objects that are to change stand in the file that people edit.
fn in_catalog_toml(files: &[SourceFile], differences: &[Difference]) -> Result<Vec<String>, Refusal> {
    let Some(file) = files.iter().find(|file| file.path == Path::new(file::CATALOG)) else { return Ok(Vec::new()) };
    let (_, fixed) = file::understand(std::slice::from_ref(file))
        .map_err(|errors| Refusal::Invalid { errors, objects: Box::default() })?;
    let is_fixed = |one: &&Difference| fixed.get(&one.kind, &one.name).is_some();
    Ok(differences.iter().filter(is_fixed).map(|one| format!("{} {:?}", one.kind, one.name)).collect())
}
