//! What is sent in one round trip, and what comes back.

use std::collections::VecDeque;

use redis::{Cmd, FromRedisValue, ToRedisArgs, Value, from_redis_value};

use super::StoreError;
use crate::key::Key;

/// One command.
#[derive(Clone, Debug)]
pub struct Command {
    pub(super) command: Cmd,
    /// What a Cluster places its key by.
    pub(super) hash_tag: Box<str>,
}

impl Command {
    /// A command on a key, which is its first argument: `Command::on("HGETALL", &key)`.
    #[must_use]
    pub fn on(name: &str, key: &Key) -> Self {
        let mut command = redis::cmd(name);
        command.arg(key.as_str());
        Self { command, hash_tag: key.hash_tag().into() }
    }

    /// A Lua script on keys that have the same hash tag. It is sent as it is: scripts here are small and seldom run.
    #[must_use]
    pub fn script(code: &str, keys: &[&Key]) -> Self {
        let mut command = redis::cmd("EVAL");
        command.arg(code).arg(keys.len());
        for key in keys {
            command.arg(key.as_str());
        }
        Self { command, hash_tag: keys.first().map(|key| key.hash_tag()).unwrap_or_default().into() }
    }

    /// The same with one more argument, or several in a slice.
    #[must_use]
    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }
}

/// Commands for one round trip. They are executed in their order, but not as one step: others may come in between.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) commands: Vec<Command>,
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more command.
    #[must_use]
    pub fn with(mut self, command: Command) -> Self {
        self.push(command);
        self
    }

    /// Adds a command.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

/// The answers to a [`Batch`], in the order of its commands.
#[derive(Debug)]
pub struct Replies(VecDeque<Value>);

impl Replies {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into())
    }

    /// The next answer as a `T`.
    ///
    /// # Errors
    /// [`StoreError::Unexpected`] when it is something else, or there is none.
    pub fn take<T: FromRedisValue>(&mut self) -> Result<T, StoreError> {
        let missing = || StoreError::Unexpected("fewer answers than commands".into());
        let value = self.0.pop_front().ok_or_else(missing)?;
        from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string().into()))
    }

    /// How many answers are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no answer is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
