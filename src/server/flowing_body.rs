//! The body of an HTTP/1.1 answer, which keeps its connection in use while more of it is pending.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::activity::{Activity, PendingAnswer};
use super::cut_off::CutOffGuard;
use super::outgoing_body::{Extent, OutgoingBody};

/// A body over HTTP/1.1. While more of a stream is pending, the connection is not idle.
pub(super) struct FlowingBody<B> {
    body: B,
    wait: BodyWait,
    /// Closes the connection, which has nothing but this answer to give.
    _cut_off: Option<CutOffGuard>,
}

enum BodyWait {
    /// The body is complete.
    Never,
    NotYet(Arc<Activity>),
    /// From the first wait to the end of the body.
    Pending(#[expect(dead_code, reason = "it counts while it is held")] PendingAnswer),
}

impl<B: OutgoingBody> FlowingBody<B> {
    /// The body of an answer on the connection with this activity.
    pub(super) fn of(mut body: B, activity: &Arc<Activity>) -> Self {
        let wait = match body.extent() {
            Extent::Whole => BodyWait::Never,
            Extent::Partial(_) => BodyWait::NotYet(Arc::clone(activity)),
        };
        let cut_off = body.cut_off().map(|cut_off| {
            let activity = Arc::clone(activity);
            CutOffGuard::watch(cut_off, move || activity.close())
        });
        Self { body, wait, _cut_off: cut_off }
    }
}

impl<B: OutgoingBody> Body for FlowingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending()
            && let BodyWait::NotYet(activity) = &self.wait
        {
            self.wait = BodyWait::Pending(activity.answer_waits());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
