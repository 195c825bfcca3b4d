//! One connection's life: HTTP/1.1 or HTTP/2 as the client chooses, until it ends, takes too long, or
//! the server drains.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior};

use super::activity::Activity;
use super::answering::Answering;
use super::bell::Bell;
use super::drain::DrainWatch;
use super::listener::Peer;
use super::opening::{Opening, Speaks};
use super::patience::{Patience, Timeouts};
use super::untaken::{LOOKS, Pieces};
use super::watched_io::WatchedIo;
use crate::clock::{self, Instant};

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
    type Body: Body<Data = bytes::Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// Answers one request, at once where nothing has to be waited for. Dropped when the client leaves.
    fn answer(self: &Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answering<Self::Body>;
}

/// How connections speak HTTP, and their limits.
pub struct Protocol {
    lines: http1::Builder,
    frames: http2::Builder<TokioExecutor>,
    timeouts: Timeouts,
}

impl Protocol {
    /// With heads of at most `max_header_bytes`, at least 8 KiB.
    pub fn new(timeouts: Timeouts, max_header_bytes: usize) -> Self {
        // Our own patience covers heads; the library's timer would be set anew for each request.
        let mut lines = http1::Builder::new();
        lines.timer(TokioTimer::new()).header_read_timeout(None);
        lines.max_buf_size(max_header_bytes).max_headers(MAX_HEADERS);
        let mut frames = http2::Builder::new(TokioExecutor::new());
        let list_size = u32::try_from(max_header_bytes).unwrap_or(u32::MAX);
        frames.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(list_size);
        frames
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_PROVOKED_RESETS);
        Self { lines, frames, timeouts }
    }

    /// How long a handshake, or a head, may take.
    pub const fn head_timeout(&self) -> Duration {
        self.timeouts.head
    }

    /// Serves one connection to its end. Errors are the client's and end only its connection.
    pub async fn serve<I, H>(&self, mut io: I, peer: Peer, handler: Arc<H>, mut drain: DrainWatch)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Handler,
    {
        let since = clock::now();
        let opened = tokio::select! {
            // First the client: a request that has arrived is answered even if the drain has begun.
            biased;
            opened = Opening::read(&mut io) => opened,
            () = drain.due() => return,
            () = tokio::time::sleep(self.timeouts.head) => return,
        };
        let Ok(Some(opening)) = opened else { return };
        let activity = Activity::new(opening.speaks, drain.farewell());
        let io = TokioIo::new(WatchedIo::new(io, opening, Arc::clone(&activity)));
        let requests = Arc::clone(&activity);
        let answer = move |request| {
            requests.request_begins();
            let mut answering = handler.answer(peer, request);
            answering.belong_to(&requests);
            answering
        };
        match opening.speaks {
            Speaks::Lines => {
                let connection = pin!(self.lines.serve_connection(io, service_fn(answer)));
                self.see_through(connection, &activity, since, drain, None).await;
            }
            Speaks::Frames => {
                let requests = Arc::clone(&activity);
                let service = service_fn(move |request| {
                    let (answering, requests) = (answer(request), Arc::clone(&requests));
                    async move {
                        let response = answering.await?;
                        Ok::<_, Infallible>(response.map(|body| Pieces::of(body, &requests)))
                    }
                });
                // Boxed, so that connections of lines, which are nearly all, don't have its size.
                let mut connection = Box::pin(self.frames.serve_connection(io, service));
                let look = (self.timeouts.idle / LOOKS).max(Duration::from_millis(1));
                let mut looks = tokio::time::interval_at((since + look).for_timer(), look);
                // A look that comes late must not bring others with it: answers move in between.
                looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.see_through(connection.as_mut(), &activity, since, drain, Some(Box::new(looks))).await;
            }
        }
    }

    /// Drives a connection until it ends, its time is over, or the drain has ended it in good order. At
    /// each of `looks`, answers must have moved.
    async fn see_through(
        &self,
        mut connection: Pin<&mut impl GracefulConnection>,
        activity: &Activity,
        since: Instant,
        mut drain: DrainWatch,
        mut looks: Option<Box<Interval>>,
    ) {
        let mut draining = pin!(drain.due());
        let mut told = false;
        let mut patience = Patience::new(self.timeouts, since);
        let mut bell = Bell::new();
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let phase = activity.phase();
            if !bell.has_rung(cx) && !patience.is_to_be_armed(phase) {
                return Poll::Pending;
            }
            let mut ringing = Context::from_waker(bell.waker());
            if !told && draining.as_mut().poll(&mut ringing).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            while let Some(looks) = &mut looks
                && looks.poll_tick(&mut ringing).is_ready()
            {
                if activity.untaken().look() {
                    return Poll::Ready(());
                }
            }
            patience.poll_expired(phase, &mut ringing)
        })
        .await;
    }
}
