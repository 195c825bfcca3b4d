//! The parts of the gateway that the benches measure, as it runs them, without sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use tokio::runtime::Builder;

use super::in_process::{Immediate, InProcessGateway, TOKEN, get, one_tenant, opened, settings};
use crate::cache::{Admission, admit};
use crate::clock::{self, WallClock};
use crate::config::CacheSettings;
use crate::domain::CallId;
use crate::message::{ExchangeTimes, UpstreamResponse};
use crate::upstream::Transport;

/// The configuration of every bench: one tenant, with a rate limit that is shown and never reached.
fn configuration() -> String {
    one_tenant("rate_limit = { per_second = 1000000, burst = 1000000 }\n")
}

/// A gateway that has stored the calls of these requests.
#[expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
fn with_stored(call: fn(&str) -> String, requests: &[Request<Empty<Bytes>>]) -> InProcessGateway {
    let gateway = InProcessGateway::new(&configuration(), Arc::new(canned(call)));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for request in requests {
        let Ok(stored) = runtime.block_on(gateway.answer(request.clone()));
        assert_eq!(stored.status(), StatusCode::OK, "the call is fetched");
    }
    gateway
}

/// Repeated requests for one stored call.
pub struct Hits {
    gateway: InProcessGateway,
    request: Request<Empty<Bytes>>,
}

impl Hits {
    /// With the call stored that `call` returns for its path.
    ///
    /// # Panics
    ///
    /// If the call can't be stored.
    pub fn of(call: fn(&str) -> String) -> Self {
        let request = request("/v1/calls/call_1");
        Self { gateway: with_stored(call, std::slice::from_ref(&request)), request }
    }

    /// Requests it once more; returns the status, or 0 if the answer was not ready.
    pub fn ask(&mut self) -> u16 {
        let answer = self.gateway.answer(self.request.clone()).now_or_never();
        answer.map_or(0, |Ok(answer)| answer.status().as_u16())
    }
}

/// Stored calls, requested by several threads concurrently.
#[derive(Clone)]
pub struct Crowd {
    gateway: Arc<InProcessGateway>,
    requests: Vec<Request<Empty<Bytes>>>,
}

impl Crowd {
    /// With this many calls stored.
    ///
    /// # Panics
    ///
    /// If they can't be stored.
    pub fn of(call: fn(&str) -> String, calls: usize) -> Self {
        let requests = (0..calls).map(|n| request(&format!("/v1/calls/call_{n}"))).collect::<Vec<_>>();
        Self { gateway: Arc::new(with_stored(call, &requests)), requests }
    }

    /// Requests every call once, and returns how long the calling thread was busy.
    ///
    /// # Panics
    ///
    /// If an answer was not ready.
    pub fn ask(&self) -> Duration {
        let requests = self.requests.clone();
        let begun = busy();
        for request in requests {
            let answer = self.gateway.answer(request).now_or_never();
            assert!(answer.is_some_and(|Ok(answer)| answer.status() == StatusCode::OK));
        }
        busy().saturating_sub(begun)
    }
}

/// The processor time of the calling thread.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
fn request(path: &str) -> Request<Empty<Bytes>> {
    get(path).body(Empty::new()).expect("a request")
}

/// An upstream that answers with what `call` returns for the path.
fn canned(call: fn(&str) -> String) -> impl Transport {
    Immediate(move |request: &Request<Bytes>| opened(StatusCode::OK, json(), call(request.uri().path())))
}

fn json() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// The admission of one answer, repeated.
pub struct AdmissionBench {
    response: UpstreamResponse,
    id: CallId,
    policy: CacheSettings,
}

impl AdmissionBench {
    /// For an answer with this body to a lookup of this call.
    ///
    /// # Panics
    ///
    /// If `id` is not a call's.
    #[expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
    pub fn of(id: &str, body: String) -> Self {
        let now = clock::now();
        let times = ExchangeTimes { sent: now, received: now, received_at: WallClock::system().now() };
        Self {
            response: UpstreamResponse { status: StatusCode::OK, headers: json(), body: body.into(), times },
            id: CallId::parse(id.as_bytes()).expect("a call's ID"),
            policy: settings(&configuration()).cache,
        }
    }

    /// Whether the answer is to be stored. The entry is built and dropped.
    pub fn is_granted(&self) -> bool {
        matches!(admit(&self.response, &self.id, &self.policy, 500), Admission::Store(_))
    }
}

/// Lookups of a tenant by its token.
pub struct TokenLookups {
    gateway: InProcessGateway,
    /// That of a request with the tenant's token.
    authorization: Option<HeaderValue>,
}

impl TokenLookups {
    /// Among `tenants` tenants.
    pub fn among(tenants: usize) -> Self {
        let others: String = (0..tenants)
            .map(|n| {
                format!(
                    "[[tenants]]\nname = \"t{n}\"\ntokens = [{{ value = \"a-token-of-tenant-number-{n:012}\" }}]\n\
                     upstream_key = {{ value = \"key\" }}\n"
                )
            })
            .collect();
        let nothing = Arc::new(canned(|_| String::new()));
        let gateway = InProcessGateway::new(&(configuration() + &others), nothing);
        let authorization = HeaderValue::try_from(format!("Bearer {TOKEN}")).ok();
        Self { gateway, authorization }
    }

    /// Whether the token belongs to a tenant.
    pub fn are_known(&self) -> bool {
        self.gateway.runtime.snapshot.directory.recognise(self.authorization.as_ref()).is_ok()
    }
}
