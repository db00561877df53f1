//! The servers that are measured with rules and without: the edge, nginx, and nginx with ModSecurity 3 and the Core Rule Set.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::requests::{HOST, Request, attacks, harmless, ordinary};
use super::sets::{Set, core_rule_files};
use crate::gatehouse::{self, AccessLog, DEFAULT_HAND_OFF, Next};
use crate::proxies::{self, NginxMore, Server};
use crate::service::Service;
use crate::settings::Settings;

/// Where Debian puts the module of nginx, the Core Rule Set and the table of characters.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
const DEBIAN_RULES: [&str; 2] = ["/etc/modsecurity/crs/crs-setup.conf", "/usr/share/modsecurity-crs/rules/*.conf"];
const CHARACTERS: &str = "/etc/nginx/unicode.mapping";

/// How long an answer may take: a body of 64 KiB keeps ModSecurity busy for seconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// What becomes of attacks at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attacked {
    /// They are answered 403.
    Refuses,
    /// They are handed on.
    HandsOn,
}

/// One server under test.
#[derive(Debug)]
pub(super) struct Guard {
    /// Its name in tables and figures.
    pub(super) name: &'static str,
    /// It.
    pub(super) server: Server,
    attacked: Attacked,
}

impl Guard {
    /// Starts all of them.
    ///
    /// # Errors
    ///
    /// One does not start.
    pub(super) fn start_all(settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<Vec<Self>> {
        let edge = |name, set: Option<Set>| {
            let more = set.as_ref().map_or_else(String::new, Set::section);
            let next = Next::Service(service);
            let attacked = if set.is_some() { Attacked::Refuses } else { Attacked::HandsOn };
            gatehouse::edge_with(name, settings, directory, next, DEFAULT_HAND_OFF, AccessLog::File, &more)
                .map(|server| Self { name, server, attacked })
        };
        let nginx = |name, rules: Option<[PathBuf; 2]>| {
            let attacked = if rules.is_some() { Attacked::Refuses } else { Attacked::HandsOn };
            let more = more_of_nginx(name, directory, rules)?;
            proxies::nginx_with(name, settings, directory, service, &more).map(|server| Self { name, server, attacked })
        };
        let mut all = vec![
            edge("edge_waf_off", None)?,
            edge("edge_waf_default", Some(Set::shipped()))?,
            edge("edge_waf_lists", Some(Set::lists()))?,
            nginx("nginx_plain", None)?,
            nginx("nginx_modsecurity", Some(DEBIAN_RULES.map(PathBuf::from)))?,
        ];
        if let (Some(set), Some(files)) = (Set::core_rules(), core_rule_files()) {
            all.push(edge("edge_waf_crs", Some(set))?);
            all.push(nginx("nginx_modsecurity_crs_4", Some(files))?);
        }
        Ok(all)
    }

    /// What is harmless must pass and be executed; an attack must be refused and not be executed, or the other way round
    /// where there are no rules: so it is they that refuse.
    ///
    /// # Errors
    ///
    /// It is not so.
    pub(super) fn prove(&self, service: &Service) -> anyhow::Result<()> {
        let passed = (200, 1.0);
        let attacked = match self.attacked {
            Attacked::Refuses => (403, 0.0),
            Attacked::HandsOn => passed,
        };
        let expected = ordinary().into_iter().chain(harmless()).map(|request| (request, passed));
        for (request, (status, executed)) in expected.chain(attacks().map(|request| (request, attacked))) {
            let before = service.settled_counts()?.requests;
            let answer =
                ask(self.server.address, &request).with_context(|| format!("{}: {}", self.name, request.name))?;
            ensure!(answer == status, "{}: {} is answered {answer}, not {status}", self.name, request.name);
            let found = service.settled_counts()?.requests - before;
            ensure!((found - executed).abs() < 0.5, "{}: {} is executed {found} times", self.name, request.name);
        }
        Ok(())
    }
}

/// What an nginx does beyond forwarding: it holds whole bodies in memory, as the edge does, and has ModSecurity judge requests by
/// these rules.
fn more_of_nginx(name: &str, directory: &Path, rules: Option<[PathBuf; 2]>) -> anyhow::Result<NginxMore> {
    let http = "client_body_buffer_size 128k;".to_owned();
    let Some(rules) = rules else { return Ok(NginxMore { http, ..NginxMore::default() }) };
    for (file, package) in [(MODULE, "libnginx-mod-http-modsecurity"), (DEBIAN_RULES[0], "modsecurity-crs")] {
        ensure!(Path::new(file).is_file(), "{file} is missing: apt-get install {package}");
    }
    let directory = directory.join(name);
    fs::create_dir_all(&directory)?;
    let includes = rules.map(|path| format!("Include {}", path.display())).join("\n");
    // As recommended by ModSecurity but for answers and the audit log, which the edge has off, too, and for the most arguments,
    // which the longer document has more of.
    let text = format!(
        "SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 131072
SecRequestBodyJsonDepthLimit 64
SecResponseBodyAccess Off
SecAuditEngine Off
SecTmpDir {path}
SecDataDir {path}
SecUnicodeMapFile {CHARACTERS} 20127
SecRule REQUEST_HEADERS:Content-Type \"@beginsWith application/json\" \"id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON\"
SecRule REQBODY_ERROR \"!@eq 0\" \"id:2,phase:2,t:none,log,deny,status:400\"
{includes}
",
        path = directory.display()
    );
    let file = directory.join("modsecurity.conf");
    fs::write(&file, text)?;
    Ok(NginxMore {
        main: format!("load_module {MODULE};"),
        http,
        server: format!("modsecurity on; modsecurity_rules_file {};", file.display()),
    })
}

/// The status of the answer to a request.
fn ask(server: SocketAddr, request: &Request) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", request.method(), request.target);
    for field in &request.fields {
        head.push_str(&format!("{field}\r\n"));
    }
    if !request.body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    status_of(&answer).with_context(|| format!("unexpected answer: {}", String::from_utf8_lossy(&answer)))
}

fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status_of;

    #[test]
    fn reads_the_status_of_an_answer() {
        assert_eq!(status_of(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Some(403));
        assert_eq!(status_of(b"HTTP/1.1 4"), None);
    }
}
