//! The body of an answer, which carries the request's record to its end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::telemetry::Closing;

/// A whole body. The record is closed when the body was handed over to the connection, or is dropped
/// with it when the client left.
pub struct AnswerBody {
    data: Bytes,
    closing: Option<Closing>,
}

impl AnswerBody {
    /// A body of these bytes, for this request.
    pub const fn new(data: Bytes, closing: Option<Closing>) -> Self {
        Self { data, closing }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = std::mem::take(&mut self.data);
        self.closing = None;
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}
