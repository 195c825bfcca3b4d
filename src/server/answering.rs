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
    Waiting(Waiting<B>),
}

/// An answer on its way, which its connection counts as under way until it is here.
pub struct Waiting<B> {
    answer: Pin<Box<dyn Future<Output = Response<B>> + Send>>,
    in_flight: Option<InFlight>,
}

impl<B> Answering<B> {
    /// An answer that is here.
    pub const fn ready(response: Response<B>) -> Self {
        Self::Ready(Some(response))
    }

    /// An answer that is on its way.
    pub fn waiting(future: impl Future<Output = Response<B>> + Send + 'static) -> Self {
        Self::Waiting(Waiting { answer: Box::pin(future), in_flight: None })
    }

    /// Makes it the answer to a request of the connection with this activity.
    pub fn belong_to(&mut self, activity: &Arc<Activity>) {
        match self {
            Self::Ready(Some(response)) => say_farewell(response, activity),
            Self::Ready(None) => {}
            Self::Waiting(waiting) => waiting.in_flight = Some(activity.answer_waits()),
        }
    }
}

fn say_farewell<B>(response: &mut Response<B>, activity: &Activity) {
    if activity.is_ending() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// It never fails; the HTTP library wants a result.
impl<B: Unpin> Future for Answering<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            // Nobody asks again for what was taken.
            Self::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            Self::Waiting(waiting) => {
                let mut response = ready!(waiting.answer.as_mut().poll(cx));
                if let Some(in_flight) = waiting.in_flight.take() {
                    say_farewell(&mut response, in_flight.activity());
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}
