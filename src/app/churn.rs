//! A simulated day of short lifetimes: nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;

use super::in_process::{InProcessGateway, get, one_tenant, opened};
use crate::domain::CallId;
use crate::upstream::{ExchangeDeadlines, ExchangeError, Opening, Transport};

/// Calls that are requested repeatedly.
const CALLS: u64 = 40;

/// Answers with short-lived calls; some requests fail, in every possible way.
struct Fickle(AtomicU64);

impl Transport for Fickle {
    fn open(&self, request: Request<Bytes>, _: ExchangeDeadlines) -> Opening<'_> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let id = request.uri().path().trim_start_matches("/v1/calls/").to_owned();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(number % 40)).await;
            let status = match number % 10 {
                7 => StatusCode::INTERNAL_SERVER_ERROR,
                8 => StatusCode::NOT_FOUND,
                9 => return Err(ExchangeError::Timeout),
                _ => StatusCode::OK,
            };
            let brief = "max-age=60, stale-while-revalidate=30, stale-if-error=120";
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(brief))]);
            let body = format!(
                "{{\"success\":{},\"data\":{{\"id\":\"{id}\",\"status\":\"completed\"}},\
                 \"error\":{{\"code\":\"NOT_FOUND\",\"message\":\"\"}},\"meta\":{{}}}}",
                status == StatusCode::OK
            );
            Ok(opened(status, headers, body))
        })
    }
}

// F40.
#[tokio::test(start_paused = true)]
async fn a_day_of_lifetimes_leaves_nothing_behind() {
    let upstream = Arc::new(Fickle(AtomicU64::new(0)));
    let configuration = one_tenant("[upstream.breaker]\nmin_requests = 1000000\n");
    let gateway = InProcessGateway::new(&configuration, Arc::clone(&upstream));
    let tenant = gateway.tenant("alpha");
    let id = |number: u64| format!("call_{number}");
    let start = crate::clock::now();
    let (day, mut asked) = (Duration::from_secs(24 * 3600), 0_u64);
    while crate::clock::now().duration_since(start) < day {
        for _ in 0..4 {
            let request = get(&format!("/v1/calls/{}", id(asked % CALLS))).body(Empty::<Bytes>::new());
            drop(gateway.answer(request.unwrap()).await);
            asked += 1;
        }
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    // Background work ends within its deadline.
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
    assert_eq!(
        tenant.upstream().outlook(crate::clock::now()).free_connections,
        gateway.runtime.settings.upstream.max_connections
    );
    let mut places = Vec::new();
    while let Some(place) = tenant.waits().fetches.take() {
        places.push(place);
    }
    assert_eq!(places.len(), gateway.runtime.settings.upstream.max_waiting, "every place is free");
}
