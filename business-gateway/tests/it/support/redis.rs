//! A real `redis-server` for one test, on a Unix socket in a directory of its own, so that no port has to be free.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use gatehouse_store::{Command, Key, Redis, RedisSettings};

use super::SOON;

/// A running Redis. Dropping it kills it.
pub(crate) struct RedisServer {
    child: Child,
    directory: PathBuf,
}

impl RedisServer {
    /// Starts one whose files are in `directory`, and waits until it answers.
    pub(crate) async fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let server = Self { child: spawn(directory), directory: directory.to_owned() };
        server.wait_until_it_answers().await;
        server
    }

    /// What `[store]` needs to say to use it.
    pub(crate) fn toml(&self) -> String {
        format!("[store]\nkind = \"redis\"\nurls = [\"{}\"]\n", self.url())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.directory.join("redis.sock").display())
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Redis {
        Redis::new(&RedisSettings::single(&self.url()).unwrap()).unwrap()
    }

    /// A client of it with this patience.
    pub(crate) fn client_with(&self, patience: Duration) -> Redis {
        Redis::new(&RedisSettings::single(&self.url()).unwrap().timeout(patience)).unwrap()
    }

    /// Ends it at once, without saving anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`RedisServer::kill`], empty.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.directory);
        self.wait_until_it_answers().await;
    }

    /// Lets it stand still, or go on: `"STOP"` or `"CONT"`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    async fn wait_until_it_answers(&self) {
        let deadline = tokio::time::Instant::now() + SOON;
        while self.client().one::<Option<String>>(Command::on("GET", &Key::catalog())).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

fn spawn(directory: &Path) -> Child {
    let socket = directory.join("redis.sock");
    std::fs::remove_file(&socket).ok();
    let mut command = std::process::Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(socket);
    command.arg("--dir").arg(directory).stdout(Stdio::null());
    command.spawn().expect("redis-server is installed by deploy/local/install")
}
