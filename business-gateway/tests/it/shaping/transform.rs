//! Another shape of bodies, other header fields.

use serde_json::{Value, json};

use super::{PACKAGE, Said, Speaker, app, get_as, site};
use crate::support::client::{BOTH, Edge, full, request};

const TRANSFORM: &str = r#"
[api.transform]
remove_headers = ["server", "x-internal"]
set_headers = { x-app = "{{ app.key }}", x-page = "{{ query.page }}" }
add_headers = { vary = "x-api-key" }
answer = [
  { op = "rename", path = "items.*.n", to = "number" },
  { op = "move", path = "meta.next", to = "next" },
  { op = "remove", path = "meta" },
  { op = "wrap", to = "data" },
  { op = "set", path = "request", value = "{{ request_id }}" },
  { op = "set", path = "version", value = 2 },
]
request = [{ op = "rename", path = "customer", to = "client" }, { op = "set", path = "by", value = "{{ app.key }}" }]
body_max = "64KiB"
"#;

fn catalog(speaker: &Speaker) -> String {
    let api = format!(
        "[[api]]\nname = \"all\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\naccess = \"open\"\n\
         fields = [{{ path = \"items.*.secret\", level = 2 }}]\n{TRANSFORM}"
    );
    [speaker.table(), PACKAGE.to_owned(), app("shop", 0), api].concat()
}

#[tokio::test]
async fn an_answer_gets_another_shape_after_what_is_hidden_is_gone() {
    let says = Said::json(r#"{"items":[{"n":1,"secret":"S3CRET"},{"n":2}],"meta":{"next":"/2","x":1}}"#)
        .with("server", "x/1")
        .with("x-page", "of the service")
        .with("content-digest", "sha-256=:AAAA:");
    let speaker = Speaker::start(says).await;
    let site = site(&catalog(&speaker), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = get_as(&mut edge, "shop", "/x?page=a%0Ab").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["data"], json!({ "items": [{ "number": 1 }, { "number": 2 }], "next": "/2" }));
        assert_eq!((&body["version"], body["request"].as_str().unwrap().len()), (&json!(2), 32));
        assert_eq!(
            (answer.header("x-app"), answer.header("server"), answer.header("content-digest")),
            ("shop", "", "")
        );
        assert_eq!(answer.header("x-page"), "", "a line feed does not fit into a header field");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    }
    speaker.say(Said::json("{\"items\":[]}").status(404));
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let answer = get_as(&mut edge, "shop", "/x").await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("x-app")), (404, "{\"items\":[]}", "shop"));
    let large = format!("[{}1]", "1,".repeat(40_000));
    for said in [Said::json(large.clone()), Said::json(large).cut(1000)] {
        speaker.say(said);
        let answer = get_as(&mut edge, "shop", "/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "answer_untransformed"));
    }
}

#[tokio::test]
async fn a_request_gets_another_shape_before_a_service_sees_it() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = site(&catalog(&speaker), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let mut post = async |content_type: &str, body: String| {
            let sent = request("POST", "/x").header("x-api-key", "shop.k3y").header("content-type", content_type);
            edge.exchange(sent.body(full(body)).unwrap()).await
        };
        let answer = post("application/json", r#"{"customer": 7, "list": [1.5]}"#.to_owned()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let asked = speaker.asked().pop().unwrap();
        assert_eq!(asked.body, r#"{"client":7,"list":[1.5],"by":"shop"}"#);
        assert_eq!(asked.headers["content-length"], asked.body.len().to_string());
        assert_eq!((asked.method.as_str(), asked.target.ends_with("/x")), ("POST", true));
        let count = speaker.asked().len();
        for (content_type, body, status, code) in [
            ("application/json", "{\"a\":".to_owned(), 400, "body_untransformed"),
            ("text/plain", "{}".to_owned(), 400, "body_untransformed"),
            ("application/json", "[".repeat(1000), 400, "body_untransformed"),
            ("application/json", " ".repeat(65 * 1024), 413, "transform_body_too_large"),
        ] {
            let answer = post(content_type, body).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code));
        }
        assert_eq!(speaker.asked().len(), count, "what is refused reaches no service");
    }
    assert_eq!(site.gateway.shape_room.used(), 0);
}

#[tokio::test]
async fn mistakes_are_named_where_they_stand() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = site(&speaker.table(), "").await;
    for (more, expected) in [
        ("answer = [{ op = \"rename\", path = \"a\" }]", "no name of 1 to 64 bytes"),
        ("request = [{ op = \"remove\", path = \"**.a\" }]", "is not for transforms"),
        ("set_headers = { content-length = \"1\" }", "\\\"content-length\\\" cannot be changed"),
        ("set_headers = { a = \"{{ nobody }}\" }", "the template of a is wrong"),
        ("add_headers = { a = \"b\\nc\" }", "is not the value of a header field"),
        ("body_max = \"0B\"", "not a length of bodies"),
    ] {
        let api = "[[api]]\nname = \"a\"\nservice = \"sample\"\npath = \"/\"\n[api.transform]\n";
        site.write("catalog.toml", &format!("{}{api}{more}\n", speaker.table()));
        let outcome = format!("{:?}", site.gateway.live.reload());
        assert!(outcome.contains(expected), "{more}: {outcome}");
    }
}
