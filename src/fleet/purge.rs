//! A purge in the fleet: it is announced by the heartbeat, and answered once the others have applied it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;

use super::heartbeat::Fleet;
use super::members::PurgeReach;
use crate::clock;
use crate::domain::{Epoch, Mark};

/// How long a purge waits for the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// One purge that waits, for as long as this lives.
struct WaitingPurge<'a>(&'a AtomicUsize);

impl Drop for WaitingPurge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Fleet {
    /// The gateway's own name, as purges and `stats` at the others have it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until every gateway that is heard of has applied a purge, and returns how far it has come and whether
    /// that is everywhere.
    pub(crate) async fn await_purge(&self, announced: oneshot::Receiver<Mark>) -> (PurgeReach, bool) {
        self.purging.fetch_add(1, Relaxed);
        let _waiting = WaitingPurge(&self.purging);
        let mut beats = self.beats.subscribe();
        let deadline = clock::now() + PATIENCE;
        let left = || deadline.duration_since(clock::now());
        let purge = match clock::within(left(), announced).await {
            Ok(Ok(purge)) => Some(purge),
            Ok(Err(_)) | Err(clock::TimedOut) => None,
        };
        loop {
            let reach = self.reach(purge);
            let is_everywhere = reach.missing.is_empty();
            if is_everywhere || left().is_zero() || purge.is_none() {
                self.metrics.count_purge(is_everywhere);
                return (reach, is_everywhere);
            }
            let _ = clock::within(left(), beats.changed()).await;
        }
    }

    /// A purge that is announced was applied here, since its record was read.
    fn reach(&self, purge: Option<Mark>) -> PurgeReach {
        let ledger = self.level.ledger();
        // Before it has joined any, it has announced nothing.
        let in_force = ledger.position().map_or(Epoch { number: 0, random: 0 }, |position| position.epoch);
        self.lock().members.reach(purge, &self.name, in_force, |record| ledger.chain(record))
    }
}
