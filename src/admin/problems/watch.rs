//! Keeps the counts of the last minutes, and when each problem was first seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::ReportedProblem;
use super::counts::Counts;
use super::kind::ProblemKind;
use super::rules::{Finding, KeyObserved, ProcessObserved, TenantObserved, find};
use crate::admin::health::ProcessHealth;
use crate::clock::{self, Instant};
use crate::domain::{ErrorCode, TenantName};
use crate::gateway::Gateway;
use crate::levels::{EngineFailure, FileFailure};
use crate::telemetry::Metrics;
use crate::tenant::Tenant;

/// Time between two samples. A tenant's is about 150 bytes.
const EVERY: Duration = Duration::from_secs(30);
/// The number of samples, for a window of five minutes.
const KEPT: usize = 11;

/// The last minutes' counts, and the known problems.
#[derive(Debug)]
pub(crate) struct ProblemWatch {
    started: Instant,
    /// The oldest first.
    samples: Mutex<VecDeque<Sample>>,
    known: Mutex<HashMap<(ProblemKind, Option<TenantName>), Timestamp>>,
}

/// All counts at one moment.
#[derive(Debug)]
struct Sample {
    at: Instant,
    tenants: HashMap<TenantName, Counts>,
    process: ProcessCounts,
}

#[derive(Debug, Clone, Copy, Default)]
struct ProcessCounts {
    unauthorized: u64,
    log_lines_dropped: u64,
}

impl ProcessCounts {
    fn of(metrics: &Metrics) -> Self {
        let unauthorized = metrics.refusals().find(|(code, _)| *code == ErrorCode::Unauthorized);
        Self {
            unauthorized: unauthorized.map_or(0, |(_, count)| count),
            log_lines_dropped: metrics.log_lines_dropped(),
        }
    }
}

/// The counts within the window that ends now.
#[derive(Debug)]
pub(in crate::admin) struct Recent {
    pub(in crate::admin) window: Duration,
    pub(in crate::admin) tenants: BTreeMap<TenantName, Counts>,
    unauthorized: u64,
    log_lines_dropped: u64,
}

impl ProblemWatch {
    /// Without any observations.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, samples: Mutex::default(), known: Mutex::default() }
    }

    /// Takes a sample every [`EVERY`] until the process ends, and looks for problems, so that their beginnings are
    /// known. With very many tenants that takes milliseconds, so it runs off the runtime.
    pub(crate) async fn keep(self: Arc<Self>, gateway: Arc<Gateway>, health: ProcessHealth) {
        loop {
            let (watch, gateway, health) = (Arc::clone(&self), Arc::clone(&gateway), health.clone());
            let looking = tokio::task::spawn_blocking(move || {
                watch.sample(&gateway, clock::now());
                watch.look(&gateway, &health, clock::now());
            });
            // A failed sample leaves a gap.
            let _ = looking.await;
            tokio::time::sleep(EVERY).await;
        }
    }

    fn sample(&self, gateway: &Gateway, at: Instant) {
        let snapshot = gateway.snapshots.load();
        let named = |tenant: &Arc<Tenant>| {
            tenant.metrics().cache_entries.set(tenant.cache().size().0);
            (tenant.name().clone(), Counts::of(tenant.metrics()))
        };
        let tenants = snapshot.directory.all().map(named).collect();
        let process = ProcessCounts::of(&gateway.telemetry.metrics);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { at, tenants, process });
    }

    /// The counts of the last minutes, and all current problems.
    pub(in crate::admin) fn look(
        &self,
        gateway: &Gateway,
        health: &ProcessHealth,
        now: Instant,
    ) -> (Recent, Vec<ReportedProblem>) {
        let recent = self.recent(gateway, now);
        let fleet = gateway.fleet.as_ref();
        let process = ProcessObserved {
            window: recent.window,
            unauthorized: recent.unauthorized,
            log_lines_dropped: recent.log_lines_dropped,
            reload_refused: health
                .last_reload()
                .filter(|report| !report.problems.is_empty())
                .map(|report| (report.at, report.problems.clone())),
            shared: fleet.and_then(|fleet| fleet.level().switch().failure()).map(EngineFailure::text),
            strangers: fleet.map(|fleet| fleet.strangers()).unwrap_or_default(),
        };
        let snapshot = gateway.snapshots.load();
        let tenants: Vec<_> = snapshot.directory.all().map(|tenant| observe(tenant, &recent, now)).collect();
        let problems = self.date(find(&process, &tenants), gateway.wall.now());
        (recent, problems)
    }

    fn recent(&self, gateway: &Gateway, now: Instant) -> Recent {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = samples.front();
        let before = |tenant: &TenantName| {
            oldest.and_then(|sample| sample.tenants.get(tenant)).copied().unwrap_or_default()
        };
        let snapshot = gateway.snapshots.load();
        let tenants = snapshot.directory.all().map(|tenant| {
            let counts = Counts::of(tenant.metrics()).since(&before(tenant.name()));
            (tenant.name().clone(), counts)
        });
        let process = ProcessCounts::of(&gateway.telemetry.metrics);
        let earlier = oldest.map(|sample| sample.process).unwrap_or_default();
        Recent {
            window: now.duration_since(oldest.map_or(self.started, |sample| sample.at)),
            tenants: tenants.collect(),
            unauthorized: process.unauthorized.saturating_sub(earlier.unauthorized),
            log_lines_dropped: process.log_lines_dropped.saturating_sub(earlier.log_lines_dropped),
        }
    }

    /// Adds when each problem was first seen, and forgets those that have ended.
    fn date(&self, found: Vec<Finding>, now: Timestamp) -> Vec<ReportedProblem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let dated: Vec<_> = found
            .into_iter()
            .map(|Finding { kind, tenant, since, message }| {
                let key = (kind, tenant);
                let since = since.or_else(|| known.get(&key).copied()).unwrap_or(now);
                (key, since, message)
            })
            .collect();
        *known = dated.iter().map(|(key, since, _)| (key.clone(), *since)).collect();
        let problem =
            |((kind, tenant), since, message): ((ProblemKind, Option<TenantName>), Timestamp, String)| {
                ReportedProblem {
                    kind: kind.label(),
                    tenant: tenant.map(|tenant| tenant.to_string()),
                    since: format!("{since:.0}"),
                    message,
                }
            };
        dated.into_iter().map(problem).collect()
    }
}

fn observe(tenant: &Tenant, recent: &Recent, now: Instant) -> TenantObserved {
    let upstream = tenant.upstream();
    let outlook = upstream.outlook(now);
    let keys = upstream.keys();
    TenantObserved {
        name: tenant.name().clone(),
        counts: recent.tenants.get(tenant.name()).copied().unwrap_or_default(),
        window: recent.window,
        entries: u64::try_from(tenant.metrics().cache_entries.get()).unwrap_or(0),
        breaker: Some(outlook.breaker).filter(|state| *state != "closed"),
        paused_for: outlook.paused_for,
        key: match keys.are_rejected() {
            true => KeyObserved::Rejected(keys.in_use()),
            false => KeyObserved::InUse(keys.in_use()),
        },
        disk: tenant.disk().and_then(|disk| disk.failure()).map(FileFailure::text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: ProblemKind) -> Finding {
        Finding { kind, tenant: TenantName::parse("alpha").ok(), since: None, message: "m".into() }
    }

    #[test]
    fn a_problem_keeps_its_first_time_until_it_is_gone() {
        let watch = ProblemWatch::new(clock::now());
        let at = |second| Timestamp::from_second(second).unwrap();
        let since = |found: &[ProblemKind], now| {
            let problems = watch.date(found.iter().copied().map(finding).collect(), at(now));
            problems.into_iter().map(|problem| problem.since).collect::<Vec<_>>()
        };
        let (one, other) = (ProblemKind::BreakerOpen, ProblemKind::KeyRejected);
        assert_eq!(since(&[one], 0), ["1970-01-01T00:00:00Z"]);
        assert_eq!(since(&[other, one], 60), ["1970-01-01T00:01:00Z", "1970-01-01T00:00:00Z"]);
        assert_eq!(since(&[other], 70), ["1970-01-01T00:01:00Z"]);
        assert_eq!(since(&[one], 80), ["1970-01-01T00:01:20Z"], "it came back");
    }
}
