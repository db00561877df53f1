//! How much was used: what the store knows, brought up to date by this node.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::clock::rfc3339;
use gatehouse_store::StoreError;
use gatehouse_store::quota::{Account, Statement};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::limit::{Limit, Limits, Way};
use super::quotas::Quotas;
use super::subject::{self, By, Digests, Part, Subject};
use super::window::Window;
use super::{Settings, lease::Wish};

/// Longest wait for the round that brings the store up to date.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug, Default)]
pub struct Question {
    /// The name of a limit; without one all that count by no more than what is given.
    pub limit: Option<String>,
    /// The name of an API.
    pub api: Option<String>,
    /// The key of an application.
    pub app: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// A client.
    pub client: Option<IpAddr>,
    /// The value of the limit's expression.
    pub key: Option<String>,
    /// The plan of the application.
    pub plan: Option<String>,
    /// A moment in the window in question, in Unix milliseconds; now when not given.
    pub at: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// There is no such limit.
    #[error("no limit {0:?}")]
    Unknown(String),
    /// The limit counts by something that is not given.
    #[error("the limit {limit:?} counts by {part}: say which")]
    Missing {
        /// The limit.
        limit: String,
        /// What is missing.
        part: &'static str,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers a question about one limit or many.
///
/// # Errors
/// As [`ShowError`] says.
pub async fn show(
    quotas: &Arc<Quotas>,
    limits: &Limits,
    settings: &Settings,
    question: &Question,
) -> Result<Value, ShowError> {
    let mut shown = Vec::new();
    match &question.limit {
        Some(name) => {
            let limit = limits.find(name).ok_or_else(|| ShowError::Unknown(name.clone()))?;
            shown.push(one(quotas, limit, settings, question).await?);
        }
        None => {
            for limit in limits.iter().filter(|limit| question.missing(limit).is_none()) {
                shown.push(one(quotas, limit, settings, question).await?);
            }
        }
    }
    Ok(json!({ "quotas": shown }))
}

async fn one(
    quotas: &Arc<Quotas>,
    limit: &Arc<Limit>,
    settings: &Settings,
    question: &Question,
) -> Result<Value, ShowError> {
    if let Some(part) = question.missing(limit) {
        return Err(ShowError::Missing { limit: limit.name.to_string(), part });
    }
    let now = quotas.unix_ms(quotas.now());
    let window = limit.windows.at(question.at.unwrap_or(now));
    let (most, rate) = limit.most(&question.subject());
    let text = question.text(&limit.by);
    let mut shown = json!({
        "limit": &*limit.name,
        "subject": &*text,
        "rate": limit.rate.to_string(),
        "most": most,
        "window": { "number": window.number, "begins": rfc3339(window.begins), "ends": rfc3339(window.ends) },
    });
    let more = match &limit.way {
        Way::Told(counts) => {
            let subject = question.subject();
            let found = limit.by.find(&subject, &settings.fleet);
            let left = counts.get(rate).zip(found).map(|(count, found)| count.peek(found.key, 1, now).remaining);
            let used = if window.contains(now) { most.saturating_sub(left.unwrap_or(most)) } else { 0 };
            json!({ "used": used, "at_most": used, "as_of": rfc3339(now), "is_exact": false, "nodes": [] })
        }
        Way::Leased(_) => {
            bring_up_to_date(quotas, limit, question).await;
            let account = Account { limit: Arc::clone(&limit.name), subject: text, window: window.number };
            statement(&quotas.accounts.statement(&account).await?.unwrap_or_default(), &window, now)
        }
    };
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    Ok(shown)
}

/// Tells the store what this node has used, now.
async fn bring_up_to_date(quotas: &Arc<Quotas>, limit: &Limit, question: &Question) {
    let Way::Leased(table) = &limit.way else { return };
    let subject = question.subject();
    let expression: subject::Expression = {
        let key = question.key.clone();
        Arc::new(move |_| key.clone())
    };
    // The value of an expression is given, not calculated.
    let found = match &limit.by {
        By::Parts(_) => limit.by.find_here(&mut Digests::new(&subject)),
        By::Expression(_) => By::Expression(expression).find_here(&mut Digests::new(&subject)),
    };
    let Some(held) = found.and_then(|found| table.find(found.key)) else { return };
    let mut heard = std::pin::pin!(held.heard.notified());
    heard.as_mut().enable();
    let wish = if held.lease().queue() { Wish::Now } else { Wish::Hurry };
    quotas.serve(&held, wish);
    let _elapsed = timeout(PATIENCE, heard).await.is_err();
}

fn statement(statement: &Statement, window: &Window, now: u64) -> Value {
    let used: u64 = statement.holdings.iter().map(|holding| holding.used).sum();
    let unused = |holding: &&gatehouse_store::quota::Holding| holding.leased != holding.used;
    // Who holds nothing unused has told everything.
    let as_of = statement.holdings.iter().filter(unused).map(|holding| holding.told_unix_ms).min();
    let is_over = now >= window.ends;
    let nodes: Vec<Value> = statement
        .holdings
        .iter()
        .map(|holding| {
            json!({
                "holder": holding.holder,
                "used": holding.used,
                "leased": holding.leased.saturating_sub(holding.used),
                "told": rfc3339(holding.told_unix_ms),
            })
        })
        .collect();
    json!({
        "used": used,
        "at_most": statement.leased,
        "leased": statement.leased.saturating_sub(used),
        "as_of": rfc3339(as_of.unwrap_or(if is_over { window.ends } else { now })),
        "is_exact": statement.leased == used,
        "nodes": nodes,
    })
}

impl Question {
    /// What the limit counts by and is not given.
    fn missing(&self, limit: &Limit) -> Option<&'static str> {
        let Some(parts) = limit.parts() else { return self.key.is_none().then_some("key") };
        let is_given = |part: Part| match part {
            Part::Api => self.api.is_some(),
            Part::App => self.app.is_some(),
            Part::User => self.user.is_some(),
            Part::Client => self.client.is_some(),
        };
        parts.iter().find(|part| !is_given(**part)).map(|part| part.as_str())
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            api: self.api.as_deref().unwrap_or_default(),
            app: self.app.as_deref(),
            plan: self.plan.as_deref(),
            user: self.user.as_deref(),
            client: self.client.unwrap_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into()),
            head: None,
        }
    }

    /// The subject as it stands in the store.
    fn text(&self, by: &By) -> Arc<str> {
        let By::Parts(parts) = by else {
            let key = self.key.as_deref().unwrap_or_default();
            return subject::bounded(format!("expression={}", subject::escaped(key)));
        };
        let subject = self.subject();
        let values = parts.iter().map(|part| match part {
            Part::Api => (*part, Cow::Borrowed(subject.api)),
            Part::App => (*part, Cow::Borrowed(subject.app.unwrap_or_default())),
            Part::User => (*part, Cow::Borrowed(subject.user.unwrap_or_default())),
            Part::Client => (*part, Cow::Owned(subject::client(subject.client))),
        });
        subject::bounded(subject::written(values))
    }
}
