//! Tells the fleet that this node is alive, and hears how many are. Only with a store that the fleet shares.

use std::sync::Arc;

use gatehouse_store::fleet::BEAT;

use crate::gateway::Gateway;

/// Runs until the task is dropped.
pub async fn run(gateway: Arc<Gateway>) {
    if gateway.store.is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // That the store is away is told by whoever needs it.
        if let Err(error) = gateway.fleet.beat().await {
            tracing::debug!(%error, "no heartbeat");
        }
    }
}
