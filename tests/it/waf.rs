//! The rules at the edge: what they refuse does not get through, whatever way it takes, and what they let pass arrives whole.

use bytes::Bytes;
use gatehouse_tests::client::{Answer, Raw, Target, full, streamed};
use gatehouse_tests::recorder::Recorder;
use gatehouse_tests::site::{Handoff, Plan, Site};
use http::Method;

use crate::Passed;

/// Two rules: one on any argument, one on headers. What they look for occurs nowhere else.
const RULES: &str = r#"
SecRule ARGS|ARGS_NAMES|FILES|REQUEST_BODY "@contains evil-payload" "id:10001,phase:2,deny,status:403,msg:'evil payload',severity:CRITICAL,tag:'attack/test'"
SecRule REQUEST_HEADERS:X-Bad "@streq yes" "id:10002,phase:1,deny,status:406,msg:'bad header'"
"#;

const WAF: &str = "[waf]\nrules = [\"rules.conf\"]\n";

fn plan(more: &str) -> Plan {
    Site::plan()
        .edge(format!("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n{WAF}{more}"))
        .edge_file("rules.conf", RULES)
}

fn form(
    target: &Target,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<http::Request<gatehouse_tests::client::Body>> {
    let request = target.request(Method::POST, path)?;
    Ok(request.header("content-type", "application/x-www-form-urlencoded").body(full(body))?)
}

async fn post(target: &Target, content_type: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
    let request = target.request(Method::POST, "/echo")?.header("content-type", content_type);
    target.exchange(request.body(full(body))?).await
}

/// `a=x…` of this length in all.
fn long_form(length: usize) -> String {
    format!("a={}", "x".repeat(length - 2))
}

#[tokio::test]
async fn a_refused_request_gets_a_page_and_a_line_that_names_the_rule() -> Passed {
    let site = plan("").start().await?;
    let target = site.target();
    let refused = target.get("/products?q=an+evil-payload").await?;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "waf_denied"));
    assert!(!refused.text().contains("evil"), "{}", refused.text());
    let id = refused.header("x-request-id").to_owned();
    let line = site.edges[0].security_line("the refusal", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!(
        (&line["stage"], &line["reason"], &line["mode"]),
        (&"waf".into(), &"waf_denied".into(), &"enforce".into())
    );
    assert_eq!((&line["rule"], &line["matched_in"]), (&"10001".into(), &"ARGS:q".into()), "{line}");
    let rule = &line["rules"][0];
    assert_eq!((&rule["id"], &rule["message"]), (&10001.into(), &"evil payload".into()), "{line}");
    assert_eq!((&rule["severity"], &rule["tags"][0]), (&"critical".into(), &"attack/test".into()), "{line}");
    assert_eq!((&rule["file"], &rule["line"]), (&"rules.conf".into(), &2.into()), "{line}");
    let request = target.request(Method::GET, "/products")?.header("x-bad", "yes");
    let refused = target.exchange(request.body(gatehouse_tests::client::empty())?).await?;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (406, "waf_denied"));
    assert_eq!(refused.json()?["status"], 406, "the page says what the head says");
    assert_eq!(target.get("/products?q=good").await?.status, 200);
    let reason = [("reason", "waf_denied")];
    site.edges[0].admin()?.counted("gatehouse_edge_refused_total", &reason, 2.0..=2.0).await?;
    let verdicts = [("stage", "waf"), ("verdict", "deny"), ("reason", "waf_denied")];
    site.edges[0].admin()?.counted("gatehouse_edge_admission_verdicts_total", &verdicts, 2.0..=2.0).await?;
    Ok(())
}

/// Every way a payload can take, over both protocols of clients and both between the tiers.
#[tokio::test]
async fn no_byte_of_a_refused_body_reaches_tier_two() -> Passed {
    for handoff in [Handoff::H2c, Handoff::Http1] {
        let (site, recorder) = Recorder::between_tiers(plan(""), handoff).await?;
        for target in [site.target(), site.target().http2()] {
            recorder.clear();
            let attack = "marker-of-body&a=evil-payload";
            // Short, padded within what is held back, and as argument 101.
            for (name, body) in [
                ("short", attack.to_owned()),
                ("at the end of a long body", format!("{}&{attack}", long_form(100_000))),
                ("as argument 101", format!("{}{attack}", "a=b&".repeat(100))),
            ] {
                let refused = target.exchange(form(&target, "/echo", body)?).await?;
                assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "waf_denied"), "{name}");
            }
            // Without a length, cut in the middle of the payload.
            let (sender, body) = streamed();
            let request =
                target.request(Method::PUT, "/echo")?.header("content-type", "application/x-www-form-urlencoded");
            let exchange = target.exchange(request.body(body)?);
            let feed = async {
                for piece in ["marker-of-body", "&a=evil-", "pay", "load", "&b=c"] {
                    sender.send(Bytes::from_static(piece.as_bytes())).await?;
                }
                drop(sender);
                anyhow::Ok(())
            };
            let (refused, fed) = tokio::join!(exchange, feed);
            fed?;
            assert_eq!(refused?.code(), "waf_denied", "chunks");
            let json = r#"{"marker-of-body": {"evil-payload": 1}}"#;
            assert_eq!(post(&target, "application/json", json).await?.code(), "waf_denied", "a key of JSON");
            let parts = "--b\r\nContent-Disposition: form-data; name=\"marker-of-body\"; filename=\"evil-payload.txt\"\r\n\r\nx\r\n--b--\r\n";
            let refused = post(&target, "multipart/form-data; boundary=b", parts).await?;
            assert_eq!(refused.code(), "waf_denied", "the name of a file");
            let padded = format!("{}&{attack}", long_form(140_000));
            assert_eq!(
                target.exchange(form(&target, "/echo", padded)?).await?.code(),
                "waf_body_too_large",
                "padded past the cap"
            );
            assert!(!recorder.has("marker-of-body"), "{handoff:?}: a byte of a body got through");
        }
        let stats = site.services[0].stats().await?;
        assert_eq!(stats.requests, 0, "{handoff:?}: the service saw a request");
    }
    Ok(())
}

#[tokio::test]
async fn what_passes_arrives_whole() -> Passed {
    for handoff in [Handoff::H2c, Handoff::Http1] {
        let site = plan("").handoff(handoff).start().await?;
        for target in [site.target(), site.target().http2()] {
            for length in [2, 1_000, 65_536, 65_537, 131_072] {
                let answer = target.exchange(form(&target, "/echo", long_form(length))?).await?;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.json()?["body"]["length"], length, "{handoff:?}");
            }
            let (sender, body) = streamed();
            let request =
                target.request(Method::POST, "/echo")?.header("content-type", "application/x-www-form-urlencoded");
            let feed = async {
                for _ in 0..100 {
                    sender.send(Bytes::from_static(b"a=0123456&")).await?;
                }
                drop(sender);
                anyhow::Ok(())
            };
            let (answer, fed) = tokio::join!(target.exchange(request.body(body)?), feed);
            fed?;
            assert_eq!(answer?.json()?["body"]["length"], 1_000, "{handoff:?}");
            // Rules do not look at what is no form, JSON, XML or text: it streams, however long.
            let answer = post(&target, "application/octet-stream", vec![0_u8; 1_000_000]).await?;
            assert_eq!(answer.json()?["body"]["length"], 1_000_000, "{handoff:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn rules_that_detect_hold_nothing_back_and_refuse_nothing() -> Passed {
    let site = plan("mode = \"detect\"\n").start().await?;
    let target = site.target();
    let answer = target.exchange(form(&target, "/echo?n=1", "a=evil-payload")?).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = site.edges[0].security_line("what would have been", |line| line["rule"] == "10001").await?;
    assert_eq!(
        (&line["mode"], &line["status"], &line["reason"]),
        (&"observe".into(), &200.into(), &"waf_denied".into())
    );
    assert_eq!(line["rules"][0]["matched_in"], "ARGS:a", "{line}");
    // A long body is looked at as far as it may be, and passes.
    let long = target.exchange(form(&target, "/echo", long_form(300_000))?).await?;
    assert_eq!(long.json()?["body"]["length"], 300_000);
    Ok(())
}

#[tokio::test]
async fn a_route_has_its_own_mode_and_its_own_way_with_long_bodies() -> Passed {
    let routes = "[[route]]\npath_prefix = \"/\"\ncluster = \"business\"\n\
                  [[route]]\npath_prefix = \"/products\"\ncluster = \"business\"\nwaf = { mode = \"off\" }\n\
                  [[route]]\npath_prefix = \"/echo\"\ncluster = \"business\"\nwaf = { body_beyond = \"inspect_prefix\" }\n\
                  [[route]]\npath_prefix = \"/echo/stream\"\ncluster = \"business\"\nwaf = { body_beyond = \"stream\" }\n";
    let site = plan("").edge(routes).start().await?;
    let target = site.target();
    assert_eq!(target.get("/products?q=evil-payload").await?.status, 200);
    let late = format!("{}&a=evil-payload", long_form(200_000));
    let answer = target.exchange(form(&target, "/echo", late.clone())?).await?;
    assert_eq!(answer.json()?["body"]["length"], late.len(), "{}", answer.text());
    site.edges[0].admin()?.counted("gatehouse_edge_waf_prefix_only_total", &[], 1.0..=1.0).await?;
    let early = format!("a=evil-payload&{}", long_form(200_000));
    assert_eq!(target.exchange(form(&target, "/echo", early)?).await?.code(), "waf_denied");
    let answer = target.exchange(form(&target, "/echo/stream", "a=evil-payload")?).await?;
    assert_eq!(answer.status, 200, "bodies stream here");
    assert_eq!(target.get("/echo/stream?a=evil-payload").await?.code(), "waf_denied", "targets are looked at");
    Ok(())
}

#[tokio::test]
async fn held_bodies_have_a_bound_in_all() -> Passed {
    let site = plan("[waf.body]\nmax = \"64KiB\"\nheld_max = \"64KiB\"\n").start().await?;
    let target = site.target();
    let mut first = Raw::open(&target).await?;
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
    let piece = format!("ea60\r\n{}\r\n", long_form(60_000));
    first.write(format!("{head}{piece}")).await?;
    let edge = &site.edges[0];
    edge.admin()?.counted("gatehouse_edge_waf_held_bytes", &[], 60_000.0..).await?;
    let mut second = Raw::open(&target).await?;
    let refused = second.exchange(format!("{head}{piece}0\r\n\r\n")).await?;
    assert_eq!((refused.status, refused.code().as_str()), (503, "waf_memory_full"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    first.write("0\r\n\r\n").await?;
    assert_eq!(first.final_answer().await?.status, 200);
    edge.admin()?.counted("gatehouse_edge_waf_held_bytes", &[], 0.0..=0.0).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_rule_is_named_and_the_running_ones_stay() -> Passed {
    let mut site = plan("").start().await?;
    let edge = &site.edges[0];
    edge.write("rules.conf", &format!("{RULES}SecRule ARGS \"@contain x\" \"id:3,phase:2,deny\"\nSecRuel ARGS x\n"))?;
    let checked = edge.command(&["check"])?;
    let text = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(64), "{text}");
    assert!(text.contains("rules.conf:4:") && text.contains("contains"), "{text}");
    assert!(text.contains("rules.conf:5:1:") && text.contains("SecRule"), "{text}");
    edge.poke()?;
    assert_eq!(site.target().get("/products?q=evil-payload").await?.code(), "waf_denied");
    site.edges[0].rewrite("rules.conf", &RULES.replace("evil-payload", "other-payload")).await?;
    assert_eq!(site.target().get("/products?q=evil-payload").await?.status, 200);
    assert_eq!(site.target().get("/products?q=other-payload").await?.code(), "waf_denied");
    site.edge_mut()?.reconfigure("[waf]\nrules = []\n").await?;
    assert_eq!(site.target().get("/products?q=other-payload").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn rules_can_drop_and_redirect() -> Passed {
    let rules = "SecRule ARGS:a \"@streq drop\" \"id:1,phase:2,drop\"\n\
                 SecRule ARGS:a \"@streq away\" \"id:2,phase:2,redirect:https://shop.test/sorry?from=%{REMOTE_ADDR}\"\n";
    let site = plan("").edge_file("rules.conf", rules).start().await?;
    let mut raw = Raw::open(&site.target()).await?;
    raw.write("GET /products?a=drop HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
    assert!(raw.rest().await?.0.is_empty());
    let away = site.target().get("/products?a=away").await?;
    assert_eq!((away.status.as_u16(), away.header("location")), (302, "https://shop.test/sorry?from=127.0.0.1"));
    let dropped = site.edges[0].security_line("the drop", |line| line["rule"] == "1").await?;
    assert_eq!((&dropped["action"], &dropped["status"]), (&"drop".into(), &0.into()), "{dropped}");
    Ok(())
}

#[tokio::test]
async fn answers_are_looked_at_where_that_is_asked_for() -> Passed {
    let rules = "SecResponseBodyAccess On\nSecResponseBodyMimeType application/json\n\
                 SecRule RESPONSE_STATUS \"@streq 404\" \"id:1,phase:3,deny,status:403\"\n\
                 SecRule RESPONSE_BODY \"@contains oak desk\" \"id:2,phase:4,deny\"\n";
    let mut site = plan("answers = \"detect\"\n").edge_file("rules.conf", rules).start().await?;
    let withheld = site.target().get("/no/such/path").await?;
    assert_eq!((withheld.status.as_u16(), withheld.code().as_str()), (403, "waf_answer_denied"));
    assert_eq!(site.target().get("/products").await?.status, 200);
    let line = site.edges[0].security_line("the body", |line| line["rule"] == "2").await?;
    assert_eq!((&line["mode"], &line["reason"]), (&"observe".into(), &"waf_answer_denied".into()), "{line}");
    site.edge_mut()?.reconfigure("[waf]\nanswers = \"abort\"\n").await?;
    // Nothing of a short answer was sent yet.
    assert_eq!(site.target().get("/products").await?.code(), "waf_answer_denied");
    let line = site.edges[0].security_line("the page", |line| line["rule"] == "2" && line["mode"] == "enforce").await?;
    assert_eq!((&line["action"], &line["status"]), (&"page".into(), &403.into()), "{line}");
    Ok(())
}

#[tokio::test]
async fn plain_lists_are_rules_as_well_and_a_white_url_skips_all_of_them() -> Passed {
    let site = plan("list = [{ directory = \"lists\", off = [\"cookie\"] }]\n")
        .edge_file("lists/args", "union.{1,20}select\n\\<script\n")
        .edge_file("lists/cookie", "bad-cookie\n")
        .edge_file("lists/post", "drop\\s+table\n")
        .edge_file("lists/url", "\\.bak$\n")
        .edge_file("lists/user-agent", "sqlmap\n")
        .edge_file("lists/whiteurl", "\n^/echo/free\n")
        .start()
        .await?;
    let target = site.target();
    for path in ["/products?q=UNION+all+select+1", "/products?q=%3Cscript%3E", "/site.bak", "/products?q=evil-payload"]
    {
        assert_eq!(target.get(path).await?.code(), "waf_denied", "{path}");
    }
    assert_eq!(target.get("/products?q=description").await?.status, 200, "no word that only begins like one");
    for (name, value, status) in [("user-agent", "sqlmap/1.8", 403), ("cookie", "a=bad-cookie", 200)] {
        let request = target.request(Method::GET, "/products")?.header(name, value);
        assert_eq!(target.exchange(request.body(gatehouse_tests::client::empty())?).await?.status, status, "{name}");
    }
    assert_eq!(target.get("/echo/free?q=evil-payload").await?.status, 200);
    let refused = target.exchange(form(&target, "/echo", "a=b&c=drop%20table")?).await?;
    assert_eq!(refused.code(), "waf_denied", "bodies too");
    let line = site.edges[0].security_line("a line of a list", |line| line["rules"][0]["file"] == "lists/url").await?;
    assert_eq!(line["rules"][0]["line"], 1, "{line}");
    Ok(())
}

#[tokio::test]
async fn lists_of_addresses_refuse_clients_and_let_others_skip_the_rules() -> Passed {
    let site = plan("list = [{ directory = \"rule-config\" }]\n")
        .edge_file("rule-config/blackip.rule", "^127\\.0\\.0\\.66$\n127.0.7.\n")
        .edge_file("rule-config/whiteip.rule", "127.0.0.9\n")
        .edge_file("rule-config/args.rule", "listed-payload\n")
        .start()
        .await?;
    let from = |address: &str| anyhow::Ok(site.target().from(address.parse()?));
    for address in ["127.0.0.66", "127.0.7.1"] {
        let refused = from(address)?.get("/products").await?;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "waf_denied"), "{address}");
    }
    assert_eq!(from("127.0.0.6")?.get("/products").await?.status, 200);
    for path in ["/products?q=evil-payload", "/products?q=listed-payload"] {
        assert_eq!(from("127.0.0.6")?.get(path).await?.code(), "waf_denied", "{path}");
        assert_eq!(from("127.0.0.9")?.get(path).await?.status, 200, "{path}");
    }
    let line = site.edges[0].security_line("the client", |line| line["matched_in"] == "REMOTE_ADDR").await?;
    assert_eq!((&line["rule"], &line["matched"]), (&"8200000".into(), &"127.0.0.66".into()), "{line}");
    let checked = site.edges[0].command(&["rules", "check"])?;
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.contains("blackip.rule:2:1:") && text.contains("127.0.7.0/24"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_beginning_of_a_long_document_is_judged_without_its_end() -> Passed {
    let rules = format!(
        "{RULES}SecRule REQBODY_ERROR \"!@eq 0\" \"id:10003,phase:2,deny,status:400\"\n\
                         SecRule ARGS \"@pmFromFile words.data\" \"id:10004,phase:2,deny\"\n"
    );
    let site = plan("[waf.body]\nbeyond = \"inspect_prefix\"\n")
        .edge("[waf]\nrules = [\"own/rules.conf\"]\n")
        .edge_file("own/rules.conf", rules)
        .edge_file("own/words.data", "# words\nevil-word\n")
        .start()
        .await?;
    let target = site.target();
    let document = |first: &str| format!("{{\"a\": \"{first}\", \"b\": \"{}\"}}", "x".repeat(200_000));
    let long = document("good");
    assert_eq!(post(&target, "application/json", long.clone()).await?.json()?["body"]["length"], long.len());
    assert_eq!(post(&target, "application/json", document("evil-word")).await?.code(), "waf_denied");
    let half = post(&target, "application/json", "{\"a\": \"good\"").await?;
    assert_eq!(
        (half.status.as_u16(), half.code().as_str()),
        (400, "waf_denied"),
        "one that ends too early is malformed"
    );
    Ok(())
}

#[tokio::test]
async fn a_url_on_an_allow_list_skips_the_rules() -> Passed {
    let site = plan("").edge("[access.allow]\nurls = [\"/products\"]\n").start().await?;
    assert_eq!(site.target().get("/products?q=evil-payload").await?.status, 200);
    assert_eq!(site.target().get("/echo?q=evil-payload").await?.code(), "waf_denied");
    Ok(())
}
