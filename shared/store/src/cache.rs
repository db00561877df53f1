//! Answers that nodes leave for each other, and the purges that say which of them do not stand any more.
//!
//! An answer is a string that ends by itself. Purges are a capped stream; the place of each is a number that only grows, also
//! when Redis has lost everything in between, because it begins with the time.

use std::sync::Arc;
use std::time::Duration;

use crate::key::Key;
use crate::redis::{Batch, Command, Redis, StoreError};

/// Purges that Redis keeps. A node that was away for more of them takes everything for purged.
pub const PURGES_KEPT: usize = 10_000;
/// Purges in one answer of Redis.
const PAGE: usize = 500;

/// Adds a purge with the next place: microseconds by the clock of Redis, but always later than the last one.
const ANNOUNCE: &str = r"
local time = redis.call('TIME')
local place = time[1] * 1000000 + time[2]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] then
    place = math.max(place, tonumber(string.match(last[1][1], '^%d+')) + 1)
end
place = string.format('%.0f', place)
redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[1], place .. '-0', 'kind', ARGV[2], 'name', ARGV[3])
return place
";

/// What was purged since a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// These, in their order: place, kind and name. There may be more, unless there are none.
    Purges(Vec<(u64, String, String)>),
    /// It is not known what was: go on from here.
    Gap(u64),
}

/// The answers of a fleet in Redis.
#[derive(Clone, Debug)]
pub struct RedisCache {
    redis: Arc<Redis>,
}

/// An item of the stream as Redis gives it.
type Item = (String, Vec<(String, String)>);

impl RedisCache {
    /// Those in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    /// The answer of `api` under the hash of a key.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn read(&self, api: &str, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.redis.one(Command::on("GET", &place_of(api, hash)?)).await
    }

    /// Leaves an answer of `api` for as long as `life`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn write(&self, api: &str, hash: &str, answer: &[u8], life: Duration) -> Result<(), StoreError> {
        let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        let command = Command::on("SET", &place_of(api, hash)?).arg(answer).arg("PX").arg(millis);
        self.redis.one::<String>(command).await.map(|_ok| ())
    }

    /// Tells all nodes of a purge, and returns its place. May be repeated.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn announce(&self, kind: &str, name: &str) -> Result<u64, StoreError> {
        let command = Command::script(ANNOUNCE, &[&Key::purges()]).arg(PURGES_KEPT).arg(kind).arg(name);
        let place: String = self.redis.one(command).await?;
        place.parse().map_err(|_unclear| StoreError::Unexpected(format!("the place {place:?}").into()))
    }

    /// What was purged since `place`, at most a page of it; 0 is before the first one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn follow(&self, place: u64) -> Result<Followed, StoreError> {
        let from = if place == 0 { "-".to_owned() } else { format!("{place}-0") };
        let key = Key::purges();
        let range = Command::on("XRANGE", &key).arg(&[from.as_str(), "+", "COUNT"]).arg(PAGE + 1);
        let last = Command::on("XREVRANGE", &key).arg(&["+", "-", "COUNT", "1"]);
        let batch = Batch::new().with(Command::on("XLEN", &key)).with(range).with(last);
        let mut replies = self.redis.run(&batch).await?;
        let length: usize = replies.take()?;
        let items: Vec<Item> = replies.take()?;
        let last: Vec<Item> = replies.take()?;
        let end = last.first().and_then(|(id, _)| number(id)).unwrap_or(0);
        let mut purges: Vec<(u64, String, String)> = items.into_iter().filter_map(purge).collect();
        // What is not known any more: the place itself, or for a node that has just started the oldest ones.
        let is_known = match place {
            0 => length < PURGES_KEPT,
            _ => purges.first().is_some_and(|(first, ..)| *first == place),
        };
        if !is_known {
            return Ok(Followed::Gap(end));
        }
        if place != 0 {
            purges.remove(0);
        }
        Ok(Followed::Purges(purges))
    }
}

fn place_of(api: &str, hash: &str) -> Result<Key, StoreError> {
    Key::cache(api, hash).map_err(|error| StoreError::Refused(error.to_string().into()))
}

fn number(id: &str) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

/// A purge of the stream; a field that is missing is empty, and no kind.
fn purge((id, fields): Item) -> Option<(u64, String, String)> {
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Some((number(&id)?, field("kind"), field("name")))
}
