//! One HTTP exchange with the upstream: over a pooled connection of the tenant's own, with a
//! deadline for each step and a bound on everything that is read.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout_at;

use super::connector::{ConnectError, Connector, Traffic};
use crate::clock::{self, Instant};
use crate::domain::speaks_by_its_status;

/// Bytes of a response head that are read.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// How long an idle connection is kept: shorter than what servers usually do, so that they seldom
/// close one that is just being used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// A response of which every byte came.
pub struct Received {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// The connection that it came on.
    pub connection: Connection,
}

/// The connection of an exchange.
#[derive(Debug, Default)]
pub struct Connection {
    capture: Option<CaptureConnection>,
    /// Whether it had served requests before: then what came on it may be the answer to one of those.
    pub was_reused: bool,
}

impl Connection {
    /// Never uses the connection again: what came on it belongs to somebody else's request.
    pub fn poison(&self) {
        if let Some(capture) = &self.capture {
            poison(capture);
        }
    }
}

fn poison(capture: &CaptureConnection) {
    if let Some(connected) = capture.connection_metadata().as_ref() {
        connected.poison();
    }
}

/// Why an exchange gave no whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No connection: refused, unreachable, no such name, no trust.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// No head, or no end of the body, in time.
    Timeout,
    /// The connection ended before a byte of the response came, and had served requests before: the
    /// upstream closed it as idle just when it was used.
    Stale,
    /// The connection ended before a byte of the response came.
    Reset,
    /// The connection ended within the response's head.
    ResetInHead,
    /// The connection ended within the body.
    Truncated(StatusCode),
    /// The body is larger than `max_response_bytes`.
    Oversized(StatusCode),
    /// Not HTTP, or HTTP that readers may read differently.
    Invalid,
}

/// How long an exchange may take and how much it may bring.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the request sent to the response's head.
    pub first_byte: Duration,
    /// The end of everything.
    pub deadline: Instant,
    /// Bytes of the body.
    pub max_bytes: usize,
}

/// What sends requests: the network, or a script.
pub trait Transport: Send + Sync {
    /// Sends a request and reads the whole response.
    fn exchange(&self, request: Request<()>, bounds: Bounds) -> Exchanging<'_>;
}

/// An exchange under way.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Received, Broken>> + Send + 'a>>;

/// The network.
pub struct Network {
    client: Client<Connector, Empty<Bytes>>,
}

impl Network {
    /// A client with connections of its own, at most so many.
    pub fn new(connector: Connector, max_connections: usize) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(max_connections)
            .timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http2_max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .build(connector.with_places(max_connections));
        Self { client }
    }

    async fn send(&self, request: Request<()>, bounds: Bounds) -> Result<Received, Broken> {
        let (parts, ()) = request.into_parts();
        let mut request = Request::from_parts(parts, Empty::new());
        let mut capture = capture_connection(&mut request);
        let mut response = std::pin::pin!(self.client.request(request));
        // The connector has its own deadline; the head's begins once there is a connection.
        let early = tokio::select! {
            biased;
            response = response.as_mut() => Some(response),
            _ = capture.wait_for_connection_metadata() => None,
            () = tokio::time::sleep_until(bounds.deadline.for_timer()) => return Err(Broken::Timeout),
        };
        let response = match early {
            Some(response) => response,
            None => {
                let limit = bounds.deadline.min(clock::now() + bounds.first_byte);
                // An HTTP/2 connection outlives its requests: one that went dead must not be given to
                // the next.
                timeout_at(limit.for_timer(), response)
                    .await
                    .map_err(|_| Broken::Timeout)
                    .inspect_err(|_| poison(&capture))?
            }
        };
        let (mut head, body) = response.map_err(|error| classify(&error))?.into_parts();
        if is_ambiguous(&head.headers) {
            // Where this answer ends, and the next begins, is anybody's guess.
            poison(&capture);
            return Err(Broken::Invalid);
        }
        let body = match read(body, head.status, bounds).await.inspect_err(|_| poison(&capture)) {
            // The key is rejected, or the call gone, whatever the server meant to say of it.
            Err(_) if speaks_by_its_status(head.status) => Bytes::new(),
            body => body?,
        };
        let traffic = head.extensions.remove::<Traffic>();
        let was_reused = traffic.as_ref().is_some_and(|traffic| traffic.seen().in_earlier_ones);
        let connection = Connection { capture: Some(capture), was_reused };
        if traffic.is_some_and(|traffic| traffic.is_over(clock::now())) {
            connection.poison();
        }
        Ok(Received { status: head.status, headers: head.headers, body, connection })
    }
}

async fn read(mut body: Incoming, status: StatusCode, bounds: Bounds) -> Result<Bytes, Broken> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bounds.max_bytes {
        return Err(Broken::Oversized(status));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame =
            timeout_at(bounds.deadline.for_timer(), body.frame()).await.map_err(|_| Broken::Timeout)?;
        let data = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Broken::Truncated(status)),
        };
        let so_far = if rest.is_empty() { first.len() } else { rest.len() };
        if so_far + data.len() > bounds.max_bytes {
            return Err(Broken::Oversized(status));
        }
        if so_far == 0 {
            // Nearly every body is one frame, which needs no copy.
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.max(so_far + data.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

impl Transport for Network {
    fn exchange(&self, request: Request<()>, bounds: Bounds) -> Exchanging<'_> {
        Box::pin(self.send(request, bounds))
    }
}

/// Two lengths, a list of them, or a length and a coding: the next reader may see another body (RFC
/// 9112 section 6.3).
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return false };
    let plain = length.as_bytes().iter().all(u8::is_ascii_digit);
    !plain || lengths.next().is_some() || headers.contains_key(TRANSFER_ENCODING)
}

fn classify(error: &Error) -> Broken {
    if error.is_connect() {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(ConnectError::Timeout) = inner.downcast_ref() {
                return Broken::ConnectTimeout;
            }
            cause = inner.source();
        }
        return Broken::Connect;
    }
    let http = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    if http.is_some_and(hyper::Error::is_parse) {
        return Broken::Invalid;
    }
    let traffic = error.connect_info().and_then(|connected| {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove::<Traffic>()
    });
    match traffic.map(|traffic| traffic.seen()) {
        Some(seen) if seen.in_this_exchange => Broken::ResetInHead,
        Some(seen) if seen.in_earlier_ones => Broken::Stale,
        Some(_) | None => Broken::Reset,
    }
}

#[cfg(test)]
mod tests;
