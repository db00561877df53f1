//! `@detectInclusion`: a place to load code or data from that a file name does not have.
//!
//! Recognises stream wrappers (`php://filter`, `phar://`, `expect://`, `data:` with text to run), a whole value that is the
//! URL of a script's source (`http://host/shell.txt?`), and network shares.
//!
//! Leaves URLs of pages and pictures, `data:` images, and prose about wrappers alone.

use super::evidence::Best;
use super::scan::{Cursor, before, has_text, is_one_of, is_space, is_word, part, starts_with};
use super::{Classes, Finding};

/// Two slashes, as behind every scheme but `data:`, which has a comma; or the two backslashes of a share.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    const DATA: Classes = Classes::in_text(b"data:,");
    classes.twice(Classes::SLASH.or(Classes::BACKSLASH)) || classes.all(DATA)
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    if !classes.any(Classes::COLON.or(Classes::BACKSLASH)) && !value.starts_with(b"//") {
        return None;
    }
    let mut best = Best::default();
    if classes.any(Classes::COLON) {
        let first_space = value.iter().position(|&byte| is_space(byte)).unwrap_or(value.len());
        for at in memchr::memchr_iter(b':', value) {
            if best.keep(wrapper(value, at, first_space)) {
                return best.into_finding();
            }
        }
    }
    best.keep(share(value).or_else(|| remote(value)));
    best.into_finding()
}

/// Wrappers that read, unpack or run something; each is a scheme followed by `://`.
const WRAPPERS: &[&[u8]] = &[
    b"php",
    b"phar",
    b"expect",
    b"zip",
    b"glob",
    b"ogg",
    b"rar",
    b"ssh2.shell",
    b"ssh2.exec",
    b"ssh2.sftp",
    b"compress.zlib",
    b"compress.bzip2",
    b"zlib",
    b"data",
    b"netdoc",
    b"jar",
];

/// A scheme that ends at this colon.
fn wrapper(value: &[u8], colon: usize, first_space: usize) -> Option<Finding> {
    let head = part(value, 0, colon);
    let length = head.iter().rev().take(16).take_while(|byte| is_word(**byte) || **byte == b'.').count();
    let start = colon - length;
    let scheme = part(value, start, colon);
    let mut cursor = Cursor::from(value, colon + 1);
    let in_text = start > first_space;
    let slashes = cursor.eat(b'/') && cursor.eat(b'/');
    if scheme.eq_ignore_ascii_case(b"data") {
        return data(value, start, cursor, in_text);
    }
    if !slashes || !is_one_of(scheme, WRAPPERS) || cursor.peek().is_none_or(is_space) {
        return None;
    }
    let what = "stream wrapper";
    let end = cursor.at();
    let certain =
        !in_text || (scheme.eq_ignore_ascii_case(b"php") && (cursor.eat_text(b"filter/") || cursor.eat_text(b"input")));
    Some(if certain { Finding::certain(what, start..end) } else { Finding::likely(what, start..end) })
}

/// `data:` with a program in it: PHP's form with slashes, or text that begins a program.
fn data(value: &[u8], start: usize, cursor: Cursor<'_>, in_text: bool) -> Option<Finding> {
    let head = part(value, cursor.at(), cursor.at() + 64);
    let is_media = [b"image/".as_slice(), b"font/", b"audio/", b"video/", b"application/"]
        .iter()
        .any(|kind| starts_with(head, kind));
    let comma = memchr::memchr(b',', head)?;
    let begins = head.get(comma + 1..)?;
    let runs = begins.starts_with(b"<?") || begins.starts_with(b"PD") && has_text(part(head, 0, comma), b"base64");
    let slashes = part(value, start, cursor.at()).ends_with(b"//");
    let finding = Finding::certain("data wrapper", start..cursor.at() + comma + 1);
    ((runs || slashes) && !is_media && !in_text).then_some(finding)
}

/// Extensions of sources that a server includes rather than shows, and those it runs.
const SOURCES: &[&[u8]] =
    &[b"txt", b"inc", b"phtml", b"phar", b"php3", b"php4", b"php5", b"php7", b"dat", b"gif", b"jpg", b"png", b"log"];
const SCRIPTS: &[&[u8]] = &[
    b"php", b"jsp", b"jspx", b"asp", b"aspx", b"sh", b"pl", b"py", b"cgi", b"rb", b"dtd", b"xsl", b"exe", b"hta",
    b"ps1", b"bat", b"dll", b"sct", b"jar", b"class", b"elf",
];

/// Names that scripts for remote control go by.
const SHELLS: &[&[u8]] = &[
    b"shell",
    b"c99",
    b"r57",
    b"c100",
    b"cmd",
    b"webshell",
    b"backdoor",
    b"rfi",
    b"b374k",
    b"wso",
    b"payload",
    b"exploit",
    b"evil",
    b"malicious",
    b"revshell",
    b"phpinfo",
    b"rce",
    b"id.txt",
];

/// A whole value that is the URL of a source.
fn remote(value: &[u8]) -> Option<Finding> {
    let mut cursor = Cursor::new(value);
    let scheme = [b"http:".as_slice(), b"https:", b"ftp:", b"ftps:"].iter().any(|scheme| cursor.eat_text(scheme));
    if !(cursor.eat(b'/') && cursor.eat(b'/')) {
        return None;
    }
    let rest = part(value, cursor.at(), cursor.at() + 512);
    if value.len() > 600 || rest.iter().any(|&byte| is_space(byte)) {
        return None;
    }
    let host = cursor.take_while(|byte| !matches!(byte, b'/' | b'?' | b'#'));
    let path = cursor.take_while(|byte| !matches!(byte, b'?' | b'#' | 0));
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let (name, extension) = match memchr::memrchr(b'.', file) {
        Some(dot) => (part(file, 0, dot), part(file, dot + 1, file.len())),
        None => (file, b"".as_slice()),
    };
    let tail = cursor.rest();
    let is_source = is_one_of(extension, SOURCES);
    let cut = matches!(tail, b"?" | b"??" | b"#" | b"\0" | b"?\0");
    let is_shell = is_one_of(name, SHELLS);
    let finding = |certain: bool| {
        if certain {
            Finding::certain("source to include from another host", 0..cursor.at())
        } else {
            Finding::likely("source to include from another host", 0..cursor.at())
        }
    };
    let is_script = is_source || is_one_of(extension, SCRIPTS);
    if is_script && (cut || is_shell) || (cut && scheme && path.len() > 1 && is_shell) {
        return Some(finding(scheme || is_shell));
    }
    let numeric = !host.is_empty() && host.iter().all(|&byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'));
    (scheme && (numeric && is_script || is_one_of(extension, &[b"inc", b"phtml", b"phar", b"sct", b"hta"])))
        .then(|| finding(false))
}

/// A whole value that names a file on a network share.
fn share(value: &[u8]) -> Option<Finding> {
    let mut cursor = Cursor::new(value);
    if !(cursor.eat(b'\\') && cursor.eat(b'\\')) || before(value, 0).is_some() {
        return None;
    }
    let host =
        cursor.take_at_most(128, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'@' | b'_'));
    if host.is_empty()
        || host == b"."
        || !cursor.eat(b'\\')
        || !cursor.peek().is_some_and(|byte| is_word(byte) || byte == b'\\')
    {
        return None;
    }
    let extension = value.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    let runs = is_one_of(extension, SCRIPTS) || is_one_of(extension, SOURCES.get(1..8).unwrap_or_default());
    let outside = host.contains(&b'@') || host.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    let what = "file on a network share";
    Some(if runs || outside { Finding::certain(what, 0..cursor.at()) } else { Finding::likely(what, 0..cursor.at()) })
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectInclusion;

    #[test]
    fn finds_wrappers_and_sources() {
        is_certain_of(
            DetectInclusion,
            &[
                "php://filter/convert.base64-encode/resource=index.php",
                "php://input",
                "PHP://INPUT",
                "php://filter/read=string.rot13/resource=config",
                "php://stdin",
                "php://fd/3",
                "phar://uploads/a.jpg/x.php",
                "expect://id",
                "zip://uploads/a.zip#x.php",
                "glob:///etc/*",
                "compress.zlib://file.gz",
                "compress.bzip2://x",
                "ogg://x",
                "ssh2.exec://user:pass@host/id",
                "data://text/plain;base64,PD9waHAgc3lzdGVtKCdpZCcpOz8+",
                "data://text/plain,<?php system('id');?>",
                "data:text/plain,<?php phpinfo();?>",
                "data:text/plain;base64,PD9waHAgcGhwaW5mbygpOw==",
                "data:,<?=`id`?>",
                "http://evil.example/shell.txt?",
                "http://evil.example/shell.txt",
                "http://evil.example/c99.php",
                "https://evil.example/r57.txt?",
                "http://evil.example/x.txt?",
                "http://evil.example/x.gif?",
                "ftp://evil.example/a.php?",
                "HTTP://EVIL.EXAMPLE/CMD.TXT??",
                "http://evil.example/x.php\0",
                "\\\\10.0.0.5\\share\\shell.php",
                "\\\\evil.example\\share\\a.php",
                "\\\\192.168.1.1\\c$\\x",
                "\\\\evil.example@8080\\dav\\a.exe",
                "page=php://filter/resource=x",
                "rar://a.rar#b",
                "x php://filter/convert.base64-encode/resource=y",
                "//evil.example/shell.php",
                "http://127.0.0.1/evil.dtd",
            ],
        );
        finds(DetectInclusion, &["http://10.0.0.1/a.php", "http://evil.example/x.inc", "\\\\fileserver\\docs\\a.docx"]);
    }

    #[test]
    fn leaves_links_and_pictures_alone() {
        is_quiet_about(
            DetectInclusion,
            &[
                "https://example.com/index.php?id=1",
                "https://example.com/a.png",
                "https://example.com/a.jpg?w=100",
                "https://example.com/robots.txt",
                "http://example.com/page.html",
                "https://example.com/?",
                "data:image/png;base64,iVBORw0",
                "data:text/css;base64,Ym9keXt9",
                "data:,hello",
                "data: 1, 2, 3",
                "the php:// wrapper",
                "zip: 12345",
                "use php:// to",
                "photos/a.png",
                "\\\\",
                "\\n\\t",
                "C:\\\\dir\\\\file",
                "\\\\.\\pipe\\x",
                "jar: 3",
                "https://example.com/download.exe",
                "//cdn.example.com/app.js",
                "a://b",
                "myapp://callback",
                "https://www.example.com/docs/readme.txt#top",
                "graph://",
                "expect: 100",
                "see http://evil.example/shell.txt?",
            ],
        );
        is_not_certain_of(DetectInclusion, &["\\\\fileserver\\docs\\a.docx", "the wrapper phar://x is risky"]);
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectInclusion,
            &[":", "php:", "data:", "data:,", "a://", "\\\\a", "http://a/", "php://", " data:a,<"],
        );
    }
}
