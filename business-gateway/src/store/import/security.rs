//! What a document says of credentials, in the words of the catalog.

use serde_json::{Map, Value, json};

use super::Warning;
use crate::admit::app::presented::API_KEY;
use crate::admit::validation::document::Documents;
use crate::admit::validation::operation::Spot;

/// What is to be written; `None` where the default is meant.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) access: Option<Value>,
    pub(super) schemes: Option<Value>,
    pub(super) scopes: Option<Value>,
    /// Whether the document says it all, so that what it does not say is not meant.
    pub(super) is_understood: bool,
    pub(super) warnings: Vec<Warning>,
}

impl Said {
    fn warn(&mut self, place: &str, message: impl Into<String>) {
        self.warnings.push(Warning { place: place.to_owned(), message: message.into() });
    }
}

/// Who acts, by a scheme of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acts {
    App,
    User,
}

/// What is said of an operation; `whole` is the document.
pub(super) fn of(whole: &Spot<'_>, operation: &Spot<'_>, documents: &Documents) -> Said {
    let mut said = Said::default();
    let Some(spot) = operation.child("security").or_else(|| whole.child("security")) else {
        let message =
            "nothing is said of security: the API is for applications; for everybody, write access = \"open\"";
        said.warn(&operation.pointer, message);
        return said;
    };
    let alternatives = spot.value.as_array().map_or(&[][..], Vec::as_slice);
    let is_open = alternatives.iter().any(|one| one.as_object().is_none_or(Map::is_empty));
    if alternatives.is_empty() || is_open {
        said.access = Some("open".into());
        said.is_understood = true;
        if !alternatives.is_empty() {
            said.warn(&spot.pointer, "credentials may be left out: the API is open, and its scopes are not asked for");
        }
        return said;
    }
    let (mut schemes, mut scopes, mut who): (Vec<&str>, Vec<&str>, Vec<Acts>) = Default::default();
    let mut is_understood = true;
    for alternative in alternatives.iter().filter_map(Value::as_object) {
        if alternative.len() > 1 {
            said.warn(&spot.pointer, "several schemes at once cannot be asked for: all schemes are taken");
            is_understood = false;
            continue;
        }
        for (name, wanted) in alternative {
            let declared = whole.child("components").and_then(|all| all.child("securitySchemes"));
            let scheme = declared.and_then(|all| all.child(name)).and_then(|spot| spot.followed(documents));
            let Some((scheme, acts)) = scheme.as_ref().and_then(|scheme| mapped(scheme, &mut said)) else {
                said.warn(&spot.pointer, format!("the scheme {name:?} is not known here: all schemes are taken"));
                is_understood = false;
                continue;
            };
            let wanted: Vec<&str> = wanted.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !who.is_empty() && wanted.iter().any(|scope| !scopes.contains(scope)) {
                said.warn(&spot.pointer, "alternatives ask for different scopes: all of them are asked for");
            }
            scopes.extend(wanted.into_iter().filter(|scope| !scopes.contains(scope)).collect::<Vec<_>>());
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
            who.push(acts);
        }
    }
    if who.contains(&Acts::User) && who.contains(&Acts::App) {
        said.warn(&spot.pointer, "some schemes act for a user and some do not: the API is for applications");
    }
    let is_for_users = is_understood && !who.is_empty() && who.iter().all(|acts| *acts == Acts::User);
    said.access = Some(if is_for_users { "user" } else { "app" }.into());
    said.scopes = (!scopes.is_empty()).then(|| json!(scopes));
    said.schemes = (is_understood && !schemes.is_empty()).then(|| json!(schemes));
    said.is_understood = is_understood;
    said
}

/// The scheme of this gate, and who acts.
fn mapped(spot: &Spot<'_>, said: &mut Said) -> Option<(&'static str, Acts)> {
    let text = |key: &str| spot.value.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    match (&*text("type"), &*text("scheme")) {
        ("apikey", _) => {
            if text("in") != "header" || text("name") != API_KEY.as_str() {
                let message = format!("keys are taken from the header {API_KEY:?}, not as the document says");
                said.warn(&spot.pointer, message);
            }
            Some(("api-key", Acts::App))
        }
        ("http", "basic") => Some(("basic", Acts::App)),
        ("http", "bearer") => Some(("jwt", Acts::App)),
        ("http", "signature") => Some(("signature", Acts::App)),
        ("mutualtls", _) => Some(("mtls", Acts::App)),
        ("openidconnect", _) => Some(("jwt", Acts::User)),
        ("oauth2", _) => {
            let flows = spot.value.get("flows").and_then(Value::as_object);
            let is_of_app = flows.is_some_and(|flows| flows.contains_key("clientCredentials"));
            Some(("jwt", if is_of_app { Acts::App } else { Acts::User }))
        }
        _ => None,
    }
}
