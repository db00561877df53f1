//! Accounts in Redis: one hash for each, with the field `total` and one for each holder.

use std::sync::Arc;

use super::ledger::KEPT_AFTER;
use super::{Account, Answer, Ask, Heard, Holding, Statement};
use crate::key::Key;
use crate::limit::{self, Told};
use crate::redis::{Batch, Command, Redis, StoreError};

/// What [`super::Ledger::ask`] does. ARGV: holder, number, known, target, used, need, limit, nodes, begin and end of the window in
/// Unix milliseconds, the same when the account is forgotten. A holder has a field `leased number used told`. Answers Redis's time, what happened (1 leased, 0
/// stale, -1 early), the total of the holder, what is free, and whether writes were lost. Numbers are whole and below 2^53, which Lua holds exactly.
const ASK: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = '@' .. ARGV[1]
local number, known, target, used = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local need, limit, nodes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local begins, ends = tonumber(ARGV[9]), tonumber(ARGV[10])
local before, last = 0, 0
local fields = redis.call('HMGET', KEYS[1], 'total', holder)
if fields[2] then
  local leased, at = string.match(fields[2], '^(%d+) (%d+) ')
  before, last = tonumber(leased), tonumber(at)
end
if number <= last then return {now, 0, 0, 0, 0} end
if now < begins then return {now, -1, 0, 0, 0} end
local held = math.max(before, known)
local others = tonumber(fields[1] or 0) - before
local leased = held
if target < held then
  leased = math.max(target, used)
elseif now < ends then
  local free = math.max(limit - others - held, 0)
  local share = math.max(math.floor(free / (2 * nodes)), need, 1)
  leased = held + math.min(target - held, share, free)
end
local excess = math.max(others + leased - limit, 0)
leased = math.max(leased - excess, math.min(used, leased))
local told = string.format('%.0f %.0f %.0f %.0f', leased, number, used, now)
redis.call('HSET', KEYS[1], 'total', string.format('%.0f', others + leased), holder, told)
redis.call('PEXPIREAT', KEYS[1], ARGV[11])
return {now, 1, leased, math.max(limit - others - leased, 0), before < known and 1 or 0}
";

/// Counts told by one script: a fraction of a millisecond of Redis's time.
const CHUNK: usize = 250;

/// Accounts in Redis.
#[derive(Clone, Debug)]
pub(super) struct RedisAccounts {
    redis: Arc<Redis>,
}

impl RedisAccounts {
    pub(super) fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    pub(super) async fn round(&self, process: &str, asks: &[Ask], told: &[Told]) -> Result<Heard, StoreError> {
        let mut batch = Batch::new();
        for ask in asks {
            batch.push(command(process, ask)?);
        }
        let mut places = Vec::new();
        for positions in limit::by_window(told) {
            for chunk in positions.chunks(CHUNK) {
                let Some(first) = chunk.first().and_then(|position| told.get(*position)) else { continue };
                let hash = Key::quota_counts(&first.limit, first.window).map_err(unusable)?;
                batch.push(limit::tell(&hash, process, told, chunk));
                places.push(chunk.to_vec());
            }
        }
        if batch.is_empty() {
            return Ok(Heard::default());
        }
        let mut replies = self.redis.run(&batch).await?;
        let mut heard = Heard { others: vec![0; told.len()], ..Heard::default() };
        for _ask in asks {
            let (now, what, total, free, had_lost): (u64, i64, u64, u64, u64) = replies.take()?;
            heard.unix_ms = Some(now);
            heard.answers.push(match what {
                1 => Answer::Leased { total, free, had_lost: had_lost == 1 },
                0 => Answer::Stale,
                _ => Answer::Early,
            });
        }
        for positions in places {
            let counts: Vec<i64> = replies.take()?;
            for (position, count) in positions.into_iter().zip(counts) {
                if let Some(other) = heard.others.get_mut(position) {
                    *other = u64::try_from(count).unwrap_or(0);
                }
            }
        }
        Ok(heard)
    }

    pub(super) async fn statement(&self, account: &Account) -> Result<Option<Statement>, StoreError> {
        let fields: Vec<(String, String)> = self.redis.one(Command::on("HGETALL", &key(account)?)).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let mut statement = Statement::default();
        for (field, value) in &fields {
            match field.strip_prefix('@') {
                Some(holder) => {
                    statement.holdings.push(holding(holder, value).ok_or_else(|| {
                        StoreError::Unexpected(format!("an account of a quota holds {value:?}").into())
                    })?)
                }
                None if field == "total" => statement.leased = value.parse().unwrap_or(0),
                None => {}
            }
        }
        Ok(Some(statement))
    }
}

fn command(process: &str, ask: &Ask) -> Result<Command, StoreError> {
    let (begins, ends) = ask.span;
    Ok(Command::script(ASK, &[&key(&ask.account)?])
        .arg(ask.holder_of(process))
        .arg(ask.number)
        .arg(ask.known)
        .arg(ask.target)
        .arg(ask.used)
        .arg(ask.need)
        .arg(ask.limit)
        .arg(ask.nodes.max(1))
        .arg(begins)
        .arg(ends)
        .arg(ends.saturating_add(KEPT_AFTER)))
}

fn key(account: &Account) -> Result<Key, StoreError> {
    Key::quota(&account.limit, &account.subject, account.window).map_err(unusable)
}

fn unusable(error: crate::KeyError) -> StoreError {
    StoreError::Refused(error.to_string().into())
}

/// Reads what a holder has told: `leased number used told`.
fn holding(holder: &str, text: &str) -> Option<Holding> {
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let (leased, _number) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let (used, told_unix_ms) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Holding { holder: holder.to_owned(), leased, used, told_unix_ms })
}
