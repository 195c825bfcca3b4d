//! The counts of the last minutes, so that whoever opens the dashboard sees what has led to now.
//!
//! A sample is kept as the JSON that it is told in, about a kilobyte; there are [`KEPT`] of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::totals::Totals;
use crate::clock::{self, Instant};
use crate::gateway::Gateway;

/// Time between two samples.
pub const EVERY: Duration = Duration::from_secs(10);
/// Samples that are kept: a quarter of an hour.
const KEPT: usize = 91;

/// The last samples, the oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Box<RawValue>>>);

/// What `/api/v1/history` tells.
#[derive(Debug, Serialize)]
pub struct Told {
    every_seconds: u64,
    samples: Vec<Box<RawValue>>,
}

impl History {
    /// Takes a sample every [`EVERY`], for ever. With very many tenants one takes milliseconds, so it
    /// is taken beside the runtime.
    pub async fn keep(self: Arc<Self>, gateway: Arc<Gateway>, started: Instant) {
        loop {
            let (history, gateway) = (Arc::clone(&self), Arc::clone(&gateway));
            let sampling = tokio::task::spawn_blocking(move || {
                history.push(&Totals::of(&gateway, clock::now().duration_since(started)));
            });
            // A sample that failed leaves a gap.
            let _ = sampling.await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The samples so far.
    pub fn tell(&self) -> Told {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Told { every_seconds: EVERY.as_secs(), samples: samples.iter().cloned().collect() }
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
        let history = History::default();
        for number in 0..KEPT + 3 {
            history.push(&number);
        }
        let told = serde_json::to_value(history.tell()).unwrap();
        assert_eq!(told["every_seconds"], 10);
        let samples = told["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &samples[0], &samples[KEPT - 1]), (KEPT, &3.into(), &(KEPT + 2).into()));
    }
}
