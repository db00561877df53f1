//! A client with one HTTP/1.1 connection that makes one call after another, and counts its bytes in both directions and how often it
//! waits for an answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// The client.
#[derive(Debug)]
pub(crate) struct Client {
    connection: BufReader<TcpStream>,
    /// Whom it asks.
    pub(crate) address: SocketAddr,
    /// Bytes sent and received.
    pub(crate) bytes: f64,
    /// Requests sent.
    pub(crate) turns: f64,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its body, which must be text.
    pub(crate) body: String,
}

impl Client {
    /// Opens the connection; an answer may be `patience` away.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { connection: BufReader::new(stream), address, bytes: 0.0, turns: 0.0 })
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub(crate) fn send(&mut self, request: &str) -> anyhow::Result<()> {
        self.connection.get_mut().write_all(request.as_bytes())?;
        self.bytes += count(request.len());
        self.turns += 1.0;
        Ok(())
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    ///
    /// There is none in time, or it is not one.
    pub(crate) fn answer(&mut self) -> anyhow::Result<Answer> {
        let status = self.line()?.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length")?;
            }
            is_chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
        let mut body = Vec::new();
        if is_chunked {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16).context("a chunk")?;
                self.read(length, &mut body)?;
                ensure!(self.line()?.is_empty(), "a chunk without an end");
                if length == 0 {
                    break;
                }
            }
        } else {
            self.read(length, &mut body)?;
        }
        Ok(Answer { status, body: String::from_utf8(body)? })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let length = self.connection.read_line(&mut line)?;
        ensure!(length > 0, "the connection was closed");
        self.bytes += count(length);
        Ok(line.trim_end().to_owned())
    }

    fn read(&mut self, length: usize, body: &mut Vec<u8>) -> anyhow::Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.connection.read_exact(body.get_mut(start..).unwrap_or_default())?;
        self.bytes += count(length);
        Ok(())
    }
}

/// A number of things, for figures.
pub(crate) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
