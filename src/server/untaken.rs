//! Answers that an HTTP/2 client has been given and not taken. Its flow control lets it leave them
//! lying, stream by stream, while the connection goes on: each must move within the idle timeout, and
//! together they must not grow large.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::activity::Activity;

/// Looks per idle timeout. What has not moved for so many of them is given up.
pub const LOOKS: u32 = 4;
/// What one connection may leave untaken.
const MAX_UNTAKEN_BYTES: usize = 16 << 20;
/// What is handed to the HTTP library at once, which keeps it until the client has room: one frame.
const PIECE_BYTES: usize = 16 << 10;

/// The answers of one connection that are not taken to their end.
#[derive(Debug, Default)]
pub struct Untaken {
    bytes: AtomicUsize,
    /// Looks so far; wraps.
    looks: AtomicU32,
    /// How many answers moved last after a look, by the look's number.
    moved: [AtomicU32; LOOKS as usize + 1],
}

impl Untaken {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.bytes.load(Relaxed) > 0
    }

    /// Says whether one has not moved for [`LOOKS`] looks. To be called at each look, by one task.
    pub fn look(&self) -> bool {
        let now = self.looks.load(Relaxed).wrapping_add(1);
        // The oldest place is the next to be used.
        let stalled = self.place(now).is_some_and(|moved| moved.load(Relaxed) > 0);
        self.looks.store(now, Relaxed);
        stalled
    }

    fn place(&self, look: u32) -> Option<&AtomicU32> {
        self.moved.get(look as usize % self.moved.len())
    }

    fn enter(&self) -> u32 {
        let now = self.looks.load(Relaxed);
        if let Some(moved) = self.place(now) {
            moved.fetch_add(1, Relaxed);
        }
        now
    }

    fn leave(&self, look: u32) {
        if let Some(moved) = self.place(look) {
            moved.fetch_sub(1, Relaxed);
        }
    }
}

/// One answer's part of [`Untaken`].
struct Share {
    activity: Arc<Activity>,
    bytes: usize,
    /// The look after which it moved last.
    look: u32,
}

impl Share {
    /// `None` where the connection has left too much already.
    fn take(activity: &Arc<Activity>, bytes: usize) -> Option<Self> {
        let untaken = activity.untaken();
        let before = untaken.bytes.fetch_add(bytes, Relaxed);
        let share = Self { activity: Arc::clone(activity), bytes, look: untaken.enter() };
        (before.saturating_add(bytes) <= MAX_UNTAKEN_BYTES || before == 0).then_some(share)
    }

    fn move_on(&mut self, bytes: usize) {
        let untaken = self.activity.untaken();
        let gone = bytes.min(self.bytes);
        self.bytes -= gone;
        untaken.bytes.fetch_sub(gone, Relaxed);
        untaken.leave(self.look);
        self.look = untaken.enter();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let untaken = self.activity.untaken();
        untaken.bytes.fetch_sub(self.bytes, Relaxed);
        untaken.leave(self.look);
    }
}

/// The client leaves too much untaken: this answer's stream is reset.
#[derive(Debug)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client takes none of its answers")
    }
}

impl std::error::Error for TooMuch {}

/// A body, handed out piece by piece as the client takes it.
pub struct Pieces<B> {
    /// Kept to its end, since it ends what belongs to the answer.
    body: Option<B>,
    rest: Bytes,
    /// Whether pieces are copies: a piece of a large body would keep all of it.
    copies: bool,
    share: Option<Share>,
}

impl<B: Body<Data = Bytes, Error = Infallible>> Pieces<B> {
    /// The body of an answer on the connection with this activity.
    pub fn of(body: B, activity: &Arc<Activity>) -> Self {
        let bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let share = if bytes == 0 { None } else { Share::take(activity, bytes) };
        // What is too much is let go at once.
        let body = (bytes == 0 || share.is_some()).then_some(body);
        Self { body, rest: Bytes::new(), copies: bytes > PIECE_BYTES, share }
    }
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = TooMuch;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooMuch>>> {
        let Self { body, rest, copies, share } = &mut *self;
        let Some(body) = body else { return Poll::Ready(Some(Err(TooMuch))) };
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => *rest = frame.into_data().unwrap_or_default(),
                None => return Poll::Ready(None),
            }
        }
        let piece = if *copies {
            let length = rest.len().min(PIECE_BYTES);
            let piece = rest.get(..length).map(Bytes::copy_from_slice).unwrap_or_default();
            rest.advance(length);
            piece
        } else {
            std::mem::take(rest)
        };
        if let Some(share) = share {
            share.move_on(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref().map_or(0, |body| body.size_hint().lower());
        SizeHint::with_exact(body.saturating_add(self.rest.len() as u64))
    }
}
