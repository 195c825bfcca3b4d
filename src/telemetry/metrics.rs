//! The process's metrics: where every number lives, and the text that a scrape gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use jiff::Timestamp;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Histogram, HistogramOpts, HistogramVec, Registry, TextEncoder};

use super::counter::{Counter, Gauge, StatusCounter};
use super::families::{Families, full_name};
use super::log::LogDrops;
use super::tenant::TenantMetrics;
use super::times::Times;
use crate::domain::{Outcome, RouteLabel};

/// The upper bounds of the histograms' buckets, in seconds. A hit takes some 20 µs, a fetch 10 ms to
/// 10 s.
pub const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// The numbers that both the request path and the scrape reach.
pub struct Shared {
    /// The tenants of the running configuration.
    pub(super) tenants: ArcSwap<Vec<Arc<TenantMetrics>>>,
    /// Requests without a valid tenant.
    pub(super) nobody: StatusCounter,
    pub(super) requests_in_flight: Gauge,
    pub(super) connections: Arc<Gauge>,
    pub(super) log_drops: LogDrops,
    pub(super) reloads: Counter,
    pub(super) failed_reloads: Counter,
    /// Seconds since 1970.
    pub(super) last_reload: Gauge,
    /// 1 or 0.
    pub(super) last_reload_successful: Gauge,
    /// `None` without TLS.
    pub(super) certificate_expiry: ArcSwap<Option<Timestamp>>,
}

/// How often the configuration was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloads {
    /// Times that it took effect.
    pub succeeded: u64,
    /// Times that it changed nothing.
    pub failed: u64,
    /// When the running one was loaded.
    pub loaded_at: Timestamp,
}

/// All metrics of the process. Series of tenants come and go with the configuration; all others are
/// there from the start.
pub struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
    lookup_seconds: [Histogram; Outcome::ALL.len()],
    refused_call_seconds: Histogram,
    other_seconds: Histogram,
    upstream_seconds: Histogram,
}

impl Metrics {
    /// Registers everything in a registry of its own. Fails only if two families had one name.
    pub fn new(log_drops: LogDrops) -> Result<Self, prometheus::Error> {
        let shared = Arc::new(Shared {
            tenants: ArcSwap::default(),
            nobody: StatusCounter::default(),
            requests_in_flight: Gauge::default(),
            connections: Arc::default(),
            log_drops,
            reloads: Counter::default(),
            failed_reloads: Counter::default(),
            last_reload: Gauge::default(),
            last_reload_successful: Gauge::default(),
            certificate_expiry: ArcSwap::default(),
        });
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registry.register(Box::new(Families::new(Arc::clone(&shared))?))?;
        let help = "Time from a request's head to the end of its answer.";
        let options = HistogramOpts::new(full_name("request_duration_seconds"), help).buckets(BUCKETS.into());
        let requests = HistogramVec::new(options, &["route", "outcome"])?;
        registry.register(Box::new(requests.clone()))?;
        let help = "Time from sending an upstream request to the end of its response.";
        let options = HistogramOpts::new(full_name("upstream_request_duration_seconds"), help);
        let upstream_seconds = Histogram::with_opts(options.buckets(BUCKETS.into()))?;
        registry.register(Box::new(upstream_seconds.clone()))?;
        let of = |route: RouteLabel, outcome| requests.with_label_values(&[route.label(), outcome]);
        Ok(Self {
            lookup_seconds: Outcome::ALL.map(|outcome| of(RouteLabel::Call, outcome.label())),
            refused_call_seconds: of(RouteLabel::Call, "none"),
            other_seconds: of(RouteLabel::None, "none"),
            registry,
            shared,
            upstream_seconds,
        })
    }

    /// Makes these the tenants whose series are shown.
    pub fn show_tenants(&self, tenants: Vec<Arc<TenantMetrics>>) {
        self.shared.tenants.store(Arc::new(tenants));
    }

    /// Makes this the end of the certificate that clients are shown; `None` without TLS.
    pub fn show_certificate(&self, expiry: Option<Timestamp>) {
        self.shared.certificate_expiry.store(Arc::new(expiry));
    }

    /// Requests being answered.
    pub fn requests_in_flight(&self) -> &Gauge {
        &self.shared.requests_in_flight
    }

    /// Log lines that were dropped.
    pub fn log_lines_dropped(&self) -> u64 {
        self.shared.log_drops.count()
    }

    /// Client connections.
    pub fn connections(&self) -> &Arc<Gauge> {
        &self.shared.connections
    }

    /// Notes when the first configuration was loaded.
    pub fn count_start(&self, at: Timestamp) {
        self.shared.last_reload.set(u64::try_from(at.as_second()).unwrap_or(0));
        self.shared.last_reload_successful.set(1);
    }

    /// Counts a reload that took effect.
    pub fn count_reload_success(&self, at: Timestamp) {
        self.shared.reloads.increment();
        self.count_start(at);
    }

    /// Counts a reload that changed nothing.
    pub fn count_reload_failure(&self) {
        self.shared.failed_reloads.increment();
        self.shared.last_reload_successful.set(0);
    }

    /// How often the configuration was read again, and when the running one was.
    pub fn reloads(&self) -> Reloads {
        Reloads {
            succeeded: self.shared.reloads.get(),
            failed: self.shared.failed_reloads.get(),
            loaded_at: Timestamp::from_second(self.shared.last_reload.get()).unwrap_or_default(),
        }
    }

    /// Counts a request that named no tenant.
    pub fn count_stranger(&self, status: StatusCode) {
        self.shared.nobody.increment(status);
    }

    /// Requests that named no tenant, by status.
    pub fn strangers(&self) -> BTreeMap<u16, u64> {
        self.shared.nobody.counts()
    }

    /// Takes the time of an answered request; `outcome` is `None` for one that never became a lookup.
    pub fn time_request(&self, route: RouteLabel, outcome: Option<Outcome>, took: Duration) {
        let histogram = match (route, outcome) {
            (RouteLabel::Call, Some(outcome)) => self.lookup_seconds.get(outcome as usize),
            (RouteLabel::Call, None) => Some(&self.refused_call_seconds),
            (RouteLabel::None, _) => Some(&self.other_seconds),
        };
        if let Some(histogram) = histogram {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Takes the time of an upstream request.
    pub fn time_upstream(&self, took: Duration) {
        self.upstream_seconds.observe(took.as_secs_f64());
    }

    /// How long lookups took, by outcome.
    pub fn lookup_times(&self) -> impl Iterator<Item = (Outcome, Times)> {
        Outcome::ALL.into_iter().zip(self.lookup_seconds.iter().map(Times::of))
    }

    /// How long upstream requests took.
    pub fn upstream_times(&self) -> Times {
        Times::of(&self.upstream_seconds)
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing into memory fails only for a family without series, and then what is there is there.
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
            "upstream_request_duration_seconds_count 0",
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
