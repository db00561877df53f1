//! Entries as the API writes and reads them.

use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_shared::config::HumanDuration;
use gatehouse_store::block::{Entry, Record};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admit::access::line::is_name;

/// Longest reason, in bytes.
pub(super) const REASON_MAX: usize = 512;
/// From this second on an end cannot be told from "never" (2106-02-07).
const LATEST: u64 = u32::MAX as u64;

/// The body of `POST /blocklist`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Add {
    /// What is to be blocked.
    pub(super) network: Network,
    /// How long, such as `1h`; or `until` says it.
    #[serde(default, rename = "for")]
    pub(super) lasting: Option<HumanDuration>,
    /// Until when, by RFC 3339, or `never`.
    #[serde(default)]
    pub(super) until: Option<String>,
    #[serde(default)]
    pub(super) owner: Option<String>,
    #[serde(default)]
    pub(super) ticket: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// Even where it overlaps what is allowed or trusted.
    #[serde(default)]
    pub(super) force: bool,
    /// Even where there is an entry already.
    #[serde(default)]
    pub(super) replace: bool,
}

impl Add {
    /// The entry, as of `now_ms`.
    ///
    /// # Errors
    /// A sentence about what does not fit.
    pub(super) fn entry(&self, now_ms: u64) -> Result<Entry, String> {
        if self.lasting.is_none() && self.until.is_none() {
            return Err("say how long: \"for\" or \"until\" (\"never\" for an entry without end)".to_owned());
        }
        let until = end(self.lasting, self.until.as_deref(), now_ms)?;
        let entry =
            Entry { until, owner: self.owner.clone(), ticket: self.ticket.clone(), reason: self.reason.clone() };
        check_texts(&entry)?;
        Ok(entry)
    }
}

/// When an entry ends, in Unix seconds: never earlier than was asked for. `None`: never.
///
/// # Errors
/// A sentence about what does not fit.
pub(super) fn end(lasting: Option<HumanDuration>, until: Option<&str>, now_ms: u64) -> Result<Option<u64>, String> {
    let end_ms = match (lasting, until) {
        (Some(_), Some(_)) => return Err("\"for\" and \"until\" exclude each other".to_owned()),
        (None, None | Some("never")) => return Ok(None),
        (Some(lasting), None) => now_ms.saturating_add(u64::try_from(lasting.get().as_millis()).unwrap_or(u64::MAX)),
        (None, Some(text)) => clock::parse_rfc3339(text)
            .ok_or_else(|| format!("\"{text}\" is not a time (such as 2027-01-31T18:00:00Z, or never)"))?,
    };
    let until = end_ms.div_ceil(1_000);
    if end_ms <= now_ms {
        return Err("the entry would be over already".to_owned());
    }
    if until >= LATEST {
        return Err("that is too far away: use \"until\": \"never\"".to_owned());
    }
    Ok(Some(until))
}

/// Checks what people write beside a network.
///
/// # Errors
/// A sentence about what does not fit.
pub(super) fn check_texts(entry: &Entry) -> Result<(), String> {
    for (what, name) in [("owner", &entry.owner), ("ticket", &entry.ticket)] {
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(format!("\"{what}\" is 1 to 128 bytes without blanks, # and ;"));
        }
    }
    let is_reason = |reason: &str| reason.len() <= REASON_MAX && !reason.chars().any(char::is_control);
    if entry.reason.as_deref().is_some_and(|reason| !is_reason(reason)) {
        return Err(format!("\"reason\" is at most {REASON_MAX} bytes without control characters"));
    }
    Ok(())
}

/// A record as the API shows it.
pub(super) fn shown(record: &Record) -> Value {
    let entry = record.entry.as_ref();
    let time = |seconds: u64| clock::rfc3339(seconds.saturating_mul(1_000));
    json!({
        "network": record.network,
        "until": entry.and_then(|entry| entry.until).map(time),
        "owner": entry.and_then(|entry| entry.owner.as_deref()),
        "ticket": entry.and_then(|entry| entry.ticket.as_deref()),
        "reason": entry.and_then(|entry| entry.reason.as_deref()),
        "by": record.by,
        "node": record.node,
        "changed": clock::rfc3339(record.stamp),
        "revision": record.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Result<Entry, String> {
        let add: Add = serde_json::from_str(text).map_err(|error| error.to_string())?;
        add.entry(1_700_000_000_500)
    }

    #[test]
    fn an_entry_lasts_at_least_as_long_as_was_asked_for() {
        let until = |text: &str| entry(&format!("{{\"network\":\"192.0.2.1\",{text}}}")).map(|entry| entry.until);
        assert_eq!(until("\"for\":\"1h\""), Ok(Some(1_700_003_601)));
        assert_eq!(until("\"until\":\"2023-11-14T22:13:21Z\""), Ok(Some(1_700_000_001)));
        assert_eq!(until("\"until\":\"never\""), Ok(None));
        for wrong in [
            "\"owner\":\"a\"",
            "\"for\":\"1h\",\"until\":\"never\"",
            "\"for\":\"0s\"",
            "\"for\":\"1\"",
            "\"until\":\"2023-11-14T22:13:20Z\"",
            "\"until\":\"2200-01-01T00:00:00Z\"",
            "\"for\":\"1h\",\"owner\":\"a b\"",
            "\"for\":\"1h\",\"ticket\":\"\"",
            "\"for\":\"1h\",\"reason\":\"a\\u0007\"",
            "\"for\":\"1h\",\"colour\":\"red\"",
        ] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
        assert!(entry("{\"network\":\"192.0.2.1/24\",\"for\":\"1h\"}").unwrap_err().contains("192.0.2.0/24"));
    }
}
