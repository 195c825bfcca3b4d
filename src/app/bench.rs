//! What the benches measure: parts of the gateway as it runs them, without sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use tokio::runtime::Builder;

use super::indoors::{Indoors, settings};
use crate::cache::{Answer, Exchange, Ruling, admit};
use crate::clock::{self, WallClock};
use crate::config::Cache as Policy;
use crate::domain::CallId;
use crate::upstream::{Bounds, Connection, Exchanging, Received, Transport};

/// The token of the tenant that [`gateway`] knows.
const TOKEN: &str = "a-token-of-the-benches-0123456789abcdef";

/// What every bench is configured with: one tenant, with a rate limit that is told and never reached.
fn configuration() -> String {
    format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1\"\n\
         [[tenants]]\nname = \"bench\"\ntokens = [{{ value = \"{TOKEN}\" }}]\nupstream_key = {{ value = \"key\" }}\n\
         rate_limit = {{ per_second = 1000000, burst = 1000000 }}\n"
    )
}

/// A gateway that has stored what these ask for.
#[expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
fn with_stored(call: fn(&str) -> String, requests: &[Request<Empty<Bytes>>]) -> Indoors {
    let gateway = Indoors::new(&configuration(), Arc::new(Canned(call)), WallClock::system());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for request in requests {
        let stored = runtime.block_on(gateway.answer(request.clone())).status();
        assert_eq!(stored, StatusCode::OK, "the call is fetched");
    }
    gateway
}

/// The same stored call asked for again and again.
pub struct Hits {
    gateway: Indoors,
    request: Request<Empty<Bytes>>,
}

impl Hits {
    /// With the call stored that `call` makes of its path.
    ///
    /// # Panics
    ///
    /// If it can't be.
    pub fn of(call: fn(&str) -> String) -> Self {
        let request = request("/v1/calls/call_1");
        Self { gateway: with_stored(call, std::slice::from_ref(&request)), request }
    }

    /// Asks once more; the status, or 0 if the answer was not at hand.
    pub fn ask(&mut self) -> u16 {
        let answer = self.gateway.answer(self.request.clone()).now_or_never();
        answer.map_or(0, |answer| answer.status().as_u16())
    }
}

/// Stored calls, asked for by several threads at once.
#[derive(Clone)]
pub struct Crowd {
    gateway: Arc<Indoors>,
    requests: Vec<Request<Empty<Bytes>>>,
}

impl Crowd {
    /// With as many calls stored.
    ///
    /// # Panics
    ///
    /// If they can't be.
    pub fn of(call: fn(&str) -> String, calls: usize) -> Self {
        let requests = (0..calls).map(|n| request(&format!("/v1/calls/call_{n}"))).collect::<Vec<_>>();
        Self { gateway: Arc::new(with_stored(call, &requests)), requests }
    }

    /// Asks for every call once, and returns how long the calling thread was busy answering.
    ///
    /// # Panics
    ///
    /// If an answer was not at hand.
    pub fn ask(&self) -> Duration {
        let requests = self.requests.clone();
        let begun = busy();
        for request in requests {
            let answer = self.gateway.answer(request).now_or_never();
            assert!(answer.is_some_and(|answer| answer.status() == StatusCode::OK));
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
    let request = Request::get(path).header("host", "gateway");
    let request = request.header("authorization", format!("Bearer {TOKEN}")).body(Empty::new());
    request.expect("a request")
}

struct Canned(fn(&str) -> String);

impl Transport for Canned {
    fn exchange(&self, request: Request<()>, _: Bounds) -> Exchanging<'_> {
        let body = Bytes::from((self.0)(request.uri().path()));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let connection = Connection::default();
        Box::pin(async move { Ok(Received { status: StatusCode::OK, headers, body, connection }) })
    }
}

/// The admission of one answer, over and over.
pub struct Admission {
    answer: Answer,
    id: CallId,
    policy: Policy,
}

impl Admission {
    /// Of an answer with this body, to a lookup of this call.
    ///
    /// # Panics
    ///
    /// If `id` is no call's.
    #[expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
    pub fn of(id: &str, body: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let now = clock::now();
        let exchange = Exchange { sent: now, received: now, received_at: WallClock::system().now() };
        Self {
            answer: Answer { status: StatusCode::OK, headers, body: body.into(), exchange },
            id: CallId::parse(id.as_bytes()).expect("a call's ID"),
            policy: settings(&configuration()).cache,
        }
    }

    /// Whether the answer is to be stored. The entry is made and dropped.
    pub fn is_granted(&self) -> bool {
        matches!(admit(&self.answer, &self.id, &self.policy, 500), Ruling::Store(_))
    }
}

/// The way from a token to its tenant.
pub struct Tokens(Indoors);

impl Tokens {
    /// Among `tenants`.
    pub fn among(tenants: usize) -> Self {
        let others: String = (0..tenants)
            .map(|n| {
                format!(
                    "[[tenants]]\nname = \"t{n}\"\ntokens = [{{ value = \"a-token-of-tenant-number-{n:012}\" }}]\n\
                     upstream_key = {{ value = \"key\" }}\n"
                )
            })
            .collect();
        let nothing = Arc::new(Canned(|_| String::new()));
        Self(Indoors::new(&(configuration() + &others), nothing, WallClock::system()))
    }

    /// The `Authorization` of a request with the benches' token.
    pub fn authorization() -> Option<HeaderValue> {
        HeaderValue::try_from(format!("Bearer {TOKEN}")).ok()
    }

    /// Whether this `Authorization` names a tenant.
    pub fn know(&self, authorization: Option<&HeaderValue>) -> bool {
        self.0.world.snapshot.directory.recognise(authorization).is_ok()
    }
}
