use std::net::{IpAddr, SocketAddr};

use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

use super::*;
use crate::config::Secret;

const NOW: u64 = 1_700_000_000_000;

fn key(id: &str, fill: u8) -> HopKey {
    HopKey::new(id, &Secret::new(vec![fill; 32])).unwrap()
}

fn keys() -> HopKeys {
    HopKeys::new(vec![key("a", 1)]).unwrap()
}

fn hop() -> Hop<'static> {
    Hop {
        request_id: RequestId::parse(b"018bcfe568000123456789abcdef0123").unwrap(),
        client: SocketAddr::from(([192, 0, 2, 1], 4711)),
        scheme: Scheme::Https,
        tls: Some("1.3"),
        subject: Some("CN=Bücher \"50%\""),
        fingerprint: Some("9f86d081"),
        path: "/orders/a%20b",
        left: Duration::from_millis(29_990),
        edge: "edge-1",
        held: true,
    }
}

fn signed(keys: &HopKeys) -> String {
    keys.sign(&hop(), "GET", "api.example.com", "/orders/a%20b?x=1", NOW)
}

fn verify(keys: &HopKeys, value: &str, now: u64) -> Result<VerifiedHop, HopError> {
    keys.verify(value.as_bytes(), "GET", "api.example.com", "/orders/a%20b?x=1", now)
}

/// The same hop as an edge of version 1 writes it.
const FIRST_VERSION: &str = concat!(
    "v=1, kid=\"a\", exp=1700000010000, rid=\"018bcfe568000123456789abcdef0123\", client=\"192.0.2.1:4711\", ",
    "scheme=https, tls=\"1.3\", subject=%\"CN=B%c3%bccher %2250%25%22\", fp=\"9f86d081\", path=\"/orders/a%20b\", ",
    "left=29990, edge=\"edge-1\", held, sig=:8aTKiMl7TrjlfbDrgn2EVkCOFFkm6OlencKHdbus7DU=:"
);

#[test]
fn is_written_as_documented() {
    let value = signed(&keys());
    let (fields, signature) = value.split_once(",sig=:").unwrap();
    assert_eq!(
        fields,
        "v=2,kid=\"a\",rid=\"018bcfe568000123456789abcdef0123\",client=\"192.0.2.1:4711\",https,tls=\"1.3\",\
         subject=%\"CN=B%c3%bccher %2250%25%22\",fp=\"9f86d081\",left=29990,edge=\"edge-1\",held"
    );
    assert_eq!(signature.len(), 25);
    assert_eq!(value, signed(&keys()), "the same input gives the same header");
}

#[test]
fn what_goes_without_saying_is_left_out() {
    let plain = Hop { scheme: Scheme::Http, tls: None, subject: None, fingerprint: None, held: false, ..hop() };
    let fields = |hop: &Hop<'_>, target, now| {
        let value = keys().sign(hop, "GET", "h", target, now);
        let verified = keys().verify(value.as_bytes(), "GET", "h", target, now).unwrap();
        assert_eq!((&*verified.path, verified.expires_unix_ms), (hop.path, now.max(NOW) + 10_000), "{value}");
        value.split_once(",sig=:").unwrap().0.to_owned()
    };
    let id = "v=2,kid=\"a\",rid=\"018bcfe568000123456789abcdef0123\"";
    let rest = "client=\"192.0.2.1:4711\"";
    let end = "left=29990,edge=\"edge-1\"";
    assert_eq!(fields(&plain, "/orders/a%20b", NOW), format!("{id},{rest},{end}"));
    // Signed a while after the request had come: sent again, or waited.
    assert_eq!(fields(&plain, "/orders/a%20b?", NOW + 700), format!("{id},age=700,{rest},{end}"));
    // The clock has been set back meanwhile.
    assert_eq!(fields(&plain, "/orders/a%20b", NOW - 700), format!("{id},{rest},{end}"));
    for target in ["/orders/%61%20b", "/orders//a%20b?x=/orders/a%20b", "*", "/"] {
        assert_eq!(fields(&plain, target, NOW), format!("{id},{rest},path=\"/orders/a%20b\",{end}"), "{target}");
    }
    let secure = Hop { scheme: Scheme::Https, ..plain };
    assert_eq!(fields(&secure, "/orders/a%20b", NOW), format!("{id},{rest},https,{end}"));
}

#[test]
fn the_version_before_is_read_too() {
    let verified = verify(&keys(), FIRST_VERSION, NOW + 20).unwrap();
    assert_eq!(verified, verify(&keys(), &signed(&keys()), NOW + 20).unwrap());
    assert_eq!(verify(&keys(), FIRST_VERSION, NOW + 15_001), Err(HopError::Expired));
    let (short, signature) = FIRST_VERSION.split_once(", sig=:").unwrap();
    assert_eq!(verify(&keys(), short, NOW), Err(HopError::Malformed));
    // Sixteen bytes of it are no signature of that version.
    let cut = format!("{short}, sig=:{}==:", signature.split_at(22).0);
    assert_eq!(verify(&keys(), &cut, NOW), Err(HopError::Malformed));
    // Nor is one version's signature one of the other's.
    let renamed = FIRST_VERSION.replacen("v=1, kid", "v=2,kid", 1);
    assert!(verify(&keys(), &renamed, NOW).is_err());
}

#[test]
fn what_the_edge_signs_the_business_tier_reads() {
    let hop = hop();
    let verified = verify(&keys(), &signed(&keys()), NOW + 20).unwrap();
    assert_eq!(verified.request_id, hop.request_id);
    assert_eq!(verified.client, hop.client);
    assert_eq!(verified.subject.as_deref(), hop.subject);
    assert_eq!(&*verified.path, hop.path);
    assert_eq!(verified.left, hop.left);
    assert_eq!(verified.expires_unix_ms, NOW + 10_000);
    assert!(verified.held);
}

#[test]
fn a_change_of_any_byte_is_refused() {
    let keys = keys();
    for good in [signed(&keys), FIRST_VERSION.to_owned()].map(String::into_bytes) {
        let outcome = |value: &[u8]| keys.verify(value, "GET", "api.example.com", "/orders/a%20b?x=1", NOW);
        assert!(outcome(&good).is_ok());
        for index in 0..good.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[index] ^= flip;
                assert!(outcome(&bad).is_err(), "byte {index} xor {flip:#x}");
            }
            assert!(outcome(&good[..index]).is_err(), "cut at {index}");
        }
    }
}

#[test]
fn a_hop_fits_one_request_only() {
    let keys = keys();
    let value = signed(&keys);
    let outcome = |method, authority, target| keys.verify(value.as_bytes(), method, authority, target, NOW);
    assert!(outcome("GET", "api.example.com", "/orders/a%20b?x=1").is_ok());
    assert_eq!(outcome("POST", "api.example.com", "/orders/a%20b?x=1"), Err(HopError::Signature));
    assert_eq!(outcome("GET", "api.example.org", "/orders/a%20b?x=1"), Err(HopError::Signature));
    assert_eq!(outcome("GET", "api.example.com", "/orders/a%20b?x=2"), Err(HopError::Signature));
    assert_eq!(outcome("GET", "api.example.com", "/orders/a b?x=1"), Err(HopError::Signature));
}

#[test]
fn expires_and_allows_for_skew() {
    let keys = keys();
    let value = signed(&keys);
    assert!(verify(&keys, &value, NOW + 15_000).is_ok());
    assert_eq!(verify(&keys, &value, NOW + 15_001), Err(HopError::Expired));
    assert!(verify(&keys, &value, NOW - 5_000).is_ok());
    assert_eq!(verify(&keys, &value, NOW - 5_001), Err(HopError::FromTheFuture));
    assert_eq!(verify(&keys, &value, u64::MAX), Err(HopError::Expired));
    assert_eq!(verify(&keys, &value, 0), Err(HopError::FromTheFuture));
}

#[test]
fn keys_can_be_rotated_without_an_outage() {
    let old = HopKeys::new(vec![key("a", 1)]).unwrap();
    let both = HopKeys::new(vec![key("a", 1), key("b", 2)]).unwrap();
    let swapped = HopKeys::new(vec![key("b", 2), key("a", 1)]).unwrap();
    let new = HopKeys::new(vec![key("b", 2)]).unwrap();
    assert!(verify(&both, &signed(&old), NOW).is_ok());
    assert!(verify(&both, &signed(&swapped), NOW).is_ok());
    assert!(verify(&swapped, &signed(&both), NOW).is_ok());
    assert_eq!(verify(&new, &signed(&old), NOW), Err(HopError::UnknownKey));
    let same_name = HopKeys::new(vec![key("a", 2)]).unwrap();
    assert_eq!(verify(&same_name, &signed(&old), NOW), Err(HopError::Signature));
}

#[test]
fn refuses_weak_or_ambiguous_keys() {
    let secret = |length| Secret::new(vec![7; length]);
    assert_eq!(
        HopKey::new("a", &secret(31)).unwrap_err().to_string(),
        "the secret of key \"a\" has 31 bytes; it needs at least 32"
    );
    for id in ["", "A", "a b", "a\"", &"a".repeat(33)] {
        assert!(matches!(HopKey::new(id, &secret(32)), Err(HopKeysError::Id(_))), "{id}");
    }
    assert_eq!(HopKeys::new(vec![]).unwrap_err(), HopKeysError::Count(0));
    assert_eq!(HopKeys::new(vec![key("a", 1), key("b", 1), key("c", 1)]).unwrap_err(), HopKeysError::Count(3));
    assert_eq!(HopKeys::new(vec![key("a", 1), key("a", 2)]).unwrap_err(), HopKeysError::DuplicateId("a".to_owned()));
}

#[test]
fn another_version_is_told_apart() {
    let keys = keys();
    for version in ["v=0", "v=3", "v=22"] {
        let value = signed(&keys).replacen("v=2", version, 1);
        assert_eq!(verify(&keys, &value, NOW), Err(HopError::Version), "{version}");
    }
    assert_eq!(verify(&keys, "", NOW), Err(HopError::Malformed));
    assert_eq!(verify(&keys, &"x".repeat(100_000), NOW), Err(HopError::Malformed));
}

#[test]
fn knows_the_internal_family_in_any_spelling() {
    for name in
        ["x-gatehouse-hop", "X-Gatehouse-Hop", "x_gatehouse_hop", "X-GATEHOUSE_RESULT", "x-gatehouse", "x-gatehouse-"]
    {
        assert!(is_internal(name), "{name}");
    }
    for name in ["x-gatehouses", "x-gatehous", "gatehouse-hop", "x-request-id", "", "xx-gatehouse-hop"] {
        assert!(!is_internal(name), "{name}");
    }
}

#[test]
fn results_survive_the_wire() {
    for origin in [Origin::Gateway, Origin::Service] {
        for auth in [Auth::Anonymous, Auth::App, Auth::Failed] {
            for retry in [Retry::Never, Retry::Safe] {
                for (cost, node) in [(0, false), (1, true), (1, false), (u32::MAX, true)] {
                    let result = HopResult { origin, auth, cost, retry, node };
                    assert_eq!(HopResult::parse(result.to_header().as_bytes()), Some(result));
                }
            }
        }
    }
    assert!(HopResult::parse(b"v=1, origin=service, auth=app, cost=1, retry=never, later=7").is_some());
    for wrong in ["", "v=2, origin=service", "v=1", "v=1, origin=x, auth=app, cost=1, retry=never"] {
        assert_eq!(HopResult::parse(wrong.as_bytes()), None, "{wrong}");
    }
}

fn optional_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(".{0,20}")
}

proptest! {
    #[test]
    fn parsing_what_was_printed_is_the_identity(
        (ip, port) in any::<(IpAddr, u16)>(),
        https in any::<bool>(),
        tls in proptest::option::of("[ -~]{0,8}"),
        subject in optional_text(),
        fingerprint in proptest::option::of("[0-9a-f]{0,64}"),
        path in "/[ -~]{0,60}",
        left in 0u64..=999_999_999_999_999,
        edge in "[ -~]{0,20}",
        held in any::<bool>(),
        target in "/[!-~]{0,60}",
        is_target in any::<bool>(),
        age in 0..100_000_u64,
    ) {
        // A path as it came, in half of the cases.
        let target = if is_target { format!("{path}?{target}") } else { target };
        let hop = Hop {
            request_id: RequestId::new(NOW),
            client: SocketAddr::new(ip, port),
            scheme: if https { Scheme::Https } else { Scheme::Http },
            tls: tls.as_deref(),
            subject: subject.as_deref(),
            fingerprint: fingerprint.as_deref(),
            path: &path,
            left: Duration::from_millis(left),
            edge: &edge,
            held,
        };
        let value = keys().sign(&hop, "POST", "h", &target, NOW + age);
        let verified = keys().verify(value.as_bytes(), "POST", "h", &target, NOW + age).unwrap();
        prop_assert_eq!(verified.expires_unix_ms, NOW + age + 10_000);
        prop_assert_eq!(verified.client, hop.client);
        prop_assert_eq!(verified.scheme, hop.scheme);
        prop_assert_eq!(verified.tls.as_deref(), hop.tls);
        prop_assert_eq!(verified.subject.as_deref(), hop.subject);
        prop_assert_eq!(verified.fingerprint.as_deref(), hop.fingerprint);
        prop_assert_eq!(&*verified.path, hop.path);
        prop_assert_eq!(verified.left, hop.left);
        prop_assert_eq!(&*verified.edge, hop.edge);
        prop_assert_eq!(verified.held, hop.held);
    }

    #[test]
    fn no_header_makes_the_parsers_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _hop = keys().verify(&value, "GET", "h", "/", NOW);
        let _result = HopResult::parse(&value);
    }
}
