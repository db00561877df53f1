//! `[answer]`, compiled: for every reason what is answered, decided when the configuration is loaded.

use std::{collections::HashMap, sync::Arc};

use gatehouse_shared::{
    config::{ConfigErrors, Positions, Sources},
    problem::{self, Reason},
};

use super::{
    compile,
    config::Config,
    negotiate::Media,
    redirect::Redirect,
    template::{Facts, Template},
};
use crate::admit::Action;

/// What is answered, by reason.
#[derive(Debug)]
pub struct Answers {
    usual: Arc<Answer>,
    by_code: HashMap<&'static str, Arc<Answer>>,
}

/// Further members of problem documents, by name.
pub(super) type Members = Arc<[(Box<str>, Template)]>;

/// What is answered for some reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) action: Action,
    pub(super) page: Arc<Template>,
    pub(super) members: Members,
    pub(super) redirect: Option<Arc<Redirect>>,
}

/// An answer ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// A page or document.
    Page {
        /// Its media type.
        content_type: &'static str,
        /// What it says.
        body: Vec<u8>,
    },
    /// A redirect.
    Redirect {
        /// 302, 303 or 307.
        status: u16,
        /// Where to.
        location: String,
    },
    /// Nothing at all.
    Nothing,
}

impl Written {
    /// What it is called in the log.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Page { .. } => Action::Page,
            Self::Redirect { .. } => Action::Redirect,
            Self::Nothing => Action::Drop,
        }
    }

    /// The status that is sent for `reason`; 0 for none.
    #[must_use]
    pub fn status(&self, reason: &Reason) -> u16 {
        match self {
            Self::Page { .. } => reason.status,
            Self::Redirect { status, .. } => *status,
            Self::Nothing => 0,
        }
    }
}

impl Answers {
    /// Compiles `[answer]`.
    ///
    /// # Errors
    ///
    /// Every file that cannot be read or is no template, every code and status that is unknown or named twice, every redirect
    /// that leads nowhere.
    pub fn compile(config: &Config, sources: &mut Sources, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let usual = errors.collect(compile::usual(config, sources, positions));
        let overrides = errors.collect(compile::overrides(config, sources, positions));
        let (Some(usual), Some(overrides)) = (usual, overrides) else { return Err(errors) };
        let mut by_code = HashMap::new();
        for reason in problem::all() {
            let mut answer = usual.clone();
            let mut of_reason: Vec<_> =
                overrides.iter().filter_map(|change| Some((change.precision(reason)?, change))).collect();
            of_reason.sort_by_key(|(precision, _)| *precision);
            for (_, change) in of_reason {
                change.apply(&mut answer);
            }
            if answer != usual {
                by_code.insert(reason.code, Arc::new(answer));
            }
        }
        errors.into_result(Self { usual: Arc::new(usual), by_code })
    }

    /// The action for a reason: what the rule says goes first. A redirect that leads nowhere, or to the `path` that was
    /// refused, is a page.
    #[must_use]
    pub fn action(&self, reason: &Reason, of_rule: Option<Action>, path: Option<&str>) -> Action {
        let answer = self.of(reason);
        let action = of_rule.unwrap_or(answer.action);
        let leads_on =
            answer.redirect.as_ref().is_some_and(|redirect| path.is_none_or(|path| !redirect.leads_to(path)));
        if action == Action::Redirect && !leads_on { Action::Page } else { action }
    }

    /// Whether a redirect is configured for this reason, so that a rule may ask for one.
    #[must_use]
    pub fn can_redirect(&self, reason: &Reason) -> bool {
        self.of(reason).redirect.is_some()
    }

    /// Puts an answer together.
    #[must_use]
    pub fn write(&self, action: Action, media: Media, facts: &Facts<'_>) -> Written {
        let answer = self.of(facts.reason);
        match (action, &answer.redirect) {
            (Action::Drop, _) => Written::Nothing,
            (Action::Redirect, Some(redirect)) => {
                Written::Redirect { status: redirect.status, location: redirect.location(facts.request_id) }
            }
            (Action::Page | Action::Redirect, _) => answer.page(media, facts),
        }
    }

    fn of(&self, reason: &Reason) -> &Answer {
        self.by_code.get(reason.code).unwrap_or(&self.usual)
    }
}

impl Answer {
    fn page(&self, media: Media, facts: &Facts<'_>) -> Written {
        match media {
            Media::Html => {
                Written::Page { content_type: "text/html; charset=utf-8", body: self.page.render(facts).into_bytes() }
            }
            Media::Json => {
                let members = self.members.iter().map(|(name, value)| (name, value.render(facts)));
                Written::Page {
                    content_type: problem::CONTENT_TYPE,
                    body: problem::json_with(facts.reason, facts.status, facts.request_id, facts.detail, members),
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
