//! The end of the drain, when the process stops waiting.

use tokio::sync::watch;

/// Cuts off lookups that still wait for a fetch when the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Cutoff(watch::Sender<bool>);

impl Cutoff {
    pub(crate) fn new() -> Self {
        Self(watch::channel(false).0)
    }

    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn reached(&self) {
        // `self` holds the sender, so this ends only with the value.
        let _ = self.0.subscribe().wait_for(|now| *now).await;
    }
}
