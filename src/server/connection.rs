//! One connection's life: HTTP/1.1 or HTTP/2 as the client chooses, until it ends, takes too long, or
//! the server drains.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use super::activity::Activity;
use super::drain::DrainWatch;
use super::listener::Peer;
use super::patience::{Patience, Timeouts};
use super::watched_io::WatchedIo;

/// Header fields of one HTTP/1.1 request; more are a 431.
const MAX_HEADERS: usize = 64;
/// Streams that one HTTP/2 client may have open.
const MAX_STREAMS: u32 = 100;
/// Streams that an HTTP/2 client may have reset before they were accepted (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that an HTTP/2 client may have made us reset (CVE-2025-8671).
const MAX_PROVOKED_RESETS: usize = 128;

/// What answers requests. It never fails: whatever happens becomes an answer.
pub trait Handler: Send + Sync + 'static {
    /// The answer's body.
    type Body: Body<Data = bytes::Bytes, Error = Infallible> + Send + 'static;

    /// Answers one request. Dropped when the client leaves.
    fn answer(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How connections speak HTTP, and their limits.
pub struct Protocol {
    builder: auto::Builder<TokioExecutor>,
    timeouts: Timeouts,
}

impl Protocol {
    /// With heads of at most `max_header_bytes`, at least 8 KiB.
    pub fn new(timeouts: Timeouts, max_header_bytes: usize) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Our own patience covers heads; the library's timer would be set anew for each request.
        let http1 = &mut builder.http1();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(max_header_bytes)
            .max_headers(MAX_HEADERS);
        let list_size = u32::try_from(max_header_bytes).unwrap_or(u32::MAX);
        let http2 = &mut builder.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(list_size);
        http2
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_PROVOKED_RESETS);
        Self { builder, timeouts }
    }

    /// How long a handshake, or a head, may take.
    pub const fn head_timeout(&self) -> Duration {
        self.timeouts.head
    }

    /// Serves one connection to its end. Errors are the client's and end only its connection.
    pub async fn serve<I, H>(&self, io: I, peer: Peer, handler: Arc<H>, mut drain: DrainWatch)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Handler,
    {
        let activity = Activity::new(drain.farewell());
        let io = TokioIo::new(WatchedIo::new(io, Arc::clone(&activity)));
        let requests = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let guard = requests.request();
            let handler = Arc::clone(&handler);
            let has_frames = request.version() == Version::HTTP_2;
            async move {
                let mut response = handler.answer(peer, request).await;
                // HTTP/2 has a frame for this, which is sent when the drain begins.
                if guard.is_last() && !has_frames {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(guard);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut draining = pin!(drain.due());
        let mut told = false;
        let mut patience = Patience::new(self.timeouts);
        poll_fn(|cx| {
            // First the connection: a request that has arrived is answered even if the drain has begun.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !told && draining.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            patience.poll_expired(activity.phase(), cx)
        })
        .await;
    }
}
