//! The answer to a request: complete, or still to come.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Response};

use super::activity::{Activity, PendingAnswer, SlotKind};
use super::flowing_body::FlowingBody;
use super::outgoing_body::OutgoingBody;

/// A client, as far as the handler knows it. A connection with an unknown client is closed sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The request was refused before authentication.
    Unknown,
    /// The client has authenticated, or the request needs no authentication.
    Known,
    /// As [`Self::Known`], with a request that slots are reserved for.
    Privileged,
}

/// A handler's return value. Most answers are complete before the connection polls for them, and so do not move a
/// future of the size that waiting needs.
pub(crate) struct Answering<B> {
    caller: Caller,
    state: AnswerState<B>,
}

enum AnswerState<B> {
    /// `None` once taken.
    Ready(Option<Response<B>>),
    Waiting(Waiting<B>),
    /// The connection is closed instead.
    Never,
}

/// An answer to come. The connection counts it as pending until then.
struct Waiting<B> {
    answer: Pin<Box<dyn Future<Output = Response<B>> + Send>>,
    pending: Option<PendingAnswer>,
}

impl<B> Answering<B> {
    /// A complete answer.
    pub(crate) const fn ready(caller: Caller, response: Response<B>) -> Self {
        Self { caller, state: AnswerState::Ready(Some(response)) }
    }

    /// An answer to come.
    pub(crate) fn waiting(
        caller: Caller,
        future: impl Future<Output = Response<B>> + Send + 'static,
    ) -> Self {
        let waiting = Waiting { answer: Box::pin(future), pending: None };
        Self { caller, state: AnswerState::Waiting(waiting) }
    }

    /// Makes it the answer to a request of the connection with this activity.
    pub(super) fn belong_to(&mut self, activity: &Arc<Activity>) {
        self.admit(activity);
        self.count_in(activity);
    }

    /// Counts it as pending until complete.
    pub(super) fn count_in(&mut self, activity: &Arc<Activity>) {
        match &mut self.state {
            AnswerState::Ready(Some(response)) => announce_close(response, activity),
            AnswerState::Ready(None) | AnswerState::Never => {}
            AnswerState::Waiting(waiting) => waiting.pending = Some(activity.answer_waits()),
        }
    }

    /// Notes the caller, and checks whether the connection's slot is meant for it.
    pub(super) fn admit(&mut self, activity: &Activity) {
        match (activity.slot(), self.caller) {
            (SlotKind::Reserved, Caller::Privileged) | (SlotKind::Ordinary, Caller::Unknown) => {}
            (SlotKind::Reserved, Caller::Unknown | Caller::Known) => {
                self.state = AnswerState::Never;
                activity.close();
            }
            (SlotKind::Ordinary, Caller::Known | Caller::Privileged) => activity.authenticate(),
        }
    }
}

fn announce_close<B>(response: &mut Response<B>, activity: &Activity) {
    if activity.announces_close() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Never fails; the HTTP library requires a result.
impl<B: Unpin> Future for Answering<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().state {
            // The library doesn't poll again after completion.
            AnswerState::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            AnswerState::Waiting(waiting) => {
                let mut response = ready!(waiting.answer.as_mut().poll(cx));
                if let Some(pending) = waiting.pending.take() {
                    announce_close(&mut response, pending.activity());
                }
                Poll::Ready(Ok(response))
            }
            AnswerState::Never => Poll::Pending,
        }
    }
}

/// As [`Answering`], with a body that keeps the connection from counting as idle.
pub(super) struct FlowingAnswer<B> {
    answering: Answering<B>,
    activity: Arc<Activity>,
}

impl<B: OutgoingBody> Answering<B> {
    /// The answer over HTTP/1.1, on the connection with this activity.
    pub(super) fn over_http1(self, activity: &Arc<Activity>) -> FlowingAnswer<B> {
        FlowingAnswer { answering: self, activity: Arc::clone(activity) }
    }
}

impl<B: OutgoingBody> Future for FlowingAnswer<B> {
    type Output = Result<Response<FlowingBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(Pin::new(&mut self.answering).poll(cx));
        Poll::Ready(Ok(response.map(|body| FlowingBody::of(body, &self.activity))))
    }
}
