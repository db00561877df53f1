//! The sample service behind every subject, and what it says about the work it did.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use gatehouse_shared::clock;
use serde::Deserialize;

use crate::child::Child;
use crate::settings::Settings;

/// How long the service may take to answer about itself.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long work may go on after a load ended.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// The sample service, on the load core.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its process.
    pub(crate) child: Child,
    /// Where it listens, HTTP/1.1 and h2c.
    pub(crate) address: SocketAddr,
    /// How often it was asked for its counts: so many of its connections are ours.
    questions: Cell<u32>,
}

/// What the service counted since it started.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Counts {
    /// Requests, without those about itself.
    pub(crate) requests: f64,
    /// Connections, without those it was asked over.
    pub(crate) connections_opened: f64,
}

impl Service {
    /// Starts the service.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(crate) fn start(settings: &Settings, directory: &Path) -> anyhow::Result<Self> {
        let program = settings.binary("sample-service")?;
        let mut child =
            Child::start("sample-service", settings.load_core, directory, &program, &["--listen", "127.0.0.1:0"])?;
        let log = child.log().to_path_buf();
        let address = child.wait_until(|| {
            let output = std::fs::read_to_string(&log).ok()?;
            output.lines().find_map(|line| line.strip_prefix("listening on ")?.trim().parse().ok())
        });
        Ok(Self { child, address: address.context("the sample service does not start")?, questions: Cell::new(0) })
    }

    /// What the service counted once nothing is under way any more: two counts in a row agree.
    ///
    /// # Errors
    ///
    /// No answer, or no end of the work.
    pub(crate) fn settled_counts(&self) -> anyhow::Result<Counts> {
        let mut last = self.counts()?;
        let deadline = clock::now() + SETTLE_DEADLINE;
        while clock::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(50));
            let counts = self.counts()?;
            if (counts.requests - last.requests).abs() < 0.5 {
                return Ok(counts);
            }
            last = counts;
        }
        bail!("the sample service still works {SETTLE_DEADLINE:?} after the load ended")
    }

    /// Asks the service what it counted.
    ///
    /// # Errors
    ///
    /// No answer, or one of an unknown form.
    fn counts(&self) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.write_all(b"GET /_stats HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the sample service answered without a body")?;
        let mut counts: Counts =
            serde_json::from_str(body).with_context(|| format!("unknown answer of the sample service: {body}"))?;
        self.questions.set(self.questions.get() + 1);
        counts.connections_opened -= f64::from(self.questions.get());
        Ok(counts)
    }
}
