//! Sends batches of spans to the collector, on the gateway's runtime. An unreachable collector costs spans, and
//! is logged once.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use crate::config::ExtraRoots;

/// The largest response read from a collector. It says how many spans were rejected.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How long an idle connection to the collector is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The client of the collector.
pub(crate) struct OtlpHttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    timeout: Duration,
    /// Whether the last batch was lost.
    fails: Arc<AtomicBool>,
}

impl fmt::Debug for OtlpHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtlpHttpClient")
    }
}

impl OtlpHttpClient {
    /// Trusts the public roots and those in `file`. Runs on the current runtime.
    pub(crate) fn new(certificate: Option<&str>, timeout: Duration) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = certificate {
            roots.roots.extend(ExtraRoots::read(Path::new(file), Path::new(""))?.roots.roots.iter().cloned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = versions.map_err(|error| error.to_string())?.with_root_certificates(roots);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, runtime: Handle::current(), timeout, fails: Arc::default() })
    }
}

impl HttpClient for OtlpHttpClient {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let sending = self.client.request(request.map(Full::new));
        let (timeout, fails) = (self.timeout, Arc::clone(&self.fails));
        // The library waits on its own thread, which has no reactor for timers and sockets.
        let sent = self.runtime.spawn(async move {
            let result = match tokio::time::timeout(timeout, async { read(sending.await?).await }).await {
                Ok(result) => result,
                Err(_) => Err("the collector took too long".into()),
            };
            report(&result, &fails);
            result
        });
        Box::pin(async move { sent.await? })
    }
}

#[expect(clippy::disallowed_methods, reason = "it is bounded")]
async fn read(answer: Response<hyper::body::Incoming>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// Logs when exports begin to fail, and when they succeed again.
fn report(result: &Result<Response<Bytes>, HttpError>, fails: &AtomicBool) {
    let failed = result.as_ref().map_or(true, |answer| !answer.status().is_success());
    if fails.swap(failed, Relaxed) == failed {
        return;
    }
    let status = result.as_ref().ok().map(|answer| answer.status().as_u16());
    match failed {
        true => tracing::warn!(
            status,
            "collector rejects traces: spans are dropped, requests are not affected. Check \
             OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and the collector"
        ),
        false => tracing::info!("collector accepts traces again"),
    }
}
