//! What operators may set about the way in, as written and as compiled.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions, Rate};
pub use gatehouse_shared::message::path::EncodedSlash;
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::client::TrustedProxies;
use super::listener::Listener;
use super::rate::ConnectionRate;
use crate::admit::Mode;

/// How long a body may be slower than the minimum rate at its beginning.
pub(super) const BODY_GRACE: Duration = Duration::from_secs(5);

/// `[accept]`: bounds on connections, heads and bodies, before any rule looks at a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A request head must be complete this long after its first byte; else 408. On HTTP/2 the same goes for the client's
    /// settings, for each header block and for each frame without body; else the connection ends.
    pub head_timeout: HumanDuration,
    /// Largest request head, request line and empty line included; else 431. At most 256KiB.
    pub head_max: ByteSize,
    /// Most header fields in a head, trailers apart; cookie crumbs of HTTP/2 count one each; else 431. At most 250.
    pub fields_max: usize,
    /// Longest request target; else 414.
    pub target_max: ByteSize,
    /// A kept-alive HTTP/1 connection is closed when no request begins for this long.
    pub idle_timeout: HumanDuration,
    /// Longest wait for the next bytes of a body; else 408. On HTTP/2 a body may pause for twice as long, because the time a
    /// business node takes for the piece before is part of it; then the stream is reset.
    pub body_idle_timeout: HumanDuration,
    /// Slowest body in bytes over time, counted while the edge waits for the client, after 5 seconds of grace; else 408 (on
    /// HTTP/2 a reset stream).
    pub body_min_rate: Rate,
    /// Longest time the edge waits for the client during one body, in all; else 408. On HTTP/2 see `request_timeout`.
    pub body_timeout: HumanDuration,
    /// Largest request body; else 413.
    pub body_max: ByteSize,
    /// The connection is closed when the client takes none of a pending answer for this long.
    pub write_timeout: HumanDuration,
    /// A TLS handshake must be complete within this time.
    pub tls_handshake_timeout: HumanDuration,
    /// A PROXY protocol header must be complete within this time.
    pub proxy_protocol_timeout: HumanDuration,
    /// The connection is closed in good order after this many requests.
    pub requests_per_connection: u64,
    /// Most connections of one client address at a time (IPv6: of one /64 network); 0 is unlimited. Trusted proxies may open any
    /// number. Default: an eighth of `max_connections`, at least 64.
    #[schemars(example = 200)]
    pub connections_per_client: Option<u32>,
    /// Most connections that one client address (IPv6: one /64 network) may open in a time, and as many at once. Further ones
    /// are closed; trusted proxies may open any number. Default: any number.
    #[schemars(example = "20/1s")]
    pub connection_rate: Option<Rate>,
    /// Whether `connections_per_client` and `connection_rate` are obeyed (`enforce`), or only written to the security log
    /// (`observe`).
    pub connection_limits: Mode,
    /// Methods that are let in; any other gets 405. CONNECT cannot be let in.
    pub methods: Vec<String>,
    /// Whether header names may contain `_`, which some services take for `-`.
    pub header_underscores: bool,
    /// What happens to `%2F` and `%5C` in a path: `refuse`, `keep` or `decode`.
    pub encoded_slash: EncodedSlash,
    /// Bounds that only HTTP/2 needs.
    pub http2: Http2Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_timeout: HumanDuration::from_secs(10),
            head_max: ByteSize(32 * 1024),
            fields_max: 100,
            target_max: ByteSize(8 * 1024),
            idle_timeout: HumanDuration::from_secs(60),
            body_idle_timeout: HumanDuration::from_secs(30),
            body_min_rate: Rate::per_second(240),
            body_timeout: HumanDuration::from_secs(300),
            body_max: ByteSize(1024 * 1024 * 1024),
            write_timeout: HumanDuration::from_secs(30),
            tls_handshake_timeout: HumanDuration::from_secs(10),
            proxy_protocol_timeout: HumanDuration::from_secs(3),
            requests_per_connection: 10_000,
            connections_per_client: None,
            connection_rate: None,
            connection_limits: Mode::Enforce,
            methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(String::from).to_vec(),
            header_underscores: false,
            encoded_slash: EncodedSlash::default(),
            http2: Http2Config::default(),
        }
    }
}

/// `[accept.http2]`: bounds that only HTTP/2 needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Config {
    /// The client's preface must have come within this time.
    pub handshake_timeout: HumanDuration,
    /// Concurrent streams a client may open on one connection.
    pub streams: u32,
    /// Largest header list, decoded, 32 bytes of overhead a field included (RFC 9113, 6.5.2); else 431.
    pub header_list_max: ByteSize,
    /// Flow-control window of one stream for request bodies.
    pub stream_window: ByteSize,
    /// Flow-control window of a whole connection for request bodies.
    pub connection_window: ByteSize,
    /// The connection is closed when no stream is open for this long.
    pub idle_timeout: HumanDuration,
    /// Longest life of one request, answer included; the stream is then reset.
    pub request_timeout: HumanDuration,
    /// Streams a client may reset before the edge has looked at them, at a time.
    pub resets_pending: usize,
    /// After this many streams a connection is cut once half of them were reset, by the client or for what it sent; and
    /// after so many streams that were refused for being over `streams`.
    pub resets_after: u64,
    /// Frames without any use for a request (settings, pings, priorities, empty data, resets, window updates) a client
    /// may send beyond four a stream and one per 1KiB of body.
    pub control_frames: u64,
    /// Malformed requests after which a connection is cut; header lists over their bound count.
    pub malformed: u32,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            handshake_timeout: HumanDuration::from_secs(10),
            streams: 100,
            header_list_max: ByteSize(32 * 1024),
            stream_window: ByteSize(64 * 1024),
            connection_window: ByteSize(1024 * 1024),
            idle_timeout: HumanDuration::from_secs(60),
            request_timeout: HumanDuration::from_secs(300),
            resets_pending: 20,
            resets_after: 500,
            control_frames: 1_000,
            malformed: 32,
        }
    }
}

/// `[accept]`, `[client]`, `[[certificate]]` and the listeners, compiled: what the way in needs of one generation.
#[derive(Debug)]
pub struct Bounds {
    /// A head must be complete this long after its first byte.
    pub head_timeout: Duration,
    /// Largest head in bytes.
    pub head_max: usize,
    /// Most header fields.
    pub fields_max: usize,
    /// Longest target in bytes.
    pub target_max: usize,
    /// Longest wait for a request on a kept-alive connection.
    pub idle_timeout: Duration,
    /// Longest wait for the next bytes of a body.
    pub body_idle_timeout: Duration,
    /// Slowest body, in bytes a second; 0 is any.
    pub body_min_rate: u64,
    /// Longest wait during one body, in all.
    pub body_timeout: Duration,
    /// Largest body in bytes.
    pub body_max: u64,
    /// Longest time without progress of a pending answer.
    pub write_timeout: Duration,
    /// Longest TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// Longest wait for a PROXY protocol header.
    pub proxy_protocol_timeout: Duration,
    /// Requests after which a connection closes.
    pub requests_per_connection: u64,
    /// Connections of one client; 0 is unlimited.
    pub connections_per_client: u32,
    /// Connections of one client in a time.
    pub connection_rate: Option<ConnectionRate>,
    /// Whether limits on connections have an effect.
    pub connection_limits: Mode,
    /// Methods that are let in.
    pub methods: Box<[Method]>,
    /// The value of `Allow` in a 405.
    pub allow: Box<str>,
    /// Whether header names may contain `_`.
    pub header_underscores: bool,
    /// What happens to encoded slashes.
    pub encoded_slash: EncodedSlash,
    /// Bounds that only HTTP/2 needs.
    pub http2: Http2Bounds,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: TrustedProxies,
    /// The listeners, in the order of the configuration.
    pub listeners: Box<[Arc<Listener>]>,
}

/// `[accept.http2]`, compiled.
#[derive(Clone, Debug)]
pub struct Http2Bounds {
    /// Longest wait for preface and settings.
    pub handshake_timeout: Duration,
    /// Concurrent streams.
    pub streams: u32,
    /// Largest decoded header list.
    pub header_list_max: u32,
    /// Window of a stream.
    pub stream_window: u32,
    /// Window of a connection.
    pub connection_window: u32,
    /// Longest time without an open stream.
    pub idle_timeout: Duration,
    /// Longest life of a request.
    pub request_timeout: Duration,
    /// Resets pending at a time.
    pub resets_pending: usize,
    /// Streams after which the share of resets counts.
    pub resets_after: u64,
    /// Control frames beyond the free ones.
    pub control_frames: u64,
    /// Malformed requests a connection may send.
    pub malformed: u32,
}

impl Bounds {
    /// Compiles `[accept]` without its `connection_rate`, with the trusted proxies and listeners that belong to the same generation.
    ///
    /// # Errors
    /// Every value that cannot work, at its position.
    pub fn compile(
        config: &Config,
        trusted_proxies: TrustedProxies,
        listeners: Box<[Arc<Listener>]>,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |is_good: bool, path: &str, message: &str, remedy: &str| {
            if !is_good {
                errors.push(positions.error(path, message, Some(remedy.to_owned())));
            }
        };
        let head_max = config.head_max.0;
        check(
            (1024..=256 * 1024).contains(&head_max),
            "accept.head_max",
            "head_max must be 1KiB to 256KiB",
            "32KiB serves most sites",
        );
        check(
            (1..=250).contains(&config.fields_max),
            "accept.fields_max",
            "fields_max must be 1 to 250",
            "100 serves most sites",
        );
        let target_max = config.target_max.0;
        check(
            (1..=head_max).contains(&target_max),
            "accept.target_max",
            "target_max must be 1 byte to head_max",
            "set it below head_max",
        );
        check(
            config.requests_per_connection > 0,
            "accept.requests_per_connection",
            "requests_per_connection must be at least 1",
            "10000 is the default",
        );
        check(
            !config.body_min_rate.per.is_zero(),
            "accept.body_min_rate",
            "body_min_rate needs a time above zero",
            "write \"240/1s\"",
        );
        for (path, value) in [
            ("accept.head_timeout", config.head_timeout),
            ("accept.idle_timeout", config.idle_timeout),
            ("accept.body_idle_timeout", config.body_idle_timeout),
            ("accept.body_timeout", config.body_timeout),
            ("accept.write_timeout", config.write_timeout),
            ("accept.tls_handshake_timeout", config.tls_handshake_timeout),
            ("accept.proxy_protocol_timeout", config.proxy_protocol_timeout),
            ("accept.http2.handshake_timeout", config.http2.handshake_timeout),
            ("accept.http2.idle_timeout", config.http2.idle_timeout),
            ("accept.http2.request_timeout", config.http2.request_timeout),
        ] {
            check(!value.get().is_zero(), path, "a timeout must be above zero", "remove the line for the default");
        }
        check(config.http2.streams > 0, "accept.http2.streams", "streams must be at least 1", "100 is the default");
        let window = |size: ByteSize| (1..=(1 << 31) - 1).contains(&size.0);
        check(
            window(config.http2.stream_window),
            "accept.http2.stream_window",
            "a window must be 1 byte to 2GiB - 1",
            "64KiB is the default",
        );
        check(
            window(config.http2.connection_window) && config.http2.connection_window.0 >= 65_535,
            "accept.http2.connection_window",
            "connection_window must be 65535 bytes to 2GiB - 1",
            "1MiB is the default",
        );
        let header_list = config.http2.header_list_max.0;
        check(
            (1024..=1024 * 1024).contains(&header_list),
            "accept.http2.header_list_max",
            "header_list_max must be 1KiB to 1MiB",
            "32KiB is the default",
        );
        check(
            !config.methods.is_empty(),
            "accept.methods",
            "methods must name at least one method",
            "remove the line for the default",
        );
        let mut methods = Vec::with_capacity(config.methods.len());
        for (index, name) in config.methods.iter().enumerate() {
            match Method::from_bytes(name.as_bytes()) {
                Ok(method) if method != Method::CONNECT => methods.push(method),
                _ => check(
                    false,
                    &format!("accept.methods[{index}]"),
                    "this method cannot be let in",
                    "name methods in upper case, CONNECT apart",
                ),
            }
        }
        errors.into_result(())?;
        Ok(Self {
            head_timeout: config.head_timeout.get(),
            head_max: config.head_max.as_usize(),
            fields_max: config.fields_max,
            target_max: config.target_max.as_usize(),
            idle_timeout: config.idle_timeout.get(),
            body_idle_timeout: config.body_idle_timeout.get(),
            body_min_rate: per_second(config.body_min_rate),
            body_timeout: config.body_timeout.get(),
            body_max: config.body_max.0,
            write_timeout: config.write_timeout.get(),
            tls_handshake_timeout: config.tls_handshake_timeout.get(),
            proxy_protocol_timeout: config.proxy_protocol_timeout.get(),
            requests_per_connection: config.requests_per_connection,
            connections_per_client: config.connections_per_client.unwrap_or(0),
            connection_rate: None,
            connection_limits: config.connection_limits,
            allow: config.methods.join(", ").into_boxed_str(),
            methods: methods.into_boxed_slice(),
            header_underscores: config.header_underscores,
            encoded_slash: config.encoded_slash,
            http2: Http2Bounds::compile(&config.http2),
            trusted_proxies,
            listeners,
        })
    }
}

impl Bounds {
    /// The longest an upload of this length may take by the minimum rate, within the limit on every body.
    #[must_use]
    pub fn upload_time(&self, length: u64) -> Duration {
        match length.checked_div(self.body_min_rate) {
            Some(seconds) => self.body_timeout.min(BODY_GRACE + Duration::from_secs(seconds)),
            None => self.body_timeout,
        }
    }
}

impl Http2Bounds {
    pub(super) fn compile(config: &Http2Config) -> Self {
        let narrow = |size: ByteSize| u32::try_from(size.0).unwrap_or(u32::MAX);
        Self {
            handshake_timeout: config.handshake_timeout.get(),
            streams: config.streams,
            header_list_max: narrow(config.header_list_max),
            stream_window: narrow(config.stream_window),
            connection_window: narrow(config.connection_window),
            idle_timeout: config.idle_timeout.get(),
            request_timeout: config.request_timeout.get(),
            resets_pending: config.resets_pending,
            resets_after: config.resets_after,
            control_frames: config.control_frames,
            malformed: config.malformed,
        }
    }
}

/// Bytes a second, rounded down.
fn per_second(rate: Rate) -> u64 {
    let nanos = rate.per.as_nanos().max(1);
    u64::try_from(u128::from(rate.count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}
