//! What is found wrong with aggregates when a catalog is loaded.

use super::explain::{explain, stages};
use crate::store::catalog::tests::{compile, errors};

const SHOP: &str = r#"
[[service]]
name = "shop"
endpoints = ["127.0.0.1:9001"]

[[api]]
name = "products.show"
access = "open"
service = "shop"
methods = ["GET"]
path = "/products/{id}"

[[api]]
name = "stock.show"
access = "open"
service = "shop"
methods = ["GET", "PUT"]
path = "/stock/{id}"

[[api]]
name = "orders.add"
access = "open"
service = "shop"
methods = ["POST", "PUT"]
path = "/orders"
"#;

/// An API `page` that the aggregate `page` answers.
const PAGE: &str = r#"
[[api]]
name = "page"
access = "open"
aggregate = "page"
methods = ["GET"]
path = "/pages/{id}"

[[aggregate]]
name = "page"
"#;

fn call(name: &str, api: &str, more: &str) -> String {
    format!("[[aggregate.call]]\nname = \"{name}\"\napi = \"{api}\"\n{more}\n")
}

fn page(calls: &str) -> String {
    format!("{SHOP}{PAGE}{calls}")
}

/// The only mistake of a catalog.
fn mistake(text: &str) -> String {
    let found = errors(text);
    match found.as_slice() {
        [one] => one.clone(),
        others => panic!("{others:#?}"),
    }
}

#[test]
fn the_plan_is_found_from_the_references() {
    let calls = [
        call("stock", "stock.show", "params = { id = \"product.body.sku\" }\nneed = \"optional\"\ntimeout = \"300ms\""),
        call("product", "products.show", "params = { id = \"request.params.id\" }"),
        call(
            "twin",
            "products.show",
            "params = { id = \"request.query.twin\" }\nwhen = \"request.query.twin is defined\"\nneed = \"default\"\ndefault = { name = \"none\" }",
        ),
        call(
            "order",
            "orders.add",
            "method = \"POST\"\nbody = \"{'id': product.body.id, 'left': stock.body.left}\"\nwhen = \"not twin.ok\"",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let catalog = compile(dir.path(), &page(&calls.concat())).unwrap_or_else(|errors| panic!("{errors}"));
    let aggregate = catalog.aggregates.find("page").unwrap();
    let stages: Vec<Vec<&str>> =
        stages(aggregate).iter().map(|calls| calls.iter().map(|call| &*call.name).collect()).collect();
    assert_eq!(stages, [vec!["product", "twin"], vec!["stock"], vec!["order"]]);
    insta::assert_snapshot!(explain(aggregate, &catalog).unwrap(), @r"
    aggregate page
    answers   page (/pages/{id})
    calls     4 in 3 stages

    stage 1, at the same time
      product: GET /products/{request.params.id}
        api     products.show, service shop
        need    required
      twin: GET /products/{request.query.twin}
        api     products.show, service shop
        when    request.query.twin is defined
        need    default

    stage 2
      stock: GET /stock/{product.body.sku}
        api     stock.show, service shop
        after   product
        need    optional
        timeout 300ms

    stage 3
      order: POST /orders
        api     orders.add, service shop
        after   stock, product, twin
        when    not twin.ok
        need    required

    answer    the answers under their names
    ");
}

#[test]
fn a_value_that_means_nothing_is_named_with_its_line() {
    let product = |more: &str| page(&call("product", "products.show", more));
    let line = (SHOP.to_owned() + PAGE).lines().count() + 4;
    let id = "params = { id = \"request.params.id\" }";
    let cases = [
        ("params = { id = \"request.parms.id\" }".to_owned(), "did you mean `request.params`?"),
        ("params = { id = \"prodct.body.id\" }".to_owned(), "did you mean `product`?"),
        ("params = { id = \"request.params.id | uper\" }".to_owned(), "did you mean \"upper\"?"),
        ("params = { id = \"(1\" }".to_owned(), "unexpected"),
        (format!("{id}\nquery = {{ a = \"1 +\" }}"), "unexpected"),
        (format!("{id}\nheaders = {{ host = \"'a'\" }}"), "\"host\" is not a header for a call"),
        (format!("{id}\nheaders = {{ X-Gatehouse-App = \"'a'\" }}"), "is not a header for a call"),
        (format!("{id}\npass_headers = [\"x-forwarded-for\"]"), "is not a header for a call"),
        (format!("{id}\nwhen = \"request.body.a ==\""), "unexpected"),
        (format!("{id}\nmethod = \"POST\""), "\"products.show\" does not take POST (name one of: GET)"),
        (format!("{id}\nneed = \"default\""), "no value to be answered instead"),
        (format!("{id}\ndefault = 1"), "a value that is never answered"),
        (format!("{id}\ntimeout = \"0s\""), "a time of nothing"),
    ];
    for (more, expected) in cases {
        let found = mistake(&product(&more));
        assert!(found.contains(expected), "{more}: {found}");
        let first = line + more.lines().count() - 1;
        assert!(found.starts_with(&format!("catalog.toml:{first}:")), "{more}: {found}");
    }
}

#[test]
fn paths_and_apis_must_fit() {
    let cases = [
        (call("a", "products.shwo", ""), "did you mean \"products.show\"?"),
        (call("a", "products.show", ""), "no value for the parameter \"id\""),
        (call("a", "orders.add", "method = \"PUT\"\nparams = { id = \"1\" }"), "has no parameter \"id\""),
        (call("a", "orders.add", ""), "takes several methods: POST, PUT (name one of them)"),
        (
            call("a", "stock.show", "params = { id = \"request.params.ident\" }"),
            "uses request.params.ident, which the path does not have",
        ),
        (call("errors", "orders.add", "method = \"PUT\""), "\"errors\" is not a name for a call"),
        (call("a-b", "orders.add", "method = \"PUT\""), "\"a-b\" is not a name for a call"),
        (String::new(), "an aggregate of nothing"),
    ];
    for (calls, expected) in cases {
        let found = mistake(&page(&calls));
        assert!(found.contains(expected), "{calls}: {found}");
    }
    let calls = call("a", "orders.add", "method = \"PUT\"");
    let two = page(&calls.repeat(2));
    assert!(mistake(&two).contains("a second call \"a\""));
    let both = page(&calls).replace("aggregate = \"page\"", "aggregate = \"page\"\nservice = \"shop\"");
    assert!(mistake(&both).contains("its calls are answered by \"service\" already"));
    let unknown = page(&calls).replace("aggregate = \"page\"", "aggregate = \"pag\"");
    assert!(mistake(&unknown).contains("no aggregate \"pag\" (did you mean \"page\"?)"));
    let capped = page(&calls).replace("aggregate = \"page\"", "aggregate = \"page\"\nconcurrency = 3");
    assert!(mistake(&capped).contains("an aggregate has no concurrency"));
}

#[test]
fn circles_are_refused_and_named() {
    let to = |name: &str, other: &str| call(name, "products.show", &format!("params = {{ id = \"{other}.body.id\" }}"));
    let own = page(&to("a", "a"));
    assert!(mistake(&own).contains("the call \"a\" looks at its own answer"));
    let calls = [to("first", "c"), to("a", "b"), to("b", "c"), to("c", "a")];
    let found = mistake(&page(&calls.concat()));
    assert!(found.contains("calls that wait for one another: c → a → b → c"), "{found}");
    let by_condition = [
        call("a", "products.show", "params = { id = \"1\" }\nwhen = \"b.ok\""),
        call("b", "products.show", "params = { id = \"1\" }\nwhen = \"not a.ok\""),
    ];
    assert!(mistake(&page(&by_condition.concat())).contains("a → b → a"));
}

/// An API and an aggregate of that name whose only call goes to `next`.
fn chain(name: &str, next: &str, more: &str) -> String {
    format!(
        "[[api]]\nname = \"{name}\"\naccess = \"open\"\nmethods = [\"GET\"]\naggregate = \"{name}\"\npath = \"/{name}\"\n[[aggregate]]\nname = \"{name}\"\n{}",
        call("inner", next, more)
    )
}

#[test]
fn aggregates_inside_of_aggregates_are_bounded() {
    let id = "params = { id = \"1\" }";
    let deep = [SHOP, &chain("a", "b", ""), &chain("b", "c", ""), &chain("c", "products.show", id)].concat();
    assert_eq!(errors(&deep), Vec::<String>::new());
    let deeper = [&deep, chain("z", "a", "").as_str()].concat();
    assert!(mistake(&deeper).contains("more than 3 aggregates inside of one another"));
    let itself = [SHOP, &chain("a", "a", "")].concat();
    assert!(mistake(&itself).contains("an aggregate that contains itself: a → API a → a"));
    let circle = errors(&[SHOP, &chain("a", "b", ""), &chain("b", "c", ""), &chain("c", "b", "")].concat());
    assert!(circle.iter().any(|error| error.contains("contains itself: b → API c → c → API b → b")), "{circle:#?}");
    let wide = (0..25).map(|index| call(&format!("c{index}"), "products.show", id)).collect::<String>();
    assert!(mistake(&page(&wide)).contains("25 calls, with those of aggregates inside; at most 24"));
}

#[test]
fn templates_are_checked_with_the_catalog() {
    let with = |template: &str| {
        let settings = format!("template = '''{template}'''\n");
        page(&format!("{settings}{}", call("product", "products.show", "params = { id = \"1\" }")))
    };
    assert_eq!(errors(&with("{\"a\": {{ product.body.name }}, \"e\": {{ errors }}}")), Vec::<String>::new());
    for (template, expected) in [
        ("{{ prodct.body }}", "did you mean `product`?"),
        ("{% if product.ok %}1", "unexpected"),
        ("{{ product.body | tojson }}", "no filter \"tojson\""),
        ("{% include 'x' %}", "no statement \"include\""),
    ] {
        let found = mistake(&with(template));
        assert!(found.contains(expected), "{template}: {found}");
    }
    let product = call("product", "products.show", "params = { id = \"1\" }");
    let typed = page(&format!("content_type = \"text/html\"\n{product}"));
    assert!(mistake(&typed).contains("\"text/html\" is not a kind of JSON"));
}
