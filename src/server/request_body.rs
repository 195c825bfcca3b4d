//! The body of a request; the server may have read its first bytes to find out whether there is one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::clock::{self, TimedOut};

/// A request's body. At its end from the start if the request has none.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Bytes that were read and not yet taken.
    first: First,
    rest: Incoming,
}

#[derive(Debug)]
enum First {
    Nothing,
    /// Boxed, because hardly any request has a body.
    Bytes(Box<Bytes>),
    /// The client did not show in time whether there is a body.
    Unknown,
}

impl From<Incoming> for RequestBody {
    fn from(rest: Incoming) -> Self {
        Self { first: First::Nothing, rest }
    }
}

/// Whether only later frames show if the request has a body. HTTP/2 may end a stream with an empty `DATA` frame (RFC
/// 9113 section 8.1), which is no body.
pub(super) fn is_unsettled(request: &Request<Incoming>) -> bool {
    let announces_bytes = || request.headers().get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    !request.body().is_end_stream() && !announces_bytes()
}

/// Waits until it is clear whether the request has a body, for at most `limit`.
pub(super) async fn settled(request: Request<Incoming>, limit: Duration) -> Request<RequestBody> {
    let (head, mut rest) = request.into_parts();
    let first = clock::within(limit, first_bytes(&mut rest)).await.unwrap_or_else(|TimedOut| First::Unknown);
    Request::from_parts(head, RequestBody { first, rest })
}

async fn first_bytes(body: &mut Incoming) -> First {
    loop {
        match body.frame().await.map(|frame| frame.map(Frame::into_data)) {
            None => return First::Nothing,
            Some(Ok(Ok(bytes))) if !bytes.is_empty() => return First::Bytes(Box::new(bytes)),
            // Trailers without a body have no meaning.
            Some(Ok(Ok(_) | Err(_))) => {}
            Some(Err(_)) => return First::Unknown,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match std::mem::replace(&mut self.first, First::Nothing) {
            First::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(*bytes)))),
            First::Nothing | First::Unknown => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.first {
            First::Nothing => self.rest.is_end_stream(),
            First::Bytes(_) | First::Unknown => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.first {
            First::Nothing => self.rest.size_hint(),
            First::Bytes(_) | First::Unknown => SizeHint::default(),
        }
    }
}
