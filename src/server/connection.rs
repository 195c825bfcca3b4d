//! One connection's life: HTTP/1.1 or HTTP/2 as the client chooses, until it ends, times out, or the server drains.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior};

use super::accepted::Peer;
use super::activity::Activity;
use super::answering::{Answering, Caller};
use super::backlog::{CHECKS, ChunkedBody};
use super::drain::DrainWatch;
use super::flag_waker::FlagWaker;
use super::outgoing_body::OutgoingBody;
use super::preface::Preface;
use super::request_body::{RequestBody, is_unsettled, settled};
use super::streams::Streams;
use super::timer::{ConnectionTimer, Timeouts};
use super::watched_io::WatchedIo;
use crate::clock::{self, Countdown, Instant, TimedOut};
use crate::message::HttpVersion;
use crate::telemetry::CloseReason;

/// Header fields of one HTTP/1.1 request; more are a 431.
const MAX_HEADERS: usize = 64;
/// Streams that one HTTP/2 client may have open.
const MAX_STREAMS: u32 = 100;
/// Bytes of one HTTP/2 stream that wait for the socket. A client's window may be far wider.
const MAX_SEND_BYTES: usize = 32 << 10;
/// Streams that an HTTP/2 client may reset before they are accepted (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that an HTTP/2 client may cause us to reset (CVE-2025-8671), including those refused because they exceed
/// [`MAX_STREAMS`]. A client that begins with a burst of requests opens streams before it can know of that limit, and
/// has them refused one by one. A reset stops the stream's work at once.
const MAX_PROVOKED_RESETS: usize = 1024;

/// Answers requests. It never fails: every outcome becomes an answer.
pub(crate) trait Handler: Send + Sync + 'static {
    type Body: OutgoingBody;

    /// Answers one request, immediately if nothing has to be waited for. Dropped when the client disconnects.
    fn answer(self: &Arc<Self>, peer: Peer, request: Request<RequestBody>) -> Answering<Self::Body>;
}

/// How connections speak HTTP, and their limits.
pub(crate) struct HttpServer {
    lines: http1::Builder,
    /// The largest list of header fields that an HTTP/2 client may send, in bytes.
    max_list_bytes: u32,
    timeouts: Timeouts,
}

impl HttpServer {
    /// With heads of at most `max_header_bytes`, at least 8 KiB.
    pub(crate) fn new(timeouts: Timeouts, max_header_bytes: usize) -> Self {
        // Our own timer covers heads; the library's would be reset for each request.
        let mut lines = http1::Builder::new();
        lines.timer(TokioTimer::new()).header_read_timeout(None);
        lines.max_buf_size(max_header_bytes).max_headers(MAX_HEADERS);
        Self { lines, max_list_bytes: u32::try_from(max_header_bytes).unwrap_or(u32::MAX), timeouts }
    }

    /// HTTP/2 on one connection, with these tasks for its streams.
    fn frames(&self, streams: Streams) -> http2::Builder<Streams> {
        let mut frames = http2::Builder::new(streams);
        frames
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(self.max_list_bytes)
            .max_send_buf_size(MAX_SEND_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_PROVOKED_RESETS);
        frames
    }

    /// How long a handshake, or a head, may take.
    pub(crate) const fn head_timeout(&self) -> Duration {
        self.timeouts.head
    }

    /// Serves one connection to its end. Errors are the client's and end only its connection.
    /// Returns why the server closed it, if it did for a reason that is counted.
    pub(crate) async fn serve<I, H>(
        &self,
        mut io: I,
        peer: Peer,
        handler: Arc<H>,
        activity: Arc<Activity>,
        mut drain: DrainWatch,
    ) -> Option<CloseReason>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Handler,
    {
        let since = clock::now();
        let mut first_head = Countdown::start(self.timeouts.head, since);
        let opened = tokio::select! {
            // The client first: a request that has arrived is answered even if the drain has begun.
            biased;
            opened = first_head.bound(Preface::read(&mut io)) => opened,
            () = drain.due() => return None,
        };
        let preface = match opened {
            Ok(Ok(Some(preface))) => preface,
            Ok(Ok(None) | Err(_)) => return None,
            Err(TimedOut) => return Some(CloseReason::Head),
        };
        activity.speaks(preface.version);
        let io = TokioIo::new(WatchedIo::new(io, preface, Arc::clone(&activity)));
        let head = self.timeouts.head;
        let requests = Box::new(Requests { handler, peer, activity: Arc::clone(&activity), head });
        match preface.version {
            HttpVersion::Http1 => {
                let service = service_fn(move |request: Request<Incoming>| {
                    requests.answer(request).over_http1(&requests.activity)
                });
                let connection = pin!(self.lines.serve_connection(io, service));
                self.see_through(connection, &activity, &first_head, &mut drain, None).await
            }
            // Boxed, so that HTTP/1.1 connections, which are nearly all, don't pay for its size.
            HttpVersion::Http2 => {
                Box::pin(self.serve_frames(io, requests, activity, first_head, drain, since)).await
            }
        }
    }

    async fn serve_frames<I, H>(
        &self,
        io: I,
        requests: Box<Requests<H>>,
        activity: Arc<Activity>,
        first_head: Countdown,
        mut drain: DrainWatch,
        since: Instant,
    ) -> Option<CloseReason>
    where
        I: Read + Write + Unpin + Send + 'static,
        H: Handler,
    {
        let streams = Streams::default();
        let opened = streams.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (stream, activity) = (opened.open(), Arc::clone(&requests.activity));
            let answering = requests.answer_once_settled(request);
            async move {
                let response = answering.await?;
                Ok::<_, Infallible>(response.map(|body| ChunkedBody::of(body, activity.backlog(), &stream)))
            }
        });
        let connection = pin!(self.frames(streams).serve_connection(io, service));
        let look = (self.timeouts.idle / CHECKS).max(Duration::from_millis(1));
        let mut looks = tokio::time::interval_at((since + look).for_timer(), look);
        // A late check must not be followed by a burst of others: answers progress in between.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.see_through(connection, &activity, &first_head, &mut drain, Some(Box::new(looks))).await
    }

    /// Drives a connection until it ends, times out, or has been shut down gracefully by the drain. At each of
    /// `looks`, answers must have progressed.
    async fn see_through(
        &self,
        mut connection: Pin<&mut impl GracefulConnection>,
        activity: &Activity,
        first_head: &Countdown,
        drain: &mut DrainWatch,
        mut looks: Option<Box<Interval>>,
    ) -> Option<CloseReason> {
        let mut draining = pin!(drain.due());
        let mut is_closing = false;
        let mut timer = ConnectionTimer::new(self.timeouts, *first_head);
        let mut flag_waker = FlagWaker::new();
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let phase = activity.phase();
            if !flag_waker.take(cx) && !timer.is_to_be_armed(phase) {
                return Poll::Pending;
            }
            let mut ringing = Context::from_waker(flag_waker.waker());
            if !is_closing && draining.as_mut().poll(&mut ringing).is_ready() {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
            }
            while let Some(looks) = &mut looks
                && looks.poll_tick(&mut ringing).is_ready()
            {
                activity.backlog().check();
            }
            timer.poll_expired(phase, &mut ringing).map(Some)
        })
        .await
    }
}

/// Passes the requests of one connection to the handler.
struct Requests<H> {
    handler: Arc<H>,
    peer: Peer,
    activity: Arc<Activity>,
    /// How long a client may leave open whether a request has a body.
    head: Duration,
}

impl<H: Handler> Requests<H> {
    fn answer(&self, request: Request<Incoming>) -> Answering<H::Body> {
        self.activity.request_begins();
        let mut answering = self.handler.answer(self.peer, request.map(RequestBody::from));
        answering.belong_to(&self.activity);
        answering
    }

    /// As [`Self::answer`], once it is clear whether the request has a body.
    fn answer_once_settled(&self, request: Request<Incoming>) -> Answering<H::Body> {
        if !is_unsettled(&request) {
            return self.answer(request);
        }
        self.activity.request_begins();
        let (handler, peer, head) = (Arc::clone(&self.handler), self.peer, self.head);
        let activity = Arc::clone(&self.activity);
        let mut answering = Answering::waiting(Caller::Unknown, async move {
            let mut answering = handler.answer(peer, settled(request, head).await);
            answering.admit(&activity);
            let Ok(answer) = answering.await;
            answer
        });
        answering.count_in(&self.activity);
        answering
    }
}

#[cfg(test)]
mod tests;
