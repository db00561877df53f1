//! Looking at the blocklist.

use std::fmt::Write as _;

use bytes::Bytes;
use gatehouse_shared::cidr::Network;
use gatehouse_shared::{clock, problem};
use gatehouse_store::block::Change;
use serde_json::{Value, json};

use super::{Call, entry::shown, invalid};
use crate::admit::access::line::Line;
use crate::admit::blocklist::{Keeper, overlapped};
use gatehouse_shared::admin::{Answer, Query};

/// Entries of a page, unless the call says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1_000);

pub(super) fn entries(call: &Call<'_>) -> Result<Answer, Answer> {
    let query = Query::parse(call.query, &["network", "after", "limit"]).map_err(invalid)?;
    let network = |name: &str| -> Result<Option<Network>, Answer> {
        query.get(name).map(|text| text.parse().map_err(|error| invalid(format!("{error}")))).transpose()
    };
    let (mirror, now) = (call.keeper.mirror(), clock::unix_ms() / 1_000);
    if let Some(network) = network("network")? {
        let record = mirror.get(network).filter(|record| record.counts_at(now));
        let record = record.ok_or_else(|| Answer::problem(&problem::BLOCK_ENTRY_MISSING))?;
        return Ok(Answer::json(&shown(&record)).of_revision(record.revision));
    }
    let most = query.count("limit", PAGE.0, PAGE.1).map_err(invalid)?;
    let page = mirror.page(network("after")?, most, now);
    let next = page.records.last().filter(|_| page.has_more).map(|record| record.network);
    Ok(Answer::json(&json!({
        "entries": page.records.iter().map(shown).collect::<Vec<_>>(),
        "next": next,
        "total": page.total,
        "store": call.keeper.status(),
    })))
}

/// All entries, each as a line of a list.
pub(super) fn export(keeper: &Keeper) -> Answer {
    let now = clock::unix_ms() / 1_000;
    let mut text = String::new();
    for record in keeper.mirror().records(|record| record.counts_at(now)) {
        if let Some(entry) = &record.entry {
            #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
            let _ = writeln!(text, "{}", Line { network: record.network, note: entry.note() });
        }
    }
    Answer::new(200, "text/plain; charset=utf-8", Bytes::from(text))
}

/// The last changes, the newest first: of the whole fleet where Redis answers, else those that this node was told.
pub(super) async fn history(call: &Call<'_>) -> Result<Answer, Answer> {
    let query = Query::parse(call.query, &["limit"]).map_err(invalid)?;
    let most = query.count("limit", 20, PAGE.1).map_err(invalid)?;
    if let Some(redis) = call.keeper.redis()
        && let Ok(changes) = redis.history(most).await
    {
        let changes: Vec<Value> = changes.iter().map(change).collect();
        return Ok(Answer::json(&json!({ "source": "fleet", "changes": changes })));
    }
    let lines = call.keeper.audit().last(most, "blocklist.").map_err(|error| {
        Answer::problem_about(&problem::ADMIN_UNAVAILABLE, Some(&format!("the audit log cannot be read: {error}")))
    })?;
    let changes: Vec<Value> = lines.iter().map(told).collect();
    Ok(Answer::json(&json!({ "source": "node", "changes": changes })))
}

fn change(change: &Change) -> Value {
    let Change { before, after } = change;
    let entry = |record: &gatehouse_store::block::Record| serde_json::to_value(&record.entry).unwrap_or(Value::Null);
    json!({
        "time": clock::rfc3339(after.stamp),
        "by": after.by,
        "node": after.node,
        "network": after.network,
        "before": before.as_ref().map_or(Value::Null, entry),
        "after": entry(after),
    })
}

/// A line of the audit log in the same form.
fn told(line: &Value) -> Value {
    let part = |name: &str| line.get(name).unwrap_or(&Value::Null);
    json!({
        "time": part("time"),
        "by": part("who"),
        "node": part("node"),
        "network": part("target"),
        "before": part("before"),
        "after": part("after"),
    })
}

pub(super) fn suggest(call: &Call<'_>) -> Result<Answer, Answer> {
    let query = Query::parse(call.query, &["limit"]).map_err(invalid)?;
    let most = query.count("limit", 20, PAGE.1).map_err(invalid)?;
    let now = clock::unix_ms() / 1_000;
    let Some(blocklist) = call.policy.admission.blocklist() else { return Ok(Answer::json(&json!([]))) };
    let blocked = blocklist.mirror().current();
    let is_free = |network: &Network| {
        blocked.find(network.as_ipnet().addr(), now).is_none() && overlapped(call.policy, *network, now).is_none()
    };
    let crawlers = blocklist.crawlers().most(clock::now()).into_iter();
    let crawlers = crawlers.filter(|candidate| is_free(&candidate.network)).take(most).map(
        |candidate| json!({ "network": candidate.network, "connections": candidate.count, "error": candidate.error }),
    );
    let refused = blocklist.refused().most(clock::now()).into_iter();
    let candidates = refused.filter(|candidate| is_free(&candidate.network)).take(most).map(|candidate| {
        json!({
            "network": candidate.network,
            "refusals": candidate.count,
            "error": candidate.error,
            "reason": candidate.note,
        })
    });
    Ok(Answer::json(&json!({
        "candidates": candidates.collect::<Vec<_>>(),
        "crawlers": crawlers.collect::<Vec<_>>(),
    })))
}
