//! TLS of the listeners: certificates by server name, optional client certificates, ALPN.
//!
//! Everything here belongs to a configuration generation: a new certificate is served to the next handshake, while
//! connections that stand keep theirs. Only the keys of session tickets are carried over, so that a reload does not cost
//! every returning client a full handshake.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use gatehouse_shared::config::{ConfigErrors, Positions, Sources};
use pingora::listeners::tls::Acceptor;
use ring::digest;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::connection::ClientCertificate;

/// One `[[certificate]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// Server names it serves: `example.com`, or `*.example.com` for exactly one label more. The first certificate of the
    /// file also serves every other name.
    pub names: Vec<String>,
    /// PEM file with the certificate and its chain, leaf first; relative to the configuration directory.
    pub chain: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `client_certificates` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificatesConfig {
    /// PEM file with the authorities whose certificates clients may show.
    pub ca: PathBuf,
    /// `required` ends a handshake without a certificate; `optional` lets it pass without a subject.
    #[serde(default)]
    pub mode: ClientCertificates,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// A handshake without a certificate fails.
    #[default]
    Required,
    /// A certificate is asked for and verified when shown.
    Optional,
}

/// The certificates of one generation, by server name.
#[derive(Debug)]
pub struct Certificates {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// `*.example.com` under `example.com`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Certificates {
    /// Reads and checks every `[[certificate]]`; `None` where there is none.
    ///
    /// # Errors
    /// Unreadable or empty PEM files, keys that do not fit their certificate, names that are not names or are given twice.
    pub fn compile(
        configs: &[CertificateConfig],
        positions: &Positions,
        sources: &mut Sources,
    ) -> Result<Option<Arc<Self>>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let (mut exact, mut wildcard, mut default) = (HashMap::new(), HashMap::new(), None);
        for (index, config) in configs.iter().enumerate() {
            let path = format!("certificate[{index}]");
            let Some(key) = errors.collect(certified_key(config, &path, positions, sources)) else { continue };
            default.get_or_insert_with(|| Arc::clone(&key));
            for name in &config.names {
                let lower = name.to_ascii_lowercase();
                let (names, bare) = match lower.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, lower.as_str()),
                };
                if !is_host_name(bare) {
                    let remedy = Some("write it as example.com or *.example.com".to_owned());
                    errors.push(positions.error(
                        &format!("{path}.names"),
                        format!("{name:?} is not a server name"),
                        remedy,
                    ));
                } else if names.insert(Box::from(bare), Arc::clone(&key)).is_some() {
                    let remedy = Some("keep the name in one [[certificate]]".to_owned());
                    errors.push(positions.error(
                        &format!("{path}.names"),
                        format!("{name:?} has a certificate already"),
                        remedy,
                    ));
                }
            }
        }
        errors.into_result(default.map(|default| Arc::new(Self { exact, wildcard, default })))
    }

    /// The certificate for a server name; the default one where none fits or the client named none.
    #[must_use]
    pub fn find(&self, server_name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = server_name else { return &self.default };
        let lower = name.to_ascii_lowercase();
        let parent = || lower.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(lower.as_str()).or_else(parent).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}

/// The TLS side of one listener in one generation.
pub struct ListenerTls {
    acceptor: Acceptor,
    tickets: Arc<dyn ProducesTickets>,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerTls").finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Builds the handshake settings of a listener: TLS 1.2 and 1.3, `h2` before `http/1.1`, `certificates` by name.
    /// `path` is the listener's key path, for errors. Sessions resume across generations, except where client
    /// certificates are asked for: there every connection shows its certificate anew.
    ///
    /// # Errors
    /// Authorities of client certificates that cannot be read, and what the TLS library refuses.
    pub fn compile(
        certificates: Arc<Certificates>,
        clients: Option<&ClientCertificatesConfig>,
        path: &str,
        positions: &Positions,
        sources: &mut Sources,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let finding = |message: String| ConfigErrors::from(positions.error(path, message, None));
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| finding(format!("TLS cannot be set up: {error}")))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let at = format!("{path}.client_certificates");
                let roots = Arc::new(authorities(clients, &at, positions, sources)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match clients.mode {
                    ClientCertificates::Required => verifier,
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| {
                    ConfigErrors::from(positions.error(&at, format!("client certificates: {error}"), None))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tickets = match before {
            Some(before) => Arc::clone(&before.tickets),
            None => Ticketer::new().map_err(|error| finding(format!("session tickets cannot be set up: {error}")))?,
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match clients {
            None => config.ticketer = Arc::clone(&tickets),
            Some(_) => config.send_tls13_tickets = 0,
        }
        Ok(Self { acceptor: Acceptor::from_server_config(Arc::new(config)), tickets })
    }

    /// Performs handshakes.
    #[must_use]
    pub fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }
}

/// Subject and fingerprint of a verified client certificate; `None` where the certificate cannot be read.
#[must_use]
pub fn client_certificate(der: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let fingerprint =
        digest::digest(&digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(ClientCertificate {
        subject: certificate.subject().to_string().into_boxed_str(),
        fingerprint: fingerprint.into_boxed_str(),
    })
}

fn certified_key(
    config: &CertificateConfig,
    path: &str,
    positions: &Positions,
    sources: &mut Sources,
) -> Result<Arc<CertifiedKey>, ConfigErrors> {
    let finding = |key: &str, message: String, remedy: &str| {
        ConfigErrors::from(positions.error(&format!("{path}.{key}"), message, Some(remedy.to_owned())))
    };
    let chain_name = config.chain.display();
    let key_name = config.key.display();
    let chain = sources
        .read_bytes(&config.chain)
        .map_err(|error| finding("chain", error.to_string(), "name a PEM file that this process may read"))?;
    let key = sources
        .read_bytes(&config.key)
        .map_err(|error| finding("key", error.to_string(), "name a PEM file that this process may read"))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| finding("chain", format!("{chain_name}: {error}"), "write PEM certificates, leaf first"))?;
    if chain.is_empty() {
        return Err(finding("chain", format!("{chain_name} has no certificate"), "write PEM certificates, leaf first"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| finding("key", format!("{key_name}: {error}"), "write one unencrypted PEM private key"))?;
    CertifiedKey::from_der(chain, key, &default_provider()).map(Arc::new).map_err(|error| {
        finding(
            "key",
            format!("{key_name} does not serve {chain_name}: {error}"),
            "give the key the certificate was made for",
        )
    })
}

fn authorities(
    config: &ClientCertificatesConfig,
    path: &str,
    positions: &Positions,
    sources: &mut Sources,
) -> Result<RootCertStore, ConfigErrors> {
    let finding = |message: String| {
        let remedy = Some("write the authorities' certificates as PEM".to_owned());
        ConfigErrors::from(positions.error(&format!("{path}.ca"), message, remedy))
    };
    let name = config.ca.display();
    let pem = sources.read_bytes(&config.ca).map_err(|error| finding(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| finding(format!("{name}: {error}")))?;
        roots.add(certificate).map_err(|error| finding(format!("{name}: {error}")))?;
    }
    if roots.is_empty() { Err(finding(format!("{name} has no certificate"))) } else { Ok(roots) }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::{self, SourceFile};
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};

    #[derive(Debug, Deserialize)]
    struct File {
        certificate: Vec<CertificateConfig>,
    }

    fn write(dir: &std::path::Path, name: &str, host: &str) {
        let Generated { cert, signing_key } = generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), cert.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), signing_key.serialize_pem()).unwrap();
    }

    fn compile(dir: &std::path::Path, text: &str) -> Result<Option<Arc<Certificates>>, ConfigErrors> {
        let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
        let document = config::parse::<File>(&file).unwrap();
        Certificates::compile(&document.value.certificate, &document.positions, &mut Sources::new(dir))
    }

    #[test]
    fn chooses_by_name_then_wildcard_then_default() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "first", "first.test");
        write(dir.path(), "second", "second.test");
        let text = "[[certificate]]\nnames = [\"first.test\"]\nchain = \"first.pem\"\nkey = \"first.key\"\n\
            [[certificate]]\nnames = [\"Second.test\", \"*.second.test\"]\nchain = \"second.pem\"\nkey = \"second.key\"\n";
        let certificates = compile(dir.path(), text).unwrap().unwrap();
        let first = certificates.find(Some("first.test"));
        let second = certificates.find(Some("second.test"));
        assert!(!Arc::ptr_eq(first, second));
        assert!(Arc::ptr_eq(second, certificates.find(Some("API.second.test"))));
        for other in [Some("a.b.second.test"), Some("unknown.test"), Some(""), None] {
            assert!(Arc::ptr_eq(first, certificates.find(other)), "{other:?}");
        }
    }

    #[test]
    fn reports_a_key_of_another_certificate_and_a_name_given_twice_with_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "first", "first.test");
        write(dir.path(), "second", "second.test");
        let text = "[[certificate]]\nnames = [\"first.test\"]\nchain = \"first.pem\"\nkey = \"second.key\"\n\
            [[certificate]]\nnames = [\"second.test\", \"second.test\"]\nchain = \"second.pem\"\nkey = \"second.key\"\n\
            [[certificate]]\nnames = [\"no name\"]\nchain = \"first.pem\"\nkey = \"absent.key\"\n";
        let errors = compile(dir.path(), text).unwrap_err().to_string();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 3, "{errors}");
        assert!(
            lines[0].starts_with("edge.toml:4:") && lines[0].contains("second.key does not serve first.pem"),
            "{errors}"
        );
        assert!(lines[1].starts_with("edge.toml:6:") && lines[1].contains("has a certificate already"), "{errors}");
        assert!(lines[2].starts_with("edge.toml:12:") && lines[2].contains("absent.key"), "{errors}");
    }

    #[test]
    fn reads_subject_and_fingerprint_of_a_client_certificate() {
        let Generated { cert, .. } = generate_simple_self_signed(vec!["client.test".to_owned()]).unwrap();
        let client = client_certificate(cert.der()).unwrap();
        assert!(client.subject.contains("CN="), "{}", client.subject);
        assert_eq!(client.fingerprint.len(), 64);
        assert_eq!(client_certificate(b"no certificate"), None);
    }
}
