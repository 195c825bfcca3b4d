//! Periodically removes entries without any use from the caches.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::gateway::Gateway;
use crate::levels::DiskLevel;

/// The shortest time between two sweeps.
const PAUSE: Duration = Duration::from_secs(15);
/// A sweep of large caches takes at most this fraction of a core.
const SHARE: u32 = 200;

/// The time until the first sweep of the disk: the start has other things to do.
const FIRST_DISK_PAUSE: Duration = Duration::from_secs(60);
/// The time from one sweep of the disk to the next. What is of no use is gone within an hour.
const DISK_PAUSE: Duration = Duration::from_secs(40 * 60);

/// Sweeps until the process ends.
pub(super) async fn sweep(gateway: Arc<Gateway>) {
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let begun = clock::now();
        let snapshot = gateway.snapshots.load_full();
        let sweeping = tokio::task::spawn_blocking(move || {
            for tenant in snapshot.directory.all() {
                tenant.cache().sweep(&snapshot.policy, clock::now());
            }
        });
        // A panic has been logged already, and ends only this sweep.
        let _ = sweeping.await;
        pause = PAUSE.max(clock::now().duration_since(begun) * SHARE);
    }
}

/// Erases from the disk what is of no use any more, for as long as the process lives.
pub(super) async fn sweep_disk(level: Arc<DiskLevel>) {
    let mut pause = FIRST_DISK_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        level.sweep().await;
        pause = DISK_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use crate::app::in_process::{Immediate, InProcessGateway, completed, get, one_tenant};
    use crate::clock;
    use crate::telemetry::Eviction;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn useless_entries_are_removed_and_all_others_stay() {
        let configuration = one_tenant("[cache]\nsettle_ttl = \"30s\"\nstale_if_error = \"1h\"\n");
        let in_process = InProcessGateway::new(&configuration, Arc::new(Immediate(completed)));
        let look_up = async |id: &str| {
            let request = get(&format!("/v1/calls/{id}")).body(Empty::<Bytes>::new()).unwrap();
            assert_eq!(in_process.answer(request).await.unwrap().status(), 200);
        };
        look_up("call_old").await;
        tokio::time::advance(Duration::from_secs(1800)).await;
        look_up("call_new").await;
        let (tenant, snapshot) = (in_process.tenant("alpha"), &in_process.runtime.snapshot);
        let entries_after_sweep = || {
            tenant.cache().sweep(&snapshot.policy, clock::now());
            tenant.cache().size().0
        };
        assert_eq!(entries_after_sweep(), 2);
        tokio::time::advance(Duration::from_secs(1831)).await;
        assert_eq!(entries_after_sweep(), 1, "an hour and half a minute after the first came");
        let expired = tenant.metrics().evictions().find(|(cause, _)| *cause == Eviction::Expired);
        assert_eq!(expired.map(|(_, count)| count), Some(1));
    }
}
