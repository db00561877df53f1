//! From an OpenAPI 3 document to objects of the catalog: the document itself as a `[[schema]]`, an `[[api]]` for each operation,
//! and where that is asked for a `[[service]]` from its `servers`.
//!
//! Importing the same document again changes nothing; importing a newer one changes what the document says and keeps what
//! operators have added: limits, levels, flow rules, the mode of `validate`. What cannot be said in the catalog is a warning
//! with its place, and never silently weaker than the document: security that is not understood leaves the API to
//! applications.

mod security;

use gatehouse_shared::config::ConfigErrors;
use serde_json::{Map, Value, json};

use super::catalog::is_name;
use super::catalog::objects::{Object, Objects, name_of};
use crate::admit::path::PathTemplate;
use crate::admit::validation::config::Bounds;
use crate::admit::validation::document::{Documents, Reference, understand};
use crate::admit::validation::operation::{Operation, Spot, operations};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The name of the document; the names of APIs begin with it.
    pub name: String,
    /// The service that answers.
    pub service: Option<String>,
    /// What stands before every path; otherwise the path of the first server.
    pub prefix: Option<String>,
    /// Whether the service is made from `servers` where there is none of its name.
    pub service_from_servers: bool,
}

/// What an import comes to.
#[derive(Debug)]
pub struct Imported {
    /// The catalog after it.
    pub objects: Objects,
    /// What could not be said, with its place in the document.
    pub warnings: Vec<Warning>,
}

/// Something that the catalog does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The JSON pointer in the document.
    pub place: String,
    /// What it is.
    pub message: String,
}

/// Why nothing is imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The name of the document is no name.
    #[error("{0:?} is not a name: use up to 64 letters, digits, \".\", \"_\" and \"-\"")]
    Name(String),
    /// It cannot be read.
    #[error("{0}")]
    Document(String),
    /// It is no OpenAPI document of a version that is understood.
    #[error("this is no OpenAPI document of version 3.0 or 3.1")]
    Version,
    /// It is in pieces.
    #[error("it refers to {0:?}: bundle the document into one file first")]
    Pieces(String),
    /// The catalog after it would be no catalog.
    #[error("{0}")]
    Catalog(ConfigErrors),
}

/// Imports a document into a catalog.
///
/// # Errors
/// When it is no OpenAPI document.
pub fn import(text: &str, wishes: &Wishes, before: &Objects, bounds: Bounds) -> Result<Imported, ImportError> {
    if !is_name(&wishes.name) {
        return Err(ImportError::Name(wishes.name.clone()));
    }
    let document = understand(text, &bounds).map_err(ImportError::Document)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err(ImportError::Version);
    }
    if let Some(piece) = piece(&document) {
        return Err(ImportError::Pieces(piece));
    }
    let mut documents = Documents::new(bounds);
    documents.insert(&wishes.name, document);
    let mut import = Import { documents: &documents, wishes, objects: before.clone(), warnings: Vec::new() };
    let schema = Map::from_iter([
        ("name".to_owned(), wishes.name.as_str().into()),
        ("text".to_owned(), text.replace("\r\n", "\n").into()),
    ]);
    import.objects.put("schema", schema);
    let prefix = import.prefix();
    let names = import.add_apis(&prefix);
    import.warn_of_what_is_gone(&names);
    Ok(Imported { objects: import.objects, warnings: import.warnings })
}

/// A reference that leads out of the document.
fn piece(document: &Value) -> Option<String> {
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                let reference = members.get("$ref").and_then(Value::as_str).map(Reference::parse);
                if let Some(reference) = reference.filter(|reference| !reference.document.is_empty()) {
                    return Some(reference.document);
                }
                waiting.extend(members.values());
            }
            _ => {}
        }
    }
    None
}

struct Import<'d> {
    documents: &'d Documents,
    wishes: &'d Wishes,
    objects: Objects,
    warnings: Vec<Warning>,
}

impl Import<'_> {
    fn warn(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Warning { place: place.into(), message: message.into() });
    }

    fn document(&self) -> &Value {
        self.documents.get(&self.wishes.name).unwrap_or(&Value::Null)
    }

    /// What stands before every path, and the service, where it is asked for.
    fn prefix(&mut self) -> String {
        let servers = self.document().get("servers").and_then(Value::as_array).cloned().unwrap_or_default();
        if servers.len() > 1 {
            self.warn("/servers/1", "only the first server counts");
        }
        let url = servers.first().map(server_url).unwrap_or_default();
        let uri = url.parse::<http::Uri>().ok();
        if self.wishes.service_from_servers {
            self.add_service(uri.as_ref());
        }
        if let Some(prefix) = &self.wishes.prefix {
            return prefix.trim_end_matches('/').to_owned();
        }
        let path = uri.as_ref().map_or("", http::Uri::path).trim_end_matches('/').to_owned();
        if path.is_empty() || path.starts_with('/') { path } else { String::new() }
    }

    fn add_service(&mut self, uri: Option<&http::Uri>) {
        let name = self.service_name();
        if self.objects.get("service", &name).is_some() {
            return;
        }
        let Some(uri) = uri.filter(|uri| uri.host().is_some()) else {
            self.warn("/servers", "no server with a host, so no [[service]] is made");
            return;
        };
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let address = format!("{}:{port}", uri.host().unwrap_or_default());
        if is_tls {
            self.warn(
                "/servers/0/url",
                "services are called without TLS inside: check the endpoint of the [[service]]",
            );
        }
        if address.parse::<std::net::SocketAddr>().is_err() {
            self.warn("/servers/0/url", "the host is a name: write the addresses of the [[service]] yourself");
            return;
        }
        let service = Map::from_iter([("name".to_owned(), name.into()), ("endpoints".to_owned(), json!([address]))]);
        self.objects.put("service", service);
    }

    fn service_name(&self) -> String {
        self.wishes.service.clone().unwrap_or_else(|| self.wishes.name.clone())
    }

    /// Adds every operation; the names of the APIs.
    fn add_apis(&mut self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for operation in operations(self.documents, &self.wishes.name) {
            let place = operation.spot.pointer.clone();
            let name = api_name(&self.wishes.name, &operation);
            if names.contains(&name) {
                self.warn(place, format!("a second operation with the name {name:?} is left out"));
                continue;
            }
            let path = match path(prefix, operation.path) {
                Ok(path) => path,
                Err(message) => {
                    self.warn(place, format!("the path {:?} is left out: {message}", operation.path));
                    continue;
                }
            };
            let before = self.objects.get("api", &name).cloned();
            let api = self.api(&operation, &name, &path, before);
            self.objects.put("api", api);
            for (place, message) in operation.declared(self.documents).left_out {
                let place = place.split_once('#').map_or(place.as_str(), |(_, pointer)| pointer).to_owned();
                self.warn(place, message);
            }
            for key in ["callbacks", "servers"] {
                if let Some(spot) = operation.spot.child(key) {
                    self.warn(spot.pointer, format!("{key:?} of an operation are left out"));
                }
            }
            names.push(name);
        }
        if self.document().get("webhooks").is_some() {
            self.warn("/webhooks", "webhooks are left out");
        }
        names
    }

    fn api(&mut self, operation: &Operation<'_>, name: &str, path: &str, before: Option<Object>) -> Object {
        let is_new = before.is_none();
        let mut api = before.unwrap_or_default();
        let mut put = |key: &str, value: Value| {
            api.insert(key.to_owned(), value);
        };
        put("name", name.into());
        put("path", path.into());
        put("methods", json!([operation.method.to_ascii_uppercase()]));
        let fragment = match operation.id() {
            Some(id) if !id.contains(' ') => id.to_owned(),
            _ => format!("{} {}", operation.method.to_ascii_uppercase(), operation.path),
        };
        if is_new || self.wishes.service.is_some() {
            put("service", self.service_name().into());
        }
        let reference = Value::from(format!("{}#{fragment}", self.wishes.name));
        match api.get_mut("validate").and_then(Value::as_object_mut) {
            Some(validate) => {
                validate.insert("openapi".to_owned(), reference);
            }
            None => {
                api.insert("validate".to_owned(), json!({ "openapi": reference }));
            }
        }
        let whole = Spot::whole(self.documents, &self.wishes.name);
        if let Some(whole) = whole {
            let said = security::of(&whole, &operation.spot, self.documents);
            for (key, value) in [("access", said.access), ("schemes", said.schemes), ("scopes", said.scopes)] {
                match value {
                    Some(value) => {
                        api.insert(key.to_owned(), value);
                    }
                    // What the document said before and says no more.
                    None if said.is_understood => {
                        api.remove(key);
                    }
                    None => {}
                }
            }
            self.warnings.extend(said.warnings);
        }
        api
    }

    fn warn_of_what_is_gone(&mut self, names: &[String]) {
        let begin = format!("{}#", self.wishes.name);
        let is_gone = |api: &&Object| {
            let reference = api.get("validate").and_then(|validate| validate.get("openapi")).and_then(Value::as_str);
            let name = name_of("api", api);
            reference.is_some_and(|reference| reference.starts_with(&begin)) && !names.iter().any(|known| known == name)
        };
        let gone: Vec<String> =
            self.objects.of("api").iter().filter(is_gone).map(|api| name_of("api", api).to_owned()).collect();
        for name in gone {
            self.warn("/paths", format!("the API {name:?} is in the catalog and not in the document any more: delete it, or keep it without \"openapi\""));
        }
    }
}

/// The address of a server, with the defaults of its variables.
fn server_url(server: &Value) -> String {
    let mut url = server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    url
}

/// `document.operation`, of what a name may have.
fn api_name(document: &str, operation: &Operation<'_>) -> String {
    let id = operation.id().map_or_else(|| format!("{}{}", operation.method, operation.path), str::to_owned);
    let mut name = String::new();
    for character in id.chars() {
        match character {
            plain if plain.is_ascii_alphanumeric() || "._-".contains(plain) => name.push(plain),
            '{' | '}' => {}
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = format!("{document}.{}", name.trim_matches('-'));
    name.chars().take(64).collect()
}

/// The path of an API; parameters get names that a path may have.
fn path(prefix: &str, path: &str) -> Result<String, String> {
    let mut out = prefix.to_owned();
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        out.push('/');
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let Some(inner) = inner.filter(|inner| !inner.contains(['{', '}'])) else {
            out.push_str(segment);
            continue;
        };
        let plain: String =
            inner.chars().map(|one| if one.is_ascii_alphanumeric() || one == '_' { one } else { '_' }).collect();
        let begins_well = plain.starts_with(|one: char| one.is_ascii_alphabetic());
        out.push_str(&if begins_well { format!("{{{plain}}}") } else { format!("{{p_{plain}}}") });
    }
    PathTemplate::parse(&out).map(|_| out).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
