//! The body of an answer, which holds the request's record until its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::media::stream::{MediaStream, StreamBroken};
use crate::server::{CutOff, Extent, OutgoingBody};
use crate::telemetry::Closing;

/// A complete body, or a stream. The record is closed when the body has been passed to the connection, or dropped because the
/// client disconnected.
pub(crate) struct AnswerBody {
    data: Bytes,
    closing: Option<Closing>,
    /// In place of the data; it has the record.
    stream: Option<Box<MediaStream>>,
}

impl AnswerBody {
    /// A body of these bytes, for this request.
    pub(crate) const fn new(data: Bytes, closing: Option<Closing>) -> Self {
        Self { data, closing, stream: None }
    }

    /// A body that flows, for this request.
    pub(super) fn flowing(mut stream: Box<MediaStream>, closing: Option<Closing>) -> Self {
        stream.belongs_to(closing);
        Self { data: Bytes::new(), closing: None, stream: Some(stream) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = StreamBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamBroken>>> {
        if let Some(stream) = &mut self.stream {
            return Pin::new(&mut **stream).poll_frame(cx);
        }
        let data = std::mem::take(&mut self.data);
        self.closing = None;
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().map_or(self.data.is_empty(), |stream| stream.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(stream) => stream.size_hint(),
            None => SizeHint::with_exact(self.data.len() as u64),
        }
    }
}

impl OutgoingBody for AnswerBody {
    fn extent(&self) -> Extent {
        match self.stream {
            Some(_) => Extent::Partial(MediaStream::HELD_BYTES),
            None => Extent::Whole,
        }
    }

    fn cut_off(&mut self) -> Option<CutOff> {
        self.stream.as_ref().map(|stream| stream.cut_off())
    }
}
