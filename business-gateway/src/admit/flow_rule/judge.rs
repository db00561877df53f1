//! The rules of an API, at work: which there are, in which order, and what becomes of a call.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_shared::config::{ConfigErrors, Positions, nearest};
use gatehouse_shared::hop::VerifiedHop;
use gatehouse_shared::telemetry::access_log::Line;
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::Bounds;
use super::effect::{Charge, Denial, Effects, Tag};
use super::expression::Stage;
use super::input::{AnswerInput, AppInput, Counters, Field, Input};
use super::rule::{Config, Mode, OnError, Outcome, Rule, RuleError, Surroundings};
use super::script::Interpreter;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::store::catalog::At;

/// All rules of a catalog, in the order written.
#[derive(Debug, Default)]
pub struct FlowRules {
    rules: Vec<Arc<Rule>>,
}

impl FlowRules {
    /// Compiles the rules of a catalog; their counts are carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        configs: &[Config],
        positions: &Positions,
        bounds: &Bounds,
        apis: &[&str],
        limits: BTreeSet<String>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut rules: Vec<Arc<Rule>> = Vec::with_capacity(configs.len());
        let interpreter = Interpreter::new(bounds);
        let surroundings = Surroundings { bounds, interpreter: &interpreter, apis, limits: &Arc::new(limits) };
        for (index, config) in configs.iter().enumerate() {
            let at = At { positions, path: format!("flow_rule[{index}]") };
            if configs.iter().take(index).any(|other| other.name == config.name) {
                errors.push(at.error(
                    "name",
                    format!("a second flow rule {:?}", config.name),
                    "give each its own name",
                ));
            }
            let before = before.and_then(|before| before.find(&config.name));
            let compiled = Rule::compile(config, &at, &surroundings, before.map(Arc::as_ref));
            rules.extend(errors.collect(compiled).map(Arc::new));
        }
        errors.into_result(Self { rules })
    }

    /// The rule of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }

    /// Every rule, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// The rules of an API that names some of them.
    ///
    /// # Errors
    /// Names that no rule has.
    pub fn of_api(
        &self,
        api: &str,
        named: &[String],
        at: &At<'_>,
        written: &[Config],
    ) -> Result<ApiRules, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        for (index, name) in named.iter().enumerate() {
            // One that is written but wrong has its own errors.
            if written.iter().any(|rule| rule.name == *name) {
                continue;
            }
            let remedy = match nearest(name, written.iter().map(|rule| rule.name.as_str())) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("add [[flow_rule]] with name = {name:?}"),
            };
            errors.push(at.error(&format!("flow_rules[{index}]"), format!("no flow rule {name:?}"), remedy));
        }
        let is_for_it = |rule: &&Arc<Rule>| {
            named.iter().any(|name| *name == *rule.name) || rule.apis.iter().any(|pattern| pattern.matches(api))
        };
        let at_stage =
            |stage| self.rules.iter().filter(is_for_it).filter(|rule| rule.stage == stage).cloned().collect();
        errors.into_result(ApiRules::new(at_stage(Stage::Request), at_stage(Stage::Response)))
    }
}

/// The rules of one API, in order.
#[derive(Debug, Default)]
pub struct ApiRules {
    request: Vec<Arc<Rule>>,
    response: Vec<Arc<Rule>>,
    keeps_headers: bool,
    keeps_query: bool,
}

impl ApiRules {
    fn new(request: Vec<Arc<Rule>>, response: Vec<Arc<Rule>>) -> Self {
        let looks_at = |fields: &[Field]| response.iter().any(|rule| fields.iter().any(|field| rule.looks_at(*field)));
        let keeps_headers = looks_at(&[Field::Headers]);
        let keeps_query = looks_at(&[Field::Query, Field::QueryAll]);
        Self { keeps_headers, keeps_query, request, response }
    }

    /// What rules on the answer may look at of the request, which is gone by then; `None` without such rules.
    #[must_use]
    pub fn keep(&self, parts: &Parts) -> Option<Kept> {
        if self.response.is_empty() {
            return None;
        }
        Some(Kept {
            method: parts.method.clone(),
            headers: if self.keeps_headers { parts.headers.clone() } else { HeaderMap::new() },
            query: if self.keeps_query { parts.uri.query().unwrap_or_default().into() } else { "".into() },
        })
    }
}

/// What is kept of a request for rules on its answer.
#[derive(Debug)]
pub struct Kept {
    method: Method,
    headers: HeaderMap,
    query: Box<str>,
}

/// What rules may look at beside the request itself.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls.
    pub app: AppInput<'a>,
    /// The user; empty for none.
    pub user: &'a str,
    /// What the credentials allow.
    pub scopes: &'a [Arc<str>],
    /// The client's address.
    pub client: std::net::IpAddr,
    /// The API's name.
    pub api: &'a str,
    /// The API's importance.
    pub level: &'a str,
    /// The authority that the client named.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// When the call arrived, in Unix milliseconds.
    pub unix_ms: u64,
    /// What is used of limits.
    pub counters: Option<&'a (dyn Counters + 'a)>,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Facts").field("app", &self.app.key).field("api", &self.api).finish_non_exhaustive()
    }
}

impl<'a> Facts<'a> {
    /// The facts of a call.
    #[must_use]
    pub fn of(api: &'a Api, caller: &'a Caller, hop: &'a VerifiedHop, host: &'a str, unix_ms: u64) -> Self {
        let app = caller.app.as_deref().map_or_else(AppInput::default, |app| AppInput {
            key: &app.key,
            name: &app.name,
            owner: app.owner.as_deref().unwrap_or_default(),
            plan: app.plan.as_deref().unwrap_or_default(),
            class: app.class.as_deref().unwrap_or_default(),
            field_level: app.field_level,
        });
        Self {
            app,
            user: caller.user.as_deref().unwrap_or_default(),
            scopes: caller.scopes.as_deref().unwrap_or_default(),
            client: hop.client.ip(),
            api: &api.name,
            level: &api.level,
            host,
            path: &hop.path,
            unix_ms,
            counters: None,
        }
    }

    /// The same, with what is used of limits.
    #[must_use]
    pub fn with_counters(self, counters: &'a (dyn Counters + 'a)) -> Self {
        Self { counters: Some(counters), ..self }
    }

    /// The call as expressions see it.
    #[must_use]
    pub fn input(&self, parts: &'a Parts) -> Input<'a> {
        self.with(&parts.method, &parts.headers, parts.uri.query().unwrap_or_default())
    }

    fn with<'b>(&self, method: &'b Method, headers: &'b HeaderMap, query: &'b str) -> Input<'b>
    where
        'a: 'b,
    {
        Input {
            app: self.app,
            user: self.user,
            scopes: self.scopes,
            client: self.client,
            api: self.api,
            level: self.level,
            method,
            host: self.host,
            path: self.path,
            query,
            headers,
            unix_ms: self.unix_ms,
            counters: self.counters,
            answer: None,
        }
    }
}

/// What is noted of the rules of a call, for the steps that follow and for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// What the quota step charges beside the API's own limits.
    pub charges: Vec<Charge>,
    /// The rule that refused it.
    pub denied_by: Option<Arc<str>>,
    /// Rules that would have done something, were they enforced.
    pub observed: Vec<Arc<str>>,
    /// Rules that failed or were cut.
    pub failed: Vec<Arc<str>>,
    /// Tags, the last of a name counts.
    pub tags: Vec<Tag>,
}

/// A call that a rule refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by the flow rule {rule:?}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct Refused {
    /// The rule.
    pub rule: Arc<str>,
    /// In its words; `None` when the rule failed and says to refuse then.
    pub denial: Option<Denial>,
    /// Why the rule failed.
    pub cause: Option<String>,
}

impl Notes {
    /// Writes down what there is.
    pub fn write(&self, line: &mut Line) {
        line.optional_utf8("flow_rule", self.denied_by.as_deref());
        for (key, rules) in [("flow_observed", &self.observed), ("flow_failed", &self.failed)] {
            if !rules.is_empty() {
                line.texts(key, rules);
            }
        }
        if !self.charges.is_empty() {
            line.texts("flow_charged", self.charges.iter().map(|charge| format!("{}:{}", charge.limit, charge.cost)));
        }
        if !self.tags.is_empty() {
            line.texts("tags", self.tags.iter().map(|tag| format!("{}={}", tag.name, tag.value)));
        }
    }

    /// The value of a tag, set last.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().rev().find(|tag| *tag.name == *name).map(|tag| &*tag.value)
    }
}

/// Judges a request by the rules of its API, and changes it as they say.
///
/// # Errors
/// [`Refused`] by the first rule that refuses it.
pub fn request(rules: &ApiRules, facts: &Facts<'_>, parts: &mut Parts, notes: &mut Notes) -> Result<(), Refused> {
    for rule in &rules.request {
        let outcome = rule.effects(&facts.input(parts));
        let Some(effects) = settle(rule, outcome, notes)? else { continue };
        effects.change_request(parts);
        notes.charges.extend(effects.charges);
        notes.tags.extend(effects.tags);
    }
    Ok(())
}

/// Judges an answer by the rules of its API, and changes it as they say.
pub fn answer<B>(rules: &ApiRules, facts: &Facts<'_>, kept: &Kept, answer: &mut Response<B>, notes: &mut Notes) {
    for rule in &rules.response {
        let mut input = facts.with(&kept.method, &kept.headers, &kept.query);
        input.answer = Some(AnswerInput { status: answer.status().as_u16(), headers: answer.headers() });
        // Nothing refuses an answer; a rule that failed changes nothing.
        let Ok(Some(effects)) = settle(rule, rule.effects(&input), notes) else { continue };
        let mut status = answer.status();
        effects.change_answer(&mut status, answer.headers_mut());
        *answer.status_mut() = status;
        notes.tags.extend(effects.tags);
    }
}

/// Counts and notes what a rule said; gives what is to be done.
fn settle(rule: &Rule, outcome: Result<Effects, RuleError>, notes: &mut Notes) -> Result<Option<Effects>, Refused> {
    let effects = match outcome {
        Ok(effects) => effects,
        Err(error) => {
            let is_cut = matches!(error, RuleError::Cut(_));
            rule.counters.add(if is_cut { Outcome::Cut } else { Outcome::Failed });
            notes.failed.push(Arc::clone(&rule.name));
            tracing::debug!(rule = &*rule.name, %error, "a flow rule failed");
            if rule.on_error == OnError::Deny && rule.mode == Mode::Enforce && rule.stage == Stage::Request {
                notes.denied_by = Some(Arc::clone(&rule.name));
                return Err(Refused { rule: Arc::clone(&rule.name), denial: None, cause: Some(error.to_string()) });
            }
            return Ok(None);
        }
    };
    if effects.is_empty() {
        rule.counters.add(Outcome::Pass);
        return Ok(None);
    }
    if rule.mode == Mode::Observe {
        rule.counters.add(Outcome::Observed);
        notes.observed.push(Arc::clone(&rule.name));
        return Ok(None);
    }
    if let Some(denial) = effects.denial {
        rule.counters.add(Outcome::Deny);
        notes.denied_by = Some(Arc::clone(&rule.name));
        return Err(Refused { rule: Arc::clone(&rule.name), denial: Some(denial), cause: None });
    }
    rule.counters.add(if effects.charges.is_empty() { Outcome::Change } else { Outcome::Charge });
    Ok(Some(effects))
}

#[cfg(test)]
mod tests;
