//! `sign`: prints a call as `curl` makes it, with the credentials that the gate wants to see. docs/SIGNING.md explains them.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use gatehouse_shared::clock;
use gatehouse_shared::config::{Secret, SecretSource};
use gatehouse_shared::hop::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use md5::{Digest as _, Md5};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;

use super::{fail, print};
use crate::admit::app::digest::{CONTENT_DIGEST, content_digest};
use crate::admit::app::platform::{Parameters, to_hex};
use crate::admit::app::presented::{API_KEY, SESSION_TOKEN};
use crate::admit::app::signature::{Message, NewSignature, SIGNATURE, SIGNATURE_INPUT, SigningKey, sign};

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The method, such as GET
    method: Method,
    /// The whole URL, as clients write it
    url: Uri,
    /// The key of the application
    #[arg(long, value_name = "KEY")]
    app: String,
    /// Which of the application's secrets or keys, where it has two
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// How
    #[arg(long, default_value = "signature")]
    scheme: SchemeName,
    /// File with the secret, or with the private key (PKCS#8 PEM) for --ed25519; without this and --secret-env it is read from
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Option<PathBuf>,
    /// Environment variable with the secret
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// Sign with Ed25519 instead of HMAC-SHA-256
    #[arg(long)]
    ed25519: bool,
    /// A header, such as 'accept: application/json'; a signature covers it
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The body
    #[arg(long, short = 'd', conflicts_with = "data_file")]
    data: Option<String>,
    /// File with the body
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// Token of a user's session
    #[arg(long, value_name = "TOKEN")]
    session: Option<String>,
    /// Name of the API, for --scheme platform
    #[arg(long, value_name = "NAME", required_if_eq("scheme", "platform"))]
    api: Option<String>,
    /// Time zone of the timestamp, for --scheme platform
    #[arg(long, default_value = "Asia/Shanghai")]
    zone: String,
    /// Sign with MD5, for --scheme platform
    #[arg(long)]
    md5: bool,
    /// When it is signed, in Unix seconds, instead of now
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    /// The nonce, instead of a random one
    #[arg(long)]
    nonce: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeName {
    /// HTTP Message Signatures (RFC 9421)
    Signature,
    /// The open-platform style
    Platform,
    /// An API key; the secret is the part behind the dot
    ApiKey,
    /// HTTP Basic
    Basic,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("{0}")]
    Secret(String),
    #[error("the secret cannot be read")]
    Input(#[source] std::io::Error),
    #[error("the body cannot be read")]
    Body(#[source] std::io::Error),
    #[error("{0:?} is not a header; write NAME: VALUE")]
    Header(String),
    #[error("the URL needs http:// or https:// and a host")]
    Url,
    #[error("the private key is not Ed25519 in PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it")]
    PrivateKey,
    #[error("no such time or time zone")]
    Zone(#[source] jiff::Error),
    #[error("no randomness from the system")]
    Random,
    #[error(transparent)]
    Malformed(#[from] crate::admit::app::Malformed),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match signed(arguments) {
        Ok(call) => print(&call),
        Err(error) => fail(&error),
    }
}

fn signed(arguments: &Arguments) -> Result<String, SignError> {
    let secret = secret(arguments)?;
    let body = body(arguments)?;
    let now_s = arguments.at.unwrap_or_else(|| clock::unix_ms() / 1000);
    let mut headers = headers(&arguments.headers)?;
    if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let mut url = arguments.url.to_string();
    match arguments.scheme {
        SchemeName::Signature => by_signature(arguments, &secret, &body, &mut headers, now_s)?,
        SchemeName::Platform => url = by_platform(arguments, &secret, &body, &headers, now_s)?,
        SchemeName::ApiKey => {
            let secret = String::from_utf8_lossy(secret.expose()).into_owned();
            insert(&mut headers, API_KEY, &format!("{}.{secret}", arguments.app))?;
        }
        SchemeName::Basic => {
            let pair = [arguments.app.as_bytes(), b":", secret.expose()].concat();
            insert(&mut headers, header::AUTHORIZATION, &format!("Basic {}", STANDARD.encode(pair)))?;
        }
    }
    if let Some(token) = arguments.session.as_deref().filter(|_| arguments.scheme != SchemeName::Platform) {
        insert(&mut headers, SESSION_TOKEN, token)?;
    }
    Ok(curl(arguments, &url, &headers))
}

fn by_signature(
    arguments: &Arguments,
    secret: &Secret,
    body: &[u8],
    headers: &mut HeaderMap,
    now_s: u64,
) -> Result<(), SignError> {
    let key = if arguments.ed25519 {
        let der = pem(secret.expose()).ok_or(SignError::PrivateKey)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_error| SignError::PrivateKey)?;
        SigningKey::Ed25519(Box::new(pair))
    } else {
        SigningKey::Hmac(secret.expose().to_vec())
    };
    let covered: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    if !body.is_empty() {
        insert(headers, HeaderName::from_static(CONTENT_DIGEST), &content_digest(body))?;
    }
    let key_id = match &arguments.key_id {
        Some(id) => format!("{}/{id}", arguments.app),
        None => arguments.app.clone(),
    };
    let nonce = match &arguments.nonce {
        Some(nonce) => nonce.clone(),
        None => random()?,
    };
    let (scheme, authority) = match (arguments.url.scheme_str(), arguments.url.authority()) {
        (Some("http"), Some(authority)) => (Scheme::Http, authority.as_str()),
        (Some("https"), Some(authority)) => (Scheme::Https, authority.as_str()),
        _ => return Err(SignError::Url),
    };
    let new = NewSignature {
        key_id: &key_id,
        created: now_s,
        expires: None,
        nonce: &nonce,
        headers: &covered,
        has_body: !body.is_empty(),
    };
    let message = Message { method: arguments.method.as_str(), scheme, authority, uri: &arguments.url, headers };
    let (input, signature) = sign(&message, &new, &key)?;
    insert(headers, SIGNATURE_INPUT, &input)?;
    insert(headers, SIGNATURE, &signature)
}

/// The URL with the parameters that sign it.
fn by_platform(
    arguments: &Arguments,
    secret: &Secret,
    body: &[u8],
    headers: &HeaderMap,
    now_s: u64,
) -> Result<String, SignError> {
    let zone = TimeZone::get(&arguments.zone).map_err(SignError::Zone)?;
    let now = Timestamp::from_second(i64::try_from(now_s).unwrap_or(i64::MAX)).map_err(SignError::Zone)?;
    let timestamp = now.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut added = vec![
        ("app_key", arguments.app.as_str()),
        ("method", arguments.api.as_deref().unwrap_or_default()),
        ("timestamp", &timestamp),
        ("v", "2.0"),
        ("sign_method", if arguments.md5 { "md5" } else { "hmac-sha256" }),
    ];
    if let Some(nonce) = &arguments.nonce {
        added.push(("nonce", nonce));
    }
    if let Some(session) = &arguments.session {
        added.push(("session", session));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    let form = String::from_utf8_lossy(body).into_owned();
    let mut parameters = Parameters::default();
    parameters.add(arguments.url.query().unwrap_or_default())?;
    if is_form {
        parameters.add(&form)?;
    }
    for (name, value) in &added {
        parameters.push(name, value);
    }
    parameters.sort()?;
    let text = parameters.text(if is_form { b"" } else { body });
    let sign = if arguments.md5 {
        let mut hash = Md5::new();
        for part in [secret.expose(), &text, secret.expose()] {
            hash.update(part);
        }
        to_hex(&hash.finalize())
    } else {
        to_hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), &text).as_ref())
    };
    added.push(("sign", &sign));
    let mut url = arguments.url.to_string();
    let mut separator = if arguments.url.query().is_some() { '&' } else { '?' };
    for (name, value) in &added {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        push_encoded(&mut url, value);
        separator = '&';
    }
    Ok(url)
}

/// RFC 3986: everything but unreserved characters is percent-encoded.
fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn curl(arguments: &Arguments, url: &str, headers: &HeaderMap) -> String {
    let method =
        if arguments.method == Method::HEAD { "--head".to_owned() } else { format!("-X {}", arguments.method) };
    let mut command = format!("curl --path-as-is {method}");
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        command.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
    }
    if let Some(data) = &arguments.data {
        command.push_str(&format!(" \\\n  --data-raw {}", quoted(data)));
    }
    if let Some(file) = &arguments.data_file {
        command.push_str(&format!(" \\\n  --data-binary {}", quoted(&format!("@{}", file.display()))));
    }
    command.push_str(&format!(" \\\n  {}\n", quoted(url)));
    command
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn secret(arguments: &Arguments) -> Result<Secret, SignError> {
    let source = match (&arguments.secret_file, &arguments.secret_env) {
        (Some(file), _) => SecretSource::File(file.clone()),
        (None, Some(name)) => SecretSource::Env(name.clone()),
        (None, None) => {
            let mut bytes = Vec::new();
            std::io::stdin().take(64 * 1024).read_to_end(&mut bytes).map_err(SignError::Input)?;
            let secret = Secret::new(bytes);
            let is_empty = secret.expose().is_empty();
            return if is_empty {
                Err(SignError::Secret("no secret on standard input".to_owned()))
            } else {
                Ok(secret)
            };
        }
    };
    source.resolve(std::path::Path::new(".")).map_err(SignError::Secret)
}

fn body(arguments: &Arguments) -> Result<Vec<u8>, SignError> {
    match (&arguments.data, &arguments.data_file) {
        (Some(data), _) => Ok(data.clone().into_bytes()),
        (None, Some(file)) => std::fs::read(file).map_err(SignError::Body),
        (None, None) => Ok(Vec::new()),
    }
}

fn headers(written: &[String]) -> Result<HeaderMap, SignError> {
    let mut headers = HeaderMap::new();
    for line in written {
        let wrong = || SignError::Header(line.clone());
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name: HeaderName = name.trim().parse().map_err(|_error| wrong())?;
        headers.append(name, value.trim().parse().map_err(|_error| wrong())?);
    }
    Ok(headers)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), SignError> {
    let parsed = HeaderValue::from_str(value).map_err(|_error| SignError::Header(name.to_string()))?;
    headers.insert(name, parsed);
    Ok(())
}

/// The first block of a PEM text.
fn pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text.split_once("-----BEGIN PRIVATE KEY-----")?.1.split_once("-----END PRIVATE KEY-----")?.0;
    let letters: String = inner.split_whitespace().collect();
    STANDARD.decode(letters).ok()
}

fn random() -> Result<String, SignError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_error| SignError::Random)?;
    Ok(to_hex(&bytes).to_ascii_lowercase())
}
