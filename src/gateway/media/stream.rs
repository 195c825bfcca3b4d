//! A recording or transcription on its way through: nothing of it is kept, and when it breaks off, so does the answer.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::clock::{self, Instant};
use crate::gateway::cutoff::Cutoff;
use crate::server::CutOff;
use crate::telemetry::{Closing, StreamEnd, StreamTally};
use crate::tenant::SlotPermit;
use crate::upstream::{MAX_HELD_BYTES, MediaBody, Truncated};

/// What a stream is made of.
pub(super) struct StreamParts {
    pub(super) body: MediaBody,
    /// As the head says.
    pub(super) length: Option<u64>,
    pub(super) max_bytes: u64,
    pub(super) idle_timeout: Duration,
    /// The end of everything, the client's pauses included.
    pub(super) end: Instant,
    pub(super) cutoff: Cutoff,
    pub(super) tally: StreamTally,
    #[expect(dead_code, reason = "held for its end alone")]
    pub(super) slot: SlotPermit,
}

/// A body that flows. To drop it ends the upstream's request.
pub(in crate::gateway) struct MediaStream {
    parts: StreamParts,
    /// Bytes that may still come.
    allowance: u64,
    /// When the upstream has paused for too long, while it is waited for.
    idle: Pin<Box<Sleep>>,
    waits: bool,
    /// Why it was cut off, if it was.
    cut: Arc<OnceLock<StreamEnd>>,
    has_ended: bool,
    /// It has broken off, which the client has not been shown: what it was given before leaves first.
    broken: Option<StreamBroken>,
    /// Of the request, told in the end how much was sent.
    closing: Option<Closing>,
}

/// Why a body ends before its end: the client notices, and learns nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamBroken(StreamEnd);

impl fmt::Display for StreamBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream ended early: {}", self.0.label())
    }
}

impl Error for StreamBroken {}

impl MediaStream {
    pub(super) fn new(parts: StreamParts) -> Self {
        let idle = Box::pin(tokio::time::sleep_until(parts.end.for_timer()));
        let allowance = parts.length.unwrap_or(parts.max_bytes);
        let mut stream = Self {
            parts,
            allowance,
            idle,
            waits: false,
            cut: Arc::default(),
            has_ended: false,
            broken: None,
            closing: None,
        };
        stream.note_whole();
        stream
    }

    pub(in crate::gateway) const fn length(&self) -> Option<u64> {
        self.parts.length
    }

    /// The record of the request whose answer this is.
    pub(in crate::gateway) fn belongs_to(&mut self, closing: Option<Closing>) {
        self.closing = closing;
    }

    /// All that was announced is here: the client may never ask for what comes after.
    fn note_whole(&mut self) {
        if self.parts.length.is_some() && self.allowance == 0 {
            self.has_ended = true;
            self.parts.tally.end(StreamEnd::Whole);
        }
    }

    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, StreamBroken> {
        let bytes = data.len() as u64;
        let Some(left) = self.allowance.checked_sub(bytes) else {
            // The announced length has been checked already.
            let is_announced = self.parts.length.is_some();
            return Err(self.breaks(if is_announced { StreamEnd::Upstream } else { StreamEnd::TooLarge }));
        };
        self.allowance = left;
        self.parts.tally.add(bytes);
        self.note_whole();
        Ok(Frame::data(data))
    }

    fn breaks(&mut self, end: StreamEnd) -> StreamBroken {
        self.parts.tally.end(end);
        StreamBroken(end)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<StreamBroken> {
        if !self.waits {
            self.waits = true;
            let limit = self.parts.end.min(clock::now() + self.parts.idle_timeout);
            self.idle.as_mut().reset(limit.for_timer());
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(self.breaks(StreamEnd::Timeout))
    }

    /// Ends when the whole has taken too long, or the process ends, and notes which.
    pub(in crate::gateway) fn cut_off(&self) -> CutOff {
        let (cut, cutoff, end) = (Arc::clone(&self.cut), self.parts.cutoff.clone(), self.parts.end);
        Box::pin(async move {
            let why = tokio::select! {
                () = tokio::time::sleep_until(end.for_timer()) => StreamEnd::Timeout,
                () = cutoff.reached() => StreamEnd::Drain,
            };
            cut.get_or_init(|| why);
        })
    }
}

impl Body for MediaStream {
    type Data = Bytes;
    type Error = StreamBroken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamBroken>>> {
        let this = self.get_mut();
        if let Some(broken) = this.broken {
            return Poll::Ready(Some(Err(broken)));
        }
        if this.has_ended {
            return Poll::Ready(None);
        }
        match ready!(this.poll_next(cx)) {
            Some(Err(broken)) => {
                // The HTTP library drops what it has not written when a body fails. It writes when it has to wait.
                this.broken = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            next => Poll::Ready(next),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.parts.length.map_or_else(SizeHint::default, |_| SizeHint::with_exact(self.allowance))
    }
}

impl MediaStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamBroken>>> {
        if let Some(why) = self.cut.get().copied() {
            return Poll::Ready(Some(Err(self.breaks(why))));
        }
        match self.parts.body.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.waits = false;
                Poll::Ready(Some(self.take(data)))
            }
            Poll::Ready(Some(Err(Truncated))) => Poll::Ready(Some(Err(self.breaks(StreamEnd::Upstream)))),
            // Less than a head announced that its framing did not hold the upstream to.
            Poll::Ready(None) if self.parts.length.is_some() => {
                Poll::Ready(Some(Err(self.breaks(StreamEnd::Upstream))))
            }
            Poll::Ready(None) => {
                self.has_ended = true;
                self.parts.tally.end(StreamEnd::Whole);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_idle(cx).map(|broken| Some(Err(broken))),
        }
    }

    /// What it keeps in memory at most.
    pub(in crate::gateway) const HELD_BYTES: usize = MAX_HELD_BYTES;
}

impl Drop for MediaStream {
    fn drop(&mut self) {
        if let Some(why) = self.cut.get() {
            self.parts.tally.end(*why);
        }
        if let Some(closing) = &mut self.closing {
            closing.note_stream(self.parts.tally.bytes(), self.parts.tally.outcome());
        }
    }
}
