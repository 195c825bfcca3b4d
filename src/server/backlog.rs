//! Answers that an HTTP/2 client has requested and not read. Flow control lets a client leave them unread, stream by
//! stream, while the connection continues: each must make progress within the idle timeout, or its stream is reset,
//! and the memory that they hold together is bounded.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::cut_off::CutOffGuard;
use super::outgoing_body::{BodyError, Extent, OutgoingBody};

/// Checks per idle timeout. An answer without progress for this many of them is abandoned.
pub(super) const CHECKS: u32 = 4;
/// The most memory that the answers of one connection may hold when another one begins.
const MAX_HELD_BYTES: usize = 16 << 20;
/// The size of a chunk for the HTTP library, which holds it until the client has space: one frame.
const PIECE_BYTES: usize = 16 << 10;

/// The answers of one connection that the client has not fully read.
#[derive(Debug, Default)]
pub(crate) struct SendBacklog {
    answers: Mutex<Vec<Arc<StreamState>>>,
    count: AtomicU32,
    bytes: AtomicUsize,
    /// Checks so far; wraps.
    checks: AtomicU32,
}

#[derive(Debug, Default)]
pub(super) struct StreamState {
    /// The task that answers on it. Aborting it resets the stream.
    task: OnceLock<AbortHandle>,
    /// The check after which the client last read, or [`WAITS_FOR_HANDLER`].
    moved: AtomicU32,
}

/// The client has read all there was.
const WAITS_FOR_HANDLER: u32 = u32::MAX;

impl StreamState {
    /// Notes the task that answers on the stream.
    pub(super) fn belongs_to(&self, task: AbortHandle) {
        // Set only once.
        let _ = self.task.set(task);
    }

    fn reset(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl SendBacklog {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Resets the streams of answers without progress for [`LOOKS`] checks. Called at each check, by one task.
    pub(crate) fn check(&self) {
        let now = self.checks.load(Relaxed).wrapping_add(1) % WAITS_FOR_HANDLER;
        self.checks.store(now, Relaxed);
        for answer in self.answers().iter() {
            let moved = answer.moved.load(Relaxed);
            if moved != WAITS_FOR_HANDLER && now.wrapping_sub(moved) > CHECKS {
                answer.reset();
            }
        }
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Arc<StreamState>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One answer's part of [`SendBacklog`].
struct BacklogShare {
    backlog: Arc<SendBacklog>,
    stream: Arc<StreamState>,
    bytes: usize,
}

impl BacklogShare {
    /// `None` if the client leaves too much unread already.
    fn take(backlog: &Arc<SendBacklog>, stream: &Arc<StreamState>, bytes: usize) -> Option<Self> {
        let before = backlog.bytes.fetch_add(bytes, Relaxed);
        let share = Self { backlog: Arc::clone(backlog), stream: Arc::clone(stream), bytes };
        backlog.count.fetch_add(1, Relaxed);
        backlog.answers().push(Arc::clone(stream));
        share.moves();
        (before == 0 || before.saturating_add(bytes) <= MAX_HELD_BYTES).then_some(share)
    }

    /// The client has read what it was given; this much is held now.
    fn holds(&mut self, bytes: usize) {
        let backlog = &self.backlog;
        match bytes.checked_sub(self.bytes) {
            Some(more) => backlog.bytes.fetch_add(more, Relaxed),
            None => backlog.bytes.fetch_sub(self.bytes - bytes, Relaxed),
        };
        self.bytes = bytes;
        self.moves();
    }

    fn moves(&self) {
        self.stream.moved.store(self.backlog.checks.load(Relaxed), Relaxed);
    }

    /// There was nothing that the client could have read.
    fn waits_for_handler(&self) {
        self.stream.moved.store(WAITS_FOR_HANDLER, Relaxed);
    }
}

impl Drop for BacklogShare {
    fn drop(&mut self) {
        let backlog = &self.backlog;
        backlog.bytes.fetch_sub(self.bytes, Relaxed);
        backlog.count.fetch_sub(1, Relaxed);
        backlog.answers().retain(|stream| !Arc::ptr_eq(stream, &self.stream));
    }
}

/// The client leaves too much unread: this answer's stream is reset.
#[derive(Debug)]
pub(super) struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client reads none of its answers")
    }
}

impl std::error::Error for TooMuch {}

/// A body over HTTP/2, sent chunk by chunk as the client reads it.
pub(super) struct ChunkedBody<B> {
    /// Kept until the end, because the answer's guards live in it. `None` if it exceeds the bound.
    body: Option<B>,
    /// Bytes taken from the body and not yet sent.
    rest: Bytes,
    /// `None` without bytes.
    share: Option<BacklogShare>,
    /// Resets the stream.
    _cut_off: Option<CutOffGuard>,
}

impl<B: OutgoingBody> ChunkedBody<B> {
    /// The body of an answer on this stream of the connection with this backlog.
    pub(super) fn of(mut body: B, backlog: &Arc<SendBacklog>, stream: &Arc<StreamState>) -> Self {
        let is_empty = body.is_end_stream();
        let share = if is_empty { None } else { BacklogShare::take(backlog, stream, held(&body)) };
        let cut_off = body.cut_off().map(|cut_off| {
            let stream = Arc::clone(stream);
            CutOffGuard::watch(cut_off, move || stream.reset())
        });
        // Freed at once if it exceeds the bound.
        let body = (is_empty || share.is_some()).then_some(body);
        Self { body, rest: Bytes::new(), share, _cut_off: cut_off }
    }
}

/// The bytes that a body keeps in memory.
fn held<B: OutgoingBody>(body: &B) -> usize {
    match body.extent() {
        Extent::Whole => usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX),
        Extent::Partial(bytes) => bytes,
    }
}

impl<B: OutgoingBody> Body for ChunkedBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, rest, share, .. } = &mut *self;
        let Some(body) = body else { return Poll::Ready(Some(Err(TooMuch.into()))) };
        if rest.is_empty() {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => *rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if let Some(share) = share {
                        share.holds(held(body));
                        share.waits_for_handler();
                    }
                    return Poll::Pending;
                }
            }
        }
        let piece = match rest.get(..PIECE_BYTES) {
            // A copy: a slice would keep the whole buffer alive.
            Some(piece) if rest.len() > PIECE_BYTES => {
                let piece = Bytes::copy_from_slice(piece);
                rest.advance(PIECE_BYTES);
                piece
            }
            Some(_) | None => std::mem::take(rest),
        };
        if let Some(share) = share {
            share.holds(held(body).saturating_add(rest.len()).saturating_add(piece.len()));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        body + SizeHint::with_exact(self.rest.len() as u64)
    }
}
