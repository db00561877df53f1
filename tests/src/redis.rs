//! A real `redis-server` for one test: on a Unix socket in a directory of its own, so that no port has to be free.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::process::{Process, Signal};
use crate::until::{SOON, until};

/// A running Redis. Dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    directory: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one whose files are in `directory`, and waits until it answers.
    ///
    /// # Errors
    /// `redis-server` is not installed (`deploy/local/install` does that) or does not start.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_with(directory, &[]).await
    }

    /// The same with further arguments, such as `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn start_with(directory: &Path, further: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut arguments: Vec<String> =
            ["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"].map(str::to_owned).into();
        let path = |name: &str| directory.join(name).display().to_string();
        arguments.extend(["--unixsocket".to_owned(), path("redis.sock"), "--dir".to_owned(), path("")]);
        // A configuration file comes first, options override what stands before them.
        let (file, options) = match further {
            [file, options @ ..] if !file.starts_with('-') => (Some(*file), options),
            options => (None, options),
        };
        arguments.splice(0..0, file.map(str::to_owned));
        arguments.extend(options.iter().map(|&argument| argument.to_owned()));
        let process = spawn(directory, &arguments)?;
        let mut server = Self { process, directory: directory.to_owned(), arguments };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// The same that also listens on a free TCP port, which stands for `{port}` in the arguments. Redis cannot be given port
    /// 0, so a port that was free a moment ago is tried, and another one when somebody was quicker.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn start_on_a_port(directory: &Path, further: &[&str]) -> anyhow::Result<(Self, u16)> {
        let mut last = None;
        for _try in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let arguments: Vec<String> =
                further.iter().map(|argument| argument.replace("{port}", &port.to_string())).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            match Self::start_with(directory, &arguments).await {
                Ok(server) => return Ok((server, port)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no port was tried")))
    }

    /// Its address for `[store] urls`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Sends one command, without waiting for the configured password or anything else, and gives the raw answer.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(self.socket()).await?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Kills it, as `kill -9` does. What it held is lost.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Stops it without ending it: connections stay open and nobody answers.
    ///
    /// # Errors
    /// It is gone.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Starts it again after [`RedisServer::kill`], and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        // The old socket is still there and nobody listens on it.
        std::fs::remove_file(self.socket()).ok();
        self.process = spawn(&self.directory, &self.arguments)?;
        self.wait_until_it_answers().await
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        until("Redis", SOON, async || {
            if let Some(status) = self.process.exit_status() {
                return Some(Err(anyhow::anyhow!("redis-server ended with {status}: {}", self.process.log())));
            }
            self.command(&["PING"]).await.ok().map(|_answer| Ok(()))
        })
        .await?
    }
}

fn spawn(directory: &Path, arguments: &[String]) -> anyhow::Result<Process> {
    Process::start("redis-server", Path::new("redis-server"), arguments, &directory.join("redis.log"))
        .context("deploy/local/install installs redis-server")
}
