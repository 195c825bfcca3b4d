//! Removes what is of no use any more from the caches, now and then.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::gateway::Gateway;

/// The least time from one sweep to the next.
const PAUSE: Duration = Duration::from_secs(15);
/// A sweep of large caches takes at most this share of a core: one part in so many.
const SHARE: u32 = 200;

/// Sweeps for as long as the process lives.
pub async fn sweep(gateway: Arc<Gateway>) {
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
        // A bug in it is told by the panic itself, and ends this sweep only.
        let _ = sweeping.await;
        pause = PAUSE.max(clock::now().duration_since(begun) * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;

    use crate::app::indoors::{Completed, Indoors};
    use crate::clock::{self, WallClock};
    use crate::domain::TenantName;
    use crate::telemetry::Eviction;

    use super::*;

    const TOKEN: &str = "token-of-alpha-0123456789abcdefghij";

    #[tokio::test(start_paused = true)]
    async fn what_is_of_no_use_any_more_goes_and_the_rest_stays() {
        let configuration = format!(
            "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n[cache]\nsettle_ttl = \"30s\"\nstale_if_error = \"1h\"\n\
             [[tenants]]\nname = \"alpha\"\ntokens = [{{ value = \"{TOKEN}\" }}]\nupstream_key = {{ value = \"key\" }}\n"
        );
        let indoors = Indoors::new(&configuration, Arc::new(Completed), WallClock::system());
        let look_up = async |id: &str| {
            let request = Request::builder().uri(format!("/v1/calls/{id}")).header("host", "gateway");
            let request = request.header("authorization", format!("Bearer {TOKEN}"));
            let answer = indoors.answer(request.body(Empty::<Bytes>::new()).unwrap()).await;
            assert_eq!(answer.status(), 200);
        };
        look_up("call_old").await;
        tokio::time::advance(Duration::from_secs(1800)).await;
        look_up("call_new").await;
        let snapshot = &indoors.world.snapshot;
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
