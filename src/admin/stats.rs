//! The answer of `/api/v1/stats`: figures of the process and of each tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::plane::AdminHandler;
use super::problems::{Counts, Recent, ReportedProblem};
use super::totals::{Totals, failed};
use crate::clock;
use crate::domain::{MediaKind, RouteAccess};
use crate::fleet::ShownMember;
use crate::limits::{LimitScope, Limiter};
use crate::telemetry::{BUCKETS, Metrics, REVISION, Reloads, Times, VERSION};
use crate::tenant::Tenant;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    version: &'static str,
    revision: &'static str,
    uptime_seconds: f64,
    state: &'static str,
    last_reload: Option<LastReload>,
    reloads: ReloadStats,
    connections: i64,
    requests_in_flight: i64,
    log_lines_dropped: u64,
    problems: Vec<ReportedProblem>,
    recent: RecentStats,
    totals: Totals,
    latency: Latency,
    /// The gateways of the fleet, this one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<Vec<ShownMember>>,
    tenants: BTreeMap<String, TenantStats>,
}

#[derive(Debug, Serialize)]
struct LastReload {
    at: String,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ReloadStats {
    succeeded: u64,
    failed: u64,
    loaded_at: String,
}

/// Durations since the start.
#[derive(Debug, Serialize)]
struct Latency {
    /// The buckets' upper bounds.
    bounds_seconds: [f64; BUCKETS.len()],
    lookups: BTreeMap<&'static str, TimesStats>,
    upstream: TimesStats,
}

#[derive(Debug, Serialize)]
struct TimesStats {
    /// One for each bucket, and one for longer durations.
    counts: Vec<u64>,
    sum_seconds: f64,
}

/// Lookups of the last minutes, and what the cache did for them.
#[derive(Debug, Serialize)]
struct RecentStats {
    /// Five minutes, less after a recent start.
    seconds: f64,
    lookups: u64,
    /// Those that were, or could have been, answered without the upstream.
    covered: u64,
    upstream_requests: u64,
    upstream_failed: u64,
    /// Upstream requests avoided by the cache.
    saved: u64,
}

impl RecentStats {
    fn of(counts: &Counts, window: Duration) -> Self {
        Self {
            seconds: window.as_secs_f64(),
            lookups: counts.lookups,
            covered: counts.covered,
            upstream_requests: counts.upstream,
            upstream_failed: counts.failed(),
            saved: counts.saved(),
        }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            seconds: self.seconds,
            lookups: self.lookups + other.lookups,
            covered: self.covered + other.covered,
            upstream_requests: self.upstream_requests + other.upstream_requests,
            upstream_failed: self.upstream_failed + other.upstream_failed,
            saved: self.saved + other.saved,
        }
    }
}

#[derive(Debug, Serialize)]
struct TenantStats {
    recent: RecentStats,
    outcomes: BTreeMap<&'static str, u64>,
    answers: BTreeMap<u16, u64>,
    not_stored: BTreeMap<&'static str, u64>,
    rate_limited: BTreeMap<&'static str, u64>,
    limit_left: Option<QuotaStats>,
    cache: CacheStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<SharedStats>,
    waits: WaitStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<MediaStats>,
    upstream: UpstreamStats,
}

/// Lookups that wait until their call is final.
#[derive(Debug, Serialize)]
struct WaitStats {
    waiting: usize,
    /// Calls polled for them.
    watches: usize,
    polls: u64,
    ended: BTreeMap<&'static str, u64>,
}

/// Recordings and transcriptions, for a tenant that may ask for them.
#[derive(Debug, Serialize)]
struct MediaStats {
    /// Streams that flow.
    streams: i64,
    max_streams: usize,
    bytes: BTreeMap<&'static str, u64>,
    ended: BTreeMap<&'static str, u64>,
}

impl MediaStats {
    fn of(tenant: &Tenant) -> Option<Self> {
        let has_media = tenant.routes().among(RouteAccess::MEDIA) != RouteAccess::NONE;
        let media = has_media.then(|| &tenant.metrics().media)?;
        let mut ended = BTreeMap::new();
        for (end, count) in MediaKind::ALL.into_iter().flat_map(|kind| media.ends(kind)) {
            *ended.entry(end.label()).or_default() += count;
        }
        Some(Self {
            streams: media.streams(),
            max_streams: tenant.upstream().media_settings().max_streams,
            bytes: MediaKind::ALL.map(|kind| (kind.label(), media.bytes(kind))).into(),
            ended,
        })
    }
}

/// A limit and its remaining quota.
#[derive(Debug, Serialize)]
struct QuotaStats {
    remaining: u32,
    full_in_seconds: u64,
    burst: u32,
    per_second: f64,
    /// `fleet` or `local`, for a gateway of a fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct CacheStats {
    entries: u64,
    bytes: u64,
    max_bytes: u64,
    evictions: BTreeMap<&'static str, u64>,
}

/// A tenant's part of the disk level.
#[derive(Debug, Serialize)]
struct DiskStats {
    up: bool,
    /// As of its last use.
    entries: u64,
    bytes: u64,
    requests: BTreeMap<&'static str, u64>,
    writes: BTreeMap<&'static str, u64>,
    evictions: BTreeMap<&'static str, u64>,
}

impl DiskStats {
    fn of(tenant: &Tenant) -> Option<Self> {
        let (up, disk) = (tenant.disk()?.failure().is_none(), &tenant.metrics().disk);
        let (entries, bytes) = disk.size();
        Some(Self {
            up,
            entries,
            bytes,
            requests: disk.requests().map(|(result, count)| (result.label(), count)).collect(),
            writes: disk.writes().map(|(result, count)| (result.label(), count)).collect(),
            evictions: disk.evictions().map(|(cause, count)| (cause.label(), count)).collect(),
        })
    }
}

/// A tenant's part of the shared level.
#[derive(Debug, Serialize)]
struct SharedStats {
    up: bool,
    requests: BTreeMap<&'static str, u64>,
    writes: BTreeMap<&'static str, u64>,
}

impl SharedStats {
    fn of(tenant: &Tenant) -> Option<Self> {
        let (up, shared) = (!tenant.shared()?.is_down(), &tenant.metrics().shared);
        Some(Self {
            up,
            requests: shared.requests().map(|(result, count)| (result.label(), count)).collect(),
            writes: shared.writes().map(|(result, count)| (result.label(), count)).collect(),
        })
    }
}

#[derive(Debug, Serialize)]
struct UpstreamStats {
    requests: BTreeMap<String, u64>,
    failed: u64,
    in_flight: i64,
    free_connections: usize,
    retries: u64,
    breaker: &'static str,
    paused_seconds: f64,
    budget_left: Option<QuotaStats>,
    /// The upstream key in use: `primary` or `next`.
    key: &'static str,
    /// The upstream rejected every key in the last response.
    key_rejected: bool,
    key_rejections: u64,
    key_promotions: u64,
    identity_mismatches: u64,
}

impl From<Times> for TimesStats {
    fn from(times: Times) -> Self {
        Self { counts: times.counts, sum_seconds: times.sum_seconds }
    }
}

impl From<Reloads> for ReloadStats {
    fn from(reloads: Reloads) -> Self {
        let loaded_at = format!("{:.0}", reloads.loaded_at);
        Self { succeeded: reloads.succeeded, failed: reloads.failed, loaded_at }
    }
}

impl QuotaStats {
    fn of(limiter: &Limiter) -> Self {
        let (left, rate) = (limiter.left(clock::now()), limiter.rate());
        Self {
            remaining: left.remaining,
            full_in_seconds: left.full_in_seconds,
            burst: rate.burst.get(),
            per_second: 1.0 / rate.interval.as_secs_f64(),
            scope: left.scope.map(LimitScope::label),
        }
    }
}

impl Latency {
    fn of(metrics: &Metrics) -> Self {
        Self {
            bounds_seconds: BUCKETS,
            lookups: metrics.lookup_times().map(|(outcome, times)| (outcome.label(), times.into())).collect(),
            upstream: metrics.upstream_times().into(),
        }
    }
}

/// Collects everything. Run it off the runtime: it updates the caches' figures first.
pub(super) fn gather(admin: &AdminHandler, uptime: Duration) -> Stats {
    let AdminHandler { gateway, health, .. } = admin;
    let metrics = &gateway.telemetry.metrics;
    let snapshot = gateway.snapshots.load();
    let (recent, problems) = admin.problems.look(gateway, health, clock::now());
    let tenants: BTreeMap<_, _> = snapshot
        .directory
        .all()
        .map(|tenant| (tenant.name().to_string(), of_tenant(tenant, &recent)))
        .collect();
    let nothing = RecentStats::of(&Counts::default(), recent.window);
    Stats {
        version: VERSION,
        revision: REVISION,
        uptime_seconds: uptime.as_secs_f64(),
        state: health.state().label(),
        last_reload: health
            .last_reload()
            .map(|report| LastReload { at: format!("{:.0}", report.at), problems: report.problems.clone() }),
        reloads: metrics.reloads().into(),
        connections: metrics.connections().get(),
        requests_in_flight: metrics.requests_in_flight().get(),
        log_lines_dropped: metrics.log_lines_dropped(),
        problems,
        recent: tenants.values().fold(nothing, |sum, tenant| sum.plus(&tenant.recent)),
        totals: Totals::of(gateway, uptime),
        latency: Latency::of(metrics),
        fleet: gateway.fleet.as_ref().map(|fleet| fleet.members()),
        tenants,
    }
}

fn of_tenant(tenant: &Tenant, recent: &Recent) -> TenantStats {
    let metrics = tenant.metrics();
    let (entries, bytes) = tenant.cache().size();
    let (waiting, watches) = tenant.watches().size();
    let upstream = tenant.upstream();
    let outlook = upstream.outlook(clock::now());
    let requests: BTreeMap<_, _> = metrics.upstream_requests().collect();
    let counts = recent.tenants.get(tenant.name()).copied().unwrap_or_default();
    TenantStats {
        recent: RecentStats::of(&counts, recent.window),
        outcomes: metrics.lookups().map(|(outcome, count)| (outcome.label(), count)).collect(),
        answers: metrics.answers(),
        not_stored: metrics.not_stored().map(|(why, count)| (why.label(), count)).collect(),
        rate_limited: metrics.rate_limited().map(|(limit, count)| (limit.label(), count)).collect(),
        limit_left: tenant.limiter().map(|limiter| QuotaStats::of(limiter)),
        cache: CacheStats {
            entries,
            bytes,
            max_bytes: tenant.cache().max_bytes(),
            evictions: metrics.evictions().map(|(cause, count)| (cause.label(), count)).collect(),
        },
        disk: DiskStats::of(tenant),
        shared: SharedStats::of(tenant),
        waits: WaitStats {
            waiting,
            watches,
            polls: metrics.wait_polls.get(),
            ended: metrics.wait_ends().map(|(end, count)| (end.label(), count)).collect(),
        },
        media: MediaStats::of(tenant),
        upstream: UpstreamStats {
            failed: failed(&requests),
            requests,
            free_connections: outlook.free_connections,
            in_flight: metrics.upstream_in_flight.get(),
            retries: metrics.upstream_retries.get(),
            breaker: outlook.breaker,
            paused_seconds: outlook.paused_for.unwrap_or_default().as_secs_f64(),
            budget_left: upstream.budget().map(|budget| QuotaStats::of(budget)),
            key: upstream.keys().in_use().label().label(),
            key_rejected: upstream.keys().are_rejected(),
            key_rejections: metrics.upstream_key_rejections.get(),
            key_promotions: metrics.upstream_key_promotions.get(),
            identity_mismatches: metrics.identity_mismatches.get(),
        },
    }
}
