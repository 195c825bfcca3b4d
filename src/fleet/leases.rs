//! Leases of the limits that a fleet shares: tokens from one bucket in the engine for each limit.
//!
//! No request sends anything itself: it puts a wish into a queue, and this task asks. Nothing is sent while the level is
//! out of use. An answer that comes late counts, since its tokens have left the bucket.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::clock;
use crate::config::Rate;
use crate::domain::TenantName;
use crate::levels::{EngineFailure, EngineFuture, SharedLevel};
use crate::limits::{LeaseDesk, LeasedLimit, Limiter, Overdraft};
use crate::telemetry::{LeaseResult, LimitLabel, LogThrottle, TenantMetrics};

/// How long an answer is waited for: as long as its tokens can be spent.
const DEADLINE: Duration = Duration::from_secs(1);
/// The time until an engine that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// Names a bucket to the engine, which learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BucketName(pub(crate) [u8; 16]);

/// What a bucket gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LeaseGrant {
    pub(crate) given: u32,
    pub(crate) left: f64,
}

/// The buckets in an engine. Its clients set their own deadlines.
pub(crate) trait LeaseEngine: Send + Sync {
    /// Takes up to `tokens` from a bucket of this rate.
    fn lease(&self, bucket: BucketName, rate: Rate, tokens: u32) -> EngineFuture<'_, LeaseGrant>;
}

/// The leases of a gateway.
pub(crate) struct Leases {
    engine: Arc<dyn LeaseEngine>,
    level: Arc<SharedLevel>,
    /// The gateways of the fleet when it was last heard of; 0 before.
    heard: Arc<AtomicU32>,
    /// The gateways to reckon with before.
    expected: AtomicU32,
    /// Holds at most one request of each limit.
    queue: UnboundedSender<LeaseRequest>,
    requests: Mutex<Option<UnboundedReceiver<LeaseRequest>>>,
    log: LogThrottle<()>,
}

/// A limit that wants tokens.
struct LeaseRequest {
    limit: Weak<LeasedLimit>,
    bucket: Arc<LeasedBucket>,
    tokens: u32,
}

/// The bucket of one limit.
struct LeasedBucket {
    leases: Arc<Leases>,
    name: BucketName,
    rate: Rate,
    label: LimitLabel,
    metrics: Arc<TenantMetrics>,
}

/// Where one limit's leases come from.
struct BucketDesk(Arc<LeasedBucket>);

impl Leases {
    /// Leases for a fleet of `heard` gateways, as far as it is known, else `expected`.
    pub(crate) fn new(
        engine: Arc<dyn LeaseEngine>,
        level: Arc<SharedLevel>,
        heard: Arc<AtomicU32>,
        expected: u32,
    ) -> Arc<Self> {
        let (queue, requests) = mpsc::unbounded_channel();
        Arc::new(Self {
            engine,
            level,
            heard,
            expected: AtomicU32::new(expected),
            queue,
            requests: Mutex::new(Some(requests)),
            log: LogThrottle::default(),
        })
    }

    pub(crate) fn set_expected(&self, gateways: u32) {
        self.expected.store(gateways, Relaxed);
    }

    /// A limiter of a tenant's limit that the fleet shares.
    pub(crate) fn limiter(
        self: &Arc<Self>,
        tenant: &TenantName,
        label: LimitLabel,
        rate: Rate,
        metrics: &Arc<TenantMetrics>,
    ) -> Limiter {
        // No request waits for its tenant's own limit; a fetch waits a moment for its tokens.
        let overdraft = match label {
            LimitLabel::Tenant => Overdraft::AtOnce,
            LimitLabel::Upstream => Overdraft::WhenLate,
        };
        let bucket = LeasedBucket {
            leases: Arc::clone(self),
            name: self.name(tenant, label, rate),
            rate,
            label,
            metrics: Arc::clone(metrics),
        };
        Limiter::leased(rate, overdraft, Arc::new(BucketDesk(Arc::new(bucket))))
    }

    /// Another rate is another bucket.
    fn name(&self, tenant: &TenantName, label: LimitLabel, rate: Rate) -> BucketName {
        let nanos = rate.interval.as_nanos();
        let text = format!("limit {} {} {nanos} {}", tenant.as_str(), label.label(), rate.burst);
        BucketName(self.level.seal().digest(text.as_bytes()))
    }

    /// Asks for leases until the process ends.
    pub(crate) async fn run(self: Arc<Self>) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut requests) = requests else { return };
        let mut asking = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(request) = requests.recv() => asking.push(self.satisfy(request)),
                Some(()) = asking.next(), if !asking.is_empty() => {}
                else => return,
            }
        }
    }

    /// Asks until there is an answer, or another request of the limit is on its way.
    async fn satisfy(&self, LeaseRequest { limit, bucket, mut tokens }: LeaseRequest) {
        // The first of a herd has sent this request; the others are about to wait for what it brings.
        tokio::task::yield_now().await;
        let Some(waiting) = limit.upgrade() else { return };
        tokens = waiting.ask_for_herd().unwrap_or(tokens);
        drop(waiting);
        loop {
            let answer = self.ask(&bucket, tokens).await;
            let Some(waiting) = limit.upgrade() else { return };
            match answer {
                Ok(LeaseGrant { given, left }) => return waiting.receive(clock::now(), given, left),
                Err(_) => waiting.fail(clock::now()),
            }
            // Not held meanwhile: a reload may replace it.
            drop(waiting);
            tokio::time::sleep(AGAIN).await;
            while self.level.switch().is_down() && limit.strong_count() > 0 {
                tokio::time::sleep(AGAIN).await;
            }
            let again = limit.upgrade().and_then(|waiting| waiting.ask_again(clock::now()));
            let Some(again) = again else { return };
            tokens = again;
        }
    }

    async fn ask(&self, bucket: &LeasedBucket, tokens: u32) -> Result<LeaseGrant, EngineFailure> {
        let switch = self.level.switch();
        if switch.is_down() {
            return Err(EngineFailure::NotReady);
        }
        let began = clock::now();
        let asking = self.engine.lease(bucket.name, bucket.rate, tokens);
        let answer = match clock::within(DEADLINE, asking).await {
            Ok(answer) => answer,
            Err(clock::TimedOut) => Err(EngineFailure::Timeout),
        };
        match &answer {
            Ok(grant) => {
                // A late answer still brings tokens, but an engine that is too slow for lookups must be taken out of use.
                if clock::now().duration_since(began) <= self.level.timeout() {
                    switch.note_success();
                }
                if tokens > 0 {
                    bucket.count(result_of(tokens, grant.given));
                }
            }
            Err(failure) => {
                // A wrong value in the place of one bucket says nothing about the engine.
                if *failure != EngineFailure::Protocol {
                    switch.note_failure(*failure);
                }
                bucket.count(LeaseResult::Failed);
            }
        }
        answer
    }
}

const fn result_of(tokens: u32, given: u32) -> LeaseResult {
    match given {
        0 => LeaseResult::None,
        given if given < tokens => LeaseResult::Partial,
        _ => LeaseResult::Granted,
    }
}

impl LeasedBucket {
    fn count(&self, result: LeaseResult) {
        if let Some(metrics) = self.metrics.leases.get(self.label as usize) {
            metrics.count(result);
        }
    }
}

impl LeaseDesk for BucketDesk {
    fn is_open(&self) -> bool {
        !self.0.leases.level.switch().is_down()
    }

    fn gateways(&self) -> u32 {
        let leases = &self.0.leases;
        match leases.heard.load(Relaxed) {
            0 => leases.expected.load(Relaxed),
            heard => heard,
        }
    }

    fn patience(&self) -> Duration {
        self.0.leases.level.timeout()
    }

    fn request(&self, limit: &Arc<LeasedLimit>, tokens: u32) {
        let bucket = Arc::clone(&self.0);
        let request = LeaseRequest { limit: Arc::downgrade(limit), bucket, tokens };
        // The other end is gone only when the process ends.
        let _ = self.0.leases.queue.send(request);
    }

    fn note_fallback(&self) {
        let leases = &self.0.leases;
        if leases.log.allows((), clock::now()) {
            tracing::warn!(
                gateways = self.gateways(),
                "limits: the engine is out of reach, so this gateway applies its share of each limit until it is back"
            );
        }
    }
}

#[cfg(test)]
mod tests;
