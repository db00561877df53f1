//! What does not pass, what the caller is told, and what the edge is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_shared::hop::Auth;

use super::{API_SECRET, Made, SECRET, app, catalog, outcome, seen, start, start_with};
use crate::support::client::{BOTH, Edge};
use crate::support::service::Service;
use crate::support::until;

fn with_key(target: &str, key: &str) -> Made {
    Made::new("GET", target, &[("x-api-key", key)], "")
}

fn good() -> String {
    format!("shop.{API_SECRET}")
}

#[tokio::test]
async fn each_reason_has_its_code() {
    let service = Service::start().await;
    let apps = [
        app("shop", ""),
        app("off", "status = \"disabled\""),
        app("over", "expires = \"2020-01-01T00:00:00Z\""),
        app("strict", "schemes = [\"signature\"]"),
    ];
    let site = start_with(&(catalog(&service, "") + &*apps.concat()), "").await;
    let get = |target: &str, headers: &[(&str, &str)]| Made::new("GET", target, headers, "");
    let cases: Vec<(Made, u16, &str, Auth)> = vec![
        (get("/any", &[]), 401, "credentials_missing", Auth::Anonymous),
        (get("/any", &[("x-session-token", "t")]), 401, "credentials_missing", Auth::Anonymous),
        (get("/any", &[("x-api-key", "x")]), 401, "credentials_malformed", Auth::Failed),
        (get("/any", &[("authorization", "Digest x")]), 401, "credentials_malformed", Auth::Failed),
        (get("/any", &[("authorization", "Bearer x")]), 401, "credentials_malformed", Auth::Failed),
        (get("/any", &[("signature", "a=:AAAA:")]), 401, "credentials_malformed", Auth::Failed),
        (
            get("/any", &[("x-api-key", &good()), ("authorization", "Basic eDp5")]),
            401,
            "credentials_ambiguous",
            Auth::Failed,
        ),
        (with_key("/any", "shop.wrong"), 401, "credentials_refused", Auth::Failed),
        (with_key("/any", "nobody.k3y"), 401, "credentials_refused", Auth::Failed),
        (with_key("/any", "strict.k3y"), 401, "credentials_refused", Auth::Failed),
        (with_key("/any", "off.k3y"), 403, "app_disabled", Auth::Failed),
        (with_key("/any", "off.wrong"), 401, "credentials_refused", Auth::Failed),
        (with_key("/any", "over.k3y"), 403, "app_disabled", Auth::Failed),
        (get("/any", &[]).signed("shop", SECRET, "n1", 301), 401, "signature_expired", Auth::Failed),
        (get("/any", &[]).signed("shop", "wrong", "n2", 0), 401, "credentials_refused", Auth::Failed),
        (get("/any", &[]).signed("shop/one", SECRET, "n3", 0), 401, "credentials_refused", Auth::Failed),
        (get("/keys", &[]).signed("shop", SECRET, "n4", 0), 401, "credentials_refused", Auth::Failed),
        (with_key("/user", &good()), 401, "user_missing", Auth::App),
        (with_key("/open", "shop.wrong"), 401, "credentials_refused", Auth::Failed),
        (
            Made::new("POST", "/small", &[], "more than sixteen bytes").signed("shop", SECRET, "n5", 0),
            413,
            "signed_body_too_large",
            Auth::Anonymous,
        ),
    ];
    for protocol in BOTH {
        for (call, status, code, auth) in &cases {
            let mut edge = Edge::connect(site.address, protocol).await;
            let answer = call.send(&mut edge).await;
            assert_eq!(outcome(&answer), (*status, (*code).to_owned()), "{protocol:?} {call:?} {}", answer.text());
            assert_eq!(answer.result().auth, *auth, "{code}");
            assert_eq!(answer.header("www-authenticate").is_empty(), *status != 401, "{code}");
        }
    }
    assert_eq!(service.requests(), 0);
    let line = site.line(|line| line["reason"] == "credentials_refused").await;
    assert!(line["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{line}");
}

#[tokio::test]
async fn a_body_that_was_changed_is_refused() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let nonce = format!("{protocol:?}");
        let mut call =
            Made::new("POST", "/any", &[("content-type", "text/plain")], "hello").signed("shop", SECRET, &nonce, 0);
        call.body = b"hullo".to_vec();
        let answer = call.send(&mut edge).await;
        assert_eq!(outcome(&answer), (401, "digest_mismatch".to_owned()), "{protocol:?}");
        call.body = b"hello".to_vec();
        let answer = call.send(&mut edge).await;
        assert_eq!(outcome(&answer), (200, "ok".to_owned()), "the nonce is not used up by it");
        call.headers.insert("content-type", "text/html".parse().unwrap());
        assert_eq!(outcome(&call.send(&mut edge).await), (401, "credentials_refused".to_owned()));
    }
}

#[tokio::test]
async fn nobody_learns_which_applications_there_are() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    let prover = &site.gateway.identity.prover;
    let counts =
        || [&prover.hmacs, &prover.md5s, &prover.ed25519s, &prover.secrets].map(|count| count.load(Ordering::Relaxed));
    let ed25519 = |key: &str| {
        let mut call = Made::new("GET", "/any", &[], "").signed(key, "x", "n", 0);
        let input = call.headers["signature-input"].to_str().unwrap().replace("hmac-sha256", "ed25519");
        call.headers.insert("signature-input", input.parse().unwrap());
        let signature = format!("sig1=:{}==:", "A".repeat(86));
        call.headers.insert("signature", signature.parse().unwrap());
        call
    };
    let platform = |key: &str, method: &str, digits: usize| {
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let now = jiff::Timestamp::from_millisecond(clock::unix_ms().try_into().unwrap()).unwrap().to_zoned(zone);
        let target = format!(
            "/plain?app_key={key}&method=plain&sign_method={method}&timestamp={}&sign={}",
            now.strftime("%Y-%m-%d+%H:%M:%S"),
            "A".repeat(digits)
        );
        Made::new("GET", &target, &[], "")
    };
    let basic = |encoded: &str| Made::new("GET", "/any", &[("authorization", &format!("Basic {encoded}"))], "");
    let pairs = [
        (
            Made::new("GET", "/any", &[], "").signed("shop", "x", "n", 0),
            Made::new("GET", "/any", &[], "").signed("nobody", "x", "n", 0),
        ),
        (ed25519("shop"), ed25519("nobody")),
        (platform("shop", "hmac-sha256", 64), platform("nobody", "hmac-sha256", 64)),
        (platform("shop", "md5", 32), platform("nobody", "md5", 32)),
        (with_key("/any", "shop.wrong"), with_key("/any", "nobody.wrong")),
        // shop:wrong and nobody:wrong
        (basic("c2hvcDp3cm9uZw=="), basic("bm9ib2R5Ondyb25n")),
    ];
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for (wrong, unknown) in pairs {
        let mut done = Vec::new();
        for call in [wrong, unknown] {
            let before = counts();
            let answer = call.send(&mut edge).await;
            assert_eq!(outcome(&answer), (401, "credentials_refused".to_owned()), "{call:?}: {}", answer.text());
            let mut told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            told["request_id"] = "".into();
            let after = counts();
            let spent: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
            assert!(spent.iter().sum::<u64>() > 0, "{call:?}");
            done.push((spent, told));
        }
        assert_eq!(done[0], done[1]);
    }
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_credential_comparisons_total{kind=\"hmac\"} 8"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_known_is_no_401() {
    let service = Service::start().await;
    let settings = "[store]\nkind = \"redis\"\nurls = [\"unix:///nowhere/redis.sock\"]\n\
        [apps]\nsealing_keys = [{ id = \"1\", secret = { file = \"hop.key\" } }]\ncheck_key = { file = \"hop.key\" }\n";
    let site = start(&service, "", settings).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let signed = |key: &str| Made::new("GET", "/any", &[], "").signed(key, SECRET, "n", 0);
    for call in [with_key("/any", "elsewhere.k3y"), signed("elsewhere")] {
        let answer = call.send(&mut edge).await;
        assert_eq!(outcome(&answer), (503, "identity_unavailable".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(outcome(&signed("shop").send(&mut edge).await), (200, "ok".to_owned()), "that one is in a file");
}

#[tokio::test]
async fn open_apis_take_everybody_and_look_at_credentials_unless_told_not_to() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let forged = [("x-gatehouse-app", "shop"), ("x-gatehouse-user", "root")];
    let answer = Made::new("GET", "/open", &forged, "").send(&mut edge).await;
    assert_eq!((answer.status, seen(&answer, "x-gatehouse-app"), seen(&answer, "x-gatehouse-user")), (200, None, None));
    assert_eq!(answer.result().auth, Auth::Anonymous);
    let answer = with_key("/open", &good()).send(&mut edge).await;
    assert_eq!((answer.status, seen(&answer, "x-gatehouse-app").as_deref()), (200, Some("shop")));
    let answer = Made::new("GET", "/blind", &[("authorization", "Custom of the service")], "").send(&mut edge).await;
    assert_eq!((answer.status, seen(&answer, "authorization").as_deref()), (200, Some("Custom of the service")));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = Made::new("POST", "/open", &form, &"a=b&".repeat(400_000)).send(&mut edge).await;
    assert_eq!(answer.status, 200, "nothing is held of a form that nobody has to sign");
    let answer = with_key("/passing", &good()).send(&mut edge).await;
    assert_eq!(seen(&answer, "x-api-key"), Some(good()));
}

#[tokio::test]
async fn apis_for_users_need_a_session_that_counts() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    let authorize = async |life: Duration| {
        let scopes = vec!["orders.read".to_owned()];
        site.gateway.apps.authorize("shop", "alice".to_owned(), scopes, life).await.unwrap().0.clear
    };
    let (good_one, short) = (authorize(Duration::from_secs(600)).await, authorize(Duration::from_secs(4)).await);
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let with = |token: &str| Made::new("GET", "/user", &[("x-api-key", &good()), ("x-session-token", token)], "");
    assert_eq!(outcome(&with("none").send(&mut edge).await), (401, "user_missing".to_owned()));
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    let over = loop {
        let answer = with(&short).send(&mut edge).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "the session does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(outcome(&over), (401, "user_expired".to_owned()));
    let call = with(&good_one);
    let answer = call.send(&mut edge).await;
    assert_eq!(outcome(&answer), (200, "ok".to_owned()));
    assert_eq!(seen(&answer, "x-gatehouse-user").as_deref(), Some("alice"));
    assert_eq!(seen(&answer, "x-gatehouse-scopes").as_deref(), Some("orders.read"));
    assert_eq!(seen(&answer, "x-session-token"), None);
    let line = site.line(|line| line["user"] == "alice").await;
    assert_eq!((&line["app"], &line["scheme"]), (&"shop".into(), &"api-key".into()));
}

#[tokio::test]
async fn a_certificate_counts_where_the_call_says_nothing_itself() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let plain = Made::new("GET", "/any", &[], "");
    let answer = edge.exchange(plain.request(Some("CN=shop"))).await;
    assert_eq!(seen(&answer, "x-gatehouse-scheme").as_deref(), Some("mtls"));
    let answer = edge.exchange(plain.request(Some("CN=nobody"))).await;
    assert_eq!(outcome(&answer), (401, "credentials_refused".to_owned()));
    let answer = edge.exchange(with_key("/any", "shop.wrong").request(Some("CN=shop"))).await;
    assert_eq!(outcome(&answer), (401, "credentials_refused".to_owned()));
    let answer = edge.exchange(with_key("/any", &good()).request(Some("CN=nobody"))).await;
    assert_eq!(seen(&answer, "x-gatehouse-scheme").as_deref(), Some("api-key"));
    let answer = edge.exchange(Made::new("GET", "/open", &[], "").request(Some("CN=nobody"))).await;
    assert_eq!((answer.status, seen(&answer, "x-gatehouse-app")), (200, None));
}

#[tokio::test]
async fn bodies_that_are_held_share_one_room() {
    let service = Service::start().await;
    let site = start(&service, "", "[credentials]\nheld_max = \"8B\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (nonce, body, expected) in [("r1", "nine byte", 503), ("r2", "eight by", 200), ("r3", "as many!", 200)] {
            let nonce = format!("{nonce}-{protocol:?}");
            let answer = Made::new("POST", "/any", &[], body).signed("shop", SECRET, &nonce, 0).send(&mut edge).await;
            assert_eq!(answer.status, expected, "{protocol:?}: {}", answer.text());
            if expected == 503 {
                assert_eq!(answer.code(), "held_bodies_full");
            }
            let room = &site.gateway.identity.room;
            until("the room to be empty", || (room.used() == 0).then_some(())).await;
        }
    }
    assert!(site.gateway.metrics.render().contains("gatehouse_business_held_full_total 2"));
}
