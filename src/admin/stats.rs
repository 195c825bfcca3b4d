//! What `/api/v1/stats` tells: the process and each tenant, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::health::Health;
use crate::clock;
use crate::gateway::Gateway;
use crate::limits::Left;
use crate::telemetry::{REVISION, VERSION};
use crate::tenant::Tenant;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Stats {
    version: &'static str,
    revision: &'static str,
    uptime_seconds: f64,
    state: &'static str,
    last_reload: Option<LastReload>,
    connections: i64,
    requests_in_flight: i64,
    log_lines_dropped: u64,
    tenants: BTreeMap<String, TenantStats>,
}

#[derive(Debug, Serialize)]
struct LastReload {
    at: String,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TenantStats {
    outcomes: BTreeMap<&'static str, u64>,
    not_stored: BTreeMap<&'static str, u64>,
    rate_limited: BTreeMap<&'static str, u64>,
    limit_left: Option<LeftStats>,
    cache: CacheStats,
    upstream: UpstreamStats,
}

#[derive(Debug, Serialize)]
struct LeftStats {
    remaining: u32,
    full_in_seconds: u64,
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
    in_flight: i64,
    retries: u64,
    breaker: &'static str,
    paused_seconds: f64,
    budget_left: Option<LeftStats>,
    key_rejections: u64,
    key_promotions: u64,
    identity_mismatches: u64,
}

impl From<Left> for LeftStats {
    fn from(left: Left) -> Self {
        Self { remaining: left.remaining, full_in_seconds: left.full_in_seconds }
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
        connections: metrics.connections().get(),
        requests_in_flight: metrics.requests_in_flight().get(),
        log_lines_dropped: metrics.log_lines_dropped(),
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
    let outlook = tenant.upstream().outlook();
    TenantStats {
        outcomes: metrics.lookups().map(|(outcome, count)| (outcome.label(), count)).collect(),
        not_stored: metrics.not_stored().map(|(why, count)| (why.label(), count)).collect(),
        rate_limited: metrics.rate_limited().map(|(limit, count)| (limit.label(), count)).collect(),
        limit_left: tenant.limit_left(clock::now()).map(LeftStats::from),
        cache: CacheStats {
            entries,
            bytes,
            max_bytes: tenant.cache().max_bytes(),
            evictions: metrics.evictions().map(|(cause, count)| (cause.label(), count)).collect(),
        },
        upstream: UpstreamStats {
            requests: metrics.upstream_requests().collect(),
            in_flight: metrics.upstream_in_flight.get(),
            retries: metrics.upstream_retries.get(),
            breaker: outlook.breaker,
            paused_seconds: outlook.paused_for.unwrap_or_default().as_secs_f64(),
            budget_left: outlook.budget.map(LeftStats::from),
            key_rejections: metrics.upstream_key_rejections.get(),
            key_promotions: metrics.upstream_key_promotions.get(),
            identity_mismatches: metrics.identity_mismatches.get(),
        },
    }
}
