//! One fetch of a transcription, as its own task: a client that leaves does not cancel it for the others.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, StatusCode};

use super::answer::fields_of;
use super::refusal::{self, is_dead};
use crate::cache::{
    Entry, JoinedTranscript, Judgement, LinkText, Maturity, StoreMode, Transcript, TranscriptFailure,
    TranscriptLeader, TranscriptResult, admit_transcript, judge_renewal,
};
use crate::clock::{self, Instant, WallClock};
use crate::domain::{ForwardOutcome, MediaKind, NotStored, Refusal};
use crate::gateway::fetch_task::FetchSpawner;
use crate::gateway::lookup_context::LookupContext;
use crate::message::{ClientResponse, UpstreamResponse};
use crate::tenant::SlotPermit;
use crate::upstream::{MediaFetched, MediaReadError, MediaRequest, OpenMedia};

/// A fetch that is about to begin.
pub(super) struct TranscriptTask {
    pub(super) context: LookupContext,
    /// The call, as it is stored, and its link.
    pub(super) call: Arc<Entry>,
    pub(super) link: LinkText,
    pub(super) maturity: Maturity,
    /// The stored transcription, to be revalidated.
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) request: MediaRequest,
    pub(super) wall: WallClock,
}

/// What a fetch has brought.
enum Brought {
    /// To be stored, unless this says why not.
    Entry {
        entry: Arc<Entry>,
        status: u16,
        refused: Option<NotStored>,
    },
    Failed {
        outcome: ForwardOutcome,
        failure: TranscriptFailure,
    },
}

impl TranscriptTask {
    /// Starts it for everyone who waits.
    pub(super) fn spawn(self, leader: TranscriptLeader, slot: SlotPermit, spawner: &FetchSpawner) {
        spawner.spawn(self.run(leader, slot));
    }

    /// Starts it in the background, to renew what is stored, unless a fetch is in flight, the last renewal has just
    /// failed, or there is no place for it.
    pub(super) fn renew(self, spawner: &FetchSpawner) {
        let Some(entry) = self.entry.as_ref().filter(|entry| entry.renewal_is_due(clock::now())) else {
            return;
        };
        let Some(slot) = self.context.tenant.waits().streams.take() else { return };
        let LookupContext { generation, id, .. } = &self.context;
        if let JoinedTranscript::Lead { guard, .. } =
            generation.join_transcript(id, StoreMode::Store, &self.link, Some(entry))
        {
            self.spawn(guard, slot, spawner);
        }
    }

    async fn run(mut self, leader: TranscriptLeader, slot: SlotPermit) {
        let validators = self.entry.as_ref().map(|entry| entry.validators());
        self.request.conditions = validators.filter(|validators| !validators.are_empty());
        let end = clock::now() + self.context.tenant.upstream().media_settings().total_timeout;
        let upstream = Arc::clone(self.context.tenant.upstream());
        let mut fetched = upstream.open_media(self.link.as_str(), &self.request, end).await;
        let mut effort = fetched.effort;
        let mut brought = self.judge(fetched, end).await;
        if brought.is_none() {
            // A 304 about another version: all of it is needed.
            self.request.conditions = None;
            fetched = upstream.open_media(self.link.as_str(), &self.request, end).await;
            effort = effort.plus(fetched.effort);
            brought = self.judge(fetched, end).await;
        }
        // Before those who waited resume, so that one who asks again finds a place.
        drop(slot);
        let generation = &self.context.generation;
        match brought {
            Some(Brought::Entry { entry, status, refused }) => {
                let ttl = entry.freshness(&self.context.policy, clock::now()).ttl();
                let transcript = Transcript { entry, call: self.call, link: self.link };
                generation.complete_transcript(leader, transcript, refused, (status, ttl), effort);
            }
            Some(Brought::Failed { outcome, failure }) => {
                self.note_failed_renewal();
                let result = TranscriptResult { effort, ..TranscriptResult::failed(outcome, failure) };
                generation.fail_transcript(leader, result);
            }
            None => {
                let failure = TranscriptFailure::Refused(Refusal::UpstreamFailed);
                let result = TranscriptResult::failed(ForwardOutcome::NoResponse, failure);
                generation.fail_transcript(leader, TranscriptResult { effort, ..result });
            }
        }
    }

    fn note_failed_renewal(&self) {
        if let Some(entry) = &self.entry {
            entry.note_failed_renewal(clock::now());
        }
    }

    /// What a response comes to; `None` for a 304 about another version.
    async fn judge(&self, fetched: MediaFetched, end: Instant) -> Option<Brought> {
        let status = fetched.status.map(|status| status.as_u16());
        let open = match fetched.result {
            Ok(open) => open,
            Err(error) => {
                let (refusal, unusable) = refusal::of(error, self.maturity, MediaKind::Transcription);
                let why = unusable.unwrap_or(NotStored::Status);
                let outcome = status
                    .map_or(ForwardOutcome::NoResponse, |status| ForwardOutcome::NotStored { status, why });
                let failure = if is_dead(&error) {
                    TranscriptFailure::DeadLink(refusal)
                } else {
                    TranscriptFailure::Refused(refusal)
                };
                return Some(Brought::Failed { outcome, failure });
            }
        };
        if open.head.status == StatusCode::NOT_MODIFIED {
            return self.renewed(open);
        }
        Some(self.whole(open, end).await)
    }

    /// Lays a 304 over what is stored.
    fn renewed(&self, open: OpenMedia) -> Option<Brought> {
        let stored = self.entry.as_ref()?;
        let asked = self.request.conditions.clone().unwrap_or_default();
        let OpenMedia { head, headers, times, .. } = open;
        // Of its fields only those that pass.
        let mut fields: HeaderMap = head.fields.into_iter().collect();
        fields.extend(headers.get(AGE).map(|age| (AGE, age.clone())));
        let response = UpstreamResponse { status: head.status, headers: fields, body: Bytes::new(), times };
        let jitter = fastrand::u16(0..=1000);
        match judge_renewal(&response, stored.to_candidate(), &asked, &self.context.policy, jitter) {
            Judgement::Renewed(candidate) => {
                Some(Brought::Entry { entry: Entry::new(&candidate), status: 304, refused: None })
            }
            Judgement::Withdrawn(candidate, why) => {
                Some(Brought::Entry { entry: Entry::new(&candidate), status: 304, refused: Some(why) })
            }
            Judgement::OtherVersion | Judgement::Admitted(..) => None,
        }
    }

    /// Reads a whole transcription, if it is not too large to be kept.
    async fn whole(&self, open: OpenMedia, end: Instant) -> Brought {
        let OpenMedia { head, headers, body, mut times } = open;
        let status = head.status.as_u16();
        let settings = self.context.tenant.upstream().media_settings();
        let most = self.context.policy.max_entry_bytes;
        let failed =
            |why, failure| Brought::Failed { outcome: ForwardOutcome::NotStored { status, why }, failure };
        let body = match body.read(head.length, most, settings.idle_timeout, end).await {
            Ok(body) => body,
            Err(MediaReadError::TooLarge) => return failed(NotStored::TooLarge, TranscriptFailure::TooLarge),
            Err(MediaReadError::Truncated) => {
                let failure = TranscriptFailure::Refused(Refusal::UpstreamFailed);
                return failed(NotStored::InvalidBody, failure);
            }
            Err(MediaReadError::Timeout) => {
                let failure = TranscriptFailure::Refused(Refusal::UpstreamTimeout);
                return Brought::Failed { outcome: ForwardOutcome::NoResponse, failure };
            }
        };
        times.received = clock::now();
        times.received_at = self.wall.now();
        let fields = fields_of(head, &self.context.id, &self.wall);
        let response = ClientResponse { status: StatusCode::OK, fields, body };
        let jitter = fastrand::u16(0..=1000);
        let (candidate, refused) = admit_transcript(
            response,
            &headers,
            times,
            self.call.inputs.kind(),
            &self.context.policy,
            jitter,
        );
        Brought::Entry { entry: Entry::new(&candidate), status, refused }
    }
}
