//! The counts of the last minutes, so that a dashboard has data as soon as it is opened.
//!
//! A sample is stored as the JSON that the API sends, about a kilobyte. [`KEPT`] of them are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::totals::Totals;
use crate::clock::{self, Instant};
use crate::gateway::Gateway;

/// Time between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// The number of samples: a quarter of an hour.
const KEPT: usize = 91;

/// The last samples, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct SampleHistory(Mutex<VecDeque<Box<RawValue>>>);

/// The answer of `/api/v1/history`.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryReport {
    every_seconds: u64,
    samples: Vec<Box<RawValue>>,
}

impl SampleHistory {
    /// Takes a sample every [`EVERY`] until the process ends. With very many tenants that takes milliseconds, so it
    /// runs off the runtime.
    pub(crate) async fn keep(self: Arc<Self>, gateway: Arc<Gateway>, started: Instant) {
        loop {
            let (history, gateway) = (Arc::clone(&self), Arc::clone(&gateway));
            let sampling = tokio::task::spawn_blocking(move || {
                history.push(&Totals::of(&gateway, clock::now().duration_since(started)));
            });
            // A failed sample leaves a gap.
            let _ = sampling.await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The samples taken so far.
    pub(crate) fn report(&self) -> HistoryReport {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        HistoryReport { every_seconds: EVERY.as_secs(), samples: samples.iter().cloned().collect() }
    }

    fn push(&self, sample: &impl Serialize) {
        // Numbers under string keys always serialise.
        let Ok(sample) = to_raw_value(sample) else { return };
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sample_makes_room_for_the_newest() {
        let history = SampleHistory::default();
        for number in 0..KEPT + 3 {
            history.push(&number);
        }
        let report = serde_json::to_value(history.report()).unwrap();
        assert_eq!(report["every_seconds"], 10);
        let samples = report["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &samples[0], &samples[KEPT - 1]), (KEPT, &3.into(), &(KEPT + 2).into()));
    }
}
