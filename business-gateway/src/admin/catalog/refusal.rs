//! Why a change of the catalog is refused, in the words of the API.

use gatehouse_shared::admin::Answer;
use gatehouse_shared::config::{ConfigError, ConfigErrors};
use gatehouse_shared::problem;
use serde_json::{Value, json};

use crate::store::catalog::objects::Objects;
use crate::store::revision::edit::Refusal;

/// The answer to a change that is not made.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let reason = match refusal {
        Refusal::Invalid { errors, objects } => return invalid_objects(errors, objects),
        Refusal::Kind(_) | Refusal::Missing(..) | Refusal::NoRevisions | Refusal::NoRevision(_) => {
            &problem::ADMIN_OBJECT_MISSING
        }
        Refusal::Name(..) | Refusal::TooLarge(..) => &problem::ADMIN_OBJECT_INVALID,
        Refusal::Credentials(_) => &problem::ADMIN_ROLE_INSUFFICIENT,
        Refusal::ConditionMissing(_) => &problem::ADMIN_REVISION_REQUIRED,
        Refusal::ConditionFailed(_) => &problem::ADMIN_REVISION_CHANGED,
        Refusal::InFiles(_) => &problem::ADMIN_OBJECT_READ_ONLY,
        Refusal::Unaccepted(..) | Refusal::Behind { .. } | Refusal::Busy => &problem::CATALOG_CONFLICT,
        Refusal::Store(_) => &problem::ADMIN_UNAVAILABLE,
        Refusal::Disk(_) => &problem::CHANGE_NOT_KEPT,
    };
    let answer = Answer::problem_about(reason, Some(&refusal.to_string()));
    match refusal {
        Refusal::ConditionMissing(tag) | Refusal::ConditionFailed(Some(tag)) => answer.of_revision(*tag),
        _ => answer,
    }
}

/// The answer to a catalog that is not valid, with everything that is wrong; `objects` is that catalog.
pub(super) fn invalid_objects(errors: &ConfigErrors, objects: &Objects) -> Answer {
    let found = errors.sorted();
    let answer = Answer::problem_about(&problem::ADMIN_OBJECT_INVALID, Some(&errors.to_string()));
    let Ok(Value::Object(mut document)) = serde_json::from_slice(&answer.body) else { return answer };
    let errors: Vec<Value> = found.into_iter().map(|error| shown(error, objects)).collect();
    document.insert("errors".to_owned(), errors.into());
    Answer { body: format!("{:#}\n", Value::Object(document)).into_bytes(), ..answer }
}

fn shown(error: &ConfigError, objects: &Objects) -> Value {
    let position = match error.line {
        0 => error.file.clone(),
        line => format!("{}:{line}:{}", error.file, error.column),
    };
    let mut shown = json!({ "position": position, "message": error.message });
    let mut add = |key: &str, text: &str| {
        if let Some(fields) = shown.as_object_mut() {
            fields.insert(key.to_owned(), text.into());
        }
    };
    if let Some((kind, name, field)) = objects.at(&error.file).filter(|_| error.line == 0) {
        add("kind", kind);
        add("name", name);
        add("field", field);
    }
    if let Some(remedy) = &error.remedy {
        add("remedy", remedy);
    }
    shown
}
