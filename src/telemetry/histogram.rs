//! A histogram of times as plain atomics, small enough for each of a thousand tenants to have one.

use std::time::Duration;

use super::counter::Counter;
use super::times::{BUCKETS, Times};

/// How many durations fell into each of [`BUCKETS`], and how many exceeded the last.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [Counter; BUCKETS.len()],
    longer: Counter,
    /// The sum of all durations. Wraps after 584 years.
    nanoseconds: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BUCKETS.partition_point(|bound| *bound < seconds);
        self.counts.get(place).unwrap_or(&self.longer).increment();
        self.nanoseconds.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn times(&self) -> Times {
        Times {
            counts: self.counts.iter().chain([&self.longer]).map(Counter::get).collect(),
            sum_seconds: Duration::from_nanos(self.nanoseconds.get()).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for millis in [1, 1, 2, 10_000, 10_001, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let times = histogram.times();
        let mut filled = times.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        assert_eq!(filled.next(), Some((4, &2)), "1 ms is the fifth bound itself");
        assert_eq!(filled.next(), Some((5, &1)));
        assert_eq!(filled.next(), Some((16, &1)));
        assert_eq!(filled.next(), Some((17, &2)));
        assert!((times.sum_seconds - 80.005).abs() < 1e-9);
    }
}
