//! Evaluates a request for a call's recording or transcription without side effects, by the decisions of
//! `media/story.rs` in their order. Of a link it shows whose host it names and when it expires, and nothing else.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::decisions::{CacheDecision, CachedAnswer, decide, fall_back};
use super::explained::Explained;
use super::media::{is_kept, missing};
use super::snapshot::Snapshot;
use crate::cache::{CallMedia, Entry, LinkText, RequestDirectives};
use crate::clock::Instant;
use crate::domain::{CallId, MediaKind, NotStored, Overload, Refusal};
use crate::tenant::Tenant;
use crate::upstream::{LinkProspect, Urgency};

/// What would come of a request for a recording or transcription.
#[derive(Debug, Serialize)]
pub(super) struct ExplainedMedia {
    kind: &'static str,
    #[serde(flatten)]
    verdict: Explained,
    link: LinkState,
    /// Whose host the link names.
    host: Option<&'static str>,
    /// When the link says that it expires, if it does; negative once it has.
    expires_in_seconds: Option<i64>,
    /// How many more streams the tenant may begin.
    streams_left: usize,
}

/// What the call says of the link.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum LinkState {
    Found,
    /// The call has none.
    Absent,
    /// It is no URL that may be followed.
    Unusable,
    /// The call is not stored.
    Unknown,
}

/// The verdict on the lookup of a call, with which every request for its media begins.
pub(super) struct CallVerdict {
    pub(super) explained: Explained,
    /// The stored call that would be served.
    pub(super) entry: Option<Arc<Entry>>,
}

impl CallVerdict {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { explained: Explained::refused(refusal), entry: None }
    }

    pub(super) fn served(answer: CachedAnswer) -> Self {
        let entry = Some(answer.entry).filter(|entry| !entry.is_negative());
        Self { explained: Explained::served(answer.outcome), entry }
    }

    pub(super) const fn without_entry(explained: Explained) -> Self {
        Self { explained, entry: None }
    }
}

/// A request for the media of a call.
pub(super) struct MediaEvaluation<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) tenant: &'a Tenant,
    pub(super) directives: RequestDirectives,
    pub(super) now: Instant,
    pub(super) wall_now: Timestamp,
}

impl MediaEvaluation<'_> {
    /// Explains a request for a call's media, after the verdict on the lookup of the call.
    pub(super) fn explain(&self, kind: MediaKind, id: &CallId, call: &CallVerdict) -> ExplainedMedia {
        let mut explained = ExplainedMedia {
            kind: kind.label(),
            verdict: call.explained.before_media(),
            link: LinkState::Unknown,
            host: None,
            expires_in_seconds: None,
            streams_left: self.tenant.waits().streams.free(),
        };
        if let Some(entry) = &call.entry {
            explained.verdict = self.follow(kind, id, entry, &mut explained);
        }
        explained
    }

    fn follow(
        &self,
        kind: MediaKind,
        id: &CallId,
        entry: &Entry,
        explained: &mut ExplainedMedia,
    ) -> Explained {
        let body = entry.response.body();
        let media = match CallMedia::read(&body, kind, &self.snapshot.policy, self.wall_now) {
            Ok(media) => media,
            Err(why) => {
                explained.link = LinkState::Unusable;
                return Explained::unusable(why, "the call has something else in place of a link");
            }
        };
        let Some(link) = media.link else {
            explained.link = LinkState::Absent;
            return Explained::refused(missing(kind, media.maturity));
        };
        let prospect = self.tenant.upstream().link_prospect(link.as_str());
        (explained.link, explained.host) = match prospect {
            LinkProspect::Upstream => (LinkState::Found, Some("upstream")),
            LinkProspect::MediaHost => (LinkState::Found, Some("media-host")),
            LinkProspect::HostNotAllowed => (LinkState::Found, Some("not-allowed")),
            LinkProspect::Unusable => (LinkState::Unusable, None),
        };
        explained.expires_in_seconds = link.expiry().map(|then| then - self.wall_now.as_second());
        if is_kept(kind, &self.snapshot.policy) {
            return self.transcription(id, &link, prospect);
        }
        if self.directives.only_if_cached {
            return Explained::refused(Refusal::NotCached);
        }
        self.obstacle(prospect).map_or_else(Explained::link_followed, |obstacle| obstacle.explained)
    }

    /// A transcription that is stored, or would be.
    fn transcription(&self, id: &CallId, link: &LinkText, prospect: LinkProspect) -> Explained {
        let generation = self.tenant.cache().current();
        let stored = generation.held_transcript(id, link);
        let miss = match decide(stored, &self.directives, &self.snapshot.policy, self.now) {
            CacheDecision::Serve(answer) | CacheDecision::Renew(answer) => {
                return Explained::served(answer.outcome);
            }
            CacheDecision::NotCached(_) => return Explained::refused(Refusal::NotCached),
            CacheDecision::Fetch(miss) => miss,
        };
        if generation.is_fetching_transcript(id) {
            return Explained::transcript_followed();
        }
        let Some(obstacle) = self.obstacle(prospect) else { return Explained::link_followed() };
        let is_failure = obstacle.refusal.is_upstream_failure();
        match fall_back(&miss, &self.snapshot.policy, self.now).filter(|_| is_failure) {
            Some(_) => Explained::stale_for(obstacle.refusal),
            None => obstacle.explained,
        }
    }

    /// What keeps a link from being followed now.
    fn obstacle(&self, prospect: LinkProspect) -> Option<Obstacle> {
        if self.tenant.waits().streams.free() == 0 {
            return Some(Obstacle::of(Refusal::Overloaded(Overload::MediaStreams)));
        }
        let why = match prospect {
            LinkProspect::MediaHost => return None,
            LinkProspect::Upstream => {
                let refused = self.tenant.upstream().would_refuse(Urgency::Foreground, self.now)?;
                return Some(Obstacle::of(refused.refusal()));
            }
            LinkProspect::HostNotAllowed => "the link's host is not one of media.hosts; the log names it",
            LinkProspect::Unusable => "the link is no URL that may be followed",
        };
        let explained = Explained::unusable(NotStored::Link, why);
        Some(Obstacle { refusal: Refusal::UpstreamFailed, explained })
    }
}

/// Why a link is not followed.
struct Obstacle {
    refusal: Refusal,
    explained: Explained,
}

impl Obstacle {
    fn of(refusal: Refusal) -> Self {
        Self { refusal, explained: Explained::refused(refusal) }
    }
}
