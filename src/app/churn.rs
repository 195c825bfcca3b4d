//! A day of lifetimes on a clock that is moved by hand: whatever ends leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;

use super::indoors::Indoors;
use crate::clock::WallClock;
use crate::domain::{CallId, TenantName};
use crate::upstream::{Bounds, Broken, Connection, Exchanging, Received, Transport};

const TOKEN: &str = "token-of-alpha-0123456789abcdefghij";
const CONFIGURATION: &str = "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n\
    [upstream.breaker]\nmin_requests = 1000000\n\
    [[tenants]]\nname = \"alpha\"\ntokens = [{ value = \"token-of-alpha-0123456789abcdefghij\" }]\n\
    upstream_key = { value = \"key\" }\n";

/// Calls that are asked for, over and over.
const CALLS: u64 = 40;

/// Answers with calls of brief lifetimes; some requests fail, in each way.
struct Fickle(AtomicU64);

impl Transport for Fickle {
    fn exchange(&self, request: Request<()>, _: Bounds) -> Exchanging<'_> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let id = request.uri().path().trim_start_matches("/v1/calls/").to_owned();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(number % 40)).await;
            let status = match number % 10 {
                7 => StatusCode::INTERNAL_SERVER_ERROR,
                8 => StatusCode::NOT_FOUND,
                9 => return Err(Broken::Timeout),
                _ => StatusCode::OK,
            };
            let brief = "max-age=60, stale-while-revalidate=30, stale-if-error=120";
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(brief))]);
            let body = format!(
                "{{\"success\":{},\"data\":{{\"id\":\"{id}\",\"status\":\"completed\"}},\
                 \"error\":{{\"code\":\"NOT_FOUND\",\"message\":\"\"}},\"meta\":{{}}}}",
                status == StatusCode::OK
            );
            let connection = Connection::default();
            Ok(Received { status, headers, body: Bytes::from(body), connection })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn f40_a_day_of_lifetimes_leaves_nothing_behind() {
    let upstream = Arc::new(Fickle(AtomicU64::new(0)));
    let gateway =
        Indoors::new(CONFIGURATION, Arc::clone(&upstream) as Arc<dyn Transport>, WallClock::system());
    let snapshot = Arc::clone(&gateway.world.snapshot);
    let tenant = snapshot.directory.named(&TenantName::parse("alpha").unwrap()).unwrap();
    let id = |number: u64| format!("call_{number}");
    let start = crate::clock::now();
    let (day, mut asked) = (Duration::from_secs(24 * 3600), 0_u64);
    while crate::clock::now().duration_since(start) < day {
        for _ in 0..4 {
            let uri = format!("/v1/calls/{}", id(asked % CALLS));
            let request = Request::builder().uri(uri).header("host", "gateway");
            let request = request.header("authorization", format!("Bearer {TOKEN}"));
            drop(gateway.answer(request.body(Empty::<Bytes>::new()).unwrap()).await);
            asked += 1;
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    // What was begun in the background ends within its deadline.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(upstream.0.load(Ordering::SeqCst) > 10_000, "there was something to churn");
    assert_eq!(gateway.gateway.tasks.len(), 0, "no task is left");
    let generation = tenant.cache().current();
    for number in 0..CALLS {
        let id = CallId::parse(id(number).as_bytes()).unwrap();
        assert!(!generation.is_fetching(&id), "no fetch is left of {number}");
    }
    let (entries, _) = tenant.cache().size();
    assert!(entries <= CALLS, "{entries}");
    assert_eq!(gateway.gateway.telemetry.metrics.requests_in_flight().get(), 0);
    assert_eq!(tenant.metrics().upstream_in_flight.get(), 0);
    assert_eq!(tenant.upstream().outlook().free_connections, gateway.world.settings.upstream.max_connections);
    let mut places = Vec::new();
    while let Some(place) = tenant.waits().fetches.take() {
        places.push(place);
    }
    assert_eq!(places.len(), gateway.world.settings.upstream.max_waiting, "every place is free");
}
