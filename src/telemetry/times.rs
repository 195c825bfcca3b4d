//! A histogram's contents, for the API and the dashboard.

use prometheus::Histogram;
use prometheus::core::Metric;

/// The upper bounds of the histograms' buckets, in seconds. A hit takes some 20 µs, a fetch 10 ms to 10 s.
pub(crate) const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Counts of durations by bucket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Times {
    /// One count for each of [`BUCKETS`], and one for longer durations; not cumulative.
    pub(crate) counts: Vec<u64>,
    /// The sum of all durations.
    pub(crate) sum_seconds: f64,
}

impl Times {
    /// The sum of both.
    pub(super) fn plus(mut self, other: Self) -> Self {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
        Self { sum_seconds: self.sum_seconds + other.sum_seconds, ..self }
    }

    /// Reads a histogram.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        let cumulative = histogram.get_bucket().iter().map(prometheus::proto::Bucket::cumulative_count);
        let mut below = 0;
        let apart = |upto: u64| {
            let count = upto.saturating_sub(below);
            below = upto;
            count
        };
        let counts = cumulative.chain([histogram.get_sample_count()]).map(apart).collect();
        Self { counts, sum_seconds: histogram.get_sample_sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::HistogramOpts;

    #[test]
    fn each_bucket_has_its_own_count() {
        let options = HistogramOpts::new("a", "b").buckets(vec![0.1, 1.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        for seconds in [0.05, 0.1, 0.5, 2.0, 3.0] {
            histogram.observe(seconds);
        }
        let times = Times::of(&histogram);
        assert_eq!(times.counts, [2, 1, 2]);
        assert!((times.sum_seconds - 5.65).abs() < 1e-9);
    }
}
