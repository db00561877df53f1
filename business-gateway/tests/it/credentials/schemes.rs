//! Calls that somebody else has signed: `signer.py` knows the specifications and nothing of Gatehouse.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use gatehouse_shared::clock;
use serde_json::Value;

use super::{Made, app_with_key, catalog, outcome, publish, seen, seen_target};
use crate::support::Site;
use crate::support::client::{BOTH, Edge};
use crate::support::service::Service;

const SIGNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/credentials/signer.py");

/// Runs the signer with the first Python that has what it needs.
fn python(arguments: &[&str]) -> Vec<u8> {
    let has_all = |python: &&&str| {
        let probe = Command::new(python).args(["-c", "import cryptography"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].iter().find(has_all);
    let python = found.expect("python3 with cryptography is installed by deploy/local/install");
    let output = Command::new(python).arg(SIGNER).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn signed_calls(dir: &Path) -> Vec<(String, Made)> {
    let now = (clock::unix_ms() / 1000).to_string();
    let calls: Vec<Value> = serde_json::from_slice(&python(&["calls", dir.to_str().unwrap(), &now])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let made = |call: &Value| {
        let headers: Vec<(&str, &str)> = call["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (&**name, value.as_str().unwrap()))
            .collect();
        let method = match call["method"].as_str().unwrap() {
            "GET" => "GET",
            "POST" => "POST",
            _ => "PUT",
        };
        (text(&call["name"]), Made::new(method, &text(&call["target"]), &headers, &text(&call["body"])))
    };
    calls.iter().map(made).collect()
}

fn issuers() -> String {
    let issuer = |algorithm: &str, keys: &str| {
        let name = algorithm.to_lowercase();
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}.example\"\naudiences = [\"gate\"]\n\
             algorithm = \"{algorithm}\"\n{keys}\n"
        )
    };
    let sets = ["RS256", "PS256", "ES256", "EdDSA"].map(|name| issuer(name, &format!("jwks_file = \"{name}.json\"")));
    sets.concat() + &*issuer("HS256", "secret = { file = \"HS256.secret\" }")
}

#[tokio::test]
async fn calls_that_somebody_else_signed_are_accepted_in_every_scheme() {
    let service = Service::start().await;
    let site = Site::start("").await;
    let config = site.config();
    python(&["keys", config.to_str().unwrap()]);
    let public = std::fs::read_to_string(config.join("app.pub")).unwrap();
    let public = base64::engine::general_purpose::STANDARD.decode(public).unwrap();
    publish(&site, &(catalog(&service, "") + &*issuers() + &*app_with_key(&public)));

    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let calls = signed_calls(&config);
        assert_eq!(calls.len(), 28);
        for (name, call) in calls {
            let answer = call.send(&mut edge).await;
            assert_eq!(outcome(&answer), (200, "ok".to_owned()), "{protocol:?} {name}: {}", answer.text());
            assert_eq!(answer.result().auth, gatehouse_shared::hop::Auth::App, "{name}");
            assert_eq!(seen(&answer, "x-gatehouse-app").as_deref(), Some("shop"), "{name}");
            for header in ["authorization", "x-api-key", "signature", "signature-input"] {
                assert_eq!(seen(&answer, header), None, "{name}");
            }
            let target = seen_target(&answer);
            assert!(!target.contains("sign=") && !target.contains("session="), "{name}: {target}");
            if name.starts_with("token") {
                assert_eq!(seen(&answer, "x-gatehouse-scheme").as_deref(), Some("jwt"));
                assert_eq!(seen(&answer, "x-gatehouse-user").as_deref(), Some("alice%20in%20wonderland"));
                assert_eq!(seen(&answer, "x-gatehouse-scopes").as_deref(), Some("orders.read orders.write"));
            }
            // A signature counts for nothing else.
            if ["hmac", "ed25519", "platform"].iter().any(|kind| name.starts_with(kind)) {
                let mut other = call.clone();
                other.target = call.target.replacen("any", "passing", 1).replacen("plain", "keys", 1);
                let answer = other.send(&mut edge).await;
                assert!(matches!(answer.status, 401 | 404), "{name}: {}", answer.text());
            }
        }
    }
}
