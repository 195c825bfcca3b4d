//! From the numbers in the structs to named series: what a scrape sees of the tenants and the
//! process, in Prometheus' own types.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Counter as CounterValue, Gauge as GaugeValue, LabelPair, Metric, MetricFamily, MetricType,
};

use super::metrics::Shared;
use super::tenant::TenantMetrics;
use crate::domain::{RouteLabel, TenantName};

/// Name (without the prefix), help and kind of each family that is made from the structs.
const FAMILIES: [(&str, &str, MetricType); FAMILY_COUNT] = [
    ("requests_total", "Requests answered, by HTTP status.", MetricType::COUNTER),
    ("cache_requests_total", "Lookups, by what the cache did for them.", MetricType::COUNTER),
    ("cache_refusals_total", "Upstream answers that were not stored, by reason.", MetricType::COUNTER),
    ("cache_evictions_total", "Entries that left the cache, by cause.", MetricType::COUNTER),
    ("cache_entries", "Entries in the cache.", MetricType::GAUGE),
    ("cache_bytes", "Bytes of the cache's entries, keys and bookkeeping included.", MetricType::GAUGE),
    ("upstream_requests_total", "Upstream requests, by HTTP status or kind of failure.", MetricType::COUNTER),
    ("upstream_in_flight", "Upstream requests under way.", MetricType::GAUGE),
    ("upstream_retries_total", "Upstream requests that were repeated.", MetricType::COUNTER),
    ("upstream_breaker_open", "1 while the breaker is open or half-open.", MetricType::GAUGE),
    ("upstream_key_promotions_total", "Times the tenant's next key took over.", MetricType::COUNTER),
    ("upstream_key_rejections_total", "Upstream answers 401 to the tenant's key.", MetricType::COUNTER),
    ("identity_mismatches_total", "Upstream answers about another call than asked for.", MetricType::COUNTER),
    ("rate_limited_total", "Requests and fetches that a limit refused.", MetricType::COUNTER),
    ("requests_in_flight", "Requests being answered.", MetricType::GAUGE),
    ("connections", "Client connections.", MetricType::GAUGE),
    ("log_lines_dropped_total", "Log lines dropped because their reader was too slow.", MetricType::COUNTER),
    ("config_reloads_total", "Times the configuration was read again, by result.", MetricType::COUNTER),
    (
        "config_last_reload_success_timestamp_seconds",
        "When the running configuration was loaded, in seconds since 1970.",
        MetricType::GAUGE,
    ),
    (
        "config_last_reload_successful",
        "1 if the configuration that was read last is the one that runs, else 0.",
        MetricType::GAUGE,
    ),
    (
        "tls_certificate_expiry_timestamp_seconds",
        "When the first certificate of the chain that is shown to clients ends, in seconds since 1970; absent without TLS.",
        MetricType::GAUGE,
    ),
    ("build_info", "The program's version; always 1.", MetricType::GAUGE),
];
const FAMILY_COUNT: usize = 22;

/// Makes the families of [`Shared`].
pub struct Families {
    shared: std::sync::Arc<Shared>,
    descriptions: Vec<Desc>,
}

impl Families {
    /// A collector over the numbers in `shared`.
    pub fn new(shared: std::sync::Arc<Shared>) -> Result<Self, prometheus::Error> {
        let describe = |(name, help, _): &(&str, &str, MetricType)| {
            Desc::new(full_name(name), (*help).into(), Vec::new(), Default::default())
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { shared, descriptions })
    }
}

/// The name with the program's prefix.
pub fn full_name(name: &str) -> String {
    format!("credira_gateway_{name}")
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let tenants = self.shared.tenants.load();
        let family = |(name, help, kind): &(&str, &str, MetricType)| {
            let mut series = Series { kind: *kind, metrics: Vec::new() };
            for tenant in tenants.iter() {
                tenant_series(name, tenant, &mut series);
            }
            process_series(name, &self.shared, &mut series);
            let mut family = MetricFamily::default();
            family.set_name(full_name(name));
            family.set_help((*help).into());
            family.set_field_type(*kind);
            family.set_metric(series.metrics);
            family
        };
        FAMILIES.iter().map(family).collect()
    }
}

struct Series {
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Series {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' values are floats")]
    fn push(&mut self, labels: &[(&str, &str)], value: i128) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        let value = value as f64;
        if self.kind == MetricType::COUNTER {
            let mut counter = CounterValue::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = GaugeValue::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }
}

fn tenant_series(name: &str, metrics: &TenantMetrics, series: &mut Series) {
    let tenant = metrics.name().as_str();
    let mut plain = |value: i128| series.push(&[("tenant", tenant)], value);
    match name {
        "cache_entries" => plain(metrics.cache_entries.get().into()),
        "cache_bytes" => plain(metrics.cache_bytes.get().into()),
        "upstream_in_flight" => plain(metrics.upstream_in_flight.get().into()),
        "upstream_retries_total" => plain(metrics.upstream_retries.get().into()),
        "upstream_breaker_open" => plain(metrics.upstream_breaker_open.get().into()),
        "upstream_key_promotions_total" => plain(metrics.upstream_key_promotions.get().into()),
        "upstream_key_rejections_total" => plain(metrics.upstream_key_rejections.get().into()),
        "identity_mismatches_total" => plain(metrics.identity_mismatches.get().into()),
        "requests_total" => {
            for (route, counter) in metrics.requests() {
                for (status, count) in counter.counts() {
                    let status = status.to_string();
                    let labels = [("code", status.as_str()), ("route", route.label()), ("tenant", tenant)];
                    series.push(&labels, count.into());
                }
            }
        }
        "upstream_requests_total" => {
            for (code, count) in metrics.upstream_requests() {
                series.push(&[("code", &code), ("tenant", tenant)], count.into());
            }
        }
        "cache_requests_total" => {
            labelled(series, "outcome", tenant, metrics.lookups().map(|(k, n)| (k.label(), n)))
        }
        "cache_refusals_total" => {
            labelled(series, "reason", tenant, metrics.not_stored().map(|(k, n)| (k.label(), n)));
        }
        "cache_evictions_total" => {
            labelled(series, "cause", tenant, metrics.evictions().map(|(k, n)| (k.label(), n)))
        }
        "rate_limited_total" => {
            labelled(series, "limit", tenant, metrics.rate_limited().map(|(k, n)| (k.label(), n)))
        }
        _ => {}
    }
}

/// A series for each value of one closed label beside the tenant.
fn labelled(
    series: &mut Series,
    label: &str,
    tenant: &str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) {
    for (value, count) in counts {
        // Labels stand in the order of their names, as the registry wants them.
        let mut labels = [(label, value), ("tenant", tenant)];
        labels.sort_unstable();
        series.push(&labels, count.into());
    }
}

fn process_series(name: &str, shared: &Shared, series: &mut Series) {
    match name {
        "requests_total" => {
            for (status, count) in shared.nobody.counts() {
                let (status, route) = (status.to_string(), RouteLabel::None.label());
                let labels = [("code", status.as_str()), ("route", route), ("tenant", TenantName::NOBODY)];
                series.push(&labels, count.into());
            }
        }
        "requests_in_flight" => series.push(&[], shared.requests_in_flight.get().into()),
        "connections" => series.push(&[], shared.connections.get().into()),
        "log_lines_dropped_total" => series.push(&[], shared.log_drops.count().into()),
        "config_reloads_total" => {
            series.push(&[("result", "success")], shared.reloads.get().into());
            series.push(&[("result", "failure")], shared.failed_reloads.get().into());
        }
        "config_last_reload_success_timestamp_seconds" => series.push(&[], shared.last_reload.get().into()),
        "config_last_reload_successful" => series.push(&[], shared.last_reload_successful.get().into()),
        "tls_certificate_expiry_timestamp_seconds" => {
            if let Some(expiry) = **shared.certificate_expiry.load() {
                series.push(&[], expiry.as_second().into());
            }
        }
        "build_info" => series.push(&[("revision", super::REVISION), ("version", super::VERSION)], 1),
        _ => {}
    }
}
