//! Changing the blocklist.

use std::collections::BTreeMap;

use gatehouse_shared::cidr::Network;
use gatehouse_shared::config::HumanDuration;
use gatehouse_shared::{clock, problem};
use gatehouse_store::block::{Entry, Expected};
use serde_json::{Value, json};

use super::entry::{Add, check_texts, end, shown};
use super::{Call, invalid};
use crate::admit::access::import::{self, Format};
use crate::admit::blocklist::{ChangeError, Done, Reach, Wanted, overlapped};
use gatehouse_shared::admin::{Answer, Query, read_json};

/// Findings shown of an import.
const FINDINGS_MAX: usize = 20;

pub(super) async fn add(call: &Call<'_>) -> Result<Answer, Answer> {
    Query::parse(call.query, &[]).map_err(invalid)?;
    let add: Add = read_json(call.body)?;
    let now_ms = clock::unix_ms();
    let entry = add.entry(now_ms).map_err(invalid)?;
    if !add.force
        && let Some(what) = overlapped(call.policy, add.network, now_ms / 1_000)
    {
        return Err(Answer::problem_about(&problem::BLOCK_NEEDS_FORCE, Some(&what)));
    }
    let expected = match revision(call)? {
        Some(revision) => Expected::Revision(revision),
        None if add.replace => Expected::Anything,
        None => Expected::Absent,
    };
    let wanted = vec![Wanted { network: add.network, entry: Some(entry), expected }];
    let done = call.keeper.change(wanted, call.actor(), "blocklist.add").await;
    Ok(changed(&done.map_err(|error| refusal(call, &error))?, 201))
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Answer, Answer> {
    let query = Query::parse(call.query, &["network"]).map_err(invalid)?;
    let network = query.get("network").ok_or_else(|| invalid("say which \"network\""))?;
    let network: Network = network.parse().map_err(|error| invalid(format!("{error}")))?;
    // A client that a limit has banned is no entry yet while it waits to become one.
    let lifted = call.policy.admission.upkeep().bans().lift(&network);
    if !call.keeper.mirror().get(network).is_some_and(|known| known.counts_at(clock::unix_ms() / 1_000)) {
        return lift(call, network, lifted);
    }
    let expected = match revision(call)? {
        Some(revision) => Expected::Revision(revision),
        None => Expected::Anything,
    };
    let wanted = vec![Wanted { network, entry: None, expected }];
    let done = call.keeper.change(wanted, call.actor(), "blocklist.remove").await;
    Ok(changed(&done.map_err(|error| refusal(call, &error))?, 200))
}

/// The answer where there is no entry, but perhaps bans of this node alone, which have been lifted.
fn lift(call: &Call<'_>, network: Network, lifted: usize) -> Result<Answer, Answer> {
    if lifted == 0 {
        return Err(Answer::problem(&problem::BLOCK_ENTRY_MISSING));
    }
    let told = call.keeper.tell_audit(&call.actor(), "blocklist.lift", network, json!({ "bans": lifted }));
    told.map_err(|error| refusal(call, &error))?;
    let mut answer = json!({ "before": null, "after": null, "lifted": lifted });
    let status = say_reach(&mut answer, &Reach::Alone, 200);
    Ok(Answer::json_with(status, &answer))
}

/// Adds every entry of a list, in any format that [`import`] reads. What the lines do not say, the query may: `for` or
/// `until`, `owner`, `ticket`, `reason`. Entries that are there already, for as long and with the same texts, stay; others are
/// replaced.
pub(super) async fn import(call: &Call<'_>) -> Result<Answer, Answer> {
    let known = ["for", "until", "owner", "ticket", "reason", "force", "format"];
    let query = Query::parse(call.query, &known).map_err(invalid)?;
    let now_ms = clock::unix_ms();
    let listed = listed(call, &query, now_ms)?;
    let total = listed.len();
    if !query.is_set("force").map_err(invalid)? {
        let overlaps = listed.keys().filter_map(|network| overlapped(call.policy, *network, now_ms / 1_000));
        let overlaps: Vec<String> = overlaps.take(FINDINGS_MAX).collect();
        if !overlaps.is_empty() {
            return Err(Answer::problem_about(&problem::BLOCK_NEEDS_FORCE, Some(&overlaps.join("\n"))));
        }
    }
    let mirror = call.keeper.mirror();
    let is_new = |(network, entry): &(Network, Entry)| {
        mirror.get(*network).and_then(|known| known.entry).is_none_or(|known| known != *entry)
    };
    let wanted = listed.into_iter().filter(is_new);
    let wanted: Vec<Wanted> =
        wanted.map(|(network, entry)| Wanted { network, entry: Some(entry), expected: Expected::Anything }).collect();
    let unchanged = total - wanted.len();
    let done = call.keeper.change(wanted, call.actor(), "blocklist.import").await;
    let done = done.map_err(|error| refusal(call, &error))?;
    let counted = |changed: &&crate::admit::blocklist::Changed| {
        changed.before.as_ref().is_some_and(|before| before.counts_at(now_ms / 1_000))
    };
    let replaced = done.changes.iter().filter(counted).count();
    let added = done.changes.len() - replaced;
    let mut answer = json!({ "added": added, "replaced": replaced, "unchanged": unchanged });
    Ok(Answer::json_with(say_reach(&mut answer, &done.reach, 200), &answer))
}

/// The entries of a list, those left out that are over; of several for one network the last.
fn listed(call: &Call<'_>, query: &Query, now_ms: u64) -> Result<BTreeMap<Network, Entry>, Answer> {
    let lasting = query.get("for").map(str::parse::<HumanDuration>).transpose();
    let lasting = lasting.map_err(|error| invalid(error.to_string()))?;
    let until = end(lasting, query.get("until"), now_ms).map_err(invalid)?;
    let text = |name: &str| query.get(name).map(str::to_owned);
    let usual = Entry { until, owner: text("owner"), ticket: text("ticket"), reason: text("reason") };
    check_texts(&usual).map_err(invalid)?;
    let format = match query.get("format") {
        None => None,
        Some("list") => Some(Format::List),
        Some("drop-json") => Some(Format::DropJson),
        Some("csv") => Some(Format::Csv),
        Some(_) => return Err(invalid("\"format\" is list, drop-json or csv")),
    };
    let mut listed = BTreeMap::new();
    let read = import::read("list", call.body, format, now_ms / 1_000, |line| {
        let text = |text: Option<&str>, usual: &Option<String>| text.map(str::to_owned).or_else(|| usual.clone());
        let entry = Entry {
            until: line.note.until.or(usual.until),
            owner: text(line.note.owner, &usual.owner),
            ticket: text(line.note.ticket, &usual.ticket),
            reason: text(line.note.reason, &usual.reason).map(|reason| shortened(&reason)),
        };
        if entry.counts_at(now_ms / 1_000) {
            listed.insert(line.network, entry);
        }
    });
    read.map_err(|errors| invalid(errors.to_string()))?;
    Ok(listed)
}

/// A reason as long as one may be; other people's lists have longer ones.
fn shortened(reason: &str) -> String {
    let end = reason.floor_char_boundary(super::entry::REASON_MAX);
    reason.get(..end).unwrap_or_default().to_owned()
}

/// The revision in `If-Match`: a number, with or without quotes.
fn revision(call: &Call<'_>) -> Result<Option<u64>, Answer> {
    let Some(text) = call.if_match else { return Ok(None) };
    let revision = text.trim().trim_matches('"').parse();
    revision.map(Some).map_err(|_no_number| invalid("If-Match is the revision of an entry, as ETag gives it"))
}

/// The answer to one change.
fn changed(done: &Done, status: u16) -> Answer {
    let Some(change) = done.changes.first() else {
        // Another node has changed it again, later.
        return Answer::problem(&problem::ADMIN_REVISION_CHANGED);
    };
    let entry = |record: &gatehouse_store::block::Record| record.entry.is_some().then(|| shown(record));
    let is_new = change.before.as_ref().is_none_or(|before| before.entry.is_none());
    let mut answer = json!({
        "before": change.before.as_ref().and_then(entry),
        "after": entry(&change.after),
    });
    let status = if is_new { status } else { 200 };
    let status = say_reach(&mut answer, &done.reach, status);
    Answer::json_with(status, &answer).of_revision(change.after.revision)
}

/// Says who obeys the change; 202 where that is not everybody yet.
pub(in crate::admin) fn say_reach(answer: &mut Value, reach: &Reach, status: u16) -> u16 {
    let (reach, warning, status) = match reach {
        Reach::Fleet => ("fleet", None, status),
        Reach::Alone => ("node", None, status),
        Reach::NodeOnly(why) => {
            let warning = format!("in force on this node only; the others follow when Redis is back ({why})");
            ("this_node_only", Some(warning), 202)
        }
    };
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("reach".to_owned(), reach.into());
        fields.insert("warning".to_owned(), warning.into());
    }
    status
}

fn refusal(call: &Call<'_>, error: &ChangeError) -> Answer {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text.push_str(&format!(": {cause}"));
    }
    let (reason, detail) = match error {
        ChangeError::Unexpected(network, Some(known)) if call.if_match.is_none() => {
            let until = known.entry.as_ref().and_then(|entry| entry.until);
            let until = until.map_or("for good".to_owned(), |until| {
                format!("until {}", clock::rfc3339(until.saturating_mul(1_000)))
            });
            (&problem::BLOCK_ENTRY_EXISTS, format!("{network} is blocked {until}, revision {}", known.revision))
        }
        ChangeError::Unexpected(..) => (&problem::ADMIN_REVISION_CHANGED, text),
        ChangeError::Full => (&problem::BLOCK_LIST_FULL, text),
        ChangeError::Disk(_) | ChangeError::Audit(_) | ChangeError::Broken => (&problem::CHANGE_NOT_KEPT, text),
    };
    Answer::problem_about(reason, Some(&detail))
}
