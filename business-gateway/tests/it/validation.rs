//! Calls that are not as their API declares: refused or observed, within bounds, before they cost anybody anything.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::hop::Retry;
use gatehouse_shared::live::ReloadOutcome;
use serde_json::{Value, json};

use crate::support::Site;
use crate::support::client::{Answer, BOTH, Edge, Protocol, by_hand, full, request};
use crate::support::service::Service;

/// APIs of one service: `orders` is refused what it does not declare, `platform` says so as open platforms do, `seen` only
/// observes.
fn catalog(service: &Service) -> String {
    let api = |name: &str, more: &str| {
        format!(
            "[[api]]\nname = \"{name}\"\nservice = \"sample\"\naccess = \"open\"\nschemes = []\npath = \"/{name}/{{id}}\"\nlimits = [\"day\"]\n{more}\n\
             [api.validate]\nopenapi = \"shop#put\"\nbody_max = \"64KiB\"\ndepth_max = 20\nunknown_query = \"refuse\"\n"
        )
    };
    format!(
        "[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n{}{}{}mode = \"observe\"\n\
         [[limit]]\nname = \"day\"\nby = [\"api\"]\nrate = \"4/1d\"\n[[schema]]\nname = \"shop\"\nfile = \"shop.yaml\"\n",
        service.address,
        api("orders", ""),
        api("platform", "envelope = \"platform\""),
        api("seen", ""),
    )
}

const SHOP: &str = r##"
openapi: 3.0.3
paths:
  /orders/{id}:
    put:
      operationId: put
      parameters:
        - { name: id, in: path, required: true, schema: { type: integer, minimum: 1 } }
        - { name: mode, in: query, schema: { type: string, enum: [fast, slow] } }
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: "#/components/schemas/Order" } }
components:
  schemas:
    Order:
      type: object
      required: [sku]
      properties:
        sku: { type: string, pattern: "^[A-Z]{3}-[0-9]+$" }
        amount: { type: integer, minimum: 1 }
        parts: { type: array, items: { $ref: "#/components/schemas/Order" } }
"##;

async fn site() -> (Service, Site) {
    let service = Service::start().await;
    // The document is there before the catalog that names it.
    let site = Site::start(&crate::support::catalog(&[service.address], "")).await;
    site.write("shop.yaml", SHOP);
    site.write("catalog.toml", &catalog(&service));
    assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
    (service, site)
}

async fn put(edge: &mut Edge, target: &str, body: impl Into<Bytes>) -> Answer {
    let request = request("PUT", target).header("content-type", "application/json");
    edge.exchange(request.body(full(body)).unwrap()).await
}

fn errors(answer: &Answer) -> Vec<String> {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let errors = problem.get("errors").or_else(|| problem["error_response"].get("errors")).unwrap();
    let shown = |error: &Value| format!("{} {} {}", error["in"], error["pointer"], error["rule"]).replace('"', "");
    errors.as_array().unwrap().iter().map(shown).collect()
}

#[tokio::test]
async fn a_call_that_is_not_as_declared_is_refused_before_it_costs_anything() {
    for protocol in BOTH {
        let (service, site) = site().await;
        let mut edge = Edge::connect(site.address, protocol).await;
        for _ in 0..6 {
            let wrong = put(&mut edge, "/orders/7?mode=fast", "{\"sku\":\"SECRET\",\"parts\":[{}]}").await;
            assert_eq!((wrong.status, wrong.code().as_str()), (400, "request_invalid"), "{}", wrong.text());
            assert_eq!(errors(&wrong), ["body /sku pattern", "body /parts/0/sku required"]);
            assert!(!wrong.text().contains("SECRET"), "{}", wrong.text());
            assert_eq!(wrong.result().retry, Retry::Safe);
        }
        assert_eq!(service.requests(), 0);
        // The day has 4 calls, and none of them is gone.
        for _ in 0..4 {
            let good =
                put(&mut edge, "/orders/7?mode=fast", "{\"sku\":\"ABC-1\",\"parts\":[{\"sku\":\"ABC-2\"}]}").await;
            assert_eq!(good.status, 200, "{}", good.text());
        }
        assert_eq!(put(&mut edge, "/orders/7", "{\"sku\":\"ABC-1\"}").await.code(), "quota_api");
        let line = site.line(|line| line["reason"] == "request_invalid").await;
        assert_eq!((&line["validation"], &line["invalid"]), (&json!("refused"), &json!("body /sku pattern")));
        let metrics = site.gateway.metrics.render();
        for line in [
            "gatehouse_business_validation_calls_total{api=\"orders\",outcome=\"refused\"} 6",
            "gatehouse_business_validation_calls_total{api=\"orders\",outcome=\"passed\"} 5",
            "gatehouse_business_validation_findings_total{api=\"orders\",class=\"format\"} 6",
            "gatehouse_business_validation_findings_total{api=\"orders\",class=\"required\"} 6",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    }
}

#[tokio::test]
async fn each_part_of_a_call_has_its_refusal() {
    let (_service, site) = site().await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let good = "{\"sku\":\"ABC-1\"}";
    let deep = format!("{{\"sku\":\"ABC-1\",\"parts\":{}", "[".repeat(10_000));
    let cases: [(&str, String, u16, &[&str]); 8] = [
        ("/orders/0", good.to_owned(), 400, &["path /id minimum"]),
        ("/orders/7?mode=x&other=1", good.to_owned(), 400, &["query /other unknown", "query /mode enum"]),
        ("/orders/7", String::new(), 400, &["body  required"]),
        ("/orders/7", "{\"sku\":\"ABC-1\",\"sku\":\"x\"}".to_owned(), 400, &["body /sku duplicateKey"]),
        ("/orders/7", "{\"sku\":".to_owned(), 400, &["body  syntax"]),
        ("/orders/7", "\u{feff}{\"sku\":\"ABC-1\"}".to_owned(), 400, &["body  syntax"]),
        ("/orders/7", deep, 400, &["body /parts/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0 depth"]),
        ("/orders/7", format!("[{}1]", "1,".repeat(40_000)), 413, &["body  size"]),
    ];
    for (target, body, status, expected) in cases {
        let answer = put(&mut edge, target, body).await;
        assert_eq!((answer.status, errors(&answer)), (status, expected.iter().map(|&one| one.to_owned()).collect()));
    }
    let xml = request("PUT", "/orders/7").header("content-type", "application/xml");
    let answer = edge.exchange(xml.body(full("<a/>")).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "content_type_unsupported"));
    let zipped =
        request("PUT", "/orders/7").header("content-type", "application/json").header("content-encoding", "gzip");
    let answer = edge.exchange(zipped.body(full("\u{1f}")).unwrap()).await;
    assert_eq!((answer.status, errors(&answer)), (415, vec!["body  contentEncoding".to_owned()]));
    assert_eq!(site.gateway.identity.room.used(), 0);
}

#[tokio::test]
async fn the_answer_names_pointer_and_rule_in_both_envelopes() {
    let (_service, site) = site().await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let expected = json!([{ "in": "body", "pointer": "/amount", "rule": "minimum", "message": "must be at least 1" }]);
    let answer = put(&mut edge, "/orders/7", "{\"sku\":\"ABC-1\",\"amount\":0}").await;
    let mut problem: Value = serde_json::from_slice(&answer.body).unwrap();
    problem.as_object_mut().unwrap().remove("request_id").unwrap();
    assert_eq!(
        problem,
        json!({ "type": "urn:gatehouse:problem:request_invalid", "title": "Not as declared", "status": 400,
            "code": "request_invalid", "sub_code": "isv.invalid-request", "errors": expected })
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let answer = put(&mut edge, "/platform/7", "{\"sku\":\"ABC-1\",\"amount\":0}").await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let error = &body["error_response"];
    assert_eq!((answer.status, &error["errors"]), (200, &expected));
    assert_eq!((&error["code"], &error["sub_code"]), (&json!(41), &json!("isv.invalid-request")));
}

#[tokio::test]
async fn what_is_only_observed_passes_untouched() {
    for protocol in BOTH {
        let (service, site) = site().await;
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = put(&mut edge, "/seen/0?x=1", "{\"amount\":0}").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let line = site.line(|line| line["validation"] == "observed").await;
        assert_eq!((&line["invalid"], &line["bytes_in"]), (&json!("path /id minimum"), &json!(12)));
        // Larger than what is held, and of a length that nobody knows.
        let large = put(&mut edge, "/seen/7", vec![b' '; 100_000]).await;
        assert_eq!(large.status, 200, "{}", large.text());
        let (sender, body) = by_hand();
        let sending = tokio::spawn(async move {
            for _ in 0..10 {
                sender.send(Bytes::from(vec![b'x'; 10_000])).await.unwrap();
            }
        });
        let streamed = request("PUT", "/seen/7").header("content-type", "application/json");
        let answer = edge.exchange(streamed.body(body).unwrap()).await;
        sending.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        site.line(|line| line["validation"] == "unchecked" && line["bytes_in"] == 100_000).await;
        assert_eq!(service.requests(), 3);
        let metrics = site.gateway.metrics.render();
        assert!(metrics.contains("validation_calls_total{api=\"seen\",outcome=\"unchecked\"} 2"), "{metrics}");
        assert!(metrics.contains("validation_calls_total{api=\"seen\",outcome=\"observed\"} 1"), "{metrics}");
    }
}

#[tokio::test]
async fn of_an_endless_body_no_more_is_read_than_its_bound() {
    for protocol in BOTH {
        let (service, site) = site().await;
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        // Ten mebibytes, as far as somebody takes them.
        let sending = tokio::spawn(async move {
            for _ in 0..640 {
                if sender.send(Bytes::from(vec![b' '; 16 * 1024])).await.is_err() {
                    break;
                }
            }
        });
        let endless = request("PUT", "/orders/7").header("content-type", "application/json");
        let answer = edge.exchange(endless.body(body).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "validated_body_too_large"), "{protocol:?}");
        assert_eq!(errors(&answer), ["body  size"]);
        let line = site.line(|line| line["reason"] == "validated_body_too_large").await;
        let read = line["bytes_in"].as_u64().unwrap();
        assert!((64 * 1024..64 * 1024 + 512 * 1024).contains(&read), "{read} bytes were read, 65536 are allowed");
        assert_eq!(site.gateway.identity.room.used(), 0);
        assert_eq!(service.seen.requests.load(Ordering::Relaxed), 0);
        sending.abort();
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_with_the_call() {
    let (_service, site) = site().await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let said = crate::support::client::Said { left: Duration::from_millis(100), ..Default::default() };
    let (_sender, body) = by_hand();
    let request =
        crate::support::client::request_as("PUT", "/orders/7", said).header("content-type", "application/json");
    let answer = edge.exchange(request.body(body).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"));
    assert_eq!(site.gateway.identity.room.used(), 0);
}

#[tokio::test]
async fn a_schema_is_swapped_live_and_a_wrong_one_changes_nothing() {
    let (_service, site) = site().await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let body = "{\"sku\":\"abc\"}";
    assert_eq!(put(&mut edge, "/orders/7", body).await.status, 400);
    site.write("shop.yaml", &SHOP.replace("^[A-Z]{3}", "^(?=x)"));
    let ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("not refused") };
    let text = errors.to_string();
    assert!(text.contains("linear time") && text.contains("catalog.toml:13:"), "{text}");
    assert!(text.contains("shop#/components/schemas/Order/properties/sku/pattern"), "{text}");
    assert_eq!(put(&mut edge, "/orders/7", body).await.status, 400);
    site.write("shop.yaml", &SHOP.replace("^[A-Z]{3}-[0-9]+$", "^[a-z]+$"));
    assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
    assert_eq!(put(&mut edge, "/orders/7", body).await.status, 200);
}
