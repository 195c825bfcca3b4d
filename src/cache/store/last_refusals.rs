//! The last responses that were not stored, and why: an operator's first question.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::clock::Instant;
use crate::domain::{CallId, NotStored};

/// How many are remembered.
const MOST: usize = 256;

/// A bounded memory of refusals.
#[derive(Debug, Default)]
pub(crate) struct LastRefusals(Mutex<VecDeque<Remembered>>);

#[derive(Debug, Clone, Copy)]
struct Remembered {
    id: CallId,
    why: NotStored,
    at: Instant,
}

impl LastRefusals {
    /// Remembers one, in place of the oldest.
    pub(crate) fn note(&self, id: &CallId, why: NotStored, at: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back(Remembered { id: *id, why, at });
    }

    /// Why the last response about a call was not stored, and when.
    pub(crate) fn last(&self, id: &CallId) -> Option<(NotStored, Instant)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .rev()
            .find(|remembered| remembered.id == *id)
            .map(|remembered| (remembered.why, remembered.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_last_reason_is_remembered_and_the_memory_is_bounded() {
        let refusals = LastRefusals::default();
        let id = |n: usize| CallId::parse(format!("call_{n}").as_bytes()).unwrap();
        refusals.note(&id(0), NotStored::NotCompleted, clock::now());
        refusals.note(&id(0), NotStored::NoStore, clock::now());
        assert_eq!(refusals.last(&id(0)).map(|(why, _)| why), Some(NotStored::NoStore));
        for n in 1..=MOST {
            refusals.note(&id(n), NotStored::Status, clock::now());
        }
        assert!(refusals.last(&id(0)).is_none() && refusals.last(&id(MOST)).is_some());
        assert_eq!(refusals.0.lock().unwrap().len(), MOST);
    }
}
