use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use gatehouse_shared::problem;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;

use super::record::Asked;
use super::*;
use crate::accept::sample;
use crate::admit::{Action, Entry, Evidence, Mode, Source};

fn evidence() -> Evidence {
    let entry = Entry {
        text: "192.0.2.0/24".into(),
        file: Some("lists/denied.txt".into()),
        line: Some(700_000),
        owner: Some("soc".into()),
        ticket: Some("SEC-1".into()),
        reason: Some("scanner".into()),
        until_unix_ms: Some(1_798_761_599_001),
    };
    Evidence::new(Source::List, "denied").entry(entry).matched("client", "192.0.2.7")
}

fn record<'a>(asked: Option<Asked<'a>>, evidence: Option<&'a Evidence>) -> Record<'a> {
    Record {
        unix_ms: 1_795_169_880_042,
        request_id: Some("0193c1d2a8f07b6e5d4c3b2a19080706"),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        node: "edge-1",
        client: Some(SocketAddr::from(([192, 0, 2, 7], 40_000))),
        peer: Some(SocketAddr::from(([10, 0, 0, 1], 50_000))),
        local: SocketAddr::from(([10, 0, 0, 2], 8443)),
        protocol: Some("HTTP/1.1"),
        tls: Some("1.3"),
        asked,
        route: Some("api.example.com/v1"),
        stage: "access",
        reason: &problem::OVERLOADED,
        detail: None,
        mode: Mode::Enforce,
        action: Action::Page,
        status: 503,
        evidence,
        repeated: None,
    }
}

const ASKED: Asked<'_> = Asked {
    method: b"GET",
    host: b"api.example.com",
    target: b"/orders?a=%27--&b=\"<>\"",
    user_agent: Some(b"curl/8.5\t\x1b[31m\xff"),
};

/// One line with the fields below each other, as a reader sees them.
fn pretty(line: &str) -> String {
    assert!(!line.contains('\n'));
    let value: Value = serde_json::from_str(line).unwrap();
    // The versions of our own packages change with releases.
    serde_json::to_string_pretty(&value).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn a_denied_request_in_every_format() {
    let evidence = evidence();
    let record = record(Some(ASKED), Some(&evidence));
    insta::assert_snapshot!("denied_gatehouse", gatehouse::line(&record));
    insta::assert_snapshot!("denied_modsecurity", pretty(&modsecurity::line(&record)));
    insta::assert_snapshot!("denied_ecs", pretty(&ecs::line(&record)));
}

#[test]
fn an_observed_denial_in_every_format() {
    let evidence = Evidence::new(Source::Limit, "logins").matched_secret("cookie session", "secret");
    let record = Record {
        mode: Mode::Observe,
        action: Action::Drop,
        status: 200,
        peer: None,
        tls: None,
        trace_id: None,
        protocol: Some("HTTP/2"),
        ..record(Some(ASKED), Some(&evidence))
    };
    insta::assert_snapshot!("observed_gatehouse", gatehouse::line(&record));
    insta::assert_snapshot!("observed_modsecurity", pretty(&modsecurity::line(&record)));
    insta::assert_snapshot!("observed_ecs", pretty(&ecs::line(&record)));
}

#[test]
fn refused_connections_in_every_format() {
    let connection = sample::connection(SocketAddr::from(([192, 0, 2, 7], 40_000)));
    let denial = Denial::from(&problem::TOO_MANY_CONNECTIONS_OF_CLIENT);
    let repeat = Repeat::new(&connection, &denial, clock::now(), 1_795_169_870_042);
    let record = Record { repeated: Some((41_234, 1_795_169_870_042)), ..repeat.further("edge-1", 1_795_169_880_042) };
    insta::assert_snapshot!("connections_gatehouse", gatehouse::line(&record));
    insta::assert_snapshot!("connections_modsecurity", pretty(&modsecurity::line(&record)));
    insta::assert_snapshot!("connections_ecs", pretty(&ecs::line(&record)));
}

#[test]
fn long_texts_are_cut_and_their_length_is_told() {
    let (target, agent) = ("/".repeat(8_000), "a".repeat(5_000));
    let asked = Asked { target: target.as_bytes(), user_agent: Some(agent.as_bytes()), ..ASKED };
    let evidence = Evidence::new(Source::Rule, "agents").matched("header user-agent", &agent);
    let record = record(Some(asked), Some(&evidence));
    let value: Value = serde_json::from_str(&gatehouse::line(&record)).unwrap();
    assert_eq!(value["target"].as_str().map(str::len), Some(record::TARGET_MAX));
    assert_eq!((&value["target_bytes"], &value["matched_bytes"]), (&Value::from(8_000), &Value::from(5_000)));
    assert_eq!(value["matched"].as_str().map(str::len), Some(crate::admit::denial::MATCHED_MAX));
    for line in [gatehouse::line(&record), modsecurity::line(&record), ecs::line(&record)] {
        assert!(line.len() < 6_000, "{} bytes", line.len());
    }
}

/// What a client may send in places that are written: any bytes, and such as would end a text, a line or an object.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        proptest::sample::select(vec![
            b"\"".to_vec(),
            b"\\".to_vec(),
            b"\r\n".to_vec(),
            b"\",\"mode\":\"observe\",\"x\":\"".to_vec(),
            b"\"}\n{\"event\":\"denial\"".to_vec(),
            b"\0\x1b[2J".to_vec(),
            "\u{2028}\u{85}\u{202e}".as_bytes().to_vec(),
        ]),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_one_line_that_says_the_same(
        method in hostile(), host in hostile(), target in hostile(), agent in hostile(), matched in hostile(),
        detail: String, owner: String,
    ) {
        let entry = Entry { text: owner.as_str().into(), owner: Some(owner.as_str().into()), ..Entry::default() };
        let evidence = Evidence::new(Source::Rule, "a").entry(entry).matched("query", &matched);
        let asked = Asked { method: &method, host: &host, target: &target, user_agent: Some(&agent) };
        let record = Record { detail: Some(&detail), ..record(Some(asked), Some(&evidence)) };
        let lines = [gatehouse::line(&record), modsecurity::line(&record), ecs::line(&record)];
        for line in &lines {
            let ends_early = line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
            prop_assert!(!ends_early, "{line:?}");
        }
        let [own, modsecurity, ecs] = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
        prop_assert_eq!(&own["mode"], "enforce");
        prop_assert_eq!(&own["target"], &text(&target));
        prop_assert_eq!(&own["matched"], &text(&matched));
        prop_assert_eq!(&own["detail"], &Value::from(detail.clone()));
        prop_assert_eq!(&modsecurity["transaction"]["request"]["uri"], &text(&target));
        prop_assert_eq!(&modsecurity["gatehouse"]["mode"], "enforce");
        prop_assert_eq!(&ecs["url"]["original"], &text(&target));
        prop_assert_eq!(&ecs["event"]["type"][0], "denied");
    }
}

fn settings(text: &str) -> Settings {
    Settings::compile(&toml::from_str(text).unwrap(), &Positions::default()).map_err(|e| e.to_string()).unwrap()
}

fn start(text: &str) -> (SecurityLog, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&format!("sink = \"security.log\"\n{text}")).below(dir.path());
    (SecurityLog::start("edge-1".into(), settings).unwrap(), dir)
}

fn lines(dir: &tempfile::TempDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join("security.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_flood_of_connections_is_a_few_lines_and_none_is_lost() {
    let (log, dir) = start("repeat_clients = 5\n");
    for n in 0..1_000_u16 {
        let client = SocketAddr::from(([192, 0, 2, u8::try_from(n % 10).unwrap()], 1_000 + n));
        log.turned_away(&sample::connection(client), &Denial::from(&problem::TOO_MANY_CONNECTIONS));
    }
    log.write_repeats(clock::now());
    log.close();
    let lines = lines(&dir);
    assert_eq!(lines.len(), 5 + 5 + 1, "a line each, a summary each, and one for all others");
    let counted: u64 = lines.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 1_000);
    assert_eq!(log.repeated(), 995);
    assert_eq!(lines.iter().filter(|line| line.get("client").is_none()).count(), 1);
    assert!(lines.iter().all(|line| line["status"] == 0 && line["stage"] == "accept"), "{lines:?}");
}

#[test]
fn only_refusals_are_wanted_and_unknown_routes_when_asked_for() {
    let (log, _dir) = start("");
    let failed = Denial::from(&problem::UPSTREAM_RESET);
    let unknown = Denial::from(&problem::ROUTE_NOT_FOUND).by(destination::NAME);
    let refused = Denial::from(&problem::UPGRADE_UNSUPPORTED).by("protocol");
    assert_eq!([&failed, &unknown, &refused].map(|denial| log.wants(denial)), [false, false, true]);
    log.retarget(&Settings { unknown_routes: true, ..Settings::clone(&log.settings.load()) });
    assert_eq!([&failed, &unknown, &refused].map(|denial| log.wants(denial)), [false, true, true]);
    log.retarget(&settings("sink = \"off\"\nunknown_routes = true\n"));
    assert_eq!([&failed, &unknown, &refused].map(|denial| log.wants(denial)), [false; 3]);
}

#[test]
fn another_format_is_used_from_the_next_line_on() {
    let (log, dir) = start("");
    let log = Arc::new(log);
    log.write(&record(Some(ASKED), None));
    log.retarget(&Settings { format: Format::Ecs, ..Settings::clone(&log.settings.load()) });
    log.write(&record(Some(ASKED), None));
    log.close();
    let lines = lines(&dir);
    assert!(lines[0].get("event").is_some_and(Value::is_string) && lines[1]["event"].is_object(), "{lines:?}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    let errors = |text: &str| {
        let errors = Settings::compile(&toml::from_str(text).unwrap(), &Positions::default()).unwrap_err();
        errors.to_string()
    };
    let all = errors("queue = 0\nrepeat_window = \"10ms\"\nrepeat_clients = 0\n");
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(errors("repeat_window = \"2h\"\n").contains("repeat_window must be 1s to 1h"));
}
