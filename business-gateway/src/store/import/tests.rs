use super::super::catalog::difference::difference;
use super::*;

const SHOP: &str = r##"
openapi: 3.1.0
info: { title: Shop, version: "1" }
servers:
  - url: https://{host}:8443/shop/v1/
    variables: { host: { default: 10.0.0.7 } }
  - url: https://other.example
security:
  - oauth: [orders.read]
paths:
  /orders:
    get: { operationId: listOrders }
    post:
      operationId: create order
      security: [{ key: [] }]
      requestBody: { content: { application/json: { schema: { type: object } }, multipart/form-data: { schema: {} } } }
  /orders/{order-id}:
    parameters:
      - { name: order-id, in: path, required: true, schema: { type: integer } }
    get: { security: [] , parameters: [ { name: f, in: query, style: deepObject, schema: { type: object } } ] }
    delete: { operationId: deleteOrder, security: [{ key: [], oauth: [] }] }
  /orders/{id}.pdf:
    get: { operationId: pdf }
components:
  securitySchemes:
    oauth: { type: oauth2, flows: { authorizationCode: { scopes: {} } } }
    key: { type: apiKey, in: query, name: k }
webhooks: {}
"##;

fn wishes() -> Wishes {
    Wishes { name: "shop".to_owned(), service: None, prefix: None, service_from_servers: true }
}

fn imported(text: &str, before: &Objects) -> Imported {
    import(text, &wishes(), before, Bounds::default()).unwrap()
}

#[test]
fn operations_become_apis() {
    let Imported { objects, warnings } = imported(SHOP, &Objects::default());
    let api = |name: &str| Value::Object(objects.get("api", name).unwrap_or_else(|| panic!("{name}")).clone());
    assert_eq!(
        api("shop.listOrders"),
        json!({ "name": "shop.listOrders", "path": "/shop/v1/orders", "methods": ["GET"], "service": "shop",
            "validate": { "openapi": "shop#listOrders" }, "access": "user", "schemes": ["jwt"], "scopes": ["orders.read"] })
    );
    let create = api("shop.create-order");
    assert_eq!((&create["access"], &create["schemes"]), (&json!("app"), &json!(["api-key"])));
    assert_eq!(create["validate"]["openapi"], "shop#POST /orders");
    let get = api("shop.get-orders-order-id");
    assert_eq!((&get["path"], &get["access"]), (&json!("/shop/v1/orders/{order_id}"), &json!("open")));
    let delete = api("shop.deleteOrder");
    assert_eq!((&delete["access"], delete.get("schemes")), (&json!("app"), None), "never weaker than the document");
    assert_eq!(objects.of("api").len(), 4);
    assert_eq!(objects.get("schema", "shop").unwrap()["text"], SHOP);
    assert_eq!(objects.get("service", "shop").unwrap()["endpoints"], json!(["10.0.0.7:8443"]));
    let places: Vec<&str> = warnings.iter().map(|warning| warning.place.as_str()).collect();
    let expected = [
        "/servers/1",
        "/servers/0/url",
        "/components/securitySchemes/key",
        "/paths/~1orders/post/requestBody/content/multipart/form-data",
        "/paths/~1orders~1{order-id}/get/parameters/0",
        "/paths/~1orders~1{order-id}/delete/security",
        "/paths/~1orders~1{id}.pdf/get",
        "/webhooks",
    ];
    assert_eq!(places, expected, "{warnings:#?}");
}

#[test]
fn importing_again_changes_nothing_and_keeps_what_was_added() {
    let once = imported(SHOP, &Objects::default()).objects;
    assert_eq!(difference(&once, &imported(SHOP, &once).objects), []);
    let mut added = once.clone();
    let mut api = added.get("api", "shop.listOrders").unwrap().clone();
    api.insert("limits".to_owned(), json!(["day"]));
    api.insert("service".to_owned(), json!("mine"));
    api["validate"]["mode"] = json!("observe");
    added.put("api", api.clone());
    let newer = SHOP.replace("/orders:\n", "/all-orders:\n").replace("  - oauth: [orders.read]", "  - oauth: []");
    let Imported { objects, warnings } = imported(&newer, &added);
    let found = objects.get("api", "shop.listOrders").unwrap();
    assert_eq!(found["path"], "/shop/v1/all-orders");
    assert_eq!((&found["limits"], &found["service"]), (&json!(["day"]), &json!("mine")));
    assert_eq!((&found["validate"]["mode"], found.get("scopes")), (&json!("observe"), None));
    assert!(!warnings.iter().any(|warning| warning.message.contains("any more")), "{warnings:?}");
    let less = SHOP.replace("operationId: listOrders", "operationId: list");
    let gone = imported(&less, &added).warnings;
    assert!(gone.iter().any(|warning| warning.message.contains("\"shop.listOrders\" is in the catalog")), "{gone:?}");
}

#[test]
fn the_prefix_and_the_service_may_be_told() {
    let told = Wishes {
        service: Some("orders".to_owned()),
        prefix: Some("/v9/".to_owned()),
        service_from_servers: false,
        ..wishes()
    };
    let objects = import(SHOP, &told, &Objects::default(), Bounds::default()).unwrap().objects;
    let api = objects.get("api", "shop.listOrders").unwrap();
    assert_eq!((&api["path"], &api["service"]), (&json!("/v9/orders"), &json!("orders")));
    assert_eq!(objects.of("service").len(), 0);
}

#[test]
fn what_is_no_openapi_document_is_refused() {
    let refused = |text: &str, name: &str| {
        let wishes = Wishes { name: name.to_owned(), ..wishes() };
        import(text, &wishes, &Objects::default(), Bounds::default()).unwrap_err().to_string()
    };
    assert!(refused("swagger: '2.0'", "a").contains("version 3.0 or 3.1"));
    assert!(refused(": : :", "a").contains("YAML"));
    assert!(refused(SHOP, "a b").contains("is not a name"));
    let pieces = "openapi: 3.0.0\npaths: { /a: { $ref: 'other.yaml#/a' } }";
    assert!(refused(pieces, "a").contains("bundle the document"));
}
