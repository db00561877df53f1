//! `@detectTraversal`: a path that climbs out of where it is put, or names a file every attacker asks for.
//!
//! Recognises repeated `..` in any slash form (`../`, `..\`, `..;/`, `....//`, `..././`), climbs that end in a sensitive
//! file, sensitive files by their absolute path (`/etc/passwd`, `c:\windows\win.ini`, also as `/etc/./passwd`), and a NUL
//! before an extension. Within prose and source code all of this is at most likely; a single `../` is only likely.
//!
//! Leaves `...`, ranges such as `1..10`, `/static/../x` written once and URLs with such names behind a host alone.

use super::evidence::Best;
use super::scan::{Cursor, before, is_one_of, is_space, is_word, part, starts_with};
use super::{Classes, Finding};

/// How many bytes before a path say whether it stands in text.
const REACH: usize = 512;

/// A slash of either kind or a NUL; or two dots and a slash that is written as a number (`0x2f`, `%5c`).
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::SLASH.or(Classes::BACKSLASH).or(Classes::NUL))
        || (classes.twice(Classes::DOT) && classes.all(Classes::DIGIT))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.twice(Classes::DOT) {
        best.keep(climb(value));
    }
    if classes.any(Classes::SLASH.or(Classes::BACKSLASH)) {
        best.keep(sensitive(value));
    }
    if classes.any(Classes::NUL) {
        best.keep(truncation(value));
    }
    best.into_finding()
}

const fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Runs of components that climb.
fn climb(value: &[u8]) -> Option<Finding> {
    let mut best = Best::default();
    let mut cursor = Cursor::new(value);
    while let Some(offset) = memchr::memmem::find(cursor.rest(), b"..") {
        cursor.skip(offset);
        let start = cursor.at();
        if before(value, start).is_some_and(|byte| is_word(byte) || byte == b'.') {
            cursor.take_while(|byte| byte == b'.');
            continue;
        }
        let steps = steps(&mut cursor);
        if steps.count == 0 {
            continue;
        }
        let target = sensitive_target(part(value, cursor.at(), cursor.at() + 128)).is_some();
        if best.keep(judge(value, start, cursor.at(), &steps, target)) {
            break;
        }
    }
    best.into_finding()
}

/// How a path climbs.
#[derive(Debug, Default)]
struct Steps {
    /// How often.
    count: usize,
    /// Whether a step is written as no ordinary path is: `..;/`, `....//`, `..././`, `..0x2f`.
    disguised: bool,
    /// Whether steps use backslashes.
    backward: bool,
}

/// Takes `..` and its slashes as often as they follow each other; at least one dot is always taken.
fn steps(cursor: &mut Cursor<'_>) -> Steps {
    let mut steps = Steps::default();
    loop {
        let mut ahead = *cursor;
        let dots = ahead.take_while(|byte| byte == b'.').len();
        let parameter = ahead.eat(b';') && {
            ahead.take_at_most(16, |byte| is_word(byte) || byte == b'=');
            true
        };
        ahead.take_at_most(2, |byte| byte == 0);
        let literal =
            ahead.eat_text(b"0x2f") || ahead.eat_text(b"0x5c") || ahead.eat_text(b"%2f") || ahead.eat_text(b"%5c");
        let slashes = ahead.take_while(is_slash);
        let stays = ahead.peek() == Some(b'.') && ahead.peek_by(1).is_some_and(is_slash);
        let naive = (dots == 4 && slashes.len() > 1) || (dots == 3 && stays);
        if !(2..=4).contains(&dots) || (slashes.is_empty() && !literal) || (dots > 2 && !naive) {
            if steps.count == 0 {
                cursor.skip(dots.max(1));
            }
            return steps;
        }
        while ahead.peek() == Some(b'.') && ahead.peek_by(1).is_some_and(is_slash) {
            ahead.skip(1);
            ahead.take_while(is_slash);
        }
        steps.count += 1;
        steps.disguised |= parameter || literal || naive;
        steps.backward |= slashes.contains(&b'\\');
        *cursor = ahead;
    }
}

fn judge(value: &[u8], start: usize, end: usize, steps: &Steps, target: bool) -> Option<Finding> {
    let head = part(value, start.saturating_sub(REACH), start);
    let in_text = head.iter().any(|&byte| is_space(byte)) || matches!(before(value, start), Some(b'"' | b'\'' | b'('));
    let what = "path that climbs";
    if target {
        return Some(Finding::certain("path that climbs to a sensitive file", start..end));
    }
    if steps.disguised && (steps.count > 1 || !in_text) {
        return Some(Finding::certain("path that climbs in disguise", start..end));
    }
    if in_text {
        return (steps.count > 3).then(|| Finding::likely(what, start..end));
    }
    let down = head.split(|&byte| is_slash(byte)).filter(|name| !name.is_empty()).count();
    let from_root = head.contains(&b'/') && !head.contains(&b':');
    Some(if steps.count >= 3 || (steps.count == 2 && (steps.backward || down == 0 || from_root)) {
        Finding::certain(what, start..end)
    } else {
        Finding::likely(what, start..end)
    })
}

/// Files an attacker asks for, by their components. `*` stands for any component; a shorter path than the list is no match.
const SENSITIVE: &[&[&[u8]]] = &[
    &[b"etc", b"passwd"],
    &[b"etc", b"shadow"],
    &[b"etc", b"group"],
    &[b"etc", b"gshadow"],
    &[b"etc", b"hosts"],
    &[b"etc", b"hostname"],
    &[b"etc", b"issue"],
    &[b"etc", b"fstab"],
    &[b"etc", b"crontab"],
    &[b"etc", b"sudoers"],
    &[b"etc", b"motd"],
    &[b"etc", b"environment"],
    &[b"etc", b"os-release"],
    &[b"etc", b"resolv.conf"],
    &[b"etc", b"ssh", b"*"],
    &[b"etc", b"ssl", b"private"],
    &[b"etc", b"mysql", b"*"],
    &[b"etc", b"nginx", b"*"],
    &[b"etc", b"apache2", b"*"],
    &[b"etc", b"httpd", b"*"],
    &[b"etc", b"php.ini"],
    &[b"etc", b"my.cnf"],
    &[b"etc", b"redis", b"*"],
    &[b"etc", b"kubernetes", b"*"],
    &[b"etc", b"master.passwd"],
    &[b"etc", b"security", b"*"],
    &[b"etc", b"cron.d", b"*"],
    &[b"etc", b"profile"],
    &[b"etc", b"init.d", b"*"],
    &[b"proc", b"self", b"*"],
    &[b"proc", b"version"],
    &[b"proc", b"cpuinfo"],
    &[b"proc", b"mounts"],
    &[b"proc", b"net", b"*"],
    &[b"proc", b"1", b"*"],
    &[b"proc", b"cmdline"],
    &[b"proc", b"sched_debug"],
    &[b"var", b"log", b"*"],
    &[b"var", b"run", b"secrets", b"*"],
    &[b"var", b"run", b"docker.sock"],
    &[b"var", b"lib", b"mysql", b"*"],
    &[b"var", b"lib", b"php", b"*"],
    &[b"var", b"spool", b"cron"],
    &[b"run", b"secrets", b"*"],
    &[b"root", b".ssh", b"*"],
    &[b"root", b".bash_history"],
    &[b"root", b".aws", b"*"],
    &[b"home", b"*", b".ssh", b"*"],
    &[b"home", b"*", b".bash_history"],
    &[b"home", b"*", b".aws", b"*"],
    &[b"users", b"*", b".ssh", b"*"],
    &[b"boot.ini"],
    &[b"windows", b"win.ini"],
    &[b"windows", b"system.ini"],
    &[b"windows", b"system32", b"*"],
    &[b"windows", b"repair", b"*"],
    &[b"windows", b"panther", b"*"],
    &[b"winnt", b"win.ini"],
    &[b"winnt", b"system32", b"*"],
    &[b"inetpub", b"*"],
    &[b"autoexec.bat"],
    &[b"web-inf", b"*"],
    &[b"meta-inf", b"*"],
    &[b".env"],
    &[b".git", b"config"],
    &[b".git", b"head"],
    &[b".ssh", b"*"],
    &[b".aws", b"credentials"],
    &[b".htpasswd"],
    &[b"wp-config.php"],
    &[b"usr", b"local", b"etc", b"*"],
    &[b"usr", b"local", b"apache2", b"*"],
    &[b"dev", b"tcp", b"*"],
    &[b"xampp", b"*", b"conf", b"*"],
    &[b"xampp", b"apache", b"*"],
    &[b"sam"],
    &[b"ntds.dit"],
    &[b"sys", b"class", b"*"],
    &[b"web.config"],
    &[b"appsettings.json"],
];

/// How many of [`SENSITIVE`] only count at the end of a climb: names that stand below every directory.
const ABSOLUTE: &[&[u8]] = &[
    b"etc",
    b"proc",
    b"var",
    b"run",
    b"root",
    b"home",
    b"users",
    b"windows",
    b"winnt",
    b"boot.ini",
    b"inetpub",
    b"web-inf",
    b"meta-inf",
    b"autoexec.bat",
];

/// Whether a path leads to a sensitive file; its length if so.
fn sensitive_target(path: &[u8]) -> Option<usize> {
    let mut names: [&[u8]; 4] = [b"", b"", b"", b""];
    let mut cursor = Cursor::new(path);
    let mut ends = [0_usize; 4];
    for (name, end) in names.iter_mut().zip(&mut ends) {
        loop {
            cursor.take_while(is_slash);
            *name = cursor.take_while(|byte| {
                !is_slash(byte)
                    && !is_space(byte)
                    && !matches!(
                        byte,
                        0 | b'?'
                            | b'#'
                            | b'&'
                            | b'"'
                            | b'\''
                            | b'<'
                            | b'>'
                            | b';'
                            | b'|'
                            | b')'
                            | b'`'
                            | b','
                            | b'}'
                            | b':'
                            | b'%'
                    )
            });
            if *name != b"." {
                break;
            }
        }
        *end = cursor.at();
    }
    SENSITIVE.iter().find_map(|file| {
        let matches = file.iter().zip(names).all(|(known, name)| {
            if *known == b"*" { !name.is_empty() } else { name.eq_ignore_ascii_case(known) || short_name(name, known) }
        });
        matches.then(|| ends.get(file.len() - 1).copied().unwrap_or_default())
    })
}

/// Trailing dots and NTFS streams do not change a file's name.
fn short_name(name: &[u8], known: &[u8]) -> bool {
    name.len() > known.len()
        && starts_with(name, known)
        && name.get(known.len()..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'.'))
}

/// A sensitive file by its absolute path.
fn sensitive(value: &[u8]) -> Option<Finding> {
    let mut best = Best::default();
    let mut at = 0;
    while let Some(offset) = value.get(at..).and_then(|rest| memchr::memchr2(b'/', b'\\', rest)) {
        let start = at + offset;
        let run = part(value, start, value.len()).iter().take_while(|byte| is_slash(**byte)).count();
        at = start + run;
        let drive = before(value, start) == Some(b':')
            && start.checked_sub(2).is_some_and(|letter| {
                value.get(letter).is_some_and(u8::is_ascii_alphabetic) && !before(value, letter).is_some_and(is_word)
            });
        let scheme = part(value, start.saturating_sub(5), start).ends_with(b"file:")
            || part(value, start.saturating_sub(5), start).ends_with(b"urce=");
        let begins = drive
            || scheme
            || !before(value, start).is_some_and(|byte| {
                is_word(byte) || matches!(byte, b'.' | b'-' | b'~' | b'}' | b'*' | b':' | b'%' | b'<' | b')' | 0x80..)
            });
        if !begins {
            continue;
        }
        let path = part(value, at, at + 128);
        let first =
            path.split(|&byte| is_slash(byte)).find(|name| !name.is_empty() && *name != b".").unwrap_or_default();
        if !is_one_of(first, ABSOLUTE) {
            continue;
        }
        let Some(length) = sensitive_target(path) else { continue };
        if best.keep(judge_absolute(value, start, at + length, first)) {
            break;
        }
    }
    best.into_finding()
}

/// Certain when the value is the path, likely in text for the files that text seldom names.
fn judge_absolute(value: &[u8], start: usize, end: usize, first: &[u8]) -> Option<Finding> {
    let what = "path of a sensitive file";
    let in_text = part(value, start.saturating_sub(REACH), start).iter().any(|&byte| is_space(byte))
        || part(value, end, end + 2).first().is_some_and(|&byte| is_space(byte) && end + 1 < value.len());
    if !in_text {
        // `/var/log/app.log`, `/home/…` and Windows' own folders are what a form about servers holds.
        let common = is_one_of(first, &[b"var", b"windows", b"home", b"users", b"inetpub"])
            && !part(value, start, end).to_ascii_lowercase().ends_with(b".ini")
            && !super::scan::has_text(part(value, start, start + 64), b"drivers")
            && !super::scan::has_text(part(value, start, start + 64), b"/lib/")
            && !super::scan::has_text(part(value, start, start + 64), b"/run/");
        return Some(if common { Finding::likely(what, start..end) } else { Finding::certain(what, start..end) });
    }
    let tail = part(value, start, end);
    [b"passwd".as_slice(), b"shadow", b"win.ini", b"environ", b"boot.ini"]
        .iter()
        .any(|name| tail.len() >= name.len() && starts_with(part(tail, tail.len() - name.len(), tail.len()), name))
        .then(|| Finding::likely(what, start..end))
}

/// `name NUL .ext`: what stands behind the NUL is only there to satisfy a check.
fn truncation(value: &[u8]) -> Option<Finding> {
    let at = memchr::memchr(0, value)?;
    let rest = value.get(at + 1..)?;
    if memchr::memchr(0, rest).is_some() || at == 0 {
        return None;
    }
    let printable = value.iter().all(|&byte| byte == 0 || byte >= 0x20);
    let extension = rest
        .strip_prefix(b".")
        .is_some_and(|name| (2..6).contains(&name.len()) && name.iter().all(u8::is_ascii_alphanumeric));
    if extension && printable {
        return Some(Finding::certain("NUL before an extension", at..value.len()));
    }
    let is_path = value.iter().any(|&byte| is_slash(byte) || byte == b'.');
    (printable && is_path).then(|| Finding::likely("NUL in a path", at..at + 1))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectTraversal;

    #[test]
    fn finds_paths_that_climb() {
        is_certain_of(
            DetectTraversal,
            &[
                "../../../../etc/passwd",
                "../etc/passwd",
                "..\\..\\..\\windows\\win.ini",
                "../../",
                "..\\..\\",
                "/../../../../etc/shadow",
                "images/../../../../etc/hosts",
                "....//....//....//etc/passwd",
                "..././..././etc/passwd",
                "..;/manager/html",
                "/app/..;/..;/admin",
                "..//..//..//etc/passwd",
                "..\\/..\\/etc/passwd",
                "../../../../../../../../boot.ini",
                "/etc/passwd",
                "/var/lib/php/sessions/sess_1",
                "C:\\Windows\\System32\\drivers\\etc\\hosts",
                "/etc/./passwd",
                "//etc//passwd",
                "\\etc\\passwd",
                "/etc/shadow",
                "c:\\windows\\win.ini",
                "C:/windows/win.ini",
                "c:\\boot.ini",
                "/proc/self/environ",
                "/proc/self/cmdline",
                "/proc/1/environ",
                "file:///etc/passwd",
                "/root/.ssh/id_rsa",
                "/etc/ssh/sshd_config",
                "/WEB-INF/web.xml",
                "../WEB-INF/web.xml",
                "../../../.env",
                "page=../../../x",
                "/static/../../../x",
                "../../../../etc/passwd\0.png",
                "shell.php\0.jpg",
                "/etc/passwd\0",
                "..0x2f..0x2fetc/passwd",
                "../.git/config",
                "/var/www/../../etc/passwd",
                "..\0/..\0/etc/passwd",
                "./../../x",
                "\"../../../etc/passwd\"",
                "php://filter/resource=/etc/passwd",
                "../../../../windows/system32/drivers/etc/hosts",
                "/etc/passwd....",
            ],
        );
        is_certain_of(DetectTraversal, &["../../../../../.."]);
        finds(
            DetectTraversal,
            &[
                "../",
                "../secret.txt",
                "see /etc/passwd for users",
                "/var/log/apache2/access.log",
                "C:\\Windows\\System32\\cmd.exe",
                "a/b\0c",
            ],
        );
    }

    #[test]
    fn leaves_ordinary_paths_alone() {
        is_quiet_about(
            DetectTraversal,
            &[
                "wait...",
                "1..10",
                "a..b",
                "...",
                "....",
                "./a/b",
                "/api/v1",
                "https://example.com/etc/hosts",
                "https://example.com/docs/proc/self/x",
                "etc",
                "etc/passwd is a file",
                "edit your /etc/hosts now",
                "logs are in /var/log/app",
                "yes/no/etc/more",
                "import x from '../lib/x'",
                "require(\"../../lib/util\")",
                "from ..models import User",
                "<img src=\"../images/a.png\">",
                "range(0..n)",
                "git diff a..b",
                "git log master...dev",
                "(../)",
                "..",
                "C:\\",
                "D:\\data\\file.txt",
                "/home/user/docs",
                "C:\\Users\\me\\a.txt",
                "v1...v2",
                "/.well-known/security.txt",
                "/environment",
                "/etc",
                "/process",
                "/boot",
                "/windows",
            ],
        );
        is_not_certain_of(
            DetectTraversal,
            &["../images/a.png", "src/../lib/x.js", "cat /etc/passwd shows users", "import '../../../a/b/c/d'"],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectTraversal,
            &["../", "..", "a/", "/", "/etc/", "/./", "....//", "..;", "x../", " ../ ", "../a/", "/var/log/x:"],
        );
    }
}
