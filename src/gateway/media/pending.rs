//! A request for media on its way: what it asks for, and what its call says.

use std::sync::Arc;

use http::StatusCode;

use super::fields::MediaFields;
use crate::cache::{CallMedia, Entry, Fallback, LinkText, Maturity, RequestDirectives, StoreMode};
use crate::clock;
use crate::config::CacheSettings;
use crate::domain::{CacheOutcome, Forward, MediaKind, NotStored, Part, Refusal};
use crate::gateway::below_memory::BelowMemory;
use crate::gateway::decisions::Miss;
use crate::gateway::fetch_task::judge_off_runtime;
use crate::gateway::lookup::PendingLookup;
use crate::gateway::lookup_context::{Deadlines, LookupContext};
use crate::gateway::plane::Gateway;
use crate::gateway::respond::{Found, LimitsToShow};
use crate::telemetry::Record;
use crate::tenant::ConcurrencyLimit;
use crate::upstream::{MediaRequest, Wanted};

/// A request for media that has not been answered.
pub(in crate::gateway) struct PendingMedia {
    pub(in crate::gateway) kind: MediaKind,
    pub(in crate::gateway) fields: MediaFields,
    pub(in crate::gateway) directives: RequestDirectives,
    pub(in crate::gateway) context: LookupContext,
    pub(in crate::gateway) in_flight: ConcurrencyLimit,
    pub(in crate::gateway) call: PendingCall,
    pub(in crate::gateway) limits: LimitsToShow,
}

/// The lookup of the call.
pub(in crate::gateway) enum PendingCall {
    /// The cache has answered it.
    Found(Option<Found>),
    Lookup(Box<PendingLookup>),
}

/// What the call's own bytes say.
pub(super) struct MediaCall {
    pub(super) media: CallMedia,
    pub(super) stored: Option<Arc<Entry>>,
    /// The same, if the answer came from there and the upstream has not been asked since.
    pub(super) cached: Option<Arc<Entry>>,
}

/// A call whose transcription is wanted.
pub(super) struct WantedTranscript {
    pub(super) call: Arc<Entry>,
    pub(super) link: LinkText,
    pub(super) maturity: Maturity,
    /// Whether the upstream has not been asked about the call since the client asked.
    pub(super) is_from_cache: bool,
}

impl PendingMedia {
    /// Reads the call's own bytes.
    pub(super) async fn read(
        &self,
        found: &Found,
        record: &mut Record,
        gateway: &Gateway,
    ) -> Result<MediaCall, Refusal> {
        let (body, kind, now) = (found.body(), self.kind, gateway.wall.now());
        let policy = Arc::clone(&self.context.policy);
        let media = judge_off_runtime(body.len(), move || CallMedia::read(&body, kind, &policy, now)).await;
        let media = media.map_err(|why| {
            note(record, None, Some(why));
            Refusal::UpstreamFailed
        })?;
        let stored = match found {
            Found::Entry { entry, .. } => Some(Arc::clone(entry)),
            Found::Part { .. } | Found::PassThrough(_) | Found::Again { .. } | Found::Media(_) => None,
        };
        let cached = stored.clone().filter(|_| record.call_came_from_cache());
        Ok(MediaCall { media, stored, cached })
    }

    /// A transcription that may be kept.
    pub(super) fn to_be_stored(&self, call: &MediaCall, link: &LinkText) -> Option<WantedTranscript> {
        let stored = call.stored.as_ref().filter(|_| is_kept(self.kind, &self.context.policy))?;
        Some(WantedTranscript {
            call: Arc::clone(stored),
            link: link.clone(),
            maturity: call.media.maturity,
            is_from_cache: call.cached.is_some(),
        })
    }

    /// A request for all of it, of which nothing is the client's.
    pub(super) fn whole_request(&self, record: &Record) -> MediaRequest {
        let request = self.request(record);
        MediaRequest { wanted: Wanted::Body, range: None, if_range: None, conditions: None, ..request }
    }

    pub(super) fn request(&self, record: &Record) -> MediaRequest {
        MediaRequest {
            kind: self.kind,
            wanted: self.fields.wanted,
            range: self.fields.range,
            if_range: self.fields.if_range.clone(),
            conditions: self.fields.conditions.clone(),
            request_id: record.id.clone(),
            trace: record.trace.clone(),
        }
    }

    /// Revalidates a call whose link is dead. `None` where that changes nothing: it failed, or the call has the
    /// same link, to be followed with the same key.
    pub(super) async fn renewed(
        &self,
        entry: &Arc<Entry>,
        dead: &LinkText,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Option<(Option<Arc<Entry>>, CallMedia)> {
        let keys = self.context.tenant.upstream().keys();
        let key = keys.active().map(|active| active.key);
        let mut context = self.context.clone();
        context.deadlines = Deadlines::starting(clock::now(), self.context.deadlines.total());
        let miss = Miss {
            forward: Forward::Request,
            seen: Some(Arc::clone(entry)),
            fallback: Fallback::Forbidden,
            store_mode: StoreMode::Store,
        };
        let mut lookup = PendingLookup {
            context,
            directives: RequestDirectives::default(),
            miss,
            below: BelowMemory::Skipped,
            in_flight: self.in_flight.clone(),
            wait: None,
        };
        let found = lookup.await_fetch(&gateway.fetches, &gateway.cutoff, record).await.ok()?;
        let MediaCall { media, stored, .. } = self.read(&found, record, gateway).await.ok()?;
        let is_other = media.link.as_ref() != Some(dead) || keys.active().map(|active| active.key) != key;
        (found.status() == StatusCode::OK && is_other).then_some((stored, media))
    }

    /// Has the call validated at its next lookup: what it links to is gone.
    pub(super) fn demand_validation(&self) {
        let generation = self.context.tenant.cache().current();
        generation.demand_validation(&self.context.id);
    }
}

/// Whether media of stored calls is kept: transcriptions are, where that is configured.
pub(in crate::gateway) fn is_kept(kind: MediaKind, policy: &CacheSettings) -> bool {
    kind == MediaKind::Transcription && policy.max_transcript_bytes > 0
}

/// Notes what became of a request to the upstream for what is not meant to be stored.
pub(super) fn note(record: &mut Record, status: Option<u16>, unusable: Option<NotStored>) {
    record.cache_outcome = Some(CacheOutcome::Unstored { status, unusable, part: Part::Led });
}
