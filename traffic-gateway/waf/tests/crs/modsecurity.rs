//! Verdicts in blocking mode at paranoia 1, beside those of nginx with ModSecurity 3 and the same rules, on the ordinary requests
//! and attacks of `tests/golden/waf`. Where they differ stands in `modsecurity.txt`, with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use gatehouse_waf::golden::{self, Request};

use crate::engine::Engine;
use crate::suite;

const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
const CHARACTERS: &str = "/etc/nginx/unicode.mapping";

/// The fewest requests that are compared.
const LEAST: usize = 500;

/// How long nginx may take to start, and for an answer: a body of 128 KiB keeps ModSecurity busy for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// `PLACE here|there|unasked REASON`: who refuses it, or that ModSecurity is not asked.
const DIFFERENCES: &str = include_str!("modsecurity.txt");

/// What both are told beside the rules: documents of JSON are read, and what cannot be read is refused.
const BESIDE: &str = "SecRule REQUEST_HEADERS:Content-Type \"@rx ^application/(?:[a-z0-9.-]+[+])?json\" \
    \"id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON\"
SecRule REQUEST_HEADERS:Content-Type \"@rx ^(?:application(?:/soap[+]|/)|text/)xml\" \
    \"id:2,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML\"
SecRule REQBODY_ERROR \"!@eq 0\" \"id:3,phase:2,t:none,log,deny,status:406\"
";

/// nginx with ModSecurity; ends with its value.
struct Nginx {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Nginx {
    fn start(rules: &Path) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("crs-modsecurity-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let (port, service) = (free_port()?, free_port()?);
        let (at, set) = (directory.display(), rules.display());
        fs::write(
            directory.join("modsecurity.conf"),
            format!(
                "SecRuleEngine On\nSecRequestBodyAccess On\nSecRequestBodyLimit 13107200\nSecRequestBodyNoFilesLimit 1310720\n\
                 SecRequestBodyJsonDepthLimit 64\nSecArgumentsLimit 10000\nSecResponseBodyAccess Off\nSecAuditEngine Off\n\
                 SecTmpDir {at}\nSecDataDir {at}\nSecUnicodeMapFile {CHARACTERS} 20127\n{BESIDE}\
                 Include {set}/crs-setup.conf.example\nInclude {set}/rules/*.conf\n"
            ),
        )?;
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {at}/{kind};\n")).collect();
        fs::write(
            directory.join("nginx.conf"),
            format!(
                "load_module {MODULE};\nuser root;\ndaemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log error;\n\
                 events {{}}\nhttp {{\naccess_log off;\n{temporary}client_body_buffer_size 16m;\nclient_max_body_size 64m;\n\
                 large_client_header_buffers 8 64k;\nunderscores_in_headers on;\nignore_invalid_headers off;\nmerge_slashes off;\n\
                 server {{\nlisten 127.0.0.1:{port};\nmodsecurity on;\nmodsecurity_rules_file {at}/modsecurity.conf;\n\
                 location / {{ proxy_pass http://127.0.0.1:{service}; }}\n}}\n\
                 server {{\nlisten 127.0.0.1:{service};\nlocation / {{ return 200; }}\n}}\n}}\n"
            ),
        )?;
        let configuration = directory.join("nginx.conf");
        let child =
            Command::new(NGINX).arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut nginx = Self { child, address: ([127, 0, 0, 1], port).into(), directory };
        nginx.wait()?;
        Ok(nginx)
    }

    /// Waits until it answers.
    fn wait(&mut self) -> anyhow::Result<()> {
        let pause = Duration::from_millis(50);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if TcpStream::connect_timeout(&self.address, pause).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.directory.join("error.log")).unwrap_or_default();
                bail!("nginx ends with {status}: {said}");
            }
            std::thread::sleep(pause);
        }
        bail!("nginx does not answer")
    }

    /// The status of the answer to a message.
    fn ask(&self, message: &[u8]) -> anyhow::Result<u16> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may refuse the message before its end.
        drop(stream.write_all(message));
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("no answer")?;
            answer.extend_from_slice(&byte);
        }
        Ok(String::from_utf8_lossy(&answer).split(' ').nth(1).context("no status")?.parse()?)
    }
}

/// The message of a request as a client of HTTP/1.1 sends it.
fn message(request: &Request) -> Vec<u8> {
    let mut request = request.clone();
    request.version = b"HTTP/1.1".to_vec();
    request.fields.retain(|(name, _)| {
        !name.eq_ignore_ascii_case(b"connection") && !name.eq_ignore_ascii_case(b"transfer-encoding")
    });
    request.fields.push((b"Connection".to_vec(), b"close".to_vec()));
    if !request.body.is_empty() && !request.has_field("content-length") {
        request.fields.push((b"Content-Length".to_vec(), request.body.len().to_string().into_bytes()));
    }
    request.to_bytes()
}

/// The requests of the suites, by place: `attacks/sql/union.http:12`.
fn requests() -> anyhow::Result<Vec<(String, Request)>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/waf"));
    let mut requests = Vec::new();
    for suite in ["ordinary", "attacks"] {
        for kind in fs::read_dir(root.join(suite))? {
            for file in fs::read_dir(kind?.path())? {
                let file = file?.path();
                let place = file.strip_prefix(root)?.display().to_string();
                for case in golden::read(&fs::read_to_string(&file)?).with_context(|| place.clone())? {
                    requests.push((format!("{place}:{}", case.line), case.request));
                }
            }
        }
    }
    requests.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(requests)
}

#[test]
fn verdicts_are_those_of_modsecurity_but_for_what_is_listed() {
    let Some(directory) = suite::directory() else { return };
    if ![NGINX, MODULE, CHARACTERS].iter().all(|file| Path::new(file).is_file()) {
        eprintln!("SKIPPED: no nginx with ModSecurity; apt-get install nginx-light libnginx-mod-http-modsecurity");
        return;
    }
    let engine = Engine::blocking(&directory, BESIDE).unwrap();
    let nginx = Nginx::start(&directory.canonicalize().unwrap()).unwrap();
    let listed: BTreeMap<&str, &str> = DIFFERENCES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a place and who refuses"))
        .collect();
    let is_unasked = |place: &str| listed.get(place).is_some_and(|line| line.starts_with("unasked "));
    let (mut compared, mut refused) = (0, 0);
    let mut found = BTreeMap::new();
    for (place, request) in requests().unwrap() {
        if is_unasked(&place) {
            continue;
        }
        let message = message(&request);
        let there = nginx.ask(&message).with_context(|| place.clone()).unwrap();
        if ![200, 403, 406].contains(&there) {
            println!("{place}: nginx itself answers {there}");
            continue;
        }
        compared += 1;
        let outcome = engine.show(&message);
        refused += usize::from(outcome.refused && there != 200);
        if outcome.refused != (there != 200) {
            found.insert(place, (if outcome.refused { "here" } else { "there" }, outcome.ids));
        }
    }
    println!("crs_verdicts_equal_to_modsecurity = {}/{compared}, {refused} of them refused", compared - found.len());
    let is_listed = |place: &str, who: &str| {
        listed.get(place).is_some_and(|line| line.strip_prefix(who).is_some_and(|reason| reason.starts_with(' ')))
    };
    for (place, (who, ids)) in found.iter().filter(|(place, (who, _))| !is_listed(place, who)) {
        println!("{place} {who} {ids:?}");
    }
    let equal: Vec<_> = listed.keys().filter(|place| !is_unasked(place) && !found.contains_key(**place)).collect();
    assert!(found.iter().all(|(place, (who, _))| is_listed(place, who)), "verdicts differ that are not listed");
    assert!(equal.is_empty(), "verdicts are equal that are listed: {equal:?}");
    assert!(compared >= LEAST, "only {compared} requests are compared");
}
