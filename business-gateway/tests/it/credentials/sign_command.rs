//! `business-gateway sign` prints calls that curl makes and the gate takes.

use std::process::{Command, Stdio};

use super::{API_SECRET, SECRET, app_with_key, catalog, start_with, write};
use crate::support::client::{Said, sign};
use crate::support::service::Service;

fn printed(arguments: &[&str], secret: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
    command.arg("sign").args(arguments).env("SECRET_OF_SHOP", secret).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_it_prints_is_accepted() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let shop = app_with_key(ring::signature::KeyPair::public_key(&pair).as_ref());
    let site = start_with(&(catalog(&service, "") + &*shop), "").await;
    let pem = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(pkcs8.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    write(dir.path(), "key.pem", &pem);
    write(dir.path(), "body", "a body with 'quotes' in it");
    let (pem, body) = (dir.path().join("key.pem"), dir.path().join("body"));
    let (pem, body) = (pem.to_str().unwrap(), body.to_str().unwrap());
    let url = "http://shop.example/any/a%20b?c=d&e=%2F";
    let plain = "http://shop.example/plain?city=a%20b";
    let env = ["--app", "shop", "--secret-env", "SECRET_OF_SHOP"];
    let cases: Vec<(&str, Vec<&str>)> = vec![
        (SECRET, [&["GET", url][..], &env].concat()),
        (SECRET, [&["POST", url, "-d", "{\"it's\": 1}", "-H", "x-more: 1", "--key-id", "two"][..], &env].concat()),
        ("", vec!["PUT", url, "--data-file", body, "--app", "shop", "--ed25519", "--secret-file", pem]),
        (SECRET, [&["GET", plain, "--scheme", "platform", "--api", "plain"][..], &env].concat()),
        (SECRET, [&["POST", plain, "--scheme", "platform", "--api", "plain", "--md5", "-d", "[1]"][..], &env].concat()),
        (API_SECRET, [&["GET", url, "--scheme", "api-key"][..], &env].concat()),
        (SECRET, [&["GET", url, "--scheme", "basic"][..], &env].concat()),
    ];
    for (secret, arguments) in cases {
        let command = printed(&arguments, secret);
        // The edge would add its hop; here that is done by hand, over a connection to the gateway.
        let url = command.trim_end().rsplit('\'').nth(1).unwrap().to_owned();
        let target = url.strip_prefix("http://shop.example").unwrap();
        let hop = sign(arguments[0], target, Said::default());
        let whole = format!(
            "{} -s -o /dev/null -w '%{{http_code}}' --connect-to shop.example:80:{} -H 'x-gatehouse-hop: {hop}'",
            command.trim_end(),
            site.address
        );
        let output = tokio::process::Command::new("sh").args(["-c", &whole]).output().await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "200",
            "{whole}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The page that client developers compare with.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SIGNING.md"));

#[test]
fn the_examples_of_the_page_are_what_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    // PKCS#8 of the seed 0, 1, 2 … 31, as `openssl` writes it.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
    write(dir.path(), "key.pem", pem);
    let pem = dir.path().join("key.pem");
    let at = ["--app", "shop", "--at", "1767225600"];
    let env = ["--secret-env", "SECRET_OF_SHOP"];
    let orders = "https://api.example.com/orders?page=2";
    let nonce = ["--nonce", "5d17fb1d99adc632"];
    let cases: [Vec<&str>; 4] = [
        [&["GET", orders][..], &at, &env, &nonce].concat(),
        [
            &["POST", "https://api.example.com/orders", "--key-id", "two", "--nonce", "9b2f4c", "-d", "{\"item\": 7}"],
            &at[..],
            &env,
        ]
        .concat(),
        [&["GET", orders, "--ed25519", "--secret-file", pem.to_str().unwrap()][..], &at, &nonce].concat(),
        [
            &["GET", "https://api.example.com/orders?city=a%20b", "--scheme", "platform", "--api", "orders.list"],
            &at[..],
            &env,
        ]
        .concat(),
    ];
    for arguments in cases {
        let call = printed(&arguments, SECRET);
        assert!(PAGE.contains(&format!("```sh\n{call}```")), "{call}\nis not on the page");
    }
}

#[test]
fn mistakes_are_told() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        let output = command.arg("sign").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let url = "http://shop.example/";
    for (arguments, expected) in [
        (vec!["GET", url, "--app", "shop"], "no secret on standard input"),
        (vec!["GET", url, "--app", "shop", "--secret-env", "NOT_THERE_AT_ALL"], "NOT_THERE_AT_ALL"),
        (vec!["GET", url, "--app", "shop", "--scheme", "platform"], "--api"),
        (vec!["GET", url, "--app", "shop", "--secret-file", "Cargo.toml", "--ed25519"], "PKCS#8"),
        (vec!["GET", "/relative", "--app", "shop", "--secret-file", "Cargo.toml"], "http://"),
    ] {
        let told = run(&arguments);
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
