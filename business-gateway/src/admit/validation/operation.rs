//! What an OpenAPI 3 document says of one operation.

use serde_json::{Map, Value};

use super::document::{Documents, Reference};
use super::finding::Place;
use super::parameter::Declared;
use super::schema::Written;
use super::shape::Split;

/// References after each other, from one to the next.
const HOPS: u32 = 16;

/// The keys of a path item that are operations.
pub const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A place in a document, and what is there.
#[derive(Debug, Clone)]
pub struct Spot<'d> {
    /// The name of the document.
    pub document: String,
    /// The JSON pointer.
    pub pointer: String,
    /// What is there.
    pub value: &'d Value,
}

impl<'d> Spot<'d> {
    /// The whole of a document.
    #[must_use]
    pub fn whole(documents: &'d Documents, name: &str) -> Option<Self> {
        Some(Self { document: name.to_owned(), pointer: String::new(), value: documents.get(name)? })
    }

    /// What is under a key.
    #[must_use]
    pub fn child(&self, key: &str) -> Option<Self> {
        let value = match self.value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            value => value.get(key)?,
        };
        let key = key.replace('~', "~0").replace('/', "~1").replace('%', "%25");
        Some(Self { document: self.document.clone(), pointer: format!("{}/{key}", self.pointer), value })
    }

    /// What a reference leads to; itself where it is none. `None` where it leads nowhere.
    #[must_use]
    pub fn followed(mut self, documents: &'d Documents) -> Option<Self> {
        for _hop in 0..HOPS {
            let Some(reference) = self.value.get("$ref").and_then(Value::as_str) else { return Some(self) };
            let Reference { document, fragment } = Reference::parse(reference);
            let document = documents.resolve(&self.document, &document)?;
            let value = super::schema::extract::at(documents.get(&document)?, &fragment)?;
            self = Self { document, pointer: fragment, value };
        }
        None
    }

    fn text(&self, key: &str) -> Option<&'d str> {
        self.value.get(key).and_then(Value::as_str)
    }

    /// `document#pointer`, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}#{}", self.document, self.pointer)
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Operation<'d> {
    /// Its path, as written.
    pub path: &'d str,
    /// Its method, in lower case.
    pub method: &'static str,
    /// What is said of the path.
    pub item: Spot<'d>,
    /// What is said of the operation.
    pub spot: Spot<'d>,
}

/// What a body may be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeclaredBody {
    /// Whether there has to be one.
    pub required: bool,
    /// Media types, with the schema of each.
    pub types: Vec<(String, Option<Written>)>,
}

/// What is declared of an operation, and what of it is not understood, with its place.
#[derive(Debug, Default)]
pub struct DeclaredOperation {
    /// Its parameters.
    pub parameters: Vec<Declared>,
    /// Its body.
    pub body: Option<DeclaredBody>,
    /// What is left out.
    pub left_out: Vec<(String, String)>,
}

/// All operations of a document.
#[must_use]
pub fn operations<'d>(documents: &'d Documents, name: &str) -> Vec<Operation<'d>> {
    let Some(paths) = Spot::whole(documents, name).and_then(|whole| whole.child("paths")) else { return Vec::new() };
    let mut all = Vec::new();
    for path in paths.value.as_object().into_iter().flat_map(Map::keys).filter(|path| path.starts_with('/')) {
        let Some(item) = paths.child(path).and_then(|item| item.followed(documents)) else { continue };
        for method in METHODS {
            if let Some(spot) = item.child(method) {
                all.push(Operation { path, method, item: item.clone(), spot });
            }
        }
    }
    all
}

/// The operation that `fragment` means: an `operationId`, or method and path as in `GET /orders/{id}`.
#[must_use]
pub fn find<'d>(documents: &'d Documents, name: &str, fragment: &str) -> Option<Operation<'d>> {
    let named = fragment.split_once(' ').map(|(method, path)| (method.to_ascii_lowercase(), path.trim()));
    operations(documents, name).into_iter().find(|operation| match &named {
        Some((method, path)) => operation.method == method && operation.path == *path,
        None => operation.id() == Some(fragment),
    })
}

impl<'d> Operation<'d> {
    /// Its `operationId`.
    #[must_use]
    pub fn id(&self) -> Option<&'d str> {
        self.spot.text("operationId")
    }

    /// What the document declares of it.
    #[must_use]
    pub fn declared(&self, documents: &'d Documents) -> DeclaredOperation {
        let mut declared = DeclaredOperation::default();
        for spot in [&self.item, &self.spot] {
            let Some(list) = spot.child("parameters") else { continue };
            for index in 0..list.value.as_array().map_or(0, Vec::len) {
                let Some(spot) = list.child(&index.to_string()) else { continue };
                let shown = spot.shown();
                match spot.followed(documents) {
                    Some(spot) => self.add_parameter(documents, &spot, &mut declared),
                    None => declared.left_out.push((shown, "the reference leads nowhere".to_owned())),
                }
            }
        }
        if let Some(spot) = self.spot.child("requestBody") {
            let shown = spot.shown();
            match spot.followed(documents) {
                Some(spot) => declared.body = Some(body(&spot, &mut declared.left_out)),
                None => declared.left_out.push((shown, "the reference leads nowhere".to_owned())),
            }
        }
        declared
    }

    fn add_parameter(&self, documents: &'d Documents, spot: &Spot<'d>, declared: &mut DeclaredOperation) {
        let mut leave_out = |why: &str| declared.left_out.push((spot.shown(), why.to_owned()));
        let Some(name) = spot.text("name") else { return leave_out("a parameter without a name") };
        let place = match spot.text("in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            _ => return leave_out("a parameter that is in neither path, query, header nor cookie"),
        };
        // Their meaning is that of HTTP, and OpenAPI says that they are not declared here.
        if place == Place::Header && ["accept", "content-type", "authorization"].contains(&&*name.to_ascii_lowercase())
        {
            return;
        }
        let Some(schema) = spot.child("schema").filter(|schema| schema.value.is_object() || schema.value.is_boolean())
        else {
            return leave_out("a parameter without a schema is not judged");
        };
        let explode = spot.value.get("explode").and_then(Value::as_bool);
        let split = match (place, spot.text("style")) {
            (Place::Query | Place::Cookie, None | Some("form")) if explode.unwrap_or(true) => Split::Repeated,
            (Place::Query | Place::Cookie, None | Some("form")) => Split::Comma,
            (Place::Query, Some("spaceDelimited")) => Split::Space,
            (Place::Query, Some("pipeDelimited")) => Split::Pipe,
            // Members of an object, which is not judged.
            (Place::Query, Some("deepObject")) => Split::Repeated,
            (Place::Path | Place::Header, None | Some("simple")) => Split::Comma,
            _ => return leave_out("a parameter of this style is not judged"),
        };
        let followed = schema.clone().followed(documents);
        if followed.is_some_and(|schema| schema.value.get("type").and_then(Value::as_str) == Some("object")) {
            leave_out("a parameter that is an object is not judged");
        }
        let from_end = match place {
            Place::Path => {
                let wanted = format!("{{{name}}}");
                match self.path.rsplit('/').position(|segment| segment == wanted) {
                    Some(from_end) => Some(from_end),
                    None => return leave_out("no segment of the path is this parameter"),
                }
            }
            _ => None,
        };
        let required = spot.value.get("required").and_then(Value::as_bool).unwrap_or(place == Place::Path);
        let schema = Written::There(Reference { document: schema.document, fragment: schema.pointer });
        let parameter = Declared { name: name.to_owned(), place, required, split, schema, from_end };
        // What an operation says counts more than what its path says.
        declared.parameters.retain(|other| (other.place, &other.name) != (place, &parameter.name));
        declared.parameters.push(parameter);
    }
}

fn body(spot: &Spot<'_>, left_out: &mut Vec<(String, String)>) -> DeclaredBody {
    let required = spot.value.get("required").and_then(Value::as_bool).unwrap_or(false);
    let mut types = Vec::new();
    let content = spot.child("content");
    for media in content.iter().flat_map(|content| content.value.as_object().into_iter().flat_map(Map::keys)) {
        let schema = content.as_ref().and_then(|content| content.child(media)).and_then(|entry| entry.child("schema"));
        if schema.is_some() && !is_judged(media) {
            left_out
                .push((format!("{}/content/{media}", spot.shown()), "a body of this type is not judged".to_owned()));
        }
        let schema = schema.filter(|_| is_judged(media));
        let schema = schema.map(|spot| Written::There(Reference { document: spot.document, fragment: spot.pointer }));
        types.push((media.clone(), schema));
    }
    DeclaredBody { required, types }
}

/// Whether bodies of a media type are read and judged.
#[must_use]
pub fn is_judged(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "*/*"
        || media == "application/*"
        || media == super::body::FORM
        || media == super::body::JSON
        || media.ends_with("+json")
}
