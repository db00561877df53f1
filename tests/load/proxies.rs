//! The servers the gateways are compared with: nginx, HAProxy and the bare references, each with one thread and nothing switched on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use crate::child::{Child, free_address};
use crate::settings::{Settings, tool_path};

/// A server under test.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its process.
    pub(crate) child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Whom a server turns away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied<'a> {
    /// Nobody.
    Nobody,
    /// The clients in the networks of a file, in the server's own words.
    Listed(&'a Path),
}

/// nginx as a proxy: keepalive on both sides, no log, a process of its own without a master.
///
/// # Errors
///
/// It does not start.
pub(crate) fn nginx(settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<Server> {
    nginx_denying(settings, directory, service, Denied::Nobody)
}

/// The same with a list.
///
/// # Errors
///
/// It does not start.
pub(crate) fn nginx_denying(
    settings: &Settings,
    directory: &Path,
    service: SocketAddr,
    denied: Denied<'_>,
) -> anyhow::Result<Server> {
    let more = match denied {
        Denied::Nobody => NginxMore::default(),
        Denied::Listed(file) => NginxMore {
            http: format!("geo $is_denied {{ default 0; include {}; }}", file.display()),
            server: "if ($is_denied) { return 403; }".to_owned(),
            ..NginxMore::default()
        },
    };
    nginx_with("nginx", settings, directory, service, &more)
}

/// What an nginx does beyond forwarding, in its own words.
#[derive(Debug, Default)]
pub(crate) struct NginxMore {
    /// What stands outside of every block.
    pub(crate) main: String,
    /// What stands in the block `http`.
    pub(crate) http: String,
    /// What stands in the block `server`.
    pub(crate) server: String,
}

/// An nginx that does more than forward; its files are in a directory of its name.
///
/// # Errors
///
/// It does not start.
pub(crate) fn nginx_with(
    name: &str,
    settings: &Settings,
    directory: &Path,
    service: SocketAddr,
    more: &NginxMore,
) -> anyhow::Result<Server> {
    let NginxMore { main, http, server } = more;
    let address = free_address()?;
    let prefix = directory.join(name);
    fs::create_dir_all(&prefix)?;
    let path = prefix.display();
    let text = format!(
        "{main}
daemon off; master_process off; worker_processes 1; pid {path}/pid; error_log {path}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 300s; tcp_nodelay on;
    client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
    {http}
    upstream service {{ server {service}; keepalive 4096; keepalive_requests 100000000; keepalive_timeout 300s; }}
    server {{
        listen {address} backlog=4096;
        {server}
        location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }}
    }}
}}
"
    );
    let file = prefix.join("nginx.conf");
    fs::write(&file, text)?;
    let program = tool_path("nginx").context("nginx is missing")?;
    let arguments =
        ["-e", &format!("{path}/error.log"), "-p", &prefix.to_string_lossy(), "-c", &file.to_string_lossy()];
    start(name, settings, directory, &program, &arguments, address)
}

/// HAProxy in HTTP mode: keepalive on both sides, shared upstream connections, no log, one thread.
///
/// # Errors
///
/// It does not start.
pub(crate) fn haproxy(settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<Server> {
    haproxy_denying(settings, directory, service, Denied::Nobody)
}

/// The same with a list.
///
/// # Errors
///
/// It does not start.
pub(crate) fn haproxy_denying(
    settings: &Settings,
    directory: &Path,
    service: SocketAddr,
    denied: Denied<'_>,
) -> anyhow::Result<Server> {
    let check = match denied {
        Denied::Nobody => String::new(),
        Denied::Listed(file) => format!("http-request deny if {{ src -f {} }}", file.display()),
    };
    let address = free_address()?;
    let text = format!(
        "global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
frontend way_in
    bind {address} backlog 4096
    {check}
    default_backend service
backend service
    server service {service} pool-max-conn 4096
"
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, text)?;
    let program = tool_path("haproxy").context("haproxy is missing")?;
    start("haproxy", settings, directory, &program, &["-db", "-f", &file.to_string_lossy()], address)
}

/// A bare reference: `pingora` or `hyper`, with further arguments.
///
/// # Errors
///
/// It does not start.
pub(crate) fn reference(
    name: &str,
    settings: &Settings,
    directory: &Path,
    service: SocketAddr,
    arguments: &[&str],
) -> anyhow::Result<Server> {
    let address = free_address()?;
    let (listen, upstream) = (address.to_string(), service.to_string());
    let arguments = [arguments, &["--listen", &listen, "--upstream", &upstream]].concat();
    let (program, arguments) = settings.command_line(settings.binary("bench-reference")?, &arguments)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    start(name, settings, directory, &program, &arguments, address)
}

fn start(
    name: &str,
    settings: &Settings,
    directory: &Path,
    program: &Path,
    arguments: &[&str],
    address: SocketAddr,
) -> anyhow::Result<Server> {
    let mut child = Child::start(name, settings.subject_core, directory, program, arguments)?;
    child.wait_for(address).with_context(|| format!("{name} does not start"))?;
    Ok(Server { child, address })
}
