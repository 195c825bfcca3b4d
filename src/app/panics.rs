//! A panic in one request is one 500, and leaves nothing behind.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::sync::Semaphore;

use super::in_process::InProcessGateway;
use crate::clock::WallClock;
use crate::gateway::AnswerBody;
use crate::upstream::{Connection, ExchangeDeadlines, Opened, Opening, ResponseBody, Transport};

const TOKEN: &str = "token-of-alpha-0123456789abcdefghij";
const CONFIGURATION: &str = "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n\
    [[tenants]]\nname = \"alpha\"\ntokens = [{ value = \"token-of-alpha-0123456789abcdefghij\" }]\n\
    upstream_key = { value = \"key\" }\n";

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
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let body = r#"{"success":true,"data":{"id":"call_1","status":"completed"},"meta":{}}"#;
            let connection = Connection::default();
            Ok(Opened { status: StatusCode::OK, headers, body: ResponseBody::Whole(body.into()), connection })
        })
    }
}

fn lookup<B>(body: B) -> Request<B> {
    let request = Request::builder().uri("/v1/calls/call_1").header("host", "gateway");
    request.header("authorization", format!("Bearer {TOKEN}")).body(body).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the answer is the gateway's own and small")]
async fn read(response: Response<AnswerBody>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn in_process() -> (Arc<FirstPanics>, InProcessGateway) {
    let upstream = Arc::new(FirstPanics { asked: AtomicU32::new(0), may_go_on: Semaphore::new(0) });
    let gateway = InProcessGateway::new(
        CONFIGURATION,
        Arc::clone(&upstream) as Arc<dyn Transport>,
        WallClock::system(),
    );
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
    let (leader, follower, ()) = tokio::join!(gateway.answer(request()), gateway.answer(request()), fail);
    for answer in [leader, follower] {
        let (status, body) = read(answer).await;
        assert_eq!(status, 500);
        assert!(body.contains("\"INTERNAL\"") && !body.contains("secret body"), "{body}");
    }
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 1);
    let (status, _) = read(gateway.answer(request()).await).await;
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
    let (status, body) = read(gateway.answer(lookup(Cursed)).await).await;
    assert_eq!(status, 500);
    assert!(body.contains("\"INTERNAL\"") && !body.contains("secret body"), "{body}");
    upstream.asked.store(1, Ordering::SeqCst);
    assert_eq!(read(gateway.answer(lookup(Empty::<Bytes>::new())).await).await.0, 200);
}
