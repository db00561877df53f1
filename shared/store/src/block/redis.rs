//! The blocklist of a fleet in Redis.
//!
//! Two keys with one hash tag, so that a script may touch both on a Cluster: the hash [`Key::block`] has a field for each
//! network, `REVISION STAMP JSON`, and the field `@head`, `REVISION MARK` of the last change; the stream [`Key::block_log`]
//! has an item for each change, whose id is its revision.

use std::sync::Arc;

use gatehouse_shared::cidr::Network;

use super::{Change, Head, LOG_LENGTH, MOST_ENTRIES, Record};
use crate::key::Key;
use crate::redis::{Batch, Command, Redis, Replies, StoreError};

/// Records written by one script: enough for speed, few enough not to keep Redis from others.
const CHUNK: usize = 200;
/// Records or changes read by one command.
const PAGE: usize = 1_000;
/// Pages of a whole list, with as much again for records of removed entries and what a scan may show twice.
const MOST_PAGES: usize = 4 * MOST_ENTRIES / PAGE;
/// The field of the head; no network looks like it.
const HEAD: &str = "@head";

/// Makes changes in one step: all of them, or none where one meets something else than expected.
///
/// ARGV: most records, length of the log, now in seconds; then for each change mark, network, stamp, expectation, text. The
/// answer has two values for each: the revision given and the value stored; or 0 and the newer value that is there already; or -1 and
/// the value that was not expected; or -2 when there is no room.
const WRITE: &str = r"
local hash, log = KEYS[1], KEYS[2]
local most, length, now = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local head = redis.call('HGET', hash, '@head')
local revision = head and tonumber(string.match(head, '^(%d+) ')) or 0
local function parts(value)
  if not value then return 0, 0, '' end
  local r, s, text = string.match(value, '^(%d+) (%d+) (.*)$')
  return tonumber(r), tonumber(s), text
end
local function counts(text)
  if text == '' then return false end
  local entry = cjson.decode(text)['entry']
  return entry and (not entry['until'] or entry['until'] > now)
end
local refused = false
local answers = {}
local room = most + 1 - redis.call('HLEN', hash)
for i = 4, #ARGV, 5 do
  local network, expected = ARGV[i + 1], ARGV[i + 3]
  local old = redis.call('HGET', hash, network)
  local old_revision, _, old_text = parts(old)
  local is_met = expected == 'any' or expected == 'newer'
    or (expected == 'absent' and not counts(old_text))
    or tonumber(expected) == old_revision
  if not old then room = room - 1 end
  if not is_met then
    refused = true
    answers[#answers + 1] = -1
  elseif room < 0 then
    refused = true
    answers[#answers + 1] = -2
  else
    answers[#answers + 1] = 0
  end
  answers[#answers + 1] = old or ''
end
if refused then return answers end
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if last and tonumber(string.match(last[1], '^(%d+)-')) > revision then redis.call('DEL', log) end
answers = {}
local mark
for i = 4, #ARGV, 5 do
  local network, stamp, expected, text = ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
  local old = redis.call('HGET', hash, network)
  local _, old_stamp, old_text = parts(old)
  local is_older = old and (stamp < old_stamp or (stamp == old_stamp and text <= old_text))
  if expected == 'newer' and is_older then
    answers[#answers + 1] = 0
    answers[#answers + 1] = old
  else
    if old and stamp <= old_stamp and expected ~= 'newer' then stamp = old_stamp + 1 end
    revision = revision + 1
    mark = ARGV[i]
    local value = string.format('%.0f %.0f ', revision, stamp) .. text
    redis.call('HSET', hash, network, value)
    redis.call('XADD', log, 'MAXLEN', '~', length, string.format('%.0f-0', revision),
      'mark', mark, 'network', network, 'after', value, 'before', old or '')
    answers[#answers + 1] = revision
    answers[#answers + 1] = value
  end
end
if mark then redis.call('HSET', hash, '@head', string.format('%.0f ', revision) .. mark) end
return answers
";

/// Forgets records that have not changed since they were read. ARGV: for each its network, and its `REVISION STAMP`.
const FORGET: &str = r"
local forgotten = 0
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and string.match(value, '^%d+ %d+') == ARGV[i + 1] then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return forgotten
";

/// What a change expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Anything,
    /// No entry that counts.
    Absent,
    /// Exactly this revision of the record.
    Revision(u64),
    /// Nothing that is newer; what two sides do that exchange what they know.
    Older,
}

impl Expected {
    /// Whether a record that is known meets it, at `now` in Unix seconds; what the script asks, for lists without Redis.
    #[must_use]
    pub fn is_met_by(self, known: Option<&Record>, now: u64) -> bool {
        match self {
            Self::Anything | Self::Older => true,
            Self::Absent => !known.is_some_and(|record| record.counts_at(now)),
            Self::Revision(revision) => known.map_or(0, |record| record.revision) == revision,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Anything => "any".to_owned(),
            Self::Absent => "absent".to_owned(),
            Self::Revision(revision) => revision.to_string(),
            Self::Older => "newer".to_owned(),
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored, as this record.
    Stored(Record),
    /// A newer record is there and stays.
    Newer(Record),
    /// Something else than expected is there; nothing was changed.
    Unexpected(Option<Record>),
    /// There are too many entries; nothing was changed.
    Full,
    /// Another change of the same batch was refused; nothing was changed.
    NotTried,
}

/// What has happened since a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Nothing.
    Nothing,
    /// These changes, up to a new head; there may be more.
    Changes(Vec<Record>, Head),
    /// The log does not say: all records have to be compared.
    Unknown,
}

/// The blocklist in Redis.
#[derive(Debug)]
pub struct RedisBlocks {
    redis: Arc<Redis>,
    block: Key,
    log: Key,
}

impl RedisBlocks {
    /// The blocklist in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis, block: Key::block(), log: Key::block_log() }
    }

    /// The connection.
    #[must_use]
    pub fn redis(&self) -> &Arc<Redis> {
        &self.redis
    }

    /// Makes changes of different networks at `now`, in Unix seconds. Up to 200 are one step: where one of them meets
    /// something unexpected none is made.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when they may have been made or not; none was for any other.
    pub async fn write(&self, changes: &[(Record, Expected)], now: u64) -> Result<Vec<Written>, StoreError> {
        let mut written = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(CHUNK) {
            let mut script =
                Command::script(WRITE, &[&self.block, &self.log]).arg(MOST_ENTRIES).arg(LOG_LENGTH).arg(now);
            for (record, expected) in chunk {
                let mark = format!("{:08x}", fastrand::u32(..));
                let network = record.network.to_string();
                script = script.arg(&[mark, network, record.stamp.to_string(), expected.text(), record.text()]);
            }
            let answers: Vec<(i64, String)> = self.redis.one(script).await?;
            let is_refused = answers.iter().any(|(code, _)| *code < 0);
            for ((record, _), (code, value)) in chunk.iter().zip(answers) {
                let stored = || stored(record.network, &value).ok_or_else(|| damaged(&value));
                written.push(match code {
                    -2 => Written::Full,
                    -1 if value.is_empty() => Written::Unexpected(None),
                    -1 => Written::Unexpected(Some(stored()?)),
                    _ if is_refused => Written::NotTried,
                    0 => Written::Newer(stored()?),
                    _ => Written::Stored(stored()?),
                });
            }
            if is_refused {
                break;
            }
        }
        written.resize(changes.len(), Written::NotTried);
        Ok(written)
    }

    /// What has happened since `head`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn follow(&self, head: &Head) -> Result<Followed, StoreError> {
        let from = if head.revision == 0 { "-".to_owned() } else { format!("{}-0", head.revision) };
        let batch = Batch::new()
            .with(Command::on("HGET", &self.block).arg(HEAD))
            .with(Command::on("XRANGE", &self.log).arg(&[from.as_str(), "+", "COUNT"]).arg(PAGE));
        let mut replies = self.redis.run(&batch).await?;
        if take_head(&mut replies)? == *head {
            return Ok(Followed::Nothing);
        }
        let items: Vec<Item> = replies.take()?;
        let mut items = items.iter().filter_map(Logged::from_item);
        if head.revision > 0 && items.next().is_none_or(|known| known.head != *head) {
            return Ok(Followed::Unknown);
        }
        let mut reached = head.clone();
        let mut changes = Vec::new();
        for Logged { head, change } in items {
            if head.revision != reached.revision + 1 {
                break;
            }
            changes.push(change.after);
            reached = head;
        }
        Ok(if changes.is_empty() { Followed::Unknown } else { Followed::Changes(changes, reached) })
    }

    /// Every record, and a head from which to follow: what changes while this reads is in the log behind it.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn all(&self) -> Result<(Vec<Record>, Head), StoreError> {
        let mut replies = self.redis.run(&Batch::new().with(Command::on("HGET", &self.block).arg(HEAD))).await?;
        let head = take_head(&mut replies)?;
        let (mut records, mut cursor) = (Vec::new(), "0".to_owned());
        for _page in 0..MOST_PAGES {
            let scan = Command::on("HSCAN", &self.block).arg(&cursor).arg("COUNT").arg(PAGE);
            let (next, fields): (String, Vec<(String, String)>) = self.redis.one(scan).await?;
            records.extend(fields.iter().filter_map(|(network, value)| stored(network.parse().ok()?, value)));
            if next == "0" {
                return Ok((records, head));
            }
            cursor = next;
        }
        Err(StoreError::Unexpected("a scan of the blocklist that does not end".into()))
    }

    /// The last changes, the newest first; at most so many, and not more than the log has.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn history(&self, most: usize) -> Result<Vec<Change>, StoreError> {
        let command = Command::on("XREVRANGE", &self.log).arg(&["+", "-", "COUNT"]).arg(most.min(LOG_LENGTH));
        let items: Vec<Item> = self.redis.one(command).await?;
        Ok(items.iter().filter_map(Logged::from_item).map(|logged| logged.change).collect())
    }

    /// Forgets records for good, each only if it has not changed since.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn forget(&self, records: &[Record]) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for chunk in records.chunks(CHUNK) {
            let mut script = Command::script(FORGET, &[&self.block]);
            for record in chunk {
                script = script.arg(&[record.network.to_string(), format!("{} {}", record.revision, record.stamp)]);
            }
            forgotten += self.redis.one::<u64>(script).await?;
        }
        Ok(forgotten)
    }
}

/// An item of the log as Redis gives it.
type Item = (String, Vec<(String, String)>);

/// A change of the log with its number and mark.
struct Logged {
    head: Head,
    change: Change,
}

impl Logged {
    fn from_item((id, fields): &Item) -> Option<Self> {
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let revision = id.strip_suffix("-0")?.parse().ok()?;
        let network = field("network")?.parse().ok()?;
        let change = Change {
            before: field("before").and_then(|value| stored(network, value)),
            after: stored(network, field("after")?)?,
        };
        Some(Self { head: Head { revision, mark: field("mark")?.to_owned() }, change })
    }
}

fn take_head(replies: &mut Replies) -> Result<Head, StoreError> {
    let Some(text) = replies.take::<Option<String>>()? else { return Ok(Head::default()) };
    Head::from_text(&text).ok_or_else(|| damaged(&text))
}

/// A record from `REVISION STAMP JSON`.
fn stored(network: Network, value: &str) -> Option<Record> {
    let mut parts = value.splitn(3, ' ');
    let revision = parts.next()?.parse().ok()?;
    let stamp = parts.next()?.parse().ok()?;
    Record::from_text(network, stamp, revision, parts.next()?)
}

fn damaged(value: &str) -> StoreError {
    StoreError::Unexpected(format!("{:?} in the blocklist", value.chars().take(80).collect::<String>()).into())
}
