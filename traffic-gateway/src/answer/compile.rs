//! From `[answer]` as written to what is answered.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use gatehouse_shared::{
    config::{ConfigError, ConfigErrors, Positions, Sources, nearest},
    problem::{self, Reason},
};

use super::{
    answers::{Answer, Members},
    config::{Config, OverrideConfig},
    redirect::Redirect,
    template::{Language, Template, TemplateError},
};
use crate::admit::Action;

/// The page where no other is configured.
const PAGE: &str = include_str!("page.html");

/// Largest page, in bytes: every refused browser is sent one.
const PAGE_MAX: usize = 256 * 1024;

/// One `[[answer.override]]`, compiled.
pub(super) struct Change {
    codes: Vec<&'static str>,
    statuses: Vec<u16>,
    /// First digits.
    classes: Vec<u16>,
    action: Option<Action>,
    page: Option<Arc<Template>>,
    members: Option<Members>,
    redirect: Option<Arc<Redirect>>,
}

impl Change {
    /// How exactly it names a reason; `None` where it does not.
    pub(super) fn precision(&self, reason: &Reason) -> Option<u8> {
        if self.codes.contains(&reason.code) {
            return Some(3);
        }
        if self.statuses.contains(&reason.status) {
            return Some(2);
        }
        self.classes.contains(&(reason.status / 100)).then_some(1)
    }

    pub(super) fn apply(&self, answer: &mut Answer) {
        if let Some(action) = self.action {
            answer.action = action;
        }
        if let Some(page) = &self.page {
            answer.page = Arc::clone(page);
        }
        if let Some(members) = &self.members {
            answer.members = Arc::clone(members);
        }
        if let Some(redirect) = &self.redirect {
            answer.redirect = Some(Arc::clone(redirect));
        }
    }
}

/// What is answered where no override says otherwise.
pub(super) fn usual(config: &Config, sources: &mut Sources, positions: &Positions) -> Result<Answer, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let page = match &config.page {
        Some(file) => errors.collect(page(file, sources, positions, "answer.page")),
        None => {
            errors.collect(template(PAGE, Language::Html).map_err(|error| in_file("the built-in page", PAGE, &error)))
        }
    };
    let members = errors.collect(members(&config.json, positions, "answer.json"));
    let redirect = config.redirect.as_ref().map(|redirect| Redirect::compile(redirect, positions, "answer.redirect"));
    let redirect = redirect.and_then(|redirect| errors.collect(redirect)).map(Arc::new);
    let (Some(page), Some(members)) = (page, members) else { return Err(errors) };
    errors.into_result(Answer { action: Action::Page, page, members, redirect })
}

/// Every override, in the order of the configuration.
pub(super) fn overrides(
    config: &Config,
    sources: &mut Sources,
    positions: &Positions,
) -> Result<Vec<Change>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut named = HashMap::new();
    let mut changes = Vec::new();
    for (index, one) in config.overrides.iter().enumerate() {
        let path = format!("answer.override[{index}]");
        for (field, names) in [("codes", &one.codes), ("statuses", &one.statuses)] {
            for (place, name) in names.iter().enumerate() {
                if let Some(before) = named.insert(name.as_str(), index) {
                    let message = format!("\"{name}\" is named by [[answer.override]] number {} already", before + 1);
                    errors.push(positions.error(&format!("{path}.{field}[{place}]"), message, None));
                }
            }
        }
        let goes_nowhere = one.redirect.is_none() && config.redirect.is_none();
        if one.action == Some(Action::Redirect) && goes_nowhere {
            let remedy = Some("set location in [answer.redirect]".to_owned());
            errors.push(positions.error(&format!("{path}.action"), "the redirect leads nowhere", remedy));
        }
        changes.extend(errors.collect(change(one, sources, positions, &path)));
    }
    errors.into_result(changes)
}

fn change(
    config: &OverrideConfig,
    sources: &mut Sources,
    positions: &Positions,
    path: &str,
) -> Result<Change, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.codes.is_empty() && config.statuses.is_empty() {
        let remedy = Some("set codes or statuses".to_owned());
        errors.push(positions.error(path, "an override must name the reasons it is for", remedy));
    }
    let mut change = Change {
        codes: Vec::new(),
        statuses: Vec::new(),
        classes: Vec::new(),
        action: config.action,
        page: None,
        members: None,
        redirect: None,
    };
    name_codes(&mut change, &config.codes, positions, path, &mut errors);
    name_statuses(&mut change, &config.statuses, positions, path, &mut errors);
    change.page =
        config.page.as_ref().and_then(|file| errors.collect(page(file, sources, positions, &format!("{path}.page"))));
    change.members =
        config.json.as_ref().and_then(|json| errors.collect(members(json, positions, &format!("{path}.json"))));
    change.redirect = config
        .redirect
        .as_ref()
        .and_then(|redirect| errors.collect(Redirect::compile(redirect, positions, &format!("{path}.redirect"))))
        .map(Arc::new);
    errors.into_result(change)
}

fn name_codes(change: &mut Change, codes: &[String], positions: &Positions, path: &str, errors: &mut ConfigErrors) {
    for (place, code) in codes.iter().enumerate() {
        if let Some(reason) = problem::by_code(code) {
            change.codes.push(reason.code);
            continue;
        }
        let near = nearest(code, problem::all().map(|reason| reason.code));
        let remedy = near.map_or("docs/ERRORS.md lists them".to_owned(), |near| format!("did you mean \"{near}\"?"));
        let at = format!("{path}.codes[{place}]");
        errors.push(positions.error(&at, format!("there is no code \"{code}\""), Some(remedy)));
    }
}

fn name_statuses(
    change: &mut Change,
    statuses: &[String],
    positions: &Positions,
    path: &str,
    errors: &mut ConfigErrors,
) {
    let is_known = |status: &u16| problem::all().any(|reason| reason.status == *status);
    for (place, text) in statuses.iter().enumerate() {
        match (text.as_str(), text.parse::<u16>().ok().filter(is_known)) {
            ("4xx", _) => change.classes.push(4),
            ("5xx", _) => change.classes.push(5),
            (_, Some(status)) => change.statuses.push(status),
            (_, None) => {
                let remedy = Some("write \"4xx\", \"5xx\" or a status of docs/ERRORS.md".to_owned());
                let message = format!("no reason has the status \"{text}\"");
                errors.push(positions.error(&format!("{path}.statuses[{place}]"), message, remedy));
            }
        }
    }
}

/// Reads and judges a page; findings in it have their own line and column.
fn page(file: &Path, sources: &mut Sources, positions: &Positions, path: &str) -> Result<Arc<Template>, ConfigErrors> {
    let text = sources.read(file).map_err(|errors| named_by(&errors, path))?.text;
    if text.trim().is_empty() || text.len() > PAGE_MAX {
        let message = format!("the page \"{}\" must have 1 byte to {} KiB", file.display(), PAGE_MAX / 1024);
        return Err(positions.error(path, message, None).into());
    }
    template(&text, Language::Html).map_err(|errors| in_file(&file.display().to_string(), &text, &errors))
}

/// The same findings with the key that led to the file.
fn named_by(errors: &ConfigErrors, path: &str) -> ConfigErrors {
    let mut named = ConfigErrors::new();
    for error in errors.sorted() {
        let remedy = error.remedy.clone().or_else(|| Some(format!("named by {path}")));
        named.push(ConfigError { remedy, ..error.clone() });
    }
    named
}

fn template(text: &str, language: Language) -> Result<Arc<Template>, Vec<TemplateError>> {
    Template::parse(text, language).map(Arc::new)
}

fn in_file(file: &str, text: &str, errors: &[TemplateError]) -> ConfigErrors {
    let mut found = ConfigErrors::new();
    for error in errors {
        let before = text.get(..error.offset).unwrap_or_default();
        found.push(ConfigError {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            message: error.message.clone(),
            remedy: Some(error.remedy.clone()),
        });
    }
    found
}

/// Further members of problem documents.
fn members(config: &BTreeMap<String, String>, positions: &Positions, path: &str) -> Result<Members, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut members = Vec::new();
    for (name, value) in config {
        let at = format!("{path}.{name}");
        if problem::MEMBERS.contains(&name.as_str()) || name.is_empty() {
            let message = format!("\"{name}\" is a member that every problem document has");
            errors.push(positions.error(&at, message, Some("choose another name".to_owned())));
        }
        match Template::parse(value, Language::Plain) {
            Ok(template) => members.push((name.as_str().into(), template)),
            Err(found) => {
                for TemplateError { message, remedy, .. } in found {
                    errors.push(positions.error(&at, message, Some(remedy)));
                }
            }
        }
    }
    errors.into_result(members.into())
}
