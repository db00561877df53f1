//! A business node that does all of admission for every call: a signature (RFC 9421, HMAC), three limits on calls in a real Redis, a
//! traffic group and a pool; then it forwards.
//!
//! The load tools repeat one request, so the API remembers no nonces; everything else is as shipped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::child::Child;
use crate::gatehouse::{AccessLog, Place, signed_hop};
use crate::proxies::Server;
use crate::report::Report;
use crate::settings::{Settings, TARGET, tool_path};

/// The application that calls.
const APP: &str = "shop";
/// Its secret.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The node and its Redis.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Where calls go.
    pub(crate) address: SocketAddr,
    program: PathBuf,
    secret: PathBuf,
    log: PathBuf,
    redis: PathBuf,
    _redis: Child,
}

impl Admitted {
    /// Starts both, and makes sure that every step of admission does its work.
    ///
    /// # Errors
    ///
    /// One of them does not start, or a call is not treated as it should be.
    pub(crate) fn start(settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<(Self, Server)> {
        let place = Place::new(directory, "admitted")?;
        let socket = place.state.join("redis.sock");
        let redis = start_redis(settings, &place.state, &socket)?;
        let secret = place.config.join("shop.secret");
        fs::write(&secret, SECRET)?;
        let more = format!("[store]\nkind = \"redis\"\nurls = [\"unix://{}\"]\n", socket.display());
        fs::write(place.config.join("business.toml"), place.business("admitted", AccessLog::File) + &more)?;
        fs::write(place.config.join("catalog.toml"), catalog(service))?;
        let server = place.start("business-gateway", "admitted", settings)?;
        let admitted = Self {
            address: server.address,
            program: settings.binary("business-gateway")?,
            secret,
            log: place.state.join("access.log"),
            redis: socket,
            _redis: redis,
        };
        admitted.check()?;
        Ok((admitted, server))
    }

    /// The header fields of a signed call that came over an edge.
    ///
    /// # Errors
    ///
    /// It cannot be signed.
    pub(crate) fn fields(&self) -> anyhow::Result<Vec<String>> {
        self.fields_of(APP)
    }

    /// The same with the key of some other application, and the secret of the one that there is.
    pub(crate) fn fields_of(&self, app: &str) -> anyhow::Result<Vec<String>> {
        let output = Command::new(&self.program)
            .args(["sign", "GET", &format!("http://{}{TARGET}", self.address), "--app", app, "--secret-file"])
            .arg(&self.secret)
            .output()
            .context("business-gateway sign")?;
        ensure!(output.status.success(), "sign: {}", String::from_utf8_lossy(&output.stderr));
        let call = String::from_utf8(output.stdout)?;
        let mut fields: Vec<String> =
            call.split("-H '").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect();
        ensure!(fields.len() >= 2, "no signature in {call}");
        fields.push(signed_hop(self.address)?);
        Ok(fields)
    }

    fn check(&self) -> anyhow::Result<()> {
        let fields = self.fields()?;
        let answer = self.ask(&fields)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "a signed call: {answer}");
        for limit in ["app-day", "api-second", "app-api-minute"] {
            ensure!(answer.contains(&format!("\"{limit}\";q=")), "the limit {limit} does not count: {answer}");
        }
        let forged: Vec<String> = fields.iter().map(|field| field.replace("=:", "=:AAAA")).collect();
        let answer = self.ask(&forged)?;
        ensure!(answer.starts_with("HTTP/1.1 401"), "a forged call: {answer}");
        // The line is written off the request's path.
        for _look in 0..500 {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let admitted = |line: &&str| {
                ["\"app\":\"shop\"", "\"scheme\":\"signature\"", "\"group\":\"core\"", "\"status\":200"]
                    .iter()
                    .all(|part| line.contains(part))
            };
            if log.lines().find(admitted).is_some() {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        anyhow::bail!("no line of an admitted call in {}", self.log.display())
    }

    /// The answer to one call with these header fields.
    pub(crate) fn ask(&self, fields: &[String]) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        let fields = fields.join("\r\n");
        write!(stream, "GET {TARGET} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Commands that Redis has executed so far.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(crate) fn commands(&self) -> anyhow::Result<f64> {
        let mut stream = UnixStream::connect(&self.redis)?;
        stream.write_all(b"INFO stats\r\nQUIT\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let count = answer.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        Ok(count.context("no total_commands_processed")?.trim().parse()?)
    }

    /// Adds what Redis executed for so many requests, all that the node does beside them included.
    pub(crate) fn report(commands: f64, requests: f64, report: &mut Report) {
        report.figure("redis_commands_per_1000_admitted", commands / requests * 1000.0);
    }
}

fn start_redis(settings: &Settings, directory: &Path, socket: &Path) -> anyhow::Result<Child> {
    let program = tool_path("redis-server").context("redis-server is missing: apt-get install redis-server")?;
    let (socket_path, directory_path) = (socket.to_string_lossy(), directory.to_string_lossy());
    let arguments =
        ["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", &socket_path, "--dir", &directory_path];
    let mut redis = Child::start("redis", settings.load_core, directory, &program, &arguments)?;
    redis.wait_until(|| UnixStream::connect(socket).ok())?;
    Ok(redis)
}

fn catalog(service: SocketAddr) -> String {
    format!(
        r#"
[[service]]
name = "sample"
endpoints = ["{service}"]
[[app]]
key = "{APP}"
packages = ["all"]
secrets = [{{ id = "1", secret = {{ file = "shop.secret" }} }}]
[[package]]
name = "all"
apis = ["*"]
[[limit]]
name = "app-day"
by = ["app"]
rate = "100000000000/1d"
[[limit]]
name = "app-api-minute"
by = ["app", "api"]
rate = "100000000/1m"
[[limit]]
name = "api-second"
by = ["api"]
rate = "1000000/1s"
[[pool]]
name = "sample"
size = 1000
[[group]]
name = "core"
ratio = 60
when = [{{ level = "core" }}]
[[group]]
name = "real-time"
ratio = 30
when = [{{ level = "real-time" }}]
[[group]]
name = "rest"
ratio = 10
[[api]]
name = "bench"
schemes = ["signature"]
replay = "off"
level = "core"
service = "sample"
methods = ["GET"]
path = "/bench"
limits = ["app-day", "app-api-minute", "api-second"]
"#
    )
}
