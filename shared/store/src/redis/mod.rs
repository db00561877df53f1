//! Redis as the gateway uses it: commands in pipelines, bounded in time, never repeated blindly.
//!
//! Everything that one call needs goes into a [`Batch`], which is one write and one round trip (on a Cluster: one for each
//! place its keys have, side by side):
//!
//! ```no_run
//! # use gatehouse_store::{Batch, Command, Key, Redis, StoreError};
//! # async fn example(redis: &Redis) -> Result<(), StoreError> {
//! let (limit, nodes) = (Key::edge_nodes(), Key::edge_nodes());
//! let batch = Batch::new()
//!     .with(Command::on("ZADD", &nodes).arg(1_700_000_000_000_u64).arg("edge-1"))
//!     .with(Command::on("ZRANGEBYSCORE", &limit).arg(1_699_999_997_000_u64).arg("+inf"));
//! let mut replies = redis.run(&batch).await?;
//! let _added: u64 = replies.take()?;
//! let alive: Vec<String> = replies.take()?;
//! # drop(alive);
//! # Ok(())
//! # }
//! ```
//!
//! A call waits for the connection and for the answer no longer than `connect_timeout` and `command_timeout`. After a failure
//! the breaker is open: calls fail at once until it lets one try again, after a delay with jitter that doubles up to two
//! seconds. A call that fails says whether the commands may have been executed ([`StoreError::Lost`]); nothing is ever sent
//! a second time by itself. Nothing here is on the path of a request: callers are background tasks and the admin API.

mod batch;
mod breaker;
mod connection;

use std::sync::Arc;

use gatehouse_shared::clock;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use batch::{Batch, Command, Replies};
use breaker::Breaker;
use connection::{Connection, Connector};

use crate::config::RedisSettings;

/// Why Redis did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached; nothing was sent.
    #[error("Redis is away: {0}")]
    Away(Arc<str>),
    /// The connection was lost, or no answer came in time: the commands may have been executed, or not.
    #[error("Redis did not answer: {0}")]
    Lost(Arc<str>),
    /// It answered with an error, such as a missing right or no memory left.
    #[error("Redis refuses: {0}")]
    Refused(Arc<str>),
    /// It answered with something else than expected.
    #[error("Redis answered with something unexpected: {0}")]
    Unexpected(Arc<str>),
}

/// How the store is, for `/policy` and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Whether the last call succeeded, or none was made yet.
    pub is_up: bool,
    /// Calls and connections that failed.
    pub failures_total: u64,
    /// The last failure, if none has succeeded since.
    pub last_error: Option<Arc<str>>,
}

/// A Redis. Cheap to share; one connection serves all callers.
#[derive(Debug)]
pub struct Redis {
    connector: Connector,
    settings: RedisSettings,
    breaker: Breaker,
    /// Held while a connection is made, so that there is one at a time; calls under way have a copy of it.
    link: Mutex<Link>,
}

/// The connection and its number: 1 for the first.
#[derive(Debug, Default)]
struct Link {
    connection: Option<Connection>,
    number: u64,
}

impl Redis {
    /// A Redis that is reached with these settings; nothing is connected before it is needed.
    ///
    /// # Errors
    /// A sentence about certificates or addresses that cannot be used.
    pub fn new(settings: &RedisSettings) -> Result<Self, String> {
        Ok(Self {
            connector: Connector::new(settings)?,
            settings: settings.clone(),
            breaker: Breaker::default(),
            link: Mutex::default(),
        })
    }

    /// Sends everything at once and waits for all answers.
    ///
    /// # Errors
    /// As [`StoreError`] says; the first error among the answers counts for the whole batch, whose other commands were
    /// executed all the same.
    pub async fn run(&self, batch: &Batch) -> Result<Replies, StoreError> {
        let (mut connection, number) = self.connection().await?;
        let outcome = timeout(self.settings.command_timeout, connection.send(batch)).await;
        let error = match outcome {
            Ok(Ok(replies)) => {
                self.breaker.succeeded();
                return Ok(Replies::new(replies));
            }
            Ok(Err(error)) if connection::is_refusal(&error) => {
                self.breaker.succeeded();
                return Err(StoreError::Refused(error.to_string().into()));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_late) => format!("no answer within {:?}", self.settings.command_timeout),
        };
        let error: Arc<str> = error.into();
        self.give_up(number, &error).await;
        Err(StoreError::Lost(error))
    }

    /// Sends one command.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn one<T: ::redis::FromRedisValue>(&self, command: Command) -> Result<T, StoreError> {
        self.run(&Batch::new().with(command)).await?.take()
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        self.breaker.status()
    }

    async fn connection(&self) -> Result<(Connection, u64), StoreError> {
        self.breaker.check(clock::now())?;
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok((connection.clone(), link.number));
        }
        // Who waited for the lock while another one tried in vain does not try as well.
        self.breaker.check(clock::now())?;
        let limit = self.settings.connect_timeout;
        let error = match timeout(limit, Box::pin(self.connector.connect())).await {
            Ok(Ok(connection)) => {
                link.number += 1;
                link.connection = Some(connection.clone());
                tracing::info!(number = link.number, "connected to Redis");
                return Ok((connection, link.number));
            }
            Ok(Err(error)) => error,
            Err(_late) => format!("no connection within {limit:?}"),
        };
        let error: Arc<str> = error.into();
        self.breaker.failed(clock::now(), &error);
        Err(StoreError::Away(error))
    }

    /// Forgets the connection of this number, unless that has happened already.
    async fn give_up(&self, number: u64, error: &Arc<str>) {
        let mut link = self.link.lock().await;
        if link.number == number && link.connection.take().is_some() {
            self.breaker.failed(clock::now(), error);
        }
    }
}
