//! The answer to a request: here already, or on its way.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Response};

use super::activity::{Activity, InFlight};

/// What a handler gives back. Most answers need no waiting: they are made before the connection polls
/// for them, so that no future of the size of all that waiting needs is moved about for them.
pub enum Answering<B> {
    /// Here; gone once it was taken.
    Ready(Option<Response<B>>),
    /// On its way.
    Waiting(Pin<Box<dyn Future<Output = Response<B>> + Send>>),
}

impl<B> Answering<B> {
    /// An answer that is here.
    pub const fn ready(response: Response<B>) -> Self {
        Self::Ready(Some(response))
    }

    /// An answer that is on its way.
    pub fn waiting(future: impl Future<Output = Response<B>> + Send + 'static) -> Self {
        Self::Waiting(Box::pin(future))
    }
}

impl<B: Unpin> Future for Answering<B> {
    type Output = Response<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<B>> {
        match self.get_mut() {
            // Nobody asks again for what was taken.
            Self::Ready(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

/// An [`Answering`] as the HTTP library wants it, which counts as under way until it is here.
pub struct Guarded<B> {
    answering: Answering<B>,
    in_flight: Option<InFlight>,
}

impl<B> Guarded<B> {
    /// An answer to a request of the connection with this activity.
    pub fn new(mut answering: Answering<B>, activity: &Arc<Activity>) -> Self {
        let in_flight = match &mut answering {
            Answering::Ready(response) => {
                if let Some(response) = response {
                    say_farewell(response, activity);
                }
                None
            }
            Answering::Waiting(_) => Some(activity.answer_waits()),
        };
        Self { answering, in_flight }
    }
}

fn say_farewell<B>(response: &mut Response<B>, activity: &Activity) {
    if activity.is_ending() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl<B: Unpin> Future for Guarded<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(in_flight) = &this.in_flight else {
            return Pin::new(&mut this.answering).poll(cx).map(Ok);
        };
        let mut response = ready!(Pin::new(&mut this.answering).poll(cx));
        say_farewell(&mut response, in_flight.activity());
        this.in_flight = None;
        Poll::Ready(Ok(response))
    }
}
