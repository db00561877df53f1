//! What the admin listener offers, in one table, from which `GET /openapi.json` is made (OpenAPI 3.1).
//!
//! Each resource describes its paths beside the code that serves them, and is listed in [`DESCRIBED`]; a test holds the two
//! together.

use std::collections::BTreeMap;

use gatehouse_shared::admin::{Answer, Role};
use http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Call, Resource, Served};
use super::{apps, cache, catalog, groups, quota, registry, routes, splits};
use crate::store::catalog::CatalogConfig;
use crate::store::catalog::objects::kinds;

/// A path and what it takes.
#[derive(Debug)]
pub struct Path {
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Its methods, as in `Allow`.
    pub allow: &'static str,
    /// What they do; `GET` speaks for `HEAD`, too.
    pub operations: &'static [Operation],
}

/// What one method of a path does.
#[derive(Debug)]
pub struct Operation {
    /// `GET`, `PUT`, `PATCH`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The role it needs; none where anybody may ask.
    pub role: Option<Role>,
    /// What it does.
    pub summary: &'static str,
    /// Parameters of the query: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// What `If-Match` is for, where it is looked at.
    pub if_match: Option<&'static str>,
    /// What is sent.
    pub body: Content,
    /// What is answered with status 200.
    pub answer: Content,
    /// Further answers: status and when.
    pub others: &'static [(u16, &'static str)],
}

/// What a body is.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// There is none.
    None,
    /// Plain text, or that of Prometheus.
    Text,
    /// A JSON object; its meaning.
    Json(&'static str),
    /// An object of the catalog.
    CatalogObject,
    /// The whole catalog.
    Catalog,
}

impl Operation {
    /// `GET` of JSON with the role `read`.
    #[must_use]
    pub const fn get(summary: &'static str, answer: &'static str) -> Self {
        Self {
            method: "GET",
            role: Some(Role::Read),
            summary,
            query: &[],
            if_match: None,
            body: Content::None,
            answer: Content::Json(answer),
            others: &[],
        }
    }

    /// Another method with JSON and the role `operate`.
    #[must_use]
    pub const fn change(method: &'static str, summary: &'static str, body: Content, answer: &'static str) -> Self {
        Self { method, role: Some(Role::Operate), body, ..Self::get(summary, answer) }
    }
}

/// Everything that is described: one line for each resource.
pub const DESCRIBED: &[&[Path]] = &[
    OWN,
    catalog::PATHS,
    apps::paths::PATHS,
    quota::PATHS,
    groups::PATHS,
    cache::PATHS,
    registry::PATHS,
    splits::PATHS,
    routes::PATHS,
];

/// What the listener itself answers.
const OWN: &[Path] = &[
    Path {
        path: "/livez",
        allow: "GET, HEAD",
        operations: &[Operation {
            role: None,
            answer: Content::Text,
            ..Operation::get("Whether the process runs", "")
        }],
    },
    Path {
        path: "/readyz",
        allow: "GET, HEAD",
        operations: &[Operation {
            role: None,
            answer: Content::Text,
            others: &[(503, "It drains.")],
            ..Operation::get("Whether the process takes requests", "")
        }],
    },
    Path {
        path: "/metrics",
        allow: "GET, HEAD",
        operations: &[Operation { answer: Content::Text, ..Operation::get("Metrics, for Prometheus", "") }],
    },
    Path {
        path: "/policy",
        allow: "GET, HEAD",
        operations: &[Operation::get("What is in force on this node", "State of the node, without any secret.")],
    },
    Path {
        path: "/openapi.json",
        allow: "GET, HEAD",
        operations: &[Operation::get("This document", "An OpenAPI 3.1 document.")],
    },
];

/// The resource that serves the document.
pub const RESOURCE: Resource = Resource {
    methods: |path| (path == "/openapi.json").then_some("GET, HEAD"),
    role: |_, _| Role::Read,
    serve: |call| serve(call),
};

fn serve(_call: Call<'_>) -> Served<'_> {
    Box::pin(async { Ok(Answer::json(&document())) })
}

/// Whether a path is one of these, and which. A literal segment counts before a variable one, as the order of the table says.
#[must_use]
pub fn find<'p>(paths: &'p [Path], path: &str) -> Option<&'p Path> {
    let is_it = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
                _ => return false,
            }
        }
    };
    paths.iter().find(|known| is_it(known.path))
}

/// The role that a call of a described path needs; the highest where it is none.
#[must_use]
pub fn role(paths: &[Path], method: &Method, path: &str) -> Role {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let operation = find(paths, path).and_then(|path| path.operations.iter().find(|it| it.method == method));
    operation.and_then(|operation| operation.role).unwrap_or(Role::Secrets)
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<CatalogConfig>();
    let mut schemas = generator.take_definitions(true);
    let of_kind = |kind: &String| {
        let items = schemas.get("CatalogConfig")?.pointer(&format!("/properties/{kind}/items"))?;
        Some(items.clone())
    };
    let objects: Vec<Value> = kinds().iter().filter_map(of_kind).collect();
    schemas.insert("CatalogObject".to_owned(), json!({ "anyOf": objects }));
    schemas.insert("Problem".to_owned(), problem_schema());
    let paths: Map<String, Value> =
        DESCRIBED.iter().flat_map(|paths| paths.iter()).map(|path| (path.path.to_owned(), path_item(path))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse business tier, admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Bodies have 1 MiB at most. Refusals are problem documents (RFC 9457); docs/ERRORS.md lists their codes.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admin token; `business-gateway token add` makes one with a role.",
                },
            },
        },
    })
}

fn path_item(path: &Path) -> Value {
    let mut item: Map<String, Value> = path
        .operations
        .iter()
        .map(|operation| (operation.method.to_ascii_lowercase(), operation_object(path.path, operation)))
        .collect();
    let variables = path.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = variables
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": variable_schema(name) }))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    item.into()
}

fn variable_schema(name: &str) -> Value {
    if name == "kind" { json!({ "type": "string", "enum": kinds() }) } else { json!({ "type": "string" }) }
}

fn operation_object(path: &str, operation: &Operation) -> Value {
    let query = operation.query.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": "string" } })
    });
    let if_match = operation.if_match.map(
        |meaning| json!({ "name": "If-Match", "in": "header", "description": meaning, "schema": { "type": "string" } }),
    );
    let parameters: Vec<Value> = query.chain(if_match).collect();
    let mut answers = BTreeMap::new();
    answers.insert("200".to_owned(), json!({ "description": "Done.", "content": content(operation.answer) }));
    for (status, when) in operation.others {
        let content = if *status < 400 { content(operation.answer) } else { problem() };
        answers.insert(status.to_string(), json!({ "description": when, "content": content }));
    }
    answers.insert("default".to_owned(), json!({ "description": "Refused.", "content": problem() }));
    let words = path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    let id = words.fold(operation.method.to_ascii_lowercase(), |id, word| format!("{id}_{word}"));
    let mut object = json!({
        "operationId": id,
        "summary": operation.summary,
        "responses": answers,
        "security": operation.role.map(|_| json!([{ "token": [] }])).unwrap_or(json!([])),
    });
    let mut add = |key: &str, value: Value| {
        if let Some(fields) = object.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
    };
    if let Some(role) = operation.role {
        add("description", format!("Needs the role `{role}`.").into());
    }
    if !parameters.is_empty() {
        add("parameters", parameters.into());
    }
    if !matches!(operation.body, Content::None) {
        add("requestBody", json!({ "required": true, "content": content(operation.body) }));
    }
    object
}

fn content(content: Content) -> Value {
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    match content {
        Content::None => json!({}),
        Content::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Content::Json(meaning) => json(json!({ "type": "object", "description": meaning })),
        Content::CatalogObject => json(json!({ "$ref": "#/components/schemas/CatalogObject" })),
        Content::Catalog => json(json!({ "$ref": "#/components/schemas/CatalogConfig" })),
    }
}

fn problem() -> Value {
    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "request_id"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "description": "Stable; see docs/ERRORS.md." },
            "request_id": { "type": "string" },
            "errors": {
                "type": "array",
                "description": "Everything that is wrong with what was sent.",
                "items": {
                    "type": "object",
                    "properties": {
                        "position": { "type": "string", "description": "Where, such as `api[2].path`." },
                        "kind": { "type": "string" },
                        "name": { "type": "string" },
                        "field": { "type": "string" },
                        "message": { "type": "string" },
                        "remedy": { "type": "string" },
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::RESOURCES;

    fn all() -> impl Iterator<Item = &'static Path> {
        DESCRIBED.iter().flat_map(|paths| paths.iter())
    }

    /// A path as somebody would call it.
    fn example(path: &Path) -> String {
        path.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_resource_is_described_and_everything_described_is_served() {
        for (number, resource) in RESOURCES.iter().enumerate() {
            let is_described = all().any(|path| (resource.methods)(&example(path)).is_some());
            assert!(is_described, "resource {number} is not in DESCRIBED");
        }
        for path in all() {
            let served = RESOURCES.iter().find_map(|resource| (resource.methods)(&example(path)));
            let own = ["/livez", "/readyz", "/metrics", "/policy"];
            assert!(served == Some(path.allow) || own.contains(&path.path), "{}: {served:?}", path.path);
            let mut described: Vec<&str> = path.operations.iter().map(|operation| operation.method).collect();
            let mut allowed: Vec<&str> = path.allow.split(", ").filter(|method| *method != "HEAD").collect();
            described.sort_unstable();
            allowed.sort_unstable();
            assert_eq!(described, allowed, "{}", path.path);
            for operation in path.operations {
                let method = operation.method.parse().unwrap();
                let served = RESOURCES.iter().find(|resource| (resource.methods)(&example(path)).is_some());
                if let Some(resource) = served {
                    assert_eq!(Some((resource.role)(&method, &example(path))), operation.role, "{}", path.path);
                }
            }
        }
    }

    #[test]
    fn the_document_refers_only_to_what_it_holds() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    fields.values().for_each(|value| check(value, document));
                }
                Value::Array(values) => values.iter().for_each(|value| check(value, document)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document);
        assert_eq!(document["paths"].as_object().unwrap().len(), all().count(), "no path twice");
        assert!(document.pointer("/paths/~1catalog~1{kind}~1{name}/put/requestBody").is_some());
        assert!(document.pointer("/components/schemas/CatalogObject/anyOf/1").is_some());
    }

    #[test]
    fn a_path_is_found_by_its_segments() {
        let found = |path: &str| find(catalog::PATHS, path).map(|path| path.path);
        assert_eq!(found("/catalog/history"), Some("/catalog/history"));
        assert_eq!(found("/catalog/api"), Some("/catalog/{kind}"));
        assert_eq!(found("/catalog/api/orders.list"), Some("/catalog/{kind}/{name}"));
        for none in ["/catalog/", "/catalog/api/", "/catalog/api/a/b", "/catalogue", "catalog", ""] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
