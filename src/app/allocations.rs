//! The allocations of a hit, from the request's head to the end of its answer, and the memory of a lookup that waits.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};

use super::in_process::{Immediate, InProcessGateway, completed, get, one_tenant};
use crate::server::Peer;

fn request() -> Request<Empty<Bytes>> {
    let mut request = get("/v1/calls/call_1").body(Empty::new()).unwrap();
    // As in the HTTP library, which reuses one map for the requests of a connection.
    request.headers_mut().reserve(16);
    request
}

fn gateway() -> InProcessGateway {
    let configuration = one_tenant("rate_limit = { per_second = 1000000, burst = 1000000 }\n");
    InProcessGateway::new(&configuration, Arc::new(Immediate(completed)))
}

/// Everything that a hit needs exists before, or is shared: the capacity for its answer's header fields is the
/// request's, their text is sliced from a reused chunk, and the body is the entry's.
#[tokio::test]
async fn a_hit_allocates_nothing() {
    let gateway = gateway();
    assert_eq!(gateway.answer(request()).await.unwrap().status(), StatusCode::OK);
    let mut counts: Vec<u64> = (0..200)
        .map(|_| {
            let request = request();
            let mut answered = None;
            let counted = allocation_counter::measure(|| {
                answered = gateway.answer(request).now_or_never().map(|Ok(answer)| {
                    assert_eq!(answer.headers()["cache-status"].as_bytes()[..21], *b"credira-gateway; hit;");
                    end(answer.into_body().frame())
                });
            });
            assert_eq!(answered, Some(true), "the answer is at hand, and its body one frame");
            counted.count_total
        })
        .collect();
    counts.sort_unstable();
    // The store does housekeeping every so many reads, and a chunk is used up after so many answers.
    assert_eq!(counts[counts.len() / 2], 0, "{counts:?}");
    assert!(counts.iter().filter(|count| **count > 0).count() <= 20, "{counts:?}");
}

/// Whether a body's frame is ready.
fn end<F: Future<Output = Option<Result<T, E>>>, T, E>(frame: F) -> bool {
    matches!(frame.now_or_never(), Some(Some(Ok(_))))
}

/// Thousands may wait at once, each with a future for all that may become of it.
#[tokio::test]
async fn a_lookup_that_waits_takes_little_memory() {
    let gateway = gateway();
    let mut answers = Vec::with_capacity(2);
    let mut look_up = || {
        let request = request();
        allocation_counter::measure(|| answers.push(gateway.gateway.respond(Peer(None), request)))
    };
    // The first one also allocates what all of them share.
    look_up();
    let counted = look_up();
    assert!(counted.bytes_current < 8 << 10, "{counted:?}");
}
