//! Ends all waits when the process drains.

use std::time::Duration;

use tokio::sync::watch;

/// Ends waits when draining starts, spread over a while, so that clients which retry elsewhere do not all arrive
/// there at once.
#[derive(Debug, Clone)]
pub(crate) struct WaitDrain(watch::Sender<Option<Duration>>);

impl WaitDrain {
    pub(crate) fn new() -> Self {
        Self(watch::channel(None).0)
    }

    pub(crate) fn begin(&self, spread: Duration) {
        self.0.send_replace(Some(spread));
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when a wait must end, at a different moment for each.
    pub(super) async fn reached(&self) {
        // `self` holds the sender, so this ends only with the value.
        let spread = self.0.subscribe().wait_for(Option::is_some).await.ok().and_then(|spread| *spread);
        tokio::time::sleep(spread.unwrap_or_default().mul_f64(fastrand::f64())).await;
    }
}
