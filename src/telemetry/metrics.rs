//! The process's metrics: the home of every number, and the text of a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use jiff::Timestamp;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Histogram, HistogramOpts, HistogramVec, Registry, TextEncoder};

use super::connections::{ClosedConnections, Plane};
use super::counter::{CodeCounter, Counter, Gauge, StatusCounter};
use super::families::{FamilyCollector, full_name};
use super::fleet::FleetMetrics;
use super::levels::LevelMetrics;
use super::log::LogDrops;
use super::shared::Shared;
use super::tenant::TenantMetrics;
use super::times::{BUCKETS, Times};
use crate::domain::{ErrorCode, Outcome, RouteLabel};

/// The upper bounds of the buckets for waits, in seconds; waits last up to five minutes.
const WAIT_BUCKETS: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reloads {
    /// Reloads that took effect.
    pub(crate) succeeded: u64,
    /// Reloads that were rejected.
    pub(crate) failed: u64,
    /// When the running configuration was loaded.
    pub(crate) loaded_at: Timestamp,
}

/// All metrics of the process. Series of tenants appear and disappear with the configuration; all others exist
/// from the start.
pub(crate) struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
    lookup_seconds: [Histogram; Outcome::ALL.len()],
    refused_call_seconds: Histogram,
    list_seconds: Histogram,
    recording_seconds: Histogram,
    transcription_seconds: Histogram,
    passthrough_seconds: Histogram,
    other_seconds: Histogram,
    wait_seconds: Histogram,
}

impl Metrics {
    /// Registers everything in its own registry. Fails only if two families have the same name.
    pub(crate) fn new(log_drops: LogDrops) -> Result<Self, prometheus::Error> {
        let shared = Arc::new(Shared {
            tenants: ArcSwap::default(),
            unauthenticated: StatusCounter::default(),
            refusals: CodeCounter::default(),
            requests_in_flight: Gauge::default(),
            connections: Arc::default(),
            closed: Default::default(),
            disk: Arc::default(),
            shared: Arc::default(),
            fleet: Arc::default(),
            log_drops,
            reloads: Counter::default(),
            failed_reloads: Counter::default(),
            last_reload: Gauge::default(),
            last_reload_successful: Gauge::default(),
            certificate_expiry: ArcSwap::default(),
        });
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registry.register(Box::new(FamilyCollector::new(Arc::clone(&shared))?))?;
        let help = "Time from a request's head to the end of its answer.";
        let options = HistogramOpts::new(full_name("request_duration_seconds"), help).buckets(BUCKETS.into());
        let requests = HistogramVec::new(options, &["route", "outcome"])?;
        registry.register(Box::new(requests.clone()))?;
        let help = "How long lookups waited until their call was final, or their wait ended otherwise.";
        let options =
            HistogramOpts::new(full_name("wait_duration_seconds"), help).buckets(WAIT_BUCKETS.into());
        let wait_seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(wait_seconds.clone()))?;
        let of = |route: RouteLabel, outcome| requests.with_label_values(&[route.label(), outcome]);
        Ok(Self {
            lookup_seconds: Outcome::ALL.map(|outcome| of(RouteLabel::Call, outcome.label())),
            refused_call_seconds: of(RouteLabel::Call, "none"),
            list_seconds: of(RouteLabel::Calls, "none"),
            recording_seconds: of(RouteLabel::Recording, "none"),
            transcription_seconds: of(RouteLabel::Transcription, "none"),
            passthrough_seconds: of(RouteLabel::Passthrough, "none"),
            other_seconds: of(RouteLabel::None, "none"),
            wait_seconds,
            registry,
            shared,
        })
    }

    /// Exports the series of these tenants, and of no others.
    pub(crate) fn show_tenants(&self, tenants: Vec<Arc<TenantMetrics>>) {
        self.shared.tenants.store(Arc::new(tenants));
    }

    /// Exports the expiry of the certificate that clients see; `None` without TLS.
    pub(crate) fn show_certificate(&self, expiry: Option<Timestamp>) {
        self.shared.certificate_expiry.store(Arc::new(expiry));
    }

    pub(crate) fn requests_in_flight(&self) -> &Gauge {
        &self.shared.requests_in_flight
    }

    pub(crate) fn log_lines_dropped(&self) -> u64 {
        self.shared.log_drops.count()
    }

    pub(crate) fn connections(&self) -> &Arc<Gauge> {
        &self.shared.connections
    }

    /// The numbers of the disk level.
    pub(crate) fn disk(&self) -> &Arc<LevelMetrics> {
        &self.shared.disk
    }

    /// The numbers of the shared level.
    pub(crate) fn shared(&self) -> &Arc<LevelMetrics> {
        &self.shared.shared
    }

    pub(crate) fn fleet(&self) -> &Arc<FleetMetrics> {
        &self.shared.fleet
    }

    /// The connections of a plane that the server closed.
    pub(crate) fn closed_connections(&self, plane: Plane) -> &Arc<ClosedConnections> {
        let [data, admin] = &self.shared.closed;
        match plane {
            Plane::Data => data,
            Plane::Admin => admin,
        }
    }

    /// Records when the first configuration was loaded.
    pub(crate) fn count_start(&self, at: Timestamp) {
        self.shared.last_reload.set(u64::try_from(at.as_second()).unwrap_or(0));
        self.shared.last_reload_successful.set(1);
    }

    /// Counts a reload that took effect.
    pub(crate) fn count_reload_success(&self, at: Timestamp) {
        self.shared.reloads.increment();
        self.count_start(at);
    }

    pub(crate) fn count_reload_failure(&self) {
        self.shared.failed_reloads.increment();
        self.shared.last_reload_successful.set(0);
    }

    /// Counts of reloads, and when the running configuration was loaded.
    pub(crate) fn reloads(&self) -> Reloads {
        Reloads {
            succeeded: self.shared.reloads.get(),
            failed: self.shared.failed_reloads.get(),
            loaded_at: Timestamp::from_second(self.shared.last_reload.get()).unwrap_or_default(),
        }
    }

    /// Counts a request without a valid token.
    pub(crate) fn count_unauthenticated(&self, status: StatusCode) {
        self.shared.unauthenticated.increment(status);
    }

    /// Counts a refusal of a request without a valid token, on either plane.
    pub(crate) fn count_refusal(&self, code: ErrorCode) {
        self.shared.refusals.increment(code);
    }

    /// Refusals of requests without a valid token, by code.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        self.shared.refusals.counts()
    }

    /// Requests without a valid token, by status.
    pub(crate) fn unauthenticated(&self) -> BTreeMap<u16, u64> {
        self.shared.unauthenticated.counts()
    }

    /// Records the duration of an answered request; `outcome` is `None` if it never became a lookup.
    pub(crate) fn time_request(&self, route: RouteLabel, outcome: Option<Outcome>, took: Duration) {
        let histogram = match (route, outcome) {
            (RouteLabel::Call, Some(outcome)) => self.lookup_seconds.get(outcome as usize),
            (RouteLabel::Call, None) => Some(&self.refused_call_seconds),
            (RouteLabel::Calls, _) => Some(&self.list_seconds),
            (RouteLabel::Recording, _) => Some(&self.recording_seconds),
            (RouteLabel::Transcription, _) => Some(&self.transcription_seconds),
            (RouteLabel::Passthrough, _) => Some(&self.passthrough_seconds),
            (RouteLabel::None, _) => Some(&self.other_seconds),
        };
        if let Some(histogram) = histogram {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Records the duration of a wait that has ended.
    pub(crate) fn time_wait(&self, took: Duration) {
        self.wait_seconds.observe(took.as_secs_f64());
    }

    /// Durations of lookups, by outcome.
    pub(crate) fn lookup_times(&self) -> impl Iterator<Item = (Outcome, Times)> {
        Outcome::ALL.into_iter().zip(self.lookup_seconds.iter().map(Times::of))
    }

    /// Durations of upstream requests, all tenants together.
    pub(crate) fn upstream_times(&self) -> Times {
        let none = Times { counts: vec![0; BUCKETS.len() + 1], sum_seconds: 0.0 };
        let tenants = self.shared.tenants.load();
        tenants.iter().map(|tenant| tenant.upstream_seconds.times()).fold(none, Times::plus)
    }

    /// The scrape, in Prometheus' text format 0.0.4.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing into memory fails only for a family without series, and those are filtered out.
        let families: Vec<_> =
            self.registry.gather().into_iter().filter(|f| !f.get_metric().is_empty()).collect();
        let _ = TextEncoder::new().encode(&families, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TenantName;

    #[test]
    fn every_series_of_a_tenant_is_there_from_the_start() {
        let metrics = Metrics::new(LogDrops::none()).unwrap();
        metrics.show_tenants(vec![Arc::new(TenantMetrics::new(TenantName::parse("a").unwrap()))]);
        let text = String::from_utf8(metrics.text()).unwrap();
        for line in [
            "requests_total{code=\"200\",route=\"call\",tenant=\"a\"} 0",
            "requests_total{code=\"200\",route=\"none\",tenant=\"-\"} 0",
            "cache_requests_total{outcome=\"hit\",tenant=\"a\"} 0",
            "cache_refusals_total{reason=\"purged\",tenant=\"a\"} 0",
            "cache_evictions_total{cause=\"size\",tenant=\"a\"} 0",
            "cache_entries{tenant=\"a\"} 0",
            "cache_bytes{tenant=\"a\"} 0",
            "upstream_requests_total{code=\"200\",tenant=\"a\"} 0",
            "upstream_in_flight{tenant=\"a\"} 0",
            "rate_limited_total{limit=\"upstream\",tenant=\"a\"} 0",
            "identity_mismatches_total{tenant=\"a\"} 0",
            "upstream_key_rejections_total{tenant=\"a\"} 0",
            "request_duration_seconds_count{outcome=\"miss\",route=\"call\"} 0",
            "request_duration_seconds_count{outcome=\"none\",route=\"none\"} 0",
            "upstream_request_duration_seconds_count{tenant=\"a\"} 0",
            "lookups_covered_total{tenant=\"a\"} 0",
            "upstream_key_active{key=\"primary\",tenant=\"a\"} 1",
            "requests_in_flight 0",
            "connections 0",
            "log_lines_dropped_total 0",
        ] {
            let line = format!("credira_gateway_{line}");
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
        assert!(
            text.contains("process_resident_memory_bytes") && text.contains("credira_gateway_build_info{")
        );
    }

    #[test]
    fn a_certificate_has_an_end_and_without_one_there_is_no_series() {
        let metrics = Metrics::new(LogDrops::none()).unwrap();
        let line = || {
            let text = String::from_utf8(metrics.text()).unwrap();
            let name = "credira_gateway_tls_certificate_expiry_timestamp_seconds ";
            text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        assert_eq!(line(), None);
        metrics.show_certificate(Some("2024-01-15T10:30:00Z".parse().unwrap()));
        assert_eq!(line().as_deref(), Some("1705314600"));
        metrics.show_certificate(None);
        assert_eq!(line(), None);
    }

    #[test]
    fn a_tenant_that_is_gone_has_no_series() {
        let metrics = Metrics::new(LogDrops::none()).unwrap();
        metrics.show_tenants(vec![Arc::new(TenantMetrics::new(TenantName::parse("a").unwrap()))]);
        metrics.show_tenants(Vec::new());
        assert!(!String::from_utf8(metrics.text()).unwrap().contains("tenant=\"a\""));
    }
}
