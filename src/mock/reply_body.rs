//! The body of an answer of the stand-in: whole, or one that breaks off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes, and perhaps a break after some of them.
pub(super) struct ReplyBody {
    data: Bytes,
    /// Bytes that were announced and will not come.
    missing: u64,
}

impl ReplyBody {
    pub(super) const fn whole(data: Bytes) -> Self {
        Self { data, missing: 0 }
    }

    /// As [`whole`](Self::whole), but breaking off after so many bytes.
    pub(super) fn breaking(mut data: Bytes, after: Option<usize>) -> Self {
        let missing = after.map_or(0, |after| data.split_off(after.min(data.len())).len());
        Self { data, missing: missing as u64 }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = std::mem::take(&mut self.data);
        Poll::Ready(if !data.is_empty() {
            Some(Ok(Frame::data(data)))
        } else if self.missing > 0 {
            Some(Err(io::ErrorKind::ConnectionAborted.into()))
        } else {
            None
        })
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64 + self.missing)
    }
}
