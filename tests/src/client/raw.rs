//! HTTP/1 as bytes: what is sent is exactly what the test says, what comes back is parsed.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Stream, Target};

/// The most bytes of one answer that are kept.
const MOST_BYTES: usize = 64 << 20;

/// How long one read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which bytes are sent.
pub struct Raw {
    stream: Stream,
    unread: Vec<u8>,
}

/// One answer, final or interim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Header names as received and their values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Lines after the last chunk.
    pub trailers: Vec<String>,
}

impl RawAnswer {
    /// The value of the first header called `name`, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem document, empty when the body is none.
    #[must_use]
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }
}

/// How the peer ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// An orderly end of the stream.
    Closed,
    /// A reset.
    Reset,
}

impl Raw {
    /// Connects to `target`.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = target.connect().await.with_context(|| format!("cannot connect to {}", target.address))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends `bytes`.
    ///
    /// # Errors
    /// The peer has closed the connection.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Sends `bytes` and reads the final answer to them.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<RawAnswer> {
        self.write(bytes).await?;
        self.final_answer().await
    }

    /// The next answer that is not an interim one (1xx).
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn final_answer(&mut self) -> anyhow::Result<RawAnswer> {
        loop {
            let answer = self.answer().await?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// The next answer, interim ones included.
    ///
    /// # Errors
    /// There was no whole answer, or it is not well formed.
    pub async fn answer(&mut self) -> anyhow::Result<RawAnswer> {
        let mut answer = self.head().await?;
        answer.body = match (answer.status, answer.header("content-length"), answer.header("transfer-encoding")) {
            (100..=199 | 204 | 304, _, _) => Vec::new(),
            (_, _, Some("chunked")) => {
                let (body, trailers) = self.chunks().await?;
                answer.trailers = trailers;
                body
            }
            (_, Some(length), None) => {
                let length = length.parse().context("content-length")?;
                self.take(length).await?
            }
            (_, None, None) => self.rest().await?.0,
            (_, length, encoding) => bail!("framed as {length:?} and {encoding:?}"),
        };
        Ok(answer)
    }

    /// The next head only, as for an answer to `HEAD`.
    ///
    /// # Errors
    /// There was no head, or it is not well formed.
    pub async fn head(&mut self) -> anyhow::Result<RawAnswer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let text = String::from_utf8(head).context("the head is not text")?;
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>();
        Ok(RawAnswer {
            status: status.with_context(|| format!("no status in {text:?}"))?,
            headers: headers.with_context(|| format!("no colon in {text:?}"))?,
            ..RawAnswer::default()
        })
    }

    /// Everything until the peer ends the connection, and how it ended it.
    ///
    /// # Errors
    /// It did not end.
    pub async fn rest(&mut self) -> anyhow::Result<(Vec<u8>, End)> {
        loop {
            match self.read_more().await {
                Ok(()) => {}
                Err(error) => match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                    Some(io::ErrorKind::UnexpectedEof) => {
                        return Ok((std::mem::take(&mut self.unread), End::Closed));
                    }
                    Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                        return Ok((std::mem::take(&mut self.unread), End::Reset));
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// The connection ended before.
    pub async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.read_more().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Bytes that came and were not asked for yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(2).position(|window| window == b"\r\n") {
                break at + 2;
            }
            self.read_more().await?;
        };
        let line: Vec<u8> = self.unread.drain(..end).collect();
        Ok(String::from_utf8(line)?.trim_end().to_owned())
    }

    async fn chunks(&mut self) -> anyhow::Result<(Vec<u8>, Vec<String>)> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            body.extend(self.take(size).await?);
            if self.take(2).await? != b"\r\n" {
                bail!("no line end after a chunk");
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((body, trailers));
            }
            trailers.push(line);
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        if self.unread.len() > MOST_BYTES {
            bail!("an answer of more than {MOST_BYTES} bytes");
        }
        let read =
            timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.context("nothing came for a minute")?;
        match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
