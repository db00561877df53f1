//! From what is written to a [`Validation`].

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gatehouse_shared::config::ConfigErrors;
use http::HeaderName;

use super::Validation;
use super::body::{Body, BodySchema, FORM, JSON, Media};
use super::config::{Config, DEPTH_MOST, Kind, ParameterConfig, StyleConfig, Unknown};
use super::document::{Documents, Reference};
use super::finding::Place;
use super::operation::{DeclaredBody, DeclaredOperation, find};
use super::parameter::{Declared, Parameter, Parameters};
use super::read::Limits;
use super::schema::{Judge, Written};
use super::shape::Split;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::catalog::At;

/// Levels of a parameter's value: a list.
const PARAMETER_DEPTH: usize = 4;

impl Validation {
    /// Compiles what an API with this path declares.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        written: &Config,
        path: &PathTemplate,
        at: &At<'_>,
        documents: &Documents,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let at = At { positions: at.positions, path: at.key("validate") };
        let declared = declared(written, path, &at, documents, &mut errors);
        let mut parameters = Parameters::new(written.unknown_query);
        for one in &declared.parameters {
            if let Err(message) = add(&mut parameters, one, path, documents) {
                let key = written.openapi.as_ref().map_or(one.place.as_str(), |_| "openapi");
                let key = if own(written, one) { one.place.as_str() } else { key };
                let remedy = "correct its declaration";
                errors.push(at.error(key, format!("the parameter {:?}: {message}", one.name), remedy));
            }
        }
        let body = body(written, declared.body, &at, documents, &mut errors);
        errors.into_result(Self {
            mode: written.mode,
            parameters,
            body,
            bounds: documents.bounds,
            metrics: OnceLock::new(),
        })
    }
}

/// Whether a parameter is declared in the catalog itself.
fn own(written: &Config, declared: &Declared) -> bool {
    table(written, declared.place).is_some_and(|table| table.contains_key(&declared.name))
}

fn table(written: &Config, place: Place) -> Option<&BTreeMap<String, ParameterConfig>> {
    match place {
        Place::Path => Some(&written.path),
        Place::Query => Some(&written.query),
        Place::Header => Some(&written.header),
        Place::Cookie => Some(&written.cookie),
        Place::Body => None,
    }
}

/// What the document says, and what the catalog says instead.
fn declared(
    written: &Config,
    path: &PathTemplate,
    at: &At<'_>,
    documents: &Documents,
    errors: &mut ConfigErrors,
) -> DeclaredOperation {
    let mut declared = DeclaredOperation::default();
    if let Some(text) = &written.openapi {
        let Reference { document, fragment } = Reference::parse(text);
        match find(documents, &document, &fragment) {
            Some(operation) => declared = operation.declared(documents),
            // A document that is wrong or not there has an error of its own.
            None if documents.get(&document).is_none() => {}
            None => {
                let message = format!("the document {document:?} has no operation {fragment:?}");
                let remedy = "write the operationId behind \"#\", or method and path as in \"#GET /orders/{id}\"";
                errors.push(at.error("openapi", message, remedy));
            }
        }
    }
    for place in [Place::Path, Place::Query, Place::Header, Place::Cookie] {
        for (name, parameter) in table(written, place).into_iter().flatten() {
            let split = match split_of(parameter, place) {
                Ok(split) => split,
                Err(message) => {
                    errors.push(at.error(place.as_str(), format!("{name:?}: {message}"), "choose another style"));
                    continue;
                }
            };
            let from_end = (place == Place::Path).then(|| {
                let is_it = |segment: &&Segment| matches!(segment, Segment::Parameter(own) | Segment::Rest(own) if **own == *name);
                path.segments().iter().rev().position(|segment| is_it(&segment))
            });
            if from_end == Some(None) {
                let message = format!("{name:?} is no parameter of the path");
                errors.push(at.error("path", message, "write the name as in \"path\" of the API"));
                continue;
            }
            let one = Declared {
                name: name.clone(),
                place,
                required: parameter.required || place == Place::Path,
                split,
                schema: Written::Here(parameter.schema()),
                from_end: from_end.flatten(),
            };
            declared.parameters.retain(|other| (other.place, &other.name) != (place, name));
            declared.parameters.push(one);
        }
    }
    declared
}

fn split_of(written: &ParameterConfig, place: Place) -> Result<Split, &'static str> {
    if written.items == Kind::Array {
        return Err("a list of lists is not understood");
    }
    let is_form = matches!(place, Place::Query | Place::Cookie);
    match (written.style, is_form) {
        (None | Some(StyleConfig::Form), true) if written.explode.unwrap_or(true) => Ok(Split::Repeated),
        (None | Some(StyleConfig::Form), true) | (None | Some(StyleConfig::Simple), false) => Ok(Split::Comma),
        (Some(StyleConfig::SpaceDelimited), true) if place == Place::Query => Ok(Split::Space),
        (Some(StyleConfig::PipeDelimited), true) if place == Place::Query => Ok(Split::Pipe),
        _ => Err("this style does not exist there"),
    }
}

fn add(
    parameters: &mut Parameters,
    declared: &Declared,
    path: &PathTemplate,
    documents: &Documents,
) -> Result<(), String> {
    let judge = Judge::compile(documents, &declared.schema, PARAMETER_DEPTH, Unknown::Allow)?;
    let parameter = Parameter::new(declared, judge);
    match declared.place {
        Place::Path => {
            let segments = path.segments();
            let segment = declared.from_end.and_then(|from_end| segments.len().checked_sub(from_end + 1));
            let segment = segment.ok_or("the path of the API is shorter than that of the operation")?;
            match segments.get(segment) {
                Some(Segment::Parameter(_)) => parameters.add_path(segment, false, parameter),
                Some(Segment::Rest(_)) => parameters.add_path(segment, true, parameter),
                _ => return Err("the path of the API has no parameter in this place".to_owned()),
            }
        }
        Place::Query => parameters.add_query(parameter),
        Place::Header => {
            let name = HeaderName::from_bytes(declared.name.as_bytes());
            parameters.add_header(name.map_err(|_error| "this is no name of a header".to_owned())?, parameter);
        }
        Place::Cookie => parameters.add_cookie(parameter),
        Place::Body => {}
    }
    Ok(())
}

fn body(
    written: &Config,
    declared: Option<DeclaredBody>,
    at: &At<'_>,
    documents: &Documents,
    errors: &mut ConfigErrors,
) -> Option<Body> {
    let bounds = &documents.bounds;
    let depth = written.depth_max.unwrap_or(bounds.depth_max);
    if depth == 0 || depth > DEPTH_MOST {
        errors.push(at.error("depth_max", "no bound for a body", format!("write 1 to {DEPTH_MOST}")));
        return None;
    }
    let own = match (&written.schema, &written.body) {
        (Some(_), Some(_)) => {
            errors.push(at.error("body", "a second schema of the body", "keep one of \"schema\" and \"body\""));
            return None;
        }
        (Some(text), None) => {
            let place = Reference::parse(text);
            // A document that is wrong or not there has an error of its own.
            documents.get(&place.document)?;
            Some(("schema", Written::There(place)))
        }
        (None, Some(schema)) => Some(("body", Written::Here(schema.clone().into()))),
        (None, None) => None,
    };
    let mut judges = Judges { documents, depth, unknown: written.unknown_fields, known: Vec::new() };
    let mut types: Vec<(String, Option<Written>)> =
        declared.as_ref().map(|declared| declared.types.clone()).unwrap_or_default();
    if let Some(content_types) = &written.content_types {
        // What a document says of these types still counts.
        let known = std::mem::take(&mut types);
        types = content_types
            .iter()
            .map(|media| {
                (media.clone(), known.iter().find(|(other, _)| other == media).and_then(|(_, schema)| schema.clone()))
            })
            .collect();
    } else if types.is_empty() && own.is_some() {
        types = [JSON, "application/*+json"].map(|media| (media.to_owned(), None)).to_vec();
    }
    if let Some((_, schema)) = &own {
        for (_, place) in &mut types {
            *place = Some(schema.clone());
        }
    }
    let is_any = types.is_empty();
    let mut compiled = Vec::with_capacity(types.len());
    for (text, schema) in types {
        let key = if written.content_types.is_some() { "content_types" } else { "openapi" };
        let Some(media) = Media::parse(&text) else {
            errors.push(at.error(
                key,
                format!("{text:?} is no media type"),
                format!("write it as in {JSON:?} or {FORM:?}"),
            ));
            continue;
        };
        let key = own.as_ref().map_or("openapi", |(key, _)| key);
        match schema.map(|schema| judges.compile(&schema)).transpose() {
            Ok(schema) => compiled.push((media, schema)),
            Err(message) => {
                errors.push(at.error(key, format!("the schema of the body: {message}"), "correct the schema"));
                break;
            }
        }
    }
    let is_required = written.body_required.or(declared.map(|declared| declared.required)).unwrap_or_default();
    (!is_any || is_required).then(|| Body {
        types: (!is_any).then_some(compiled),
        is_required,
        limits: Limits { depth, values: bounds.values_max, duplicates: written.duplicate_keys },
        max: written.body_max.map_or(bounds.body_max, |max| max.get()),
    })
}

/// Schemas of bodies, each compiled once.
struct Judges<'d> {
    documents: &'d Documents,
    depth: usize,
    unknown: Unknown,
    known: Vec<(Written, Arc<BodySchema>)>,
}

impl Judges<'_> {
    fn compile(&mut self, written: &Written) -> Result<Arc<BodySchema>, String> {
        if let Some((_, schema)) = self.known.iter().find(|(known, _)| known == written) {
            return Ok(Arc::clone(schema));
        }
        let judge = Judge::compile(self.documents, written, self.depth, self.unknown)?;
        let schema = Arc::new(BodySchema::new(judge));
        self.known.push((written.clone(), Arc::clone(&schema)));
        Ok(schema)
    }
}
