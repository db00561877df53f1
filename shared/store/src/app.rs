//! Applications in Redis, with the authorisations of their users and the subjects of their certificates.
//!
//! Each is a hash of its own with a sealed record, which this crate does not understand, and a version that goes up by one with
//! every change. A removed record leaves its version behind for [`TOMBSTONE_LIFE`], so that who knows the record also learns
//! that it is gone, and so that a record of the same key made anew does not begin with an old version. What was changed is
//! appended to a stream, which nodes follow ([`RedisApps::follow`]); who has missed a part of it hears so.

use std::sync::Arc;
use std::time::Duration;

use crate::key::{Key, KeyError};
use crate::redis::{Batch, Command, Redis, StoreError};

/// How long the version of a removed record is kept: longer than any node may go on with what it knew.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Changes kept in the stream, about; a node that has missed more reads again what it knows.
pub const CHANGES_KEPT: usize = 100_000;

/// Changes read at a time.
const PAGE: usize = 1_000;

/// ARGV: expected version, `put` or `remove`, record, when it ends in Unix milliseconds (0: never), milliseconds that the
/// version of a removed one is kept. Answers the new version, or -1 less the version that is there instead.
const WRITE: &str = r"
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then return -1 - version end
version = version + 1
if ARGV[2] == 'put' then
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version), 'record', ARGV[3])
  if ARGV[4] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ARGV[4]) end
else
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version))
  redis.call('HDEL', KEYS[1], 'record')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return version
";

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// An application, by its key.
    App,
    /// A user's authorisation of an application, by `APPKEY/ID`.
    Session,
    /// The application of a certificate's subject, by the hash of the subject.
    Subject,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::App, Self::Session, Self::Subject];

    /// `app`, `session` or `subject`: what stands in the stream of changes and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Session => "session",
            Self::Subject => "subject",
        }
    }

    /// The other way round; `None` for kinds that others announce.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    fn key(self, id: &str) -> Result<Key, StoreError> {
        let key = match self {
            Self::App => Key::app(id),
            Self::Subject => Key::subject(id),
            Self::Session => id.split_once('/').ok_or(KeyError::Empty).and_then(|(app, id)| Key::session(app, id)),
        };
        key.map_err(|error| StoreError::Unexpected(error.to_string().into()))
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned {
    /// Which change of it this was; 0: there never was one, or nobody remembers.
    pub version: u64,
    /// The sealed record; `None`: there is none.
    pub record: Option<Vec<u8>>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored under this version.
    Stored(u64),
    /// Another version than expected is there; nothing was changed.
    Unexpected(u64),
}

/// A change that was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What was changed.
    pub kind: RecordKind,
    /// Of which key.
    pub key: String,
    /// Its version since.
    pub version: u64,
}

/// A place in the stream of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(String);

impl Position {
    /// Before the first change.
    #[must_use]
    pub fn start() -> Self {
        Self("0-0".to_owned())
    }

    /// As it was written down; anything that is no place counts as one that nobody remembers.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it can be written down.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What happened since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// These changes, in their order; the position is behind them. There may be more.
    Changes(Vec<Announced>, Position),
    /// The stream does not say: what stood at the position is no longer there. Go on from here.
    Gap(Position),
}

/// The applications of a fleet in Redis.
#[derive(Clone, Debug)]
pub struct RedisApps {
    redis: Arc<Redis>,
}

/// An item of the stream as Redis gives it.
type Item = (String, Vec<(String, String)>);

impl RedisApps {
    /// Those in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    /// A record.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn read(&self, kind: RecordKind, key: &str) -> Result<Versioned, StoreError> {
        let command = Command::on("HMGET", &kind.key(key)?).arg(&["version", "record"]);
        let (version, record): (Option<u64>, Option<Vec<u8>>) = self.redis.one(command).await?;
        Ok(Versioned { version: version.unwrap_or(0), record })
    }

    /// Several records, in one round trip, in the order of their keys.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn read_many(&self, kind: RecordKind, keys: &[String]) -> Result<Vec<Versioned>, StoreError> {
        let mut batch = Batch::new();
        for key in keys {
            batch.push(Command::on("HMGET", &kind.key(key)?).arg(&["version", "record"]));
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut replies = self.redis.run(&batch).await?;
        let mut records = Vec::with_capacity(keys.len());
        for _ in keys {
            let (version, record): (Option<u64>, Option<Vec<u8>>) = replies.take()?;
            records.push(Versioned { version: version.unwrap_or(0), record });
        }
        Ok(records)
    }

    /// Writes a record, or removes it, when `expected` is its version now. `until` is when it ends by itself, in Unix
    /// milliseconds. Nobody hears of it before [`RedisApps::announce`].
    ///
    /// # Errors
    /// As [`StoreError`] says; after [`StoreError::Lost`] it may be written or not.
    pub async fn write(
        &self,
        kind: RecordKind,
        key: &str,
        expected: u64,
        record: Option<&[u8]>,
        until: Option<u64>,
    ) -> Result<Written, StoreError> {
        let life = u64::try_from(TOMBSTONE_LIFE.as_millis()).unwrap_or(u64::MAX);
        let command = Command::script(WRITE, &[&kind.key(key)?])
            .arg(expected)
            .arg(if record.is_some() { "put" } else { "remove" })
            .arg(record.unwrap_or_default())
            .arg(until.unwrap_or(0))
            .arg(life);
        let answer: i64 = self.redis.one(command).await?;
        Ok(match u64::try_from(answer) {
            Ok(version) => Written::Stored(version),
            Err(_negative) => Written::Unexpected(answer.saturating_add(1).unsigned_abs()),
        })
    }

    /// Tells all nodes of a change. May be repeated.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn announce(&self, change: &Announced) -> Result<Position, StoreError> {
        let command = Command::on("XADD", &Key::changes())
            .arg(&["MAXLEN", "~"])
            .arg(CHANGES_KEPT)
            .arg(&["*", "kind", change.kind.as_str(), "key", change.key.as_str(), "version"])
            .arg(change.version);
        self.redis.one::<String>(command).await.map(Position)
    }

    /// Where the stream ends now.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn end(&self) -> Result<Position, StoreError> {
        let command = Command::on("XREVRANGE", &Key::changes()).arg(&["+", "-", "COUNT", "1"]);
        let items: Vec<Item> = self.redis.one(command).await?;
        Ok(items.into_iter().next().map_or_else(Position::start, |(id, _)| Position(id)))
    }

    /// What has happened since `position`, at most a page of it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn follow(&self, position: &Position) -> Result<Followed, StoreError> {
        let is_start = *position == Position::start();
        let from = if is_start { "-" } else { position.as_str() };
        let command = Command::on("XRANGE", &Key::changes()).arg(&[from, "+", "COUNT"]).arg(PAGE + 1);
        let items: Vec<Item> = self.redis.one(command).await?;
        let mut items = items.into_iter();
        if !is_start && items.next().is_none_or(|(id, _)| id != position.0) {
            return Ok(Followed::Gap(self.end().await?));
        }
        let mut reached = position.clone();
        let mut changes = Vec::new();
        for (id, fields) in items {
            changes.extend(announced(&fields));
            reached = Position(id);
        }
        Ok(Followed::Changes(changes, reached))
    }

    /// The keys of applications in alphabetical order: at most so many of those behind `after`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn keys(&self, after: Option<&str>, most: usize) -> Result<Vec<String>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let command =
            Command::on("ZRANGE", &Key::app_index()).arg(&[from.as_str(), "+", "BYLEX", "LIMIT", "0"]).arg(most);
        self.redis.one(command).await
    }

    /// Puts keys into the index of applications. Done before their records are written, so that none is missing in it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn list(&self, keys: &[&str]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut command = Command::on("ZADD", &Key::app_index());
        for key in keys {
            command = command.arg(0).arg(*key);
        }
        self.redis.one::<u64>(command).await.map(|_new| ())
    }

    /// Takes a key out of the index of applications.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn unlist(&self, key: &str) -> Result<(), StoreError> {
        self.redis.one::<u64>(Command::on("ZREM", &Key::app_index()).arg(key)).await.map(|_gone| ())
    }

    /// How many applications the index has.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.redis.one(Command::on("ZCARD", &Key::app_index())).await
    }

    /// The filter that some node has left for others, as it wrote it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn filter(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.redis.one(Command::on("GET", &Key::bloom())).await
    }

    /// Leaves a filter for others.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn leave_filter(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.redis.one::<String>(Command::on("SET", &Key::bloom()).arg(bytes)).await.map(|_ok| ())
    }
}

/// A change of the stream; `None` for what others announce there.
fn announced(fields: &[(String, String)]) -> Option<Announced> {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    Some(Announced {
        kind: RecordKind::from_name(field("kind")?)?,
        key: field("key")?.to_owned(),
        version: field("version")?.parse().ok()?,
    })
}
