//! A histogram's contents, for those who show times otherwise than by a scrape.

use prometheus::Histogram;
use prometheus::core::Metric;

/// How many times fell into each bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// One count a bucket, in the order of [`super::BUCKETS`], and what was longer than the last; not
    /// cumulative.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum_seconds: f64,
}

impl Times {
    /// What a histogram holds now.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let told = metric.get_histogram();
        let cumulative = told.get_bucket().iter().map(prometheus::proto::Bucket::cumulative_count);
        let mut below = 0;
        let apart = |upto: u64| {
            let count = upto.saturating_sub(below);
            below = upto;
            count
        };
        let counts = cumulative.chain([told.get_sample_count()]).map(apart).collect();
        Self { counts, sum_seconds: told.get_sample_sum() }
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
