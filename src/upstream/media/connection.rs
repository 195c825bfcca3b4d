//! A connection for one media request, HTTP/1.1, closed after it. Reading the body drives the
//! connection; dropping the body closes it, and nothing is read ahead.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::{Connected, Connection as _};
use hyper_util::rt::TokioIo;
use tower::{Service, ServiceExt};

use crate::clock::{self, Instant};
use crate::upstream::connector::{ConnectError, Connector, WatchedConnection};
use crate::upstream::error::ExchangeError;
use crate::upstream::traffic::{MAX_INTERIM, Traffic};
use crate::upstream::transport::{classify_hyper, is_ambiguous};

/// Bytes that are read at once, and the longest head.
const BUFFER_BYTES: usize = 32 << 10;

/// Header fields of a response.
const MAX_FIELDS: usize = 256;

/// What a body holds in memory at most: what is being read and what was read.
pub(crate) const MAX_HELD_BYTES: usize = 2 * BUFFER_BYTES;

/// The head of a response whose body is still to come.
pub(crate) struct OpenedMedia {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: MediaBody,
}

/// The body of a response, with its connection.
pub(crate) struct MediaBody {
    incoming: Incoming,
    connection: Driven,
}

/// The connection ended within the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated;

/// A connection, until it has ended.
struct Driven(Option<Pin<Box<Http1Connection>>>);

type Http1Connection = http1::Connection<TokioIo<WatchedConnection>, Empty<Bytes>>;

impl Driven {
    /// Moves what can be moved. Errors reach those who wait for the response.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

impl MediaBody {
    /// The next bytes; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Truncated>>> {
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending() {
            self.connection.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        polled.map(|frame| match frame? {
            // Trailers come last.
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(_) => Some(Err(Truncated)),
        })
    }
}

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaReadError {
    TooLarge,
    Truncated,
    Timeout,
}

impl MediaBody {
    /// Reads a whole body of at most `most` bytes, which announces `length`, by `end` and with no pause longer than
    /// `idle`.
    pub(crate) async fn read(
        mut self,
        length: Option<u64>,
        most: usize,
        idle: Duration,
        end: Instant,
    ) -> Result<Bytes, MediaReadError> {
        if length.is_some_and(|length| length > most as u64) {
            return Err(MediaReadError::TooLarge);
        }
        let mut whole = BytesMut::new();
        loop {
            let limit = end.min(clock::now() + idle);
            let next = clock::until(limit, poll_fn(|cx| self.poll_data(cx))).await;
            match next.map_err(|_| MediaReadError::Timeout)? {
                None if length.is_some_and(|length| length != whole.len() as u64) => {
                    return Err(MediaReadError::Truncated);
                }
                None => return Ok(whole.freeze()),
                Some(Err(Truncated)) => return Err(MediaReadError::Truncated),
                Some(Ok(data)) if whole.len() + data.len() > most => return Err(MediaReadError::TooLarge),
                Some(Ok(data)) => whole.extend_from_slice(&data),
            }
        }
    }
}

/// Sends a request to `url` over a connection of its own and waits for the head of the response.
pub(crate) async fn open(
    connector: &Connector,
    url: &Uri,
    request: Request<Empty<Bytes>>,
    first_byte: Duration,
    end: Instant,
) -> Result<OpenedMedia, ExchangeError> {
    let mut connector = connector.clone();
    let connecting = async { connector.ready().await?.call(url.clone()).await };
    let io = match clock::until(end, connecting).await {
        Ok(Ok(io)) => io,
        Ok(Err(ConnectError::Failed(_))) => return Err(ExchangeError::Connect),
        Ok(Err(ConnectError::Timeout)) | Err(_) => return Err(ExchangeError::ConnectTimeout),
    };
    let traffic = traffic_of(&io.inner().connected());
    let limit = end.min(clock::now() + first_byte);
    match clock::until(limit, exchange(io, request, traffic)).await {
        Ok(opened) => opened,
        Err(_) => Err(ExchangeError::Timeout),
    }
}

fn traffic_of(connected: &Connected) -> Option<Traffic> {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras.remove()
}

async fn exchange(
    io: TokioIo<WatchedConnection>,
    mut request: Request<Empty<Bytes>>,
    traffic: Option<Traffic>,
) -> Result<OpenedMedia, ExchangeError> {
    let fail = |error: &hyper::Error| classify_hyper(Some(error), traffic.as_ref().map(Traffic::seen));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_FIELDS)
        .handshake(io)
        .await
        .map_err(|error| fail(&error))?;
    if let Some(traffic) = traffic.clone() {
        let interim = Arc::new(AtomicU32::new(0));
        hyper::ext::on_informational(&mut request, move |_| {
            if interim.fetch_add(1, Relaxed) >= MAX_INTERIM {
                traffic.note_flood();
            }
        });
    }
    let mut connection = Driven(Some(Box::pin(connection)));
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = poll_fn(|cx| {
        connection.drive(cx);
        response.as_mut().poll(cx)
    })
    .await
    .map_err(|error| fail(&error))?;
    let (head, incoming) = response.into_parts();
    if traffic.as_ref().is_some_and(|traffic| traffic.seen().flooded) {
        return Err(ExchangeError::InterimFlood);
    }
    if is_ambiguous(&head.headers) {
        return Err(ExchangeError::Invalid);
    }
    let body = MediaBody { incoming, connection };
    Ok(OpenedMedia { status: head.status, headers: head.headers, body })
}
