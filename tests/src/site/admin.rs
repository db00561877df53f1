//! The admin listener of a node.

use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::RangeBounds;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::client::{Answer, Target, empty, full};
use crate::metrics::Metrics;
use crate::until::{SOON, until};

/// The admin listener of one node, with the token of one role.
#[derive(Debug, Clone)]
pub struct Admin {
    address: SocketAddr,
    token: String,
}

impl Admin {
    /// The listener at `address`, asked with `token`.
    #[must_use]
    pub fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    /// Where it listens, for requests without a token.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.address)
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `GET path` with the token.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let target = self.target();
        let request = target.request(Method::GET, path)?.header(AUTHORIZATION, format!("Bearer {}", self.token));
        target.exchange(request.body(empty())?).await
    }

    /// A call with the token, a body, and further headers.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let target = self.target();
        let mut request = target.request(method, path)?.header(AUTHORIZATION, format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        target.exchange(request.body(full(body))?).await
    }

    /// The policy shown.
    ///
    /// # Errors
    /// There was no good answer.
    pub async fn policy(&self) -> anyhow::Result<Value> {
        let answer = self.get("/policy").await?;
        if answer.status != 200 {
            bail!("/policy answered {}: {}", answer.status, answer.text());
        }
        answer.json()
    }

    /// The number of the running generation.
    ///
    /// # Errors
    /// There was no good answer.
    pub async fn generation(&self) -> anyhow::Result<u64> {
        let policy = self.policy().await?;
        policy.get("generation").and_then(Value::as_u64).with_context(|| format!("no generation in {policy}"))
    }

    /// The metrics.
    ///
    /// # Errors
    /// There was no good answer.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = self.get("/metrics").await?;
        if answer.status != 200 {
            bail!("/metrics answered {}: {}", answer.status, answer.text());
        }
        Ok(Metrics::parse(&answer.text()))
    }

    /// Waits until the metric `name` with `labels` sums up to something within `wanted`, and returns it.
    ///
    /// A request is counted when its last byte was handed over, which its client may see a little earlier.
    ///
    /// # Errors
    /// It never did; the message says what it was last.
    pub async fn counted(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl RangeBounds<f64>,
    ) -> anyhow::Result<f64> {
        let last = Cell::new(f64::NAN);
        let count = until(format!("{name} {labels:?} to count"), SOON, async || {
            last.set(self.metrics().await.ok()?.sum(name, labels));
            wanted.contains(&last.get()).then(|| last.get())
        });
        count.await.with_context(|| format!("it was {} last", last.get()))
    }

    /// Whether the node says it is ready.
    pub async fn is_ready(&self) -> bool {
        self.target().get("/readyz").await.is_ok_and(|answer| answer.status == 200)
    }
}
