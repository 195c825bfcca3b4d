//! The network: a tenant's pooled connections, with a deadline for each step and a bound on everything that is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::super::connector::Connector;
use super::super::error::ExchangeError;
use super::super::traffic::{MAX_INTERIM, Traffic};
use super::classify::{classify, is_ambiguous};
use super::{Connection, ExchangeDeadlines, Opened, Opening, ResponseBody, Transport};
use crate::clock;

/// The maximum size of a response's head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// The maximum number of a response's header fields.
const MAX_FIELDS: usize = 256;

/// How long an idle connection is kept: shorter than most servers keep them, so that they seldom close one at the
/// moment of its reuse.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Sends requests over its own connections.
pub(crate) struct Network {
    pooled: Client<Connector, Full<Bytes>>,
    /// Never reuses a connection: each request opens its own.
    fresh: Client<Connector, Full<Bytes>>,
}

impl Network {
    /// With at most `max_connections` connections.
    pub(crate) fn new(connector: Connector, max_connections: usize) -> Self {
        let client = |idle| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(idle)
                .retry_canceled_requests(idle > 0)
                .timer(TokioTimer::new())
                .http1_max_buf_size(MAX_HEAD_BYTES)
                .http1_max_headers(MAX_FIELDS)
                .http2_max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
                .build(connector.clone().with_places(max_connections))
        };
        // Separate limits: idle connections in the pool must not delay a request that needs a fresh one. The number
        // of concurrent requests is limited elsewhere.
        Self { pooled: client(max_connections), fresh: client(0) }
    }

    async fn send(
        &self,
        request: Request<Bytes>,
        deadlines: ExchangeDeadlines,
    ) -> Result<Opened, ExchangeError> {
        let client = if request.method().is_safe() { &self.pooled } else { &self.fresh };
        let mut request = request.map(Full::new);
        let mut capture = capture_connection(&mut request);
        let interim = count_interim(&mut request, &capture);
        let mut response = std::pin::pin!(client.request(request));
        // The connector has its own deadline; the head's starts once there is a connection.
        let connecting = async {
            tokio::select! {
                biased;
                response = response.as_mut() => Some(response),
                _ = capture.wait_for_connection_metadata() => None,
            }
        };
        let early = clock::until(deadlines.end, connecting).await.map_err(|_| ExchangeError::Timeout)?;
        let connection = Connection { capture: Some(capture), was_reused: false };
        let response = match early {
            Some(response) => response,
            None => {
                let limit = deadlines.end.min(clock::now() + deadlines.first_byte);
                // An HTTP/2 connection outlives its requests: one that has died must not be used for the next.
                clock::until(limit, response)
                    .await
                    .map_err(|_| ExchangeError::Timeout)
                    .inspect_err(|_| connection.poison())?
            }
        };
        let (mut head, body) = response.map_err(|error| classify(&error))?.into_parts();
        let refuse = |error| {
            // The boundary between this response and the next is uncertain.
            connection.poison();
            Err(error)
        };
        if interim.load(Relaxed) > MAX_INTERIM {
            return refuse(ExchangeError::InterimFlood);
        }
        if head.headers.len() > MAX_FIELDS {
            return refuse(ExchangeError::TooManyFields);
        }
        if is_ambiguous(&head.headers) {
            return refuse(ExchangeError::Invalid);
        }
        let traffic = head.extensions.remove::<Traffic>();
        if traffic.as_ref().is_some_and(|traffic| traffic.is_retired(clock::now())) {
            connection.poison();
        }
        let was_reused = traffic.is_some_and(|traffic| traffic.seen().in_earlier_ones);
        Ok(Opened {
            status: head.status,
            headers: head.headers,
            body: ResponseBody::Incoming(body),
            connection: Connection { was_reused, ..connection },
        })
    }
}

/// Counts the interim responses of an HTTP/1.1 exchange, and stops reading from its connection once there are too
/// many. (Those of HTTP/2 are counted frame by frame.)
fn count_interim<B>(request: &mut Request<B>, capture: &CaptureConnection) -> Arc<AtomicU32> {
    let count = Arc::new(AtomicU32::new(0));
    let (counted, capture) = (Arc::clone(&count), capture.clone());
    hyper::ext::on_informational(request, move |_| {
        if counted.fetch_add(1, Relaxed) < MAX_INTERIM {
            return;
        }
        let mut extras = http::Extensions::new();
        if let Some(connected) = capture.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        if let Some(traffic) = extras.remove::<Traffic>() {
            traffic.note_flood();
        }
    });
    count
}

impl Transport for Network {
    fn open(&self, request: Request<Bytes>, deadlines: ExchangeDeadlines) -> Opening<'_> {
        Box::pin(self.send(request, deadlines))
    }
}
