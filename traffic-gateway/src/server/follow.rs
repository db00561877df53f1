//! Applies of a new generation what is not looked up with each request: where the access log goes.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gatehouse_shared::live::Live;
use pingora::{server::ShutdownWatch, services::background::BackgroundService};

use crate::{observe::Observer, policy::Policy};

/// How often the task looks for a new generation.
const TICK: Duration = Duration::from_millis(100);

/// The background task.
pub(super) struct Follower {
    live: Arc<Live<Policy>>,
    observer: Arc<Observer>,
}

impl Follower {
    pub(super) fn new(live: Arc<Live<Policy>>, observer: Arc<Observer>) -> Self {
        Self { live, observer }
    }
}

#[async_trait]
impl BackgroundService for Follower {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut log = self.live.current().value.access_log();
        let mut tick = tokio::time::interval(TICK);
        while !*shutdown.borrow() {
            tick.tick().await;
            let wanted = self.live.current().value.access_log();
            if wanted != log {
                tracing::info!(sink = wanted.sink, queue = wanted.queue, "the access log goes elsewhere");
                self.observer.retarget(&wanted);
                log = wanted;
            }
        }
    }
}
