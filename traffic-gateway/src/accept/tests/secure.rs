use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::harness::{Client, Edge, PATIENCE, header, status};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// An authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// PEM of a certificate and its key.
    fn issue(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap().pem(), key)
    }

    fn write(&self, dir: &Path, file: &str, name: &str) {
        let (certificate, key) = self.issue(name);
        std::fs::write(dir.join(format!("{file}.pem")), certificate).unwrap();
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

const LISTENER: &str = "tls = true\n";
const CERTIFICATES: &str = "[[certificate]]\nnames = [\"first.test\"]\nchain = \"first.pem\"\nkey = \"first.key\"\n\
    [[certificate]]\nnames = [\"*.second.test\"]\nchain = \"second.pem\"\nkey = \"second.key\"\n";

struct Site {
    dir: tempfile::TempDir,
    authority: Authority,
    edge: Edge,
}

async fn site(listener: &str) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(dir.path(), "first", "first.test");
    authority.write(dir.path(), "second", "*.second.test");
    std::fs::write(dir.path().join("ca.pem"), authority.0.pem()).unwrap();
    let edge = Edge::start_in(dir.path(), &format!("{LISTENER}{listener}{CERTIFICATES}")).await;
    Site { dir, authority, edge }
}

impl Site {
    async fn connect(&self, name: &str, alpn: &[&str], client: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.authority.roots());
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (pem, key) = self.authority.issue(name);
                let certificate =
                    <CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.edge.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }

    async fn answer(&self, name: &str, client: Option<&str>) -> String {
        let mut stream = Client::new(self.connect(name, &["http/1.1"], client).await.unwrap());
        stream.send(GET).await;
        stream.rest().await
    }
}

#[tokio::test]
async fn chooses_certificates_by_name_and_protocols_by_alpn() {
    let site = site("").await;
    let answer = site.answer("first.test", None).await;
    assert_eq!((status(&answer), header(&answer, "x-tls")), ("200", "1.3 first.test none"));
    assert_eq!(status(&site.answer("api.second.test", None).await), "200");
    assert!(site.connect("other.test", &[], None).await.is_err(), "the default certificate is for another name");
    let stream = site.connect("first.test", &["h2", "http/1.1"], None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut requests, driver) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    let request = http::Request::get("https://first.test/p/../q").body(()).unwrap();
    let response = timeout(PATIENCE, requests.send_request(request, true).unwrap().0).await.unwrap().unwrap();
    assert_eq!(
        (response.status(), &response.headers()["x-http2"], &response.headers()["x-path"]),
        (http::StatusCode::OK, &"true".parse().unwrap(), &"/q".parse().unwrap())
    );
    let mut plain = Client::new(site.connect("first.test", &[], None).await.unwrap());
    plain.send(GET).await;
    assert_eq!(header(&plain.rest().await, "x-http2"), "false");
}

#[tokio::test]
async fn a_new_generation_brings_its_certificates_to_the_next_handshake() {
    let mut site = site("").await;
    let standing = site.connect("first.test", &[], None).await.unwrap();
    site.authority = Authority::new();
    site.authority.write(site.dir.path(), "first", "first.test");
    site.edge.reload_in(site.dir.path(), &format!("{LISTENER}{CERTIFICATES}"));
    assert_eq!(header(&site.answer("first.test", None).await, "x-generation"), "2");
    let mut standing = Client::new(standing);
    standing.send(GET).await;
    assert_eq!(status(&standing.rest().await), "200");
}

#[tokio::test]
async fn client_certificates_are_verified_and_named() {
    let optional = site("client_certificates = { ca = \"ca.pem\", mode = \"optional\" }\n").await;
    assert_eq!(header(&optional.answer("first.test", None).await, "x-tls"), "1.3 first.test none");
    let named = optional.answer("first.test", Some("robot")).await;
    assert!(header(&named, "x-tls").ends_with("CN=robot"), "{named}");

    let required = site("client_certificates = { ca = \"ca.pem\", mode = \"required\" }\n").await;
    assert_eq!(status(&required.answer("first.test", Some("robot")).await), "200");
    let refused = match required.connect("first.test", &[], None).await {
        Err(_) => true,
        Ok(mut stream) => tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn bodies_and_refusals_pass_through_tls() {
    let site = site("").await;
    let mut client = Client::new(site.connect("first.test", &[], None).await.unwrap());
    let body = "x".repeat(300_000);
    client.send(format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{body}")).await;
    assert!(client.answer().await.ends_with("POST /a 300000"));
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "a".repeat(40_000))).await;
    assert_eq!(status(&client.rest().await), "431");
}

#[tokio::test]
async fn a_proxy_protocol_header_comes_before_the_handshake() {
    let site = site("proxy_protocol = { from = [\"127.0.0.1\"] }\n").await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(site.authority.roots()).with_no_client_auth();
    let mut stream = TcpStream::connect(site.edge.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n").await.unwrap();
    let name = ServerName::try_from("first.test").unwrap();
    let mut client = Client::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap());
    client.send(GET).await;
    assert_eq!(header(&client.rest().await, "x-source"), "192.0.2.7:4711");
}

#[tokio::test]
async fn a_slow_handshake_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new().write(dir.path(), "first", "first.test");
    let text = format!(
        "{LISTENER}[accept]\ntls_handshake_timeout = \"200ms\"\n[[certificate]]\nnames = []\nchain = \"first.pem\"\nkey = \"first.key\"\n"
    );
    let edge = Edge::start_in(dir.path(), &text).await;
    assert_eq!(edge.connect().await.rest().await, "");
}
