//! A whole gateway without sockets, for tests of its internals, benches and fuzz targets: the only one there is.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;

use super::build::{AppContext, Runtime, TransportKind};
use super::fleet::FleetContext;
use crate::clock::WallClock;
use crate::config::Settings;
use crate::gateway::{AnswerBody, FetchSpawner, Gateway};
use crate::levels::DiskLevel;
use crate::server::{Answering, Drain, Peer};
use crate::telemetry::{CallHasher, LogControl, Metrics, Spans, Telemetry};
use crate::upstream::{Connection, ExchangeDeadlines, Opened, Opening, ResponseBody, Transport};

/// The token of the tenant in [`one_tenant`].
pub(super) const TOKEN: &str = "token-of-alpha-0123456789abcdefghij";

/// A gateway that is passed its requests and has a scripted upstream.
pub(super) struct InProcessGateway {
    /// The data plane.
    pub(super) gateway: Arc<Gateway>,
    pub(super) runtime: Runtime,
    #[cfg_attr(not(test), expect(dead_code, reason = "waits end when it is dropped"))]
    drain: Drain,
    #[cfg(test)]
    context: AppContext,
}

impl InProcessGateway {
    /// A gateway with this configuration, which must be valid.
    pub(super) fn new(configuration: &str, upstream: Arc<impl Transport + 'static>) -> Self {
        Self::on_clock(WallClock::system(), configuration, upstream)
    }

    /// The same, with this wall clock.
    pub(super) fn on_clock(
        wall: WallClock,
        configuration: &str,
        upstream: Arc<impl Transport + 'static>,
    ) -> Self {
        Self::in_fleet(wall, configuration, upstream, |_, _| None)
    }

    /// The same, in this fleet.
    #[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
    pub(super) fn in_fleet(
        wall: WallClock,
        configuration: &str,
        upstream: Arc<impl Transport + 'static>,
        fleet: impl FnOnce(&Settings, &Metrics) -> Option<FleetContext>,
    ) -> Self {
        let settings = settings(configuration);
        let metrics = Metrics::new(LogControl::none().drops()).expect("metrics have names of their own");
        let fleet = fleet(&settings, &metrics);
        let hasher = CallHasher::new([0; 32]);
        let telemetry =
            Arc::new(Telemetry::new(metrics, Spans::off(), &settings.log, LogControl::none(), hasher));
        let disk = DiskLevel::new(&settings.disk, telemetry.metrics.disk(), wall.clone(), None);
        let transport_kind = TransportKind::Scripted(upstream);
        let context = AppContext { telemetry, wall, transport_kind, disk, fleet };
        let runtime = Runtime::build(settings, None, &context).expect("a script needs no TLS");
        let drain = Drain::new();
        let gateway = Arc::new(Gateway::new(
            Arc::clone(&runtime.snapshot),
            Arc::clone(&context.telemetry),
            context.wall.clone(),
            FetchSpawner::anywhere(),
            drain.watch(),
            context.fleet.as_ref().map(|fleet| Arc::clone(fleet.fleet())),
        ));
        Self {
            gateway,
            runtime,
            drain,
            #[cfg(test)]
            context,
        }
    }

    /// Answers a request as for a connection.
    pub(super) fn answer<B>(&self, request: Request<B>) -> Answering<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.gateway.respond(Peer(None), request)
    }
}

#[cfg(any(test, feature = "fuzz"))]
impl InProcessGateway {
    /// The whole answer to a request. The future is a client: dropping it disconnects.
    #[expect(clippy::expect_used, clippy::disallowed_methods, reason = "scripted bodies are small and end")]
    pub(super) fn ask<B>(&self, request: Request<B>) -> impl Future<Output = WholeAnswer> + Send + use<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let gateway = Arc::clone(&self.gateway);
        async move {
            let Ok(response) = gateway.respond(Peer(None), request).await;
            let (head, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(body).await.expect("a body ends").to_bytes();
            WholeAnswer { status: head.status.as_u16(), headers: head.headers, body }
        }
    }
}

#[cfg(test)]
impl InProcessGateway {
    /// Applies another configuration, as a reload does.
    pub(super) fn reload(&mut self, configuration: &str) {
        let next = Runtime::build(settings(configuration), Some(&self.runtime), &self.context)
            .expect("a script needs no TLS");
        self.gateway.replace(Arc::clone(&next.snapshot));
        self.runtime = next;
    }

    /// Begins to drain, as a shutdown does.
    pub(super) fn drain(&self, within: std::time::Duration) {
        self.drain.begin(within);
    }

    /// A configured tenant.
    pub(super) fn tenant(&self, name: &str) -> &Arc<crate::tenant::Tenant> {
        let name = crate::domain::TenantName::parse(name).unwrap();
        self.runtime.snapshot.directory.named(&name).unwrap()
    }
}

/// An answer as a client sees it.
#[cfg(any(test, feature = "fuzz"))]
#[derive(Debug)]
pub(super) struct WholeAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[cfg(test)]
impl WholeAnswer {
    /// A field's value as text.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[expect(clippy::expect_used, reason = "tests and benches stop where they can't begin")]
pub(super) fn settings(configuration: &str) -> Settings {
    let loaded =
        crate::config::load_text("in_process.toml".as_ref(), configuration.to_owned(), &Default::default());
    loaded.map_err(|problems| problems.to_string()).expect("the configuration is valid").settings
}

/// A configuration with the tenant `alpha`, followed by `more`: other keys of the tenant, then further sections.
pub(super) fn one_tenant(more: &str) -> String {
    format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n[[tenants]]\nname = \"alpha\"\n\
         tokens = [{{ value = \"{TOKEN}\" }}]\nupstream_key = {{ value = \"key\" }}\n{more}"
    )
}

/// A `GET` of that tenant.
pub(super) fn get(path: &str) -> Builder {
    Request::get(path).header("host", "gateway").header("authorization", format!("Bearer {TOKEN}"))
}

/// A response whose body is at hand.
pub(super) fn opened(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Opened {
    let body = ResponseBody::Whole(body.into());
    Opened { status, headers, body, connection: Connection::default() }
}

/// An upstream that answers every request at once, with what the function makes of it.
pub(super) struct Immediate<F>(pub(super) F);

impl<F: Fn(&Request<Bytes>) -> Opened + Send + Sync> Transport for Immediate<F> {
    fn open(&self, request: Request<Bytes>, _: ExchangeDeadlines) -> Opening<'_> {
        let opened = (self.0)(&request);
        Box::pin(async move { Ok(opened) })
    }
}

/// Answers any lookup with a completed call.
#[cfg(test)]
pub(super) fn completed(request: &Request<Bytes>) -> Opened {
    let id = request.uri().path().rsplit('/').next().unwrap_or_default();
    let body = format!(r#"{{"success":true,"data":{{"id":"{id}","status":"completed"}},"meta":{{}}}}"#);
    opened(StatusCode::OK, HeaderMap::new(), body)
}
