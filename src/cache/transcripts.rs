//! Transcriptions of stored calls: whole bodies beside their calls, removed with them under the same lock, and one
//! fetch for all who want the same. Knows neither links' hosts nor how they are followed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::policy::LinkText;
use super::single_flight::{Joined, LeaderGuard};
use super::store::Entry;
use crate::clock::Instant;
use crate::config::CacheSettings;
use crate::domain::{CallId, Effort, ForwardOutcome, NotStored, Refusal};

/// The transcriptions of one tenant: those that were used least recently make room for others.
pub(crate) struct Transcripts {
    stored: Mutex<KeptTranscripts>,
    max_bytes: u64,
}

#[derive(Default)]
struct KeptTranscripts {
    entries: HashMap<CallId, StoredTranscript>,
    /// Each with the number of its last use, the oldest first.
    uses: BTreeMap<u64, CallId>,
    next_use: u64,
    bytes: u64,
}

struct StoredTranscript {
    entry: Arc<Entry>,
    /// What it was fetched from. A call with another link has another transcription.
    link: LinkText,
    last_use: u64,
}

/// The end of a transcription's fetch, shared by everyone who waited.
#[derive(Debug, Clone)]
pub(crate) struct TranscriptResult {
    pub(crate) outcome: ForwardOutcome,
    pub(crate) response: Result<Arc<Entry>, TranscriptFailure>,
    pub(crate) effort: Effort,
}

/// Why a fetch has brought no transcription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TranscriptFailure {
    /// Too large to be kept: each request for it is served as a stream.
    TooLarge,
    /// The link has stopped working.
    DeadLink(Refusal),
    Refused(Refusal),
}

/// The obligation to complete a transcription's fetch.
pub(crate) type TranscriptLeader = LeaderGuard<CallId, TranscriptResult>;

/// How a request takes part in a transcription's fetch.
pub(crate) type JoinedTranscript = Joined<CallId, TranscriptResult, Arc<Entry>, ()>;

/// A transcription that was fetched, and by what.
pub(crate) struct Transcript {
    pub(crate) entry: Arc<Entry>,
    /// The call, as it was stored.
    pub(crate) call: Arc<Entry>,
    pub(crate) link: LinkText,
}

impl TranscriptResult {
    pub(crate) const fn failed(outcome: ForwardOutcome, failure: TranscriptFailure) -> Self {
        Self { outcome, response: Err(failure), effort: Effort::NONE }
    }
}

impl Transcripts {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { stored: Mutex::default(), max_bytes }
    }

    fn stored(&self) -> MutexGuard<'_, KeptTranscripts> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transcription that was fetched from this link.
    pub(crate) fn get(&self, id: &CallId, link: &LinkText) -> Option<Arc<Entry>> {
        let mut stored = self.stored();
        let number = stored.next_use;
        let transcript = stored.entries.get_mut(id).filter(|transcript| transcript.link == *link)?;
        let before = std::mem::replace(&mut transcript.last_use, number);
        let entry = Arc::clone(&transcript.entry);
        stored.uses.remove(&before);
        stored.uses.insert(number, *id);
        stored.next_use += 1;
        Some(entry)
    }

    /// The same, without counting as a use.
    pub(super) fn peek(&self, id: &CallId, link: &LinkText) -> Option<Arc<Entry>> {
        let stored = self.stored();
        let transcript = stored.entries.get(id).filter(|transcript| transcript.link == *link)?;
        Some(Arc::clone(&transcript.entry))
    }

    /// Stores a transcription, if there is room for it once all others are gone.
    pub(super) fn insert(&self, id: &CallId, entry: Arc<Entry>, link: LinkText) -> Result<(), NotStored> {
        let mut stored = self.stored();
        stored.remove(id);
        let bytes = entry.weight() as u64;
        if bytes > self.max_bytes {
            return Err(NotStored::TooLarge);
        }
        while stored.bytes + bytes > self.max_bytes
            && let Some((_, oldest)) = stored.uses.first_key_value()
        {
            let oldest = *oldest;
            stored.remove(&oldest);
        }
        let last_use = stored.next_use;
        stored.next_use += 1;
        stored.bytes += bytes;
        stored.uses.insert(last_use, *id);
        stored.entries.insert(*id, StoredTranscript { entry, link, last_use });
        Ok(())
    }

    pub(super) fn remove(&self, id: &CallId) {
        self.stored().remove(id);
    }

    /// Removes what is of no use any more. Visits every transcription: not for the request path.
    pub(super) fn sweep(&self, policy: &CacheSettings, now: Instant) {
        let mut stored = self.stored();
        let spent = |transcript: &StoredTranscript| transcript.entry.freshness(policy, now).is_spent();
        let spent: Vec<_> = stored.entries.iter().filter(|(_, one)| spent(one)).map(|(id, _)| *id).collect();
        for id in spent {
            stored.remove(&id);
        }
    }
}

impl KeptTranscripts {
    fn remove(&mut self, id: &CallId) {
        if let Some(StoredTranscript { entry, last_use, .. }) = self.entries.remove(id) {
            self.uses.remove(&last_use);
            self.bytes = self.bytes.saturating_sub(entry.weight() as u64);
        }
    }
}

#[cfg(test)]
mod tests;
