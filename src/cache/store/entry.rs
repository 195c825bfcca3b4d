//! A stored response with its freshness inputs.

use std::sync::Arc;

use http::header::{ETAG, LAST_MODIFIED};

use super::renewal_backoff::RenewalBackoff;
use super::stored_response::StoredResponse;
use crate::cache::policy::{Candidate, Freshness, FreshnessInputs, upstream_validators};
use crate::clock::Instant;
use crate::config::CacheSettings;
use crate::message::Validators;

/// The size of an entry beside its text: its struct, its key, and moka's nodes and table. Measured as the growth of
/// the process's memory over 100,000 entries, less their bytes.
const OVERHEAD_BYTES: usize = 640;

/// The value stored under a key.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) response: StoredResponse,
    pub(crate) inputs: FreshnessInputs,
    renewals: RenewalBackoff,
}

impl Entry {
    pub(crate) fn new(candidate: &Candidate) -> Arc<Self> {
        let response = StoredResponse::new(&candidate.response, candidate.own);
        Arc::new(Self { response, inputs: candidate.inputs.clone(), renewals: RenewalBackoff::default() })
    }

    /// The candidate that it was stored from, to be renewed by a 304.
    pub(crate) fn to_candidate(&self) -> Candidate {
        Candidate { response: self.response.unpack(), own: self.response.own(), inputs: self.inputs.clone() }
    }

    /// The same, to be validated before it is served as fresh again.
    pub(crate) fn to_be_validated(&self) -> Arc<Self> {
        let mut candidate = self.to_candidate();
        candidate.inputs.must_validate = true;
        Self::new(&candidate)
    }

    /// The validators that the upstream sent for it.
    pub(crate) fn validators(&self) -> Validators {
        let Self { response, .. } = self;
        upstream_validators(response.field(&ETAG), response.field(&LAST_MODIFIED), response.own())
    }

    pub(crate) fn freshness(&self, policy: &CacheSettings, now: Instant) -> Freshness {
        Freshness::of(&self.inputs, policy, now)
    }

    /// What it weighs against the cache's size.
    pub(crate) fn weight(&self) -> usize {
        self.response.len() + OVERHEAD_BYTES
    }

    /// Whether it is a stored 404.
    pub(crate) fn is_negative(&self) -> bool {
        self.inputs.is_negative()
    }

    /// Whether it may be revalidated in the background now, considering failed attempts.
    pub(crate) fn renewal_is_due(&self, now: Instant) -> bool {
        self.renewals.is_due(self.inputs.received(), now)
    }

    /// Notes a renewal that sent nothing, because it yielded to waiting lookups.
    pub(crate) fn note_delayed_renewal(&self, now: Instant) {
        self.renewals.note_delay(self.inputs.received(), now);
    }

    pub(crate) fn note_failed_renewal(&self, now: Instant) {
        self.renewals.note_failure(self.inputs.received(), now);
    }
}
