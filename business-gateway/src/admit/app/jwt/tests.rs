use gatehouse_shared::config::{ConfigErrors, SourceFile, Sources, parse};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::store::catalog::CatalogConfig;

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn by_secret(text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text).as_ref().to_vec()
}

fn claims() -> Value {
    json!({"iss": "https://accounts.example", "aud": ["other", "orders"], "exp": NOW + 60, "nbf": NOW - 60,
        "azp": "shop", "sub": "alice", "scope": "orders.read orders.write"})
}

fn compile(dir: &std::path::Path, text: &str, before: Option<&Issuers>) -> Result<Issuers, ConfigErrors> {
    let file = SourceFile { path: "catalog.toml".into(), text: text.to_owned() };
    let document = parse::<CatalogConfig>(&file)?;
    Issuers::compile(&document.value.issuer, &document.positions, &mut Sources::new(dir), before)
}

/// Issuers with keys of every kind: `HS256` by a secret, the others by a set.
fn issuer(algorithm: &str, keys: &str, more: &str) -> Issuers {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    std::fs::write(dir.path().join("keys.json"), keys).unwrap();
    let source = if algorithm == "HS256" { "secret = { file = \"secret\" }" } else { "jwks_file = \"keys.json\"" };
    let text = format!(
        "[[issuer]]\nname = \"accounts\"\nissuer = \"https://accounts.example\"\naudiences = [\"orders\"]\n\
         algorithm = \"{algorithm}\"\n{source}\n{more}\n"
    );
    compile(dir.path(), &text, None).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_token_names_app_user_and_scopes() {
    let issuers = issuer("HS256", "", "");
    let token = token(&json!({"alg": "HS256", "kid": "any"}), &claims(), by_secret);
    let read = verify(&issuers, &token, NOW).unwrap();
    assert_eq!((&*read.app_key, read.user.as_deref()), ("shop", Some("alice")));
    assert_eq!(read.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["orders.read", "orders.write"]);
}

#[test]
fn keys_of_a_set_are_chosen_by_their_id() {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let point = ec.public_key().as_ref();
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": URL_SAFE_NO_PAD.encode(ed.public_key())},
        {"kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": URL_SAFE_NO_PAD.encode(ed.public_key())},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256",
         "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])},
        {"kty": "something-new", "kid": "new"},
        {"kty": "oct", "kid": "ed2", "k": URL_SAFE_NO_PAD.encode(SECRET)},
    ]})
    .to_string();
    let by_ed = |text: &[u8]| ed.sign(text).as_ref().to_vec();
    let by_ec = |text: &[u8]| ec.sign(&random, text).unwrap().as_ref().to_vec();
    let eddsa = issuer("EdDSA", &set, "");
    assert!(verify(&eddsa, &token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims(), by_ed), NOW).is_ok());
    assert!(verify(&eddsa, &token(&json!({"alg": "EdDSA"}), &claims(), by_ed), NOW).is_ok(), "the only one that fits");
    for id in ["enc", "ed2", "ec", "none"] {
        let refused = verify(&eddsa, &token(&json!({"alg": "EdDSA", "kid": id}), &claims(), by_ed), NOW);
        assert_eq!(refused, Err(Refusal::Refused("a token with a key that its issuer does not have")), "{id}");
    }
    let es256 = issuer("ES256", &set, "");
    assert!(verify(&es256, &token(&json!({"alg": "ES256", "kid": "ec"}), &claims(), by_ec), NOW).is_ok());
    let wrong = verify(&es256, &token(&json!({"alg": "ES256", "kid": "ec"}), &claims(), |_| vec![1; 64]), NOW);
    assert_eq!(wrong, Err(Refusal::Refused("a token with a wrong signature")));
}

#[test]
fn the_algorithm_is_the_issuers() {
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = ed.public_key().as_ref().to_vec();
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode(&public)}]});
    let issuers = issuer("EdDSA", &set.to_string(), "");
    let with_public = |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), text).as_ref().to_vec();
    for algorithm in ["HS256", "none", "ES256", "eddsa"] {
        let confused = token(&json!({"alg": algorithm, "kid": "ed"}), &claims(), with_public);
        let refused = Err(Refusal::Refused("a token of another algorithm than its issuer's"));
        assert_eq!(verify(&issuers, &confused, NOW), refused, "{algorithm}");
    }
    let critical = token(&json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"]}), &claims(), |text| {
        ed.sign(text).as_ref().to_vec()
    });
    assert!(matches!(verify(&issuers, &critical, NOW), Err(Refusal::Malformed(_))));
}

#[test]
fn what_a_token_must_say_is_checked() {
    let issuers = issuer("HS256", "", "leeway = \"10s\"");
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        verify(&issuers, &token(&json!({"alg": "HS256"}), &claims, by_secret), NOW)
    };
    let refused =
        |outcome: &Result<Token, Refusal>| matches!(outcome, Err(Refusal::Refused(_) | Refusal::Malformed(_)));
    assert!(with("aud", json!("orders")).is_ok());
    for (name, value) in [
        ("aud", json!("others")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("iss", json!("https://accounts.example/")),
        ("iss", Value::Null),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("nbf", json!(1.5)),
        ("azp", json!("")),
        ("azp", json!(7)),
        ("scope", json!(7)),
        ("scope", json!("a ".repeat(65))),
    ] {
        let outcome = with(name, value.clone());
        assert!(refused(&outcome), "{name} = {value}: {outcome:?}");
    }
    assert!(with("exp", json!(NOW - 9)).is_ok());
    assert_eq!(with("exp", json!(NOW - 10)), Err(Refusal::Expired));
    assert!(with("nbf", json!(NOW + 10)).is_ok());
    assert_eq!(with("nbf", json!(NOW + 11)), Err(Refusal::Expired));
    let mut without = claims();
    without.as_object_mut().unwrap().remove("nbf");
    let without = token(&json!({"alg": "HS256"}), &without, by_secret);
    assert!(matches!(verify(&issuers, &without, NOW), Err(Refusal::Malformed(_))));
    assert!(verify(&issuer("HS256", "", "nbf_required = false"), &without, NOW).is_ok());
    assert_eq!(with("sub", json!("shop")).unwrap().user, None, "the app itself");
    assert_eq!(with("scope", json!(["a", "b"])).unwrap().scopes.len(), 2);
}

#[test]
fn before_the_first_keys_nothing_is_said_of_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[issuer]]\nname = \"accounts\"\nissuer = \"https://accounts.example\"\naudiences = [\"orders\"]\n\
        algorithm = \"EdDSA\"\njwks_url = \"http://127.0.0.1:9/keys\"\n";
    let issuers = compile(dir.path(), text, None).unwrap();
    let refused = verify(&issuers, &token(&json!({"alg": "EdDSA"}), &claims(), |_| vec![0; 64]), NOW);
    assert!(matches!(refused, Err(Refusal::Unavailable(_))));
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("short"), "short").unwrap();
    std::fs::write(dir.path().join("keys.json"), "{\"keys\":[]}").unwrap();
    let wrong = |more: &str| {
        let text = format!("[[issuer]]\nname = \"a\"\nissuer = \"i\"\naudiences = [\"x\"]\n{more}\n");
        compile(dir.path(), &text, None).unwrap_err().to_string()
    };
    for (more, expected) in [
        ("algorithm = \"RS256\"", "exactly one source of keys"),
        ("algorithm = \"RS256\"\nsecret = { file = \"short\" }", "exactly one source of keys"),
        ("algorithm = \"HS256\"\nsecret = { file = \"short\" }", "less than 32 bytes"),
        ("algorithm = \"RS256\"\njwks_file = \"keys.json\"", "a key set without a key for RS256"),
        ("algorithm = \"RS256\"\njwks_url = \"ftp://x/y\"", "is not a URL of the form"),
        ("algorithm = \"RS256\"\njwks_url = \"http://x/y\"\nrefresh = \"0s\"", "longer than nothing"),
        ("algorithm = \"none\"\njwks_file = \"keys.json\"", "catalog.toml:5:13"),
    ] {
        assert!(wrong(more).contains(expected), "{more}: {}", wrong(more));
    }
}

proptest::proptest! {
    #[test]
    fn no_token_does_harm(text in "[A-Za-z0-9_.-]{0,200}", claims in "\\PC{0,100}") {
        let issuers = Issuers::default();
        assert!(verify(&issuers, &text, NOW).is_err());
        let token = format!("{}.{}.x", encoded(&json!({"alg": "HS256"})), URL_SAFE_NO_PAD.encode(claims));
        assert!(verify(&issuers, &token, NOW).is_err());
    }
}
