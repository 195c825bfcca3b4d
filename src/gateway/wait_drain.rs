//! Ends all waits when the process drains.

use std::time::Duration;

use crate::server::DrainWatch;

/// The longest time over which the ends of waits are spread.
const LONGEST_SPREAD: Duration = Duration::from_secs(2);

/// Ends waits when draining starts, spread over a while, so that clients which retry elsewhere do not all arrive
/// there at once.
#[derive(Debug, Clone)]
pub(super) struct WaitDrain(DrainWatch);

impl WaitDrain {
    pub(super) const fn new(drain: DrainWatch) -> Self {
        Self(drain)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.has_begun()
    }

    /// Resolves when draining starts.
    pub(super) async fn begun(&self) {
        self.0.clone().begun().await;
    }

    /// Resolves when a wait must end, at a different moment for each.
    pub(super) async fn reached(&self) {
        let spread = (self.0.clone().begun().await / 4).min(LONGEST_SPREAD);
        tokio::time::sleep(spread.mul_f64(fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use crate::clock;
    use crate::server::Drain;

    use super::*;

    /// When the first and the last of many waits end, after a drain with this time limit begins.
    async fn ends(within: Duration) -> (Duration, Duration) {
        let drain = Drain::new();
        let waits = WaitDrain::new(drain.watch());
        assert!(!waits.has_begun());
        let begin = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drain.begin(within);
        };
        let start = clock::now();
        let wait = async || {
            waits.reached().await;
            clock::now().duration_since(start).saturating_sub(Duration::from_secs(60))
        };
        let (ends, ()) = tokio::join!(join_all((0..200).map(|_| wait())), begin);
        assert!(waits.has_begun());
        (ends.iter().copied().min().unwrap_or_default(), ends.into_iter().max().unwrap_or_default())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_end_spread_over_a_quarter_of_the_drain_and_at_most_two_seconds() {
        let (first, last) = ends(Duration::from_secs(2)).await;
        assert!(
            first < Duration::from_millis(100) && last > Duration::from_millis(400),
            "{first:?} {last:?}"
        );
        assert!(last <= Duration::from_millis(502), "{last:?}");
        let (_, last) = ends(Duration::from_secs(30)).await;
        assert!((1500..=2002).contains(&last.as_millis()), "{last:?}");
        assert!(ends(Duration::ZERO).await.1 <= Duration::from_millis(2), "nothing to spread over");
    }
}
