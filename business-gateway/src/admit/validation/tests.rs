use gatehouse_shared::config::{SourceFile, Sources, parse};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::document::{Documents, From};
use super::*;
use crate::admit::path::PathTemplate;
use crate::store::catalog::{At, CatalogConfig};

/// Compiles the `validate` of the one API of a catalog; `files` are beside it.
fn compiled(catalog: &str, files: &[(&str, &str)]) -> Result<Validation, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let file = SourceFile { path: "catalog.toml".into(), text: catalog.to_owned() };
    let document = parse::<CatalogConfig>(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let mut sources = Sources::new(dir.path());
    let positions = &document.positions;
    let documents = Documents::compile(&document.value, positions, &mut sources, From::Files, Bounds::default());
    let documents = documents.map_err(|errors| errors.to_string())?;
    let api = document.value.api.first().unwrap();
    let at = At { positions, path: "api[0]".to_owned() };
    let path = PathTemplate::parse(&api.path).unwrap();
    Validation::compile(api.validate.as_ref().unwrap(), &path, &at, &documents).map_err(|errors| errors.to_string())
}

fn api(validate: &str) -> String {
    format!("[[api]]\nname = \"a\"\nservice = \"s\"\npath = \"/v1/orders/{{id}}\"\n{validate}")
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    list.iter().map(pair).collect()
}

/// What is wrong with the parameters of a call: place, pointer and rule.
fn parameters(validation: &Validation, target: &str, list: &[(&str, &str)]) -> Vec<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut findings = Findings::new(16);
    validation.parameters.check(path, query, &headers(list), 1_000_000, &mut findings);
    findings.into_list().iter().map(Finding::short).collect()
}

/// What is wrong with a body of this type.
fn body(validation: &Validation, content_type: &str, text: &str) -> Vec<String> {
    let body = validation.body.as_ref().unwrap();
    let mut findings = Findings::new(16);
    match body.how(&headers(&[("content-type", content_type)])) {
        Ok(how) => body.check(&how, text.as_bytes(), 1_000_000, &mut findings),
        Err(finding) => findings.push(finding),
    }
    findings.into_list().iter().map(Finding::short).collect()
}

#[test]
fn parameters_are_judged_wherever_they_are() {
    let validation = compiled(
        &api("[api.validate]\nunknown_query = \"refuse\"\n\
              path.id = { type = \"integer\", minimum = 1 }\n\
              query.limit = { type = \"integer\", maximum = 100, required = true }\n\
              query.tag = { type = \"array\", max_items = 2, enum = [\"a\", \"b\"] }\n\
              query.ids = { type = \"array\", items = \"integer\", explode = false }\n\
              header.x-trace = { pattern = \"^[0-9a-f]+$\", max_length = 8 }\n\
              header.x-list = { type = \"array\", items = \"integer\" }\n\
              cookie.session = { format = \"uuid\" }\n"),
        &[],
    )
    .unwrap();
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c [&'c str]);
    let cases: [Case<'_>; 16] = [
        ("/v1/orders/7?limit=10&tag=a&tag=b&ids=1,2", &[("x-trace", "0af")], &[]),
        ("/v1/orders/0?limit=10", &[], &["path /id minimum"]),
        ("/v1/orders/x?limit=10", &[], &["path /id type"]),
        ("/v1/orders/%37?limit=10", &[], &[]),
        ("/v1/orders/7", &[], &["query /limit required"]),
        ("/v1/orders/7?limit=1&limit=2", &[], &["query /limit repeated"]),
        ("/v1/orders/7?limit=101&x=1", &[], &["query /x unknown", "query /limit maximum"]),
        ("/v1/orders/7?limit=1&tag=a&tag=b&tag=b", &[], &["query /tag maxItems"]),
        ("/v1/orders/7?limit=1&tag=c", &[], &["query /tag/0 enum"]),
        ("/v1/orders/7?limit=1&ids=1,x", &[], &["query /ids/1 type"]),
        ("/v1/orders/7?limit=1&%6Cimit=2", &[], &["query /limit repeated"]),
        ("/v1/orders/7?limit=%zz", &[], &["query /limit encoding"]),
        ("/v1/orders/7?limit=1", &[("x-trace", "XYZ")], &["header /x-trace pattern"]),
        ("/v1/orders/7?limit=1", &[("x-trace", "a"), ("x-trace", "b")], &["header /x-trace repeated"]),
        ("/v1/orders/7?limit=1", &[("x-list", "1, 2"), ("x-list", "x")], &["header /x-list/2 type"]),
        ("/v1/orders/7?limit=1", &[("cookie", "a=b; session=1; c=d")], &["cookie /session format"]),
    ];
    for (target, list, expected) in cases {
        assert_eq!(parameters(&validation, target, list), expected, "{target} {list:?}");
    }
}

#[test]
fn bodies_are_judged_by_their_type() {
    let validation = compiled(
        &api("[api.validate]\nunknown_fields = \"refuse\"\nbody_required = true\n\
              content_types = [\"application/json\", \"application/x-www-form-urlencoded\", \"text/*\"]\n\
              [api.validate.body]\ntype = \"object\"\nrequired = [\"n\"]\n\
              [api.validate.body.properties]\nn = { type = \"integer\" }\nt = { type = \"array\", items = { type = \"boolean\" } }\n\
              o = { type = \"object\", required = [\"p\"] }\n"),
        &[],
    )
    .unwrap();
    let cases: [(&str, &str, &[&str]); 17] = [
        ("application/json", "{\"n\":1}", &[]),
        ("Application/JSON; charset=\"UTF-8\"", "{\"n\":1}", &[]),
        ("application/json; charset=utf-16", "{\"n\":1}", &["body  contentType"]),
        ("application/xml", "<n/>", &["body  contentType"]),
        ("application", "x", &["body  contentType"]),
        ("text/plain", "anything", &[]),
        ("application/json", "{\"n\":\"1\"}", &["body /n type"]),
        ("application/json", "{\"n\":1,\"x\":1}", &["body /x unevaluatedProperties"]),
        ("application/json", "{\"n\":1,\"n\":1}", &["body /n duplicateKey"]),
        ("application/json", "{\"n\":1} {}", &["body  syntax"]),
        ("application/x-www-form-urlencoded", "n=1&t=true&t=false", &[]),
        ("application/x-www-form-urlencoded", "n=1&n=2", &["body /n repeated"]),
        ("application/x-www-form-urlencoded", "n=x", &["body /n type"]),
        ("application/x-www-form-urlencoded", "t=true", &["body /n required"]),
        ("application/x-www-form-urlencoded", "n=1&o={\"p\":1}", &[]),
        ("application/x-www-form-urlencoded", "n=1&o={}", &["body /o/p required"]),
        ("application/x-www-form-urlencoded", "n=%F", &["body /n encoding"]),
    ];
    for (content_type, text, expected) in cases {
        assert_eq!(body(&validation, content_type, text), expected, "{content_type} {text}");
    }
    let declared = validation.body.as_ref().unwrap();
    let compressed = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
    assert_eq!(declared.how(&compressed).unwrap_err().rule, "contentEncoding");
    let twice = headers(&[("content-type", "application/json"), ("content-type", "text/plain")]);
    assert_eq!(declared.how(&twice).unwrap_err().rule, "contentType");
}

const ORDERS: &str = r##"
openapi: 3.0.3
paths:
  /orders/{order-id}:
    parameters:
      - { name: order-id, in: path, required: true, schema: { type: integer } }
      - { name: verbose, in: query, schema: { type: string } }
    put:
      operationId: putOrder
      parameters:
        - $ref: "#/components/parameters/Verbose"
        - { name: filter, in: query, style: deepObject, schema: { type: object } }
      requestBody: { $ref: "#/components/requestBodies/Order" }
components:
  parameters:
    Verbose: { name: verbose, in: query, schema: { type: boolean } }
  requestBodies:
    Order:
      required: true
      content:
        application/json: { schema: { $ref: "parts/order.yaml#/Order" } }
        multipart/form-data: { schema: { type: object } }
"##;

const ORDER: &str = "Order:\n  type: object\n  required: [lines]\n  properties:\n    lines:\n      type: array\n      minItems: 1\n      items: { $ref: '#/Line' }\nLine: { type: object, required: [sku], properties: { sku: { type: string, nullable: true } } }\n";

#[test]
fn an_operation_of_a_document_and_the_files_it_refers_to_count() {
    let files = [("apis/orders.yaml", ORDERS), ("apis/parts/order.yaml", ORDER)];
    for name in ["putOrder", "PUT /orders/{order-id}"] {
        let text = format!("[api.validate]\nopenapi = \"apis/orders.yaml#{name}\"\nunknown_query = \"refuse\"\n");
        let validation = compiled(&api(&text), &files).unwrap();
        assert_eq!(
            parameters(&validation, "/v1/orders/x?verbose=1", &[]),
            ["path /order-id type", "query /verbose type"]
        );
        let open = parameters(&validation, "/v1/orders/1?verbose=true&filter[a]=1&other[a]=1", &[]);
        assert_eq!(open, ["query /other[a] unknown"], "objects are not judged");
        assert_eq!(body(&validation, "application/json", "{\"lines\":[{}]}"), ["body /lines/0/sku required"]);
        assert_eq!(body(&validation, "multipart/form-data; boundary=x", "?"), Vec::<String>::new());
        assert!(validation.body.as_ref().unwrap().is_required);
    }
}

#[test]
fn what_is_wrong_in_the_catalog_is_told_with_its_place() {
    let cases = [
        ("openapi = \"no.yaml#x\"", "cannot read the file"),
        ("schema = \"../x.json\"", "is no file in the configuration directory"),
        ("openapi = \"apis/orders.yaml#gone\"", "has no operation \"gone\""),
        ("query.a = { type = \"array\", style = \"simple\" }", "this style does not exist there"),
        ("query.a = { pattern = \"(?=a)\" }", "regular expression"),
        ("path.other = {}", "is no parameter of the path"),
        ("content_types = [\"json\"]", "is no media type"),
        ("depth_max = 1000", "write 1 to 100"),
        ("body = { type = \"strin\" }", "the schema of the body"),
        ("schema = \"s#/no\"", "nothing is at s#/no"),
        ("header.\"a b\" = {}", "this is no name of a header"),
    ];
    let files = [("apis/orders.yaml", ORDERS), ("apis/parts/order.yaml", ORDER)];
    for (validate, expected) in cases {
        let text = format!(
            "{}[[schema]]\nname = \"s\"\ntext = \"type: object\"\n",
            api(&format!("[api.validate]\n{validate}\n"))
        );
        let error = compiled(&text, &files).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{validate}: {error}");
        assert!(error.starts_with("catalog.toml:") || error.contains("catalog.toml:"), "{error}");
    }
}

/// What a body may be, and made bodies of it.
#[derive(Debug, Clone)]
enum Made {
    Text,
    Number,
    Flag,
    List(Box<Made>, usize),
    Object(Vec<(String, Made)>),
}

fn made() -> impl Strategy<Value = Made> {
    let leaf = prop_oneof![Just(Made::Text), Just(Made::Number), Just(Made::Flag)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 1..4usize).prop_map(|(item, count)| Made::List(Box::new(item), count)),
            proptest::collection::btree_map("[a-z/~]{1,4}", inner, 1..4)
                .prop_map(|map| Made::Object(map.into_iter().collect())),
        ]
    })
}

impl Made {
    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string", "maxLength": 8, "pattern": "^[a-z]*$" }),
            Self::Number => json!({ "type": "integer", "minimum": 0, "maximum": 9 }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::List(item, count) => json!({ "type": "array", "items": item.schema(), "maxItems": count }),
            Self::Object(members) => {
                let properties: Map<String, Value> =
                    members.iter().map(|(name, made)| (name.clone(), made.schema())).collect();
                let names: Vec<&String> = members.iter().map(|(name, _)| name).collect();
                json!({ "type": "object", "required": names, "properties": properties, "additionalProperties": false })
            }
        }
    }

    fn value(&self, seed: usize) -> Value {
        match self {
            Self::Text => json!("abcdefgh".split_at(seed % 9).0),
            Self::Number => json!(seed % 10),
            Self::Flag => json!(seed.is_multiple_of(2)),
            Self::List(item, count) => (0..*count).map(|index| item.value(seed + index)).collect(),
            Self::Object(members) => {
                let each = members.iter().enumerate();
                json!(each.map(|(index, (name, made))| (name.clone(), made.value(seed + index))).collect::<Map<_, _>>())
            }
        }
    }

    /// The pointer of every value inside.
    fn pointers(&self, at: &str, into: &mut Vec<String>) {
        into.push(at.to_owned());
        match self {
            Self::List(item, count) => (0..*count).for_each(|index| item.pointers(&format!("{at}/{index}"), into)),
            Self::Object(members) => {
                for (name, made) in members {
                    let mut pointer = at.to_owned();
                    finding::below(&mut pointer, name);
                    made.pointers(&pointer, into);
                }
            }
            _ => {}
        }
    }
}

fn judged(made: &Made, value: &Value) -> Vec<String> {
    let written = schema::Written::Here(made.schema());
    let judge = schema::Judge::compile(&Documents::default(), &written, 64, config::Unknown::Allow).unwrap();
    let body = Body {
        types: Some(vec![(body::Media::parse("*/*").unwrap(), Some(Arc::new(body::BodySchema::new(judge))))]),
        is_required: true,
        limits: read::Limits { depth: 64, values: 10_000, duplicates: read::Duplicates::Refuse },
        max: 1 << 20,
    };
    let mut findings = Findings::new(16);
    let head = headers(&[("content-type", "application/json")]);
    body.check(&body.how(&head).unwrap(), value.to_string().as_bytes(), 1_000_000, &mut findings);
    findings.into_list().iter().map(|finding| format!("{} {}", finding.pointer, finding.rule)).collect()
}

proptest! {
    #[test]
    fn what_fits_passes_and_what_was_changed_is_found(made in made(), seed in 0..100usize, choice in any::<usize>()) {
        let value = made.value(seed);
        prop_assert_eq!(judged(&made, &value), Vec::<String>::new());
        let mut pointers = Vec::new();
        made.pointers("", &mut pointers);
        let pointer = &pointers[choice % pointers.len()];
        let mut wrong = value.clone();
        *wrong.pointer_mut(pointer).unwrap() = Value::Null;
        prop_assert_eq!(judged(&made, &wrong), [format!("{pointer} type")]);
        if let Some(members) = value.pointer(pointer).and_then(Value::as_object) {
            let mut more = value.clone();
            more.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("Other".to_owned(), json!(1));
            prop_assert_eq!(judged(&made, &more), [format!("{pointer}/Other additionalProperties")]);
            let name = members.keys().next().unwrap();
            let mut less = value.clone();
            less.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
            let mut at = pointer.clone();
            finding::below(&mut at, name);
            prop_assert_eq!(judged(&made, &less), [format!("{at} required")]);
        }
    }
}
