//! A panic in one request is one 500, and leaves nothing behind.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tokio::sync::Semaphore;

use super::in_process::{InProcessGateway, WholeAnswer, get, one_tenant, opened};
use crate::upstream::{ExchangeDeadlines, Opening, Transport};

/// Panics on the first request, once permitted, and answers every later one.
struct FirstPanics {
    asked: AtomicU32,
    may_go_on: Semaphore,
}

impl Transport for FirstPanics {
    fn open(&self, _: Request<Bytes>, _: ExchangeDeadlines) -> Opening<'_> {
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if first {
                let _ = self.may_go_on.acquire().await;
                panic!("secret body");
            }
            let body = r#"{"success":true,"data":{"id":"call_1","status":"completed"},"meta":{}}"#;
            Ok(opened(StatusCode::OK, HeaderMap::new(), body))
        })
    }
}

fn lookup<B>(body: B) -> Request<B> {
    get("/v1/calls/call_1").body(body).unwrap()
}

fn assert_panicked(answer: &WholeAnswer) {
    assert_eq!(answer.status, 500);
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains("\"INTERNAL\"") && !body.contains("secret body"), "{body}");
}

fn in_process() -> (Arc<FirstPanics>, InProcessGateway) {
    let upstream = Arc::new(FirstPanics { asked: AtomicU32::new(0), may_go_on: Semaphore::new(0) });
    let gateway = InProcessGateway::new(&one_tenant(""), Arc::clone(&upstream));
    (upstream, gateway)
}

/// T65, F18, and the lock state "leader lost".
#[tokio::test]
async fn a_panic_in_a_fetch_fails_its_waiters_and_frees_the_call() {
    let (upstream, gateway) = in_process();
    let request = || lookup(Empty::<Bytes>::new());
    let fail = async {
        // Both have been polled before the fetch's task runs.
        upstream.may_go_on.add_permits(1);
    };
    let (leader, follower, ()) = tokio::join!(gateway.ask(request()), gateway.ask(request()), fail);
    for answer in [leader, follower] {
        assert_panicked(&answer);
    }
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 1);
    let status = gateway.ask(request()).await.status;
    assert_eq!((status, upstream.asked.load(Ordering::SeqCst)), (200, 2), "the next request fetches anew");
}

/// A body that panics when read.
struct Cursed;

impl Body for Cursed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("secret body")
    }

    fn is_end_stream(&self) -> bool {
        panic!("secret body")
    }
}

#[tokio::test]
async fn a_panic_in_the_handler_is_one_500() {
    let (upstream, gateway) = in_process();
    assert_panicked(&gateway.ask(lookup(Cursed)).await);
    upstream.asked.store(1, Ordering::SeqCst);
    assert_eq!(gateway.ask(lookup(Empty::<Bytes>::new())).await.status, 200);
}
