//! A whole gateway but for its sockets: for tests of its inside, and for benches.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;

use super::build::{Ground, Reach, World};
use crate::clock::WallClock;
use crate::config::Settings;
use crate::gateway::{Cutoff, Fetches, Gateway, Snapshots};
use crate::server::Peer;
use crate::telemetry::{CallHasher, LogControl, Metrics, Spans, Telemetry};
use crate::upstream::Transport;

/// A gateway whose requests are handed in and whose upstream is a script.
pub struct Indoors {
    /// What answers.
    pub(super) gateway: Arc<Gateway>,
    /// What it answers from.
    pub(super) world: World,
    #[cfg(test)]
    ground: Ground,
}

impl Indoors {
    /// A gateway with this configuration, which must be a valid one.
    #[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
    pub(crate) fn new(configuration: &str, upstream: Arc<dyn Transport>, wall: WallClock) -> Self {
        let settings = settings(configuration);
        let metrics = Metrics::new(LogControl::none().drops()).expect("metrics have names of their own");
        let hasher = CallHasher::new([0; 32]);
        let telemetry =
            Arc::new(Telemetry::new(metrics, Spans::off(), &settings.log, LogControl::none(), hasher));
        let reach = Reach::Scripted(upstream);
        let ground = Ground { telemetry: Arc::clone(&telemetry), wall: wall.clone(), reach };
        let world = World::build(settings, None, &ground).expect("a script needs no TLS");
        let tasks = TaskTracker::new();
        let gateway = Arc::new(Gateway {
            snapshots: Snapshots::from(Arc::clone(&world.snapshot)),
            telemetry,
            wall,
            fetches: Fetches::anywhere(tasks.clone()),
            tasks,
            cutoff: Cutoff::new(),
        });
        Self {
            gateway,
            world,
            #[cfg(test)]
            ground,
        }
    }

    /// Changes the configuration as a reload does.
    #[cfg(test)]
    pub(super) fn reload(&mut self, configuration: &str) {
        let next = World::build(settings(configuration), Some(&self.world), &self.ground)
            .expect("a script needs no TLS");
        self.gateway.snapshots.store(Arc::clone(&next.snapshot));
        self.world = next;
    }

    /// Answers a request as a connection would have it answered.
    pub async fn answer<B: Body>(
        &self,
        request: Request<B>,
    ) -> Response<impl Body<Data = Bytes, Error = std::convert::Infallible> + use<B>> {
        let Ok(response) = self.gateway.respond(Peer(None), request).await;
        response
    }
}

#[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
pub(super) fn settings(configuration: &str) -> Settings {
    let loaded =
        crate::config::load_text("indoors.toml".as_ref(), configuration.to_owned(), &Default::default());
    loaded.map_err(|problems| problems.to_string()).expect("the configuration is valid").settings
}

/// An upstream that answers every lookup at once with a completed call.
#[cfg(test)]
pub(super) struct Completed;

#[cfg(test)]
impl Transport for Completed {
    fn exchange(&self, request: Request<()>, _: crate::upstream::Bounds) -> crate::upstream::Exchanging<'_> {
        use crate::upstream::{Connection, Received};
        let id = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let body = format!(r#"{{"success":true,"data":{{"id":"{id}","status":"completed"}},"meta":{{}}}}"#);
        let (headers, connection) = (http::HeaderMap::new(), Connection::default());
        let status = http::StatusCode::OK;
        Box::pin(async move { Ok(Received { status, headers, body: body.into(), connection }) })
    }
}
