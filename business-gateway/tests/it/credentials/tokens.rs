//! Keys of issuers that are fetched: in the background, kept while that fails, asked for again when a token names a new one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_shared::clock;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Made, app, outcome, publish, seen};
use crate::support::client::{BOTH, Edge};
use crate::support::service::Service;
use crate::support::{SOON, Site, catalog};

/// An issuer's server of keys.
struct Issuer {
    address: std::net::SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n".to_owned()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                assert!(head[..read].starts_with(b"GET /keys?v=1 HTTP/1.1\r\n"));
                count.fetch_add(1, Ordering::Relaxed);
                let answer = answers.lock().unwrap().clone();
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { address, answer, asked }
    }

    fn publishes(&self, keys: &[(&str, &Ed25519KeyPair)]) {
        let key = |(id, pair): &(&str, &Ed25519KeyPair)| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(pair.public_key())});
        let body = json!({"keys": keys.iter().map(key).collect::<Vec<Value>>()}).to_string();
        self.says(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    }

    fn says(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }
}

fn bearer(id: &str, pair: &Ed25519KeyPair) -> Made {
    let now = clock::unix_ms() / 1000;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims =
        json!({"iss": "accounts", "aud": "gate", "exp": now + 60, "nbf": now - 1, "azp": "shop", "sub": "alice"});
    let text = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": id})), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
    Made::new("GET", "/x", &[("authorization", &format!("Bearer {text}.{signature}"))], "")
}

#[tokio::test]
async fn keys_are_fetched_kept_and_asked_for_again() {
    let service = Service::start().await;
    let issuer = Issuer::start().await;
    let text = catalog(&[service.address], "").replace("access = \"open\"", "access = \"user\"");
    let text = format!(
        "{text}[[package]]\nname = \"all\"\napis = [\"*\"]\n[[issuer]]\nname = \"accounts\"\nissuer = \"accounts\"\naudiences = [\"gate\"]\nalgorithm = \"EdDSA\"\n\
         jwks_url = \"http://{}/keys?v=1\"\nrefresh = \"1h\"\nrefresh_min = \"50ms\"\njwks_max = \"2KiB\"\n",
        issuer.address
    );
    let site = Site::start("").await;
    publish(&site, &(text + &*app("shop", "")));
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let (one, two) = (pair(1), pair(2));
    let mut edge = Edge::connect(site.address, BOTH[0]).await;

    let answer = bearer("1", &one).send(&mut edge).await;
    assert_eq!(outcome(&answer), (503, "identity_unavailable".to_owned()), "nothing is known of its keys");
    issuer.publishes(&[("1", &one)]);
    let answer = until_accepted(&mut edge, "1", &one).await;
    assert_eq!(seen(&answer, "x-gatehouse-user").as_deref(), Some("alice"));

    // A new key is refused, and asked for; meanwhile what comes is too large, then an error: the old keys stay.
    let too_large = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{{\"keys\":[]}}{}", " ".repeat(4096));
    for answer in [too_large.as_str(), "HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", "nonsense\r\n\r\n"] {
        issuer.says(answer);
        let before = issuer.asked.load(Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + SOON;
        while issuer.asked.load(Ordering::Relaxed) == before {
            let refused = bearer("2", &two).send(&mut edge).await;
            assert_eq!(outcome(&refused), (401, "credentials_refused".to_owned()));
            assert!(tokio::time::Instant::now() < deadline, "the issuer is not asked");
        }
        assert_eq!(bearer("1", &one).send(&mut edge).await.status, 200);
    }
    issuer.publishes(&[("1", &one), ("2", &two)]);
    until_accepted(&mut edge, "2", &two).await;
    let text = site.gateway.metrics.render();
    assert!(text.contains("gatehouse_business_issuer_keys{issuer=\"accounts\"} 2"), "{text}");

    // The keys outlive a reload, also while the issuer is away.
    issuer.says("");
    let catalog = std::fs::read_to_string(site.config().join("catalog.toml")).unwrap();
    site.write("catalog.toml", &(catalog + "# changed\n"));
    site.gateway.live.reload();
    assert_eq!(bearer("2", &two).send(&mut edge).await.status, 200);
    assert_eq!(bearer("2", &one).send(&mut edge).await.status, 401, "another's signature under the same name");
}

async fn until_accepted(edge: &mut Edge, id: &str, pair: &Ed25519KeyPair) -> crate::support::client::Answer {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let answer = bearer(id, pair).send(edge).await;
        if answer.status == 200 {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "the keys do not come: {}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A server of keys whose certificate is for `localhost`; the certificate in PEM, and where it is.
async fn https_issuer(body: String) -> (String, std::net::SocketAddr) {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            drop(stream.read(&mut head).await);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    (made.cert.pem(), address)
}

#[tokio::test]
async fn keys_come_over_tls_from_a_server_that_is_trusted_and_no_other() {
    let service = Service::start().await;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": URL_SAFE_NO_PAD.encode(pair.public_key())});
    let (certificate, address) = https_issuer(json!({"keys": [key]}).to_string()).await;
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let text = catalog(&[service.address], "").replace("access = \"open\"", "access = \"app\"");
    let text = text + &*app("shop", "");
    let site = Site::start("").await;
    site.write("other.pem", &other);
    site.write("right.pem", &certificate);
    let with = |authorities: &str| {
        format!(
            "{text}[[package]]\nname = \"all\"\napis = [\"*\"]\n[[issuer]]\nname = \"accounts\"\nissuer = \"accounts\"\naudiences = [\"gate\"]\nalgorithm = \"EdDSA\"\n\
             jwks_url = \"https://localhost:{}/keys\"\njwks_ca = \"{authorities}\"\nrefresh_min = \"20ms\"\n",
            address.port()
        )
    };
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    publish(&site, &with("other.pem"));
    let failed = "gatehouse_business_issuer_refreshes_total{issuer=\"accounts\",result=\"failed\"} 0";
    crate::support::until("a refused certificate", || {
        let text = site.gateway.metrics.render();
        (text.contains("result=\"failed\"") && !text.contains(failed)).then_some(())
    })
    .await;
    assert_eq!(outcome(&bearer("1", &pair).send(&mut edge).await), (503, "identity_unavailable".to_owned()));
    publish(&site, &with("right.pem"));
    until_accepted(&mut edge, "1", &pair).await;
}
