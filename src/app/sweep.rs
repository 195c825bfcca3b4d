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
    use http::Request;
    use http_body_util::Empty;

    use crate::app::in_process::{Completed, InProcessGateway};
    use crate::clock::{self, WallClock};
    use crate::domain::TenantName;
    use crate::telemetry::Eviction;

    use super::*;

    const TOKEN: &str = "token-of-alpha-0123456789abcdefghij";

    #[tokio::test(start_paused = true)]
    async fn useless_entries_are_removed_and_all_others_stay() {
        let configuration = format!(
            "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n[cache]\nsettle_ttl = \"30s\"\nstale_if_error = \"1h\"\n\
             [[tenants]]\nname = \"alpha\"\ntokens = [{{ value = \"{TOKEN}\" }}]\nupstream_key = {{ value = \"key\" }}\n"
        );
        let in_process = InProcessGateway::new(&configuration, Arc::new(Completed), WallClock::system());
        let look_up = async |id: &str| {
            let request = Request::builder().uri(format!("/v1/calls/{id}")).header("host", "gateway");
            let request = request.header("authorization", format!("Bearer {TOKEN}"));
            let answer = in_process.answer(request.body(Empty::<Bytes>::new()).unwrap()).await;
            assert_eq!(answer.status(), 200);
        };
        look_up("call_old").await;
        tokio::time::advance(Duration::from_secs(1800)).await;
        look_up("call_new").await;
        let snapshot = &in_process.runtime.snapshot;
        let tenant = snapshot.directory.named(&TenantName::parse("alpha").unwrap()).unwrap();
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
