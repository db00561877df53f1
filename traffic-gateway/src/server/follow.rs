//! Applies of a new generation what is not looked up with each request: where the logs go. Has the security log write what
//! it has counted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gatehouse_shared::{clock, live::Live};
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
        let current = self.live.current();
        let (mut log, mut security) = (current.value.access_log(), current.value.security_log());
        drop(current);
        let mut tick = tokio::time::interval(TICK);
        while !*shutdown.borrow() {
            tick.tick().await;
            self.observer.security().write_repeats(clock::now());
            let current = self.live.current();
            let (wanted, wanted_security) = (current.value.access_log(), current.value.security_log());
            drop(current);
            if wanted_security != security {
                tracing::info!(sink = wanted_security.lines.sink, "the security log has changed");
                self.observer.security().retarget(&wanted_security);
                security = wanted_security;
            }
            if wanted != log {
                tracing::info!(sink = wanted.sink, queue = wanted.queue, "the access log goes elsewhere");
                self.observer.retarget(&wanted);
                log = wanted;
            }
        }
    }
}
