//! Endpoints that an operator has configured to be passed through: the request is validated in full, rebuilt, and
//! sent once.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::sync::oneshot;

use super::fields::Fields;
use super::framing::has_body;
use super::lookup_context::{Deadlines, as_one_of_few, await_result};
use super::plane::Gateway;
use super::respond::{Found, LimitsToShow};
use crate::cache::{ListAdmission, admit_passed};
use crate::clock;
use crate::domain::{
    Alphabet, CacheOutcome, Effort, ForwardOutcome, Framing, NotStored, Part, PassthroughEndpoint, ROUTES,
    Refusal, RouteLabel,
};
use crate::message::{ClientResponse, UpstreamResponse, Validators};
use crate::telemetry::Record;
use crate::tenant::{ConcurrencyLimit, Tenant};
use crate::upstream::{Ask, Content, Fetched, IDEMPOTENCY_KEY, PassedThrough, ResponseReading, Urgency};

/// The characters of an `Idempotency-Key` that is passed on.
static KEY: Alphabet = Alphabet::alphanumeric_and(b"_-");
const MAX_KEY: usize = 128;

/// How a request matches the endpoints.
pub(super) enum EndpointMatch {
    /// It matches one of the tenant's.
    Endpoint(Arc<PassthroughEndpoint>),
    /// The path matches an endpoint or route, but not with this method; these are allowed, as `Allow` lists them.
    Methods(String),
    /// No endpoint has this path.
    Nothing,
}

/// Finds the endpoint of a request that matches none of the gateway's own routes. `routed` is the route that has the
/// path but not the method, if there is one.
pub(super) fn find(tenant: &Tenant, method: &Method, path: &str, routed: RouteLabel) -> EndpointMatch {
    let matching = || tenant.passthroughs().iter().filter(|endpoint| endpoint.path().matches(path));
    if let Some(endpoint) = matching().find(|endpoint| endpoint.method == *method) {
        return EndpointMatch::Endpoint(Arc::clone(endpoint));
    }
    let own = ROUTES.iter().filter(|route| route.label == routed).map(|route| route.allow);
    let allowed: Vec<&str> = own.chain(matching().map(|endpoint| endpoint.method.as_str())).collect();
    if matching().next().is_none() {
        EndpointMatch::Nothing
    } else {
        EndpointMatch::Methods(allowed.join(", "))
    }
}

/// A passed-through request that has not been answered yet.
pub(super) struct PendingPassthrough {
    tenant: Arc<Tenant>,
    deadlines: Deadlines,
    in_flight: ConcurrencyLimit,
    pub(super) limits: LimitsToShow,
    path: String,
    query: Option<String>,
    passed: PassedThrough,
    max_body_bytes: usize,
    /// Set if the request has a body.
    pub(super) body: Option<ReadBody>,
    length: usize,
}

pub(super) type ReadBody = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// Reads a body of at most `most` bytes.
pub(super) fn read_body<B>(body: B, most: usize) -> ReadBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let read = async move { Limited::new(body, most).collect().await.ok().map(|body| body.to_bytes()) };
    Box::pin(read)
}

/// The context of a passed-through request.
pub(super) struct PassthroughContext {
    pub(super) tenant: Arc<Tenant>,
    pub(super) deadlines: Deadlines,
    pub(super) in_flight: ConcurrencyLimit,
    pub(super) limits: LimitsToShow,
}

/// The parts of a request that are passed on, validated except for the body's bytes.
pub(super) struct CheckedRequest {
    passed: PassedThrough,
    max_body_bytes: usize,
    length: usize,
}

impl CheckedRequest {
    /// Validates a request to an endpoint.
    pub(super) fn of<B: Body>(
        request: &Request<B>,
        endpoint: &PassthroughEndpoint,
        fields: &Fields<'_>,
    ) -> Result<Self, Refusal> {
        let headers = request.headers();
        endpoint.check_query(request.uri().query()).map_err(|_| Refusal::Query)?;
        let length = match has_body(request, fields) {
            true => body_length(headers, endpoint.max_body_bytes)?,
            false => 0,
        };
        let passed = PassedThrough {
            method: request.method().clone(),
            body: Bytes::new(),
            content: content(headers, length),
            idempotency_key: idempotency_key(headers),
        };
        Ok(Self { passed, max_body_bytes: endpoint.max_body_bytes, length })
    }
}

impl PendingPassthrough {
    pub(super) fn new(uri: &Uri, checked: CheckedRequest, passing: PassthroughContext) -> Self {
        let CheckedRequest { passed, max_body_bytes, length } = checked;
        let PassthroughContext { tenant, deadlines, in_flight, limits } = passing;
        let (path, query) = (uri.path().to_owned(), uri.query().map(str::to_owned));
        Self { tenant, deadlines, in_flight, limits, path, query, passed, max_body_bytes, body: None, length }
    }

    /// Whether the body must be read.
    pub(super) const fn max_body_bytes(&self) -> Option<usize> {
        if self.length > 0 { Some(self.max_body_bytes) } else { None }
    }

    pub(super) fn into_parts(self) -> (LimitsToShow, Arc<Tenant>) {
        (self.limits, self.tenant)
    }

    /// Reads the body, then sends the request, within the limits on waiting requests.
    pub(super) async fn answer(&mut self, gateway: &Gateway, record: &mut Record) -> Result<Found, Refusal> {
        record.cache_outcome = Some(CacheOutcome::Unstored { status: None, unusable: None, part: Part::Led });
        let (in_flight, tenant) = (self.in_flight.clone(), Arc::clone(&self.tenant));
        as_one_of_few(in_flight, &tenant, pin!(self.send(gateway, record))).await
    }

    async fn send(&mut self, gateway: &Gateway, record: &mut Record) -> Result<Found, Refusal> {
        if let Some(body) = self.body.take() {
            let read = clock::until(self.deadlines.fetch, body).await.ok().flatten();
            let whole = read.filter(|body| body.len() == self.length);
            self.passed.body = whole.ok_or(Refusal::Framing(Framing::BodyBound))?;
        }
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        };
        let task = PassTask {
            tenant: Arc::clone(&self.tenant),
            path: self.path.clone(),
            deadlines: self.deadlines,
            ask: Ask {
                url: self.tenant.upstream().settings().base_url.endpoint(&target),
                validators: Validators::default(),
                request_id: record.id.clone(),
                trace: record.trace.clone(),
                passed: Some(Box::new(self.passed.clone())),
            },
        };
        let (sender, passed) = oneshot::channel();
        // A separate task: a request that was sent takes effect, and is accounted for, even if the client
        // disconnects.
        gateway.fetches.spawn(async move { drop(sender.send(task.run().await)) });
        let passed = await_result(passed, self.deadlines, &gateway.cutoff).await?;
        let passed = passed.unwrap_or_else(PassthroughResult::failed);
        let PassthroughResult { status, unusable, response, effort } = passed;
        record.cache_outcome = Some(CacheOutcome::Unstored { status, unusable, part: Part::Led });
        record.effort = effort;
        response.map(|response| Found::PassThrough(Arc::new(response)))
    }
}

/// One request that is being passed through.
struct PassTask {
    tenant: Arc<Tenant>,
    path: String,
    deadlines: Deadlines,
    ask: Ask,
}

/// The result of passing a request through.
struct PassthroughResult {
    status: Option<u16>,
    unusable: Option<NotStored>,
    response: Result<ClientResponse, Refusal>,
    effort: Effort,
}

impl PassthroughResult {
    const fn failed(refusal: Refusal) -> Self {
        Self { status: None, unusable: None, response: Err(refusal), effort: Effort::NONE }
    }
}

impl PassTask {
    async fn run(self) -> PassthroughResult {
        let read = |response: UpstreamResponse, _| async move { judge(&response) };
        let upstream = self.tenant.upstream();
        let Fetched { result, effort } =
            upstream.fetch(&self.ask, Urgency::Foreground, self.deadlines.fetch, Duration::ZERO, read).await;
        let passed = match result {
            Ok((status, ListAdmission::PassThrough(response) | ListAdmission::List(response, _))) => {
                PassthroughResult { status: Some(status), unusable: None, response: Ok(response), effort }
            }
            Ok((status, ListAdmission::Reject(refusal, why))) => {
                let unusable = (200..300).contains(&status).then_some(why);
                PassthroughResult { status: Some(status), unusable, response: Err(refusal), effort }
            }
            Err(error) => {
                let (status, unusable) = match error.outcome() {
                    ForwardOutcome::NotStored { status, why } => (Some(status), Some(why)),
                    ForwardOutcome::NotSent
                    | ForwardOutcome::NoResponse
                    | ForwardOutcome::Recalled(_)
                    | ForwardOutcome::Renewed { .. }
                    | ForwardOutcome::Stored { .. } => (None, None),
                };
                PassthroughResult { status, unusable, response: Err(error.refusal()), effort }
            }
        };
        let is_unsafe = self.ask.passed.as_ref().is_some_and(|passed| !passed.method.is_safe());
        let has_changed = passed.status.is_some_and(|status| (200..300).contains(&status));
        if is_unsafe
            && has_changed
            && let Some(id) = PassthroughEndpoint::call_in(&self.path)
        {
            // Not awaited: nothing older is served from here on.
            self.tenant.announce_removal(&id);
            drop(self.tenant.purge_call(&id));
        }
        passed
    }
}

fn judge(response: &UpstreamResponse) -> ((u16, ListAdmission), ResponseReading) {
    let (status, admission) = (response.status.as_u16(), admit_passed(response));
    let reading = match &admission {
        ListAdmission::Reject(_, why) if response.status.is_success() => ResponseReading::Unusable(*why),
        ListAdmission::List(..) | ListAdmission::PassThrough(_) | ListAdmission::Reject(..) => {
            ResponseReading::Usable
        }
    };
    ((status, admission), reading)
}

/// The only length that a body announces, within the endpoint's limit.
fn body_length(headers: &HeaderMap, most: usize) -> Result<usize, Refusal> {
    if most == 0 {
        return Err(Refusal::Framing(Framing::Body));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().filter(|_| lengths.next().is_none());
    let digits = length.map(HeaderValue::as_bytes).filter(|text| text.iter().all(u8::is_ascii_digit));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    match length.filter(|length| *length <= most && !headers.contains_key(TRANSFER_ENCODING)) {
        // No body is requested before admission, and a client that waits for `100 Continue` would wait in vain.
        Some(_) if headers.contains_key(EXPECT) => Err(Refusal::Expectation),
        Some(length) => Ok(length),
        None => Err(Refusal::Framing(Framing::BodyBound)),
    }
}

/// Whether the body is declared to be JSON.
fn content(headers: &HeaderMap, length: usize) -> Content {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_json = length > 0 && media_type.eq_ignore_ascii_case("application/json");
    if is_json { Content::Json } else { Content::Unsaid }
}

fn idempotency_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = lines.next().filter(|_| lines.next().is_none())?;
    let is_plain = !key.is_empty() && key.len() <= MAX_KEY && KEY.spells(key.as_bytes());
    is_plain.then(|| key.clone())
}
