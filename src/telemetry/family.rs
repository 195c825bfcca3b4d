//! One metric as a row: its name, and the series that a scrape gets of it.

use prometheus::proto::{
    Bucket, Counter as CounterValue, Gauge as GaugeValue, Histogram as HistogramValue, LabelPair, Metric,
    MetricType,
};

use super::shared::Shared;
use super::tenant::TenantMetrics;
use super::times::{BUCKETS, Times};

/// One metric: its name without the prefix, and where its series come from.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) tenant: fn(&TenantMetrics, &mut Series<'_>),
    pub(super) process: fn(&Shared, &mut Series<'_>),
}

impl Family {
    pub(super) const fn tenant(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        tenant: fn(&TenantMetrics, &mut Series<'_>),
    ) -> Self {
        Self { name, help, kind, tenant, process: |_, _| {} }
    }

    pub(super) const fn process(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        process: fn(&Shared, &mut Series<'_>),
    ) -> Self {
        Self { name, help, kind, tenant: |_, _| {}, process }
    }

    /// Adds requests without a tenant.
    pub(super) const fn everyone(self, process: fn(&Shared, &mut Series<'_>)) -> Self {
        Self { process, ..self }
    }
}

pub(super) const COUNTER: MetricType = MetricType::COUNTER;
pub(super) const GAUGE: MetricType = MetricType::GAUGE;

/// Collects a family's series; those of a tenant get its label.
pub(super) struct Series<'a> {
    pub(super) kind: MetricType,
    pub(super) tenant: Option<&'a str>,
    pub(super) metrics: &'a mut Vec<Metric>,
}

impl Series<'_> {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' values are floats")]
    pub(super) fn push(&mut self, labels: &[(&str, &str)], value: i128) {
        let mut metric = self.labelled(labels);
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

    /// The only series of a gauge.
    pub(super) fn push_float(&mut self, value: f64) {
        let (mut metric, mut gauge) = (self.labelled(&[]), GaugeValue::default());
        gauge.set_value(value);
        metric.set_gauge(gauge);
        self.metrics.push(metric);
    }

    pub(super) fn push_times(&mut self, labels: &[(&str, &str)], times: &Times) {
        let mut histogram = HistogramValue::default();
        let mut below = 0;
        let buckets = times.counts.iter().zip(BUCKETS).map(|(count, bound)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(times.counts.iter().sum());
        histogram.set_sample_sum(times.sum_seconds);
        let mut metric = self.labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// A series for each value of one closed label.
    pub(super) fn each(&mut self, label: &str, counts: impl Iterator<Item = (&'static str, u64)>) {
        for (value, count) in counts {
            self.push(&[(label, value)], count.into());
        }
    }

    /// As [`each`](Self::each), for values that have been counted.
    pub(super) fn seen(&mut self, label: &str, counts: impl Iterator<Item = (&'static str, u64)>) {
        self.each(label, counts.filter(|(_, count)| *count > 0));
    }

    /// The registry wants labels in the order of their names.
    fn labelled(&self, labels: &[(&str, &str)]) -> Metric {
        let mut all: Vec<_> =
            labels.iter().copied().chain(self.tenant.map(|name| ("tenant", name))).collect();
        all.sort_unstable();
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.into());
            pair.set_value(value.into());
            pair
        };
        Metric::from_label(all.into_iter().map(pair).collect())
    }
}
