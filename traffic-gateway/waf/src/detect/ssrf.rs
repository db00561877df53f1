//! `@detectSsrf`: a URL that would make the server call where only the server can call.
//!
//! Recognises URLs whose host is a metadata service, the machine itself or a private network, in every notation a
//! resolver takes (decimal, octal, hexadecimal, shortened, IPv6 with an IPv4 inside, names that resolve to it), schemes
//! that speak other protocols (`gopher:`, `dict:`), user names that look like hosts, and hosts that exist to log calls.
//!
//! Developers write `http://localhost:3000/callback`: the machine itself in its plain notation is likely, and certain
//! only at a port where services listen that trust their own machine. Private networks are likely.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::evidence::Best;
use super::scan::{Cursor, has_text, is_one_of, is_space, is_word, part, starts_with};
use super::{Classes, Finding};

/// Two slashes; `http:` without them; or a slash behind an address of digits or in brackets, or behind the name of a
/// metadata service.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    const SLASHLESS: Classes = Classes::in_text(b"http:");
    const NAMES: Classes = Classes::in_text(b"data.e");
    classes.twice(Classes::SLASH)
        || classes.all(SLASHLESS)
        || (classes.any(Classes::SLASH) && (classes.any(Classes::DIGIT.or(Classes::BRACKET)) || classes.all(NAMES)))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.twice(Classes::SLASH) {
        for at in memchr::memmem::find_iter(value, b"//") {
            if best.keep(url(value, at)) {
                return best.into_finding();
            }
        }
    }
    if classes.any(Classes::COLON) {
        best.keep(slashless(value));
    }
    best.keep(metadata_path(value));
    best.into_finding()
}

/// Schemes that reach services which do not speak HTTP.
const FOREIGN: &[&[u8]] = &[b"gopher", b"dict", b"tftp", b"netdoc", b"jar", b"ldapi"];
/// Schemes of which the same is true, and which people also write into configuration.
const UNUSUAL: &[&[u8]] = &[b"ldap", b"ldaps", b"file", b"sftp", b"smb", b"rmi", b"nfs"];
/// Schemes whose host is judged.
const JUDGED: &[&[u8]] = &[
    b"http",
    b"https",
    b"ftp",
    b"ftps",
    b"ws",
    b"wss",
    b"gopher",
    b"dict",
    b"tftp",
    b"url",
    b"jar",
    b"view-source",
    b"git",
    b"feed",
];

/// Judges the URL whose slashes are at a position.
fn url(value: &[u8], slashes: usize) -> Option<Finding> {
    let mut start = slashes;
    let mut scheme: &[u8] = b"";
    if let Some(colon) = slashes.checked_sub(1).filter(|at| value.get(*at) == Some(&b':')) {
        let length = part(value, 0, colon)
            .iter()
            .rev()
            .take(16)
            .take_while(|byte| is_word(**byte) || matches!(byte, b'-' | b'+' | b'.'))
            .count();
        start = colon - length;
        scheme = part(value, start, colon);
    } else if slashes != 0 && !matches!(value.get(slashes - 1), Some(b'=')) {
        return None;
    }
    let is_whole = stands_alone(value, start);
    if part(value, 0, start).eq_ignore_ascii_case(b"jar:") {
        return Some(Finding::certain("URL of another protocol", 0..slashes));
    }
    let mut cursor = Cursor::from(value, slashes);
    cursor.take_at_most(if is_one_of(scheme, &[b"file"]) { 2 } else { 8 }, |byte| matches!(byte, b'/' | b'\\'));
    let authority = authority(&mut cursor);
    let end = cursor.at();
    if is_one_of(scheme, FOREIGN) && !authority.is_empty() {
        return Some(graded(is_whole, "URL of another protocol", start..end));
    }
    if is_one_of(scheme, UNUSUAL) {
        return unusual(value, scheme, authority, start..end, is_whole);
    }
    if !scheme.is_empty() && !is_one_of(scheme, JUDGED) {
        return None;
    }
    let (user, host) = split_user(authority);
    if let Some(found) = judge_host(host, cursor.rest(), is_whole, start..end) {
        return Some(found);
    }
    disguised(user, host, &cursor, is_whole, start..end)
}

fn graded(certain: bool, what: &'static str, at: Range<usize>) -> Finding {
    if certain { Finding::certain(what, at) } else { Finding::likely(what, at) }
}

/// Whether the URL is the value, or the value of a parameter within it.
fn stands_alone(value: &[u8], start: usize) -> bool {
    let head = part(value, 0, start);
    head.len() <= 256
        && !head.iter().any(|&byte| is_space(byte))
        && matches!(head.last(), None | Some(b'=' | b'"' | b'\'' | b':' | b'@' | b',' | b'('))
}

fn authority<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    cursor.take_at_most(512, |byte| {
        !is_space(byte)
            && !matches!(
                byte,
                b'/' | b'?' | b'#' | b'\\' | b'"' | b'\'' | b'<' | b'>' | b')' | b'`' | b'|' | b'{' | b'}' | b'!' | 0
            )
    })
}

fn split_user(authority: &[u8]) -> (&[u8], &[u8]) {
    memchr::memrchr(b'@', authority)
        .map_or((b"", authority), |at| (part(authority, 0, at), part(authority, at + 1, authority.len())))
}

/// `file:` and `ldap:` name certain targets only when they stand alone.
fn unusual(value: &[u8], scheme: &[u8], authority: &[u8], at: Range<usize>, is_whole: bool) -> Option<Finding> {
    let path = part(value, at.end, at.end + 64);
    if scheme.eq_ignore_ascii_case(b"file") {
        let system =
            [b"/etc/".as_slice(), b"/proc/", b"/var/run", b"/root/", b"/sys/", b"/dev/", b"/.", b"/c:/windows/"]
                .iter()
                .any(|root| starts_with(path, root));
        return is_whole.then(|| graded(system, "local file as a URL", at));
    }
    let what = "URL of another protocol";
    let (host, _) = split_port(split_user(authority).1);
    if host.is_empty() {
        return None;
    }
    is_whole.then(|| graded(address(host).is_some() || is_local_name(host), what, at))
}

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Metadata,
    Machine,
    Private,
    Elsewhere,
}

/// The address a host is, and whether it is written the usual way.
fn address(host: &[u8]) -> Option<(Place, bool)> {
    if let Some(inner) = host.strip_prefix(b"[") {
        let inner = inner.strip_suffix(b"]").unwrap_or(inner);
        let inner = inner.split(|&byte| byte == b'%').next().unwrap_or_default();
        let address: Ipv6Addr = std::str::from_utf8(inner).ok()?.parse().ok()?;
        return Some(place_v6(address));
    }
    let (address, usual) = ipv4(host)?;
    Some((place_v4(address), usual))
}

fn place_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            Place::Metadata
        }
        [0 | 127, ..] => Place::Machine,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..] => Place::Private,
        _ => Place::Elsewhere,
    }
}

fn place_v6(address: Ipv6Addr) -> (Place, bool) {
    if address.is_loopback() || address.is_unspecified() {
        return (Place::Machine, false);
    }
    match address.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => (Place::Metadata, true),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, 0, 0, 0, 0, _] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            (place_v4(Ipv4Addr::new(a, b, c, d)), false)
        }
        [0xfc00..=0xfdff | 0xfe80..=0xfebf, ..] => (Place::Private, true),
        _ => (Place::Elsewhere, true),
    }
}

/// Reads an IPv4 address as resolvers do: one to four numbers, each decimal, octal or hexadecimal.
fn ipv4(host: &[u8]) -> Option<(Ipv4Addr, bool)> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.len() > 64 || !host.first()?.is_ascii_digit() {
        return None;
    }
    let (mut numbers, mut count, mut usual) = ([0_u64; 4], 0_usize, true);
    for text in host.split(|&byte| byte == b'.') {
        let (number, decimal) = number(text)?;
        *numbers.get_mut(count)? = number;
        count += 1;
        usual &= decimal;
    }
    usual &= count == 4;
    let [a, b, c, d] = numbers;
    let whole = match count {
        1 => a,
        2 if a < 256 && b < 1 << 24 => a << 24 | b,
        3 if a < 256 && b < 256 && c < 1 << 16 => a << 24 | b << 16 | c,
        4 if a < 256 && b < 256 && c < 256 && d < 256 => a << 24 | b << 16 | c << 8 | d,
        // Some readers let a number run over: 383 is 127.
        4 => ((a & 255) << 24) | ((b & 255) << 16) | ((c & 255) << 8) | (d & 255),
        _ => return None,
    };
    u32::try_from(whole).ok().map(|whole| (Ipv4Addr::from(whole), usual && a < 256))
}

/// A number and whether it is plain decimal.
fn number(text: &[u8]) -> Option<(u64, bool)> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some((number, radix == 10))
}

/// A port, if the authority has one.
fn split_port(host: &[u8]) -> (&[u8], Option<u32>) {
    let Some(colon) = memchr::memrchr(b':', host) else { return (host, None) };
    let digits = part(host, colon + 1, host.len());
    if host.starts_with(b"[") && !part(host, 0, colon).ends_with(b"]") {
        return (host, None);
    }
    let port = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    (part(host, 0, colon), port)
}

/// Names of metadata services.
const METADATA: &[&[u8]] = &[
    b"metadata.google.internal",
    b"metadata",
    b"instance-data",
    b"metadata.goog",
    b"metadata.azure.internal",
    b"instance-data.ec2.internal",
    b"metadata.packet.net",
    b"metadata.tencentyun.com",
    b"rancher-metadata",
];
/// Ends of names that resolve to the address they spell, or to the machine itself.
const RESOLVERS: &[&[u8]] = &[
    b".nip.io",
    b".sslip.io",
    b".xip.io",
    b"localtest.me",
    b"lvh.me",
    b".vcap.me",
    b".lacolhost.com",
    b".1u.ms",
    b".rbndr.us",
    b"localdomain",
    b"localhost.me",
    b"ip6-localhost",
    b"ip6-loopback",
];
/// Ends of names whose hosts log whoever calls.
const LOGGERS: &[&[u8]] = &[
    b".burpcollaborator.net",
    b".oastify.com",
    b".interact.sh",
    b".interactsh.com",
    b".oast.pro",
    b".oast.live",
    b".oast.site",
    b".oast.online",
    b".oast.fun",
    b".oast.me",
    b".dnslog.cn",
    b".ceye.io",
    b".requestrepo.com",
    b".pingb.in",
];
/// Ends of names that only resolve inside.
const INSIDE: &[&[u8]] =
    &[b".internal", b".svc.cluster.local", b".svc", b".consul", b".corp", b".intranet", b".localdomain"];

fn ends_with(host: &[u8], end: &[u8]) -> bool {
    host.last().map(u8::to_ascii_lowercase).as_ref() == end.last()
        && host.len().checked_sub(end.len()).is_some_and(|from| part(host, from, host.len()).eq_ignore_ascii_case(end))
}

fn is_local_name(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    host.eq_ignore_ascii_case(b"localhost") || ends_with(host, b".localhost")
}

/// Judges the host of a URL.
fn judge_host(host: &[u8], rest: &[u8], is_whole: bool, at: Range<usize>) -> Option<Finding> {
    let (host, port) = split_port(host);
    let any = |ends: &[&[u8]]| ends.iter().any(|end| ends_with(host, end));
    if is_one_of(host.strip_suffix(b".").unwrap_or(host), METADATA) {
        return Some(Finding::certain("URL of a metadata service", at));
    }
    if any(LOGGERS) {
        return Some(Finding::certain("URL of a host that logs calls", at));
    }
    if any(RESOLVERS) {
        return Some(graded(is_whole, "name that resolves to the machine itself", at));
    }
    if starts_with(host, b"kubernetes.default") && is_whole {
        return Some(Finding::certain("URL of an inside name", at));
    }
    if any(INSIDE) {
        return Some(Finding::likely("URL of an inside name", at));
    }
    let (place, usual) = if is_local_name(host) { (Place::Machine, true) } else { address(host)? };
    match place {
        Place::Metadata => Some(Finding::certain("URL of a metadata service", at)),
        Place::Elsewhere => (!usual && is_whole).then(|| Finding::likely("address in an unusual notation", at)),
        _ if !usual => Some(graded(is_whole, "inside address in an unusual notation", at)),
        Place::Machine => {
            is_whole.then(|| graded(trusts_its_machine(port) && !is_sign_in(rest), "URL of the machine itself", at))
        }
        Place::Private => is_whole.then(|| Finding::likely("URL of a private network", at)),
    }
}

/// Ports at which services listen that trust their own machine; a development server listens elsewhere.
fn trusts_its_machine(port: Option<u32>) -> bool {
    port.is_none_or(|port| {
        port < 1024
            || matches!(
                port,
                2375 | 2376 | 2379 | 3306 | 5432 | 5984 | 6379 | 6443 | 8500 | 9200 | 10250 | 10255 | 11211 | 27017
            )
    })
}

/// Native programs let themselves be called back on the machine itself (RFC 8252).
fn is_sign_in(path: &[u8]) -> bool {
    let path = part(path, 0, 128);
    [b"callback".as_slice(), b"oauth", b"oidc", b"signin", b"login", b"auth", b"redirect"]
        .iter()
        .any(|word| has_text(path, word))
}

/// A user name that looks like a host, or a backslash or `#` before `@`: readers differ on which host is meant.
fn disguised(user: &[u8], host: &[u8], after: &Cursor<'_>, is_whole: bool, at: Range<usize>) -> Option<Finding> {
    let rest = after.rest();
    let name = user.split(|&byte| byte == b':').next().unwrap_or_default();
    let what = "URL whose readers differ on its host";
    if is_whole && !host.is_empty() && matches!(rest.first(), Some(b'\\' | b'#')) && matches!(rest.get(1), Some(b'@')) {
        return Some(Finding::certain(what, at));
    }
    let (inner, _) = split_port(user);
    if is_whole && (is_local_name(inner) || address(inner).is_some_and(|(place, _)| place != Place::Elsewhere)) {
        return Some(Finding::certain(what, at));
    }
    let is_host = memchr::memrchr(b'.', name).is_some_and(|dot| (2..=6).contains(&(name.len() - dot - 1)))
        && !name.contains(&b'@');
    (is_whole && is_host).then(|| Finding::likely(what, at))
}

/// `http:127.0.0.1`, `url:http://…`, `gopher:_…`: schemes without slashes, at the beginning.
fn slashless(value: &[u8]) -> Option<Finding> {
    let mut cursor = Cursor::new(value);
    if !cursor.eat_text(b"http:") && !cursor.eat_text(b"https:") {
        return None;
    }
    if cursor.take_at_most(8, |byte| matches!(byte, b'/' | b'\\')) == b"//" {
        return None;
    }
    let authority = authority(&mut cursor);
    let (place, _) = address(split_port(split_user(authority).1).0)?;
    (place != Place::Elsewhere).then(|| Finding::certain("inside address in an unusual notation", 0..cursor.at()))
}

/// A metadata address without a scheme, with the path of such a service.
fn metadata_path(value: &[u8]) -> Option<Finding> {
    let slash = memchr::memchr(b'/', value).filter(|slash| *slash > 0)?;
    let (host, _) = split_port(part(value, 0, slash));
    let is_metadata = address(host).is_some_and(|(place, _)| place == Place::Metadata)
        || (host.contains(&b'.') && is_one_of(host, METADATA));
    is_metadata.then(|| Finding::certain("address of a metadata service", 0..slash))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectSsrf;

    #[test]
    fn finds_urls_that_lead_inside() {
        is_certain_of(
            DetectSsrf,
            &[
                "http://169.254.169.254/latest/meta-data/",
                "http://169.254.169.254",
                "169.254.169.254/latest/meta-data",
                "http://metadata.google.internal/computeMetadata/v1/",
                "http://100.100.100.200/latest",
                "http://[fd00:ec2::254]/latest",
                "http://kubernetes.default.svc/api",
                "jar:http://127.0.0.1:8080/a.zip!/x",
                "http://[::1]:8080/actuator/env",
                "http://127.0.0.1/",
                "http://127.0.0.1/admin",
                "http://localhost/admin",
                "http://localhost:22",
                "http://127.0.0.1:6379/",
                "https://localhost:9200/_cat/indices",
                "http://2130706433/",
                "http://017700000001/",
                "http://0x7f000001/",
                "http://0x7f.0x0.0x0.0x1/",
                "http://127.1/",
                "http://127.0.1",
                "http://0/",
                "http://0.0.0.0:80",
                "http://[::1]/",
                "http://[::]/",
                "http://[::ffff:127.0.0.1]/",
                "http://[0:0:0:0:0:ffff:127.0.0.1]",
                "http://[::ffff:a9fe:a9fe]/",
                "http://0177.0.0.1/",
                "http://0251.0376.0251.0376/",
                "gopher://127.0.0.1:6379/_FLUSHALL",
                "dict://127.0.0.1:11211/stat",
                "tftp://evil.example/x",
                "jar:http://127.0.0.1!/x",
                "file:///etc/passwd",
                "ldap://127.0.0.1/",
                "http://127.0.0.1.nip.io/",
                "http://localtest.me/",
                "http://x.burpcollaborator.net/",
                "http://abc.oastify.com",
                "http://127.0.0.1\\@example.com/",
                "http://example.com\\@127.0.0.1/",
                "http://127.0.0.1@example.com/",
                "http://foo@127.0.0.1/",
                "http://example.com#@evil.example/",
                "//127.0.0.1/",
                "HTTP://LOCALHOST/",
                "http://localhost./",
                "http:127.0.0.1/",
                "http:/127.0.0.1",
                "url=http://127.0.0.1/",
                "http://0xa9fea9fe/",
                "http://127.127.127.127",
                "http://2852039166/",
                "http://instance-data/latest",
                "http:///127.0.0.1/",
            ],
        );
        finds(
            DetectSsrf,
            &[
                "http://192.168.0.1/admin",
                "http://10.0.0.1:8080/",
                "http://172.16.0.1/",
                "http://localhost:3000/callback",
                "http://[fe80::1]/",
                "file:///C:/Users/me/a.html",
                "http://example.com@evil.example/",
                "http:\\\\127.0.0.1/",
            ],
        );
    }

    #[test]
    fn leaves_the_public_network_alone() {
        is_quiet_about(
            DetectSsrf,
            &[
                "https://example.com/",
                "https://8.8.8.8/",
                "http://93.184.216.34:8080/x",
                "https://user:pass@example.com/",
                "https://example.com/?next=/home",
                "127.0.0.1",
                "192.168.1.10",
                "10.0.0.1:8080",
                "localhost:3000",
                "see http://localhost:8080 for the demo",
                "redis://localhost:6379",
                "postgres://u:p@localhost/db",
                "mongodb://127.0.0.1:27017/x",
                "https://localhost.example.com/",
                "https://mylocalhost.com",
                "http://internal.example.com",
                "// a comment",
                "a // b",
                "https://[2606:4700::1111]/",
                "https://maps.example.com/@48.1,11.5",
                "https://medium.example/@user",
                "http://",
                "https://?",
                "file.txt",
                "files://x",
                "ldap",
                "git@github.com:a/b.git",
                "chrome-extension://abc/x.html",
                "capacitor://localhost",
                "ionic://localhost",
                "1.2.3.4/24",
                "10.0.0.0/8",
                "http://1.2.3.4/",
            ],
        );
        is_not_certain_of(
            DetectSsrf,
            &[
                "http://localhost:3000/callback",
                "http://localhost/oauth/callback",
                "http://127.0.0.1:51004/",
                "http://192.168.1.20:8123/webhook",
                "my server is http://127.0.0.1:8000/ ok",
                "http://localhost:5173",
                "ldap://ldap.example.com:389",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(DetectSsrf, &["//", "http://", "http://a@", "http://[", "=//1.", "a:", "http://0x"]);
    }
}
