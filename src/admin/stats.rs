//! What `/api/v1/stats` tells: the process and each tenant, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::health::Health;
use super::totals::{Totals, failed};
use crate::clock;
use crate::gateway::Gateway;
use crate::limits::Limiter;
use crate::telemetry::{BUCKETS, Metrics, REVISION, Reloads, Times, VERSION};
use crate::tenant::Tenant;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Stats {
    version: &'static str,
    revision: &'static str,
    uptime_seconds: f64,
    state: &'static str,
    last_reload: Option<LastReload>,
    reloads: ReloadStats,
    connections: i64,
    requests_in_flight: i64,
    log_lines_dropped: u64,
    totals: Totals,
    latency: Latency,
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

/// How long things took since the start.
#[derive(Debug, Serialize)]
struct Latency {
    /// The buckets' upper bounds.
    bounds_seconds: [f64; BUCKETS.len()],
    lookups: BTreeMap<&'static str, TimesStats>,
    upstream: TimesStats,
}

#[derive(Debug, Serialize)]
struct TimesStats {
    /// One a bucket, and one for all that took longer.
    counts: Vec<u64>,
    sum_seconds: f64,
}

#[derive(Debug, Serialize)]
struct TenantStats {
    outcomes: BTreeMap<&'static str, u64>,
    answers: BTreeMap<u16, u64>,
    not_stored: BTreeMap<&'static str, u64>,
    rate_limited: BTreeMap<&'static str, u64>,
    limit_left: Option<LeftStats>,
    cache: CacheStats,
    upstream: UpstreamStats,
}

/// A limit and what is left of it.
#[derive(Debug, Serialize)]
struct LeftStats {
    remaining: u32,
    full_in_seconds: u64,
    burst: u32,
    per_second: f64,
}

#[derive(Debug, Serialize)]
struct CacheStats {
    entries: u64,
    bytes: u64,
    max_bytes: u64,
    evictions: BTreeMap<&'static str, u64>,
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
    budget_left: Option<LeftStats>,
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

impl LeftStats {
    fn of(limiter: &Limiter) -> Self {
        let (left, rate) = (limiter.left(clock::now()), limiter.rate());
        Self {
            remaining: left.remaining,
            full_in_seconds: left.full_in_seconds,
            burst: rate.burst.get(),
            per_second: 1.0 / rate.interval.as_secs_f64(),
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

/// Gathers everything. Not for the runtime: the caches' figures are brought up to date first.
pub fn gather(gateway: &Gateway, health: &Health, uptime: Duration) -> Stats {
    let metrics = &gateway.telemetry.metrics;
    let snapshot = gateway.snapshots.load();
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
        totals: Totals::of(gateway, uptime),
        latency: Latency::of(metrics),
        tenants: snapshot
            .directory
            .all()
            .map(|tenant| (tenant.name().to_string(), of_tenant(tenant)))
            .collect(),
    }
}

fn of_tenant(tenant: &Tenant) -> TenantStats {
    let metrics = tenant.metrics();
    let (entries, bytes) = tenant.cache().size();
    let upstream = tenant.upstream();
    let outlook = upstream.outlook();
    let requests: BTreeMap<_, _> = metrics.upstream_requests().collect();
    TenantStats {
        outcomes: metrics.lookups().map(|(outcome, count)| (outcome.label(), count)).collect(),
        answers: metrics.answers(),
        not_stored: metrics.not_stored().map(|(why, count)| (why.label(), count)).collect(),
        rate_limited: metrics.rate_limited().map(|(limit, count)| (limit.label(), count)).collect(),
        limit_left: tenant.limiter().map(|limiter| LeftStats::of(limiter)),
        cache: CacheStats {
            entries,
            bytes,
            max_bytes: tenant.cache().max_bytes(),
            evictions: metrics.evictions().map(|(cause, count)| (cause.label(), count)).collect(),
        },
        upstream: UpstreamStats {
            failed: failed(&requests),
            requests,
            free_connections: outlook.free_connections,
            in_flight: metrics.upstream_in_flight.get(),
            retries: metrics.upstream_retries.get(),
            breaker: outlook.breaker,
            paused_seconds: outlook.paused_for.unwrap_or_default().as_secs_f64(),
            budget_left: upstream.budget().map(|budget| LeftStats::of(budget)),
            key_rejections: metrics.upstream_key_rejections.get(),
            key_promotions: metrics.upstream_key_promotions.get(),
            identity_mismatches: metrics.identity_mismatches.get(),
        },
    }
}
