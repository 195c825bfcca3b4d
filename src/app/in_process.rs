//! A whole gateway without sockets, for tests of its internals and for benches.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio_util::task::TaskTracker;

use super::build::{AppContext, Runtime, TransportKind};
use crate::clock::WallClock;
use crate::config::Settings;
use crate::gateway::{AnswerBody, Cutoff, FetchSpawner, Gateway, Snapshots, WaitDrain};
use crate::levels::DiskLevel;
use crate::server::Peer;
use crate::telemetry::{CallHasher, LogControl, Metrics, Spans, Telemetry};
use crate::upstream::Transport;

/// A gateway that is passed its requests and has a scripted upstream.
pub(super) struct InProcessGateway {
    /// The data plane.
    pub(super) gateway: Arc<Gateway>,
    /// Its runtime.
    pub(super) runtime: Runtime,
    #[cfg(test)]
    context: AppContext,
}

impl InProcessGateway {
    /// A gateway with this configuration, which must be valid.
    #[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
    pub(crate) fn new(configuration: &str, upstream: Arc<dyn Transport>, wall: WallClock) -> Self {
        let settings = settings(configuration);
        let metrics = Metrics::new(LogControl::none().drops()).expect("metrics have names of their own");
        let hasher = CallHasher::new([0; 32]);
        let telemetry =
            Arc::new(Telemetry::new(metrics, Spans::off(), &settings.log, LogControl::none(), hasher));
        let transport_kind = TransportKind::Scripted(upstream);
        let disk = DiskLevel::new(&settings.disk, telemetry.metrics.disk(), wall.clone(), None);
        let context = AppContext {
            telemetry: Arc::clone(&telemetry),
            wall: wall.clone(),
            transport_kind,
            disk,
            fleet: None,
        };
        let runtime = Runtime::build(settings, None, &context).expect("a script needs no TLS");
        let tasks = TaskTracker::new();
        let gateway = Arc::new(Gateway {
            snapshots: Snapshots::from(Arc::clone(&runtime.snapshot)),
            telemetry,
            wall,
            fetches: FetchSpawner::anywhere(tasks.clone()),
            tasks,
            cutoff: Cutoff::new(),
            wait_drain: WaitDrain::new(),
            fleet: None,
        });
        Self {
            gateway,
            runtime,
            #[cfg(test)]
            context,
        }
    }

    /// Applies another configuration, as a reload does.
    #[cfg(test)]
    pub(super) fn reload(&mut self, configuration: &str) {
        let next = Runtime::build(settings(configuration), Some(&self.runtime), &self.context)
            .expect("a script needs no TLS");
        self.gateway.replace(Arc::clone(&next.snapshot));
        self.runtime = next;
    }

    /// Answers a request as for a connection.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Ok(response) = self.gateway.respond(Peer(None), request).await;
        response
    }
}

#[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
pub(super) fn settings(configuration: &str) -> Settings {
    let loaded =
        crate::config::load_text("in_process.toml".as_ref(), configuration.to_owned(), &Default::default());
    loaded.map_err(|problems| problems.to_string()).expect("the configuration is valid").settings
}

/// An upstream that answers every lookup immediately with a completed call.
#[cfg(test)]
pub(super) struct Completed;

#[cfg(test)]
impl Transport for Completed {
    fn open(
        &self,
        request: Request<Bytes>,
        _: crate::upstream::ExchangeDeadlines,
    ) -> crate::upstream::Opening<'_> {
        use crate::upstream::{Connection, Opened, ResponseBody};
        let id = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let body = format!(r#"{{"success":true,"data":{{"id":"{id}","status":"completed"}},"meta":{{}}}}"#);
        let (headers, connection) = (http::HeaderMap::new(), Connection::default());
        let status = http::StatusCode::OK;
        Box::pin(
            async move { Ok(Opened { status, headers, body: ResponseBody::Whole(body.into()), connection }) },
        )
    }
}
