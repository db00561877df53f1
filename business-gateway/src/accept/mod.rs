//! The way in: connections from the edge, what bounds them, and whether a request came through the edge at all.
//!
//! - [`connection`]: one connection's timeouts
//! - [`http2`]: calls over HTTP/2, on which the edge hands over unless told otherwise
//! - [`router`]: what this tier answers itself: readiness
//! - [`hop`]: the signed header of the edge
//! - [`body`]: the request's body on its way to a service
//! - [`room`]: how much of bodies is held in memory
//! - [`caught`]: a panic costs one request

pub mod body;
pub mod caught;
pub mod connection;
pub mod hop;
pub mod http2;
pub mod room;
pub mod router;

use std::time::Duration;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

use self::body::BodyBounds;

/// `[accept]`: what bounds the connections from the edge.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// From the first byte of a head to its end. Default: `"10s"`.
    pub head_timeout: HumanDuration,
    /// The largest request head. Default: `"64KiB"`.
    pub head_max: ByteSize,
    /// Header fields of one request; the edge's own bound plus the eight it adds fit well. Default: 128.
    pub fields_max: usize,
    /// How long a connection without a request stays open; more than the edge's pool keeps it (45 s), so that it is the edge
    /// that closes. Default: `"75s"`.
    pub keepalive: HumanDuration,
    /// Between two pieces of a request's body. Default: `"30s"`.
    pub body_idle_timeout: HumanDuration,
    /// The largest request body; the edge's own bound comes first. Default: `"2GiB"`.
    pub body_max: ByteSize,
    /// How much of a body is read and thrown away after an answer that did not wait for it, over HTTP/1.1, so that the edge
    /// reads the answer and not a reset. Default: `"16MiB"`.
    pub drain_max: ByteSize,
    /// How long the edge may leave an answer unread, at least; twice that at most. Default: `"30s"`.
    pub write_timeout: HumanDuration,
    /// `[accept.http2]`: multiplexed connections.
    pub http2: Http2Config,
}

/// `[accept.http2]`: what bounds multiplexed connections.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Config {
    /// Requests on one connection at a time; an edge opens few connections. Default: 1000.
    pub streams_max: u32,
    /// Bytes of one request body that may be under way unread: one stalled request must not stall its neighbours.
    /// Default: `"256KiB"`.
    pub stream_window: ByteSize,
    /// The same for all requests of a connection. Default: `"16MiB"`.
    pub connection_window: ByteSize,
    /// Requests that the edge gave up and that are not yet cleaned up; beyond this the connection ends. Clients that give up
    /// reach this tier as resets, and must not cost their neighbours the connection. Default: 1000.
    pub pending_resets_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_timeout: HumanDuration::from_secs(10),
            head_max: ByteSize::kib(64),
            fields_max: 128,
            keepalive: HumanDuration::from_secs(75),
            body_idle_timeout: HumanDuration::from_secs(30),
            body_max: ByteSize::mib(2048),
            drain_max: ByteSize::mib(16),
            write_timeout: HumanDuration::from_secs(30),
            http2: Http2Config::default(),
        }
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            streams_max: 1000,
            stream_window: ByteSize::kib(256),
            connection_window: ByteSize::mib(16),
            pending_resets_max: 1000,
        }
    }
}

/// `[accept]` as compiled. A connection keeps the bounds it was accepted under; a request has those of its own generation.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Times of a connection.
    pub times: connection::Times,
    /// The largest head.
    pub head_max: usize,
    /// Header fields.
    pub fields_max: usize,
    /// Bounds of a body.
    pub body: BodyBounds,
    /// HTTP/2.
    pub http2: Http2Bounds,
}

/// `[accept.http2]` as compiled.
#[derive(Debug, Clone, Copy)]
pub struct Http2Bounds {
    /// Requests on one connection at a time.
    pub streams_max: u32,
    /// Window of a stream, in bytes.
    pub stream_window: u32,
    /// Window of a connection, in bytes.
    pub connection_window: u32,
    /// Requests given up and not cleaned up.
    pub pending_resets_max: usize,
}

impl Bounds {
    /// Compiles `[accept]`.
    ///
    /// # Errors
    /// Numbers that cannot work.
    pub fn compile(config: &Config, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(positions.error(&format!("accept.{key}"), message, Some(remedy.to_owned())));
            }
        };
        for (key, duration) in [
            ("head_timeout", config.head_timeout),
            ("keepalive", config.keepalive),
            ("body_idle_timeout", config.body_idle_timeout),
            ("write_timeout", config.write_timeout),
        ] {
            check(
                duration.get() > Duration::ZERO,
                key,
                "a timeout of nothing refuses everything",
                "write at least \"1ms\"",
            );
        }
        // hyper needs room for one read.
        check(
            config.head_max.get() >= 8192,
            "head_max",
            "less than hyper's smallest buffer",
            "write at least \"8KiB\"",
        );
        check(config.fields_max >= 16, "fields_max", "the edge alone sends ten fields", "write at least 16");
        check(config.body_max.get() > 0, "body_max", "no body would pass", "write at least \"1B\"");
        check(config.http2.streams_max > 0, "http2.streams_max", "no request would pass", "write at least 1");
        let stream_window = window(config.http2.stream_window);
        let connection_window = window(config.http2.connection_window);
        let is_window = "a window is between 64KiB and 2GiB";
        check(stream_window.is_some(), "http2.stream_window", is_window, "write \"256KiB\"");
        check(connection_window.is_some(), "http2.connection_window", is_window, "write \"16MiB\"");
        let bounds = Self {
            times: connection::Times {
                head: config.head_timeout.get(),
                keepalive: config.keepalive.get(),
                write: config.write_timeout.get(),
            },
            head_max: config.head_max.as_usize(),
            fields_max: config.fields_max,
            body: BodyBounds {
                max: config.body_max.get(),
                idle: config.body_idle_timeout.get(),
                drain: config.drain_max.get(),
            },
            http2: Http2Bounds {
                streams_max: config.http2.streams_max,
                stream_window: stream_window.unwrap_or_default(),
                connection_window: connection_window.unwrap_or_default(),
                pending_resets_max: config.http2.pending_resets_max,
            },
        };
        errors.into_result(bounds)
    }
}

/// RFC 9113 section 6.9.1: at most 2^31 - 1; less than the default of 65,535 would be of no use.
fn window(size: ByteSize) -> Option<u32> {
    u32::try_from(size.get()).ok().filter(|size| (65_535..1 << 31).contains(size))
}
