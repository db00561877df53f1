//! What may stand in an application, wherever it is written.

use std::net::IpAddr;

use ipnet::IpNet;

/// How a network is written.
pub const NETWORK_FORM: &str = "write an address or a network, as in \"192.0.2.0/24\"";
/// Longest name, owner or other text for people, in bytes.
pub const LONGEST_TEXT: usize = 256;
/// Longest subject of a certificate, in bytes.
const LONGEST_SUBJECT: usize = 512;
/// Most packages, networks, subjects or scopes.
pub const MOST_ITEMS: usize = 256;

/// An app key: it stands in front of the dot of an API key, in file names and in keys of the store.
///
/// # Errors
/// A sentence about anything else.
pub fn app_key(key: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_key = (1..=64).contains(&key.len()) && key.bytes().all(is_plain);
    is_key.then_some(()).ok_or_else(|| format!("{key:?} is not an app key"))
}

/// A network, or a single address. Bits behind the prefix do not count.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|network| network.trunc())
}

/// The subject of a certificate.
///
/// # Errors
/// A sentence about anything else.
pub fn subject(text: &str) -> Result<(), String> {
    let is_subject = (1..=LONGEST_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control);
    is_subject.then_some(()).ok_or_else(|| format!("{text:?} is not the subject of a certificate"))
}

/// The name of a package, a plan, a class, a scope or the like.
///
/// # Errors
/// A sentence about anything else.
pub fn name(text: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
    is_name.then_some(()).ok_or_else(|| format!("{text:?} is not a name"))
}

/// Text for people.
///
/// # Errors
/// A sentence about anything else.
pub fn text(text: &str) -> Result<(), String> {
    let is_text = text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
    is_text.then_some(()).ok_or_else(|| format!("a text has at most {LONGEST_TEXT} bytes and no control characters"))
}
