//! Who may see how long the steps of a call took.

use super::of;
use crate::support::Site;
use crate::support::client::{Answer, BOTH, Edge, HOP_SECRET, empty, request};
use crate::support::switch::Switch;

async fn call(site: &Site, app: &str, asks: bool) -> Answer {
    let mut sent = request("GET", "/x");
    if !app.is_empty() {
        sent = sent.header("x-api-key", format!("{app}.{HOP_SECRET}"));
    }
    if asks {
        sent = sent.header("x-request-timings", "1");
    }
    let answer = Edge::connect(site.address, BOTH[0]).await.exchange(sent.body(empty()).unwrap()).await;
    assert_eq!(answer.status, 200, "{app}: {}", answer.text());
    answer
}

async fn is_told(site: &Site, app: &str, asks: bool) -> bool {
    call(site, app, asks).await.headers.contains_key("server-timing")
}

#[tokio::test]
async fn an_api_that_says_so_tells_everybody() {
    let (ill, well) = (Switch::start(500).await, Switch::start(200).await);
    let catalog = of(&[&ill, &well], "retry_statuses = [500]") + "upstream = { timings = \"always\" }\n";
    let site = Site::start(&catalog).await;
    let told = [call(&site, "", false).await, call(&site, "", false).await];
    let mut told = told.map(|answer| answer.header("server-timing").to_owned());
    told.sort_by_key(String::len);
    for step in ["caller;dur=", "rules;dur=", "quota;dur=", "upstream;dur=", "total;dur="] {
        assert!(told.iter().all(|told| told.contains(step)), "{step}: {told:?}");
    }
    assert!(told[0].contains(";desc=\"endpoint 2, answered 200\""), "{told:?}");
    let (first, second) = (told[1].find("try1;dur=").unwrap(), told[1].find("try2;dur=").unwrap());
    assert!(told[1].get(first..second).unwrap().contains("endpoint 1, replaced 500"), "{told:?}");
    assert!(!told[1].contains("127.0.0.1"), "addresses are nobody's business");
    // One try is in the header, and not in the log.
    let lines = site.lines();
    let with_attempts = lines.iter().filter(|line| line.get("tries").is_some()).count();
    assert!(with_attempts <= 1, "{lines:?}");
}

#[tokio::test]
async fn otherwise_only_marked_applications_that_ask() {
    let well = Switch::start(200).await;
    let app = |key: &str, packages: &str| {
        format!(
            "[[app]]\nkey = \"{key}\"\napi_keys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\npackages = {packages}\n"
        )
    };
    let packages = "[[package]]\nname = \"all\"\napis = [\"*\"]\n[[package]]\nname = \"diagnostics\"\napis = [\"*\"]\n";
    let apps = [app("usual", "[\"all\"]"), app("marked", "[\"diagnostics\"]")].concat();
    let catalog = [of(&[&well], "").as_str(), packages, &apps].concat();
    let site = Site::with(&catalog, "[upstream]\ntimings_package = \"diagnostics\"\n").await;
    assert!(is_told(&site, "marked", true).await);
    for (app, asks) in [("marked", false), ("usual", true), ("", true)] {
        assert!(!is_told(&site, app, asks).await, "{app}");
    }
    let never = catalog.replace("path = \"/{*rest}\"", "path = \"/{*rest}\"\nupstream = { timings = \"never\" }");
    site.write("catalog.toml", &never);
    site.gateway.live.reload();
    assert!(!is_told(&site, "marked", true).await);
    let nobody = Site::start(&catalog).await;
    assert!(!is_told(&nobody, "marked", true).await, "without a package nobody is marked");
}
