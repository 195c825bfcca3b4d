//! Counters of recordings and transcriptions.

use std::collections::BTreeMap;

use http::StatusCode;

use super::counter::{Counter, Gauge, StatusCounter};
use super::upstream_failure::UpstreamFailure;
use crate::domain::{MediaKind, Outcome};

/// How a stream ended; the `end` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// All of it was handed over.
    Whole,
    /// The client left.
    Client,
    /// The upstream broke it off, or sent another length than it had said.
    Upstream,
    /// The upstream paused, or the whole took, too long.
    Timeout,
    TooLarge,
    Drain,
}

impl StreamEnd {
    pub(crate) const ALL: [Self; 6] =
        [Self::Whole, Self::Client, Self::Upstream, Self::Timeout, Self::TooLarge, Self::Drain];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Drain => "drain",
        }
    }

    /// Whether the client got less than it was promised, and did not leave by itself.
    pub(crate) const fn is_break(self) -> bool {
        match self {
            Self::Whole | Self::Client => false,
            Self::Upstream | Self::Timeout | Self::TooLarge | Self::Drain => true,
        }
    }
}

/// One tenant's counters of media.
#[derive(Debug, Default)]
pub(crate) struct MediaMetrics {
    /// Streams that flow.
    pub(super) streams: Gauge,
    kinds: [KindMetrics; MediaKind::ALL.len()],
    host_answers: StatusCounter,
    host_failures: [Counter; UpstreamFailure::ALL.len()],
    transcript_lookups: [Counter; Outcome::ALL.len()],
}

#[derive(Debug, Default)]
struct KindMetrics {
    bytes: Counter,
    ends: [Counter; StreamEnd::ALL.len()],
}

impl MediaMetrics {
    fn of(&self, kind: MediaKind) -> &KindMetrics {
        let [recording, transcription] = &self.kinds;
        match kind {
            MediaKind::Recording => recording,
            MediaKind::Transcription => transcription,
        }
    }

    /// Counts a request to a media host.
    pub(crate) fn count_host(&self, outcome: Result<StatusCode, UpstreamFailure>) {
        match outcome {
            Ok(status) => self.host_answers.increment(status),
            Err(failure) => self.host_failures.get(failure as usize).into_iter().for_each(Counter::increment),
        }
    }

    /// Counts an answer that was handed over whole, from memory.
    pub(crate) fn count_whole(&self, kind: MediaKind, bytes: u64) {
        self.count_bytes(kind, bytes);
        self.count_end(kind, StreamEnd::Whole);
    }

    /// Counts a request for a transcription that may be stored.
    pub(crate) fn count_transcript_lookup(&self, outcome: Outcome) {
        self.transcript_lookups.get(outcome as usize).into_iter().for_each(Counter::increment);
    }

    pub(crate) fn streams(&self) -> i64 {
        self.streams.get()
    }

    pub(crate) fn bytes(&self, kind: MediaKind) -> u64 {
        self.of(kind).bytes.get()
    }

    /// Streams by their end.
    pub(crate) fn ends(&self, kind: MediaKind) -> impl Iterator<Item = (StreamEnd, u64)> {
        StreamEnd::ALL.into_iter().zip(self.of(kind).ends.iter().map(Counter::get))
    }

    /// Counts a stream's one end.
    pub(super) fn count_end(&self, kind: MediaKind, end: StreamEnd) {
        self.of(kind).ends.get(end as usize).into_iter().for_each(Counter::increment);
    }

    /// Counts bytes that were handed over.
    pub(super) fn count_bytes(&self, kind: MediaKind, bytes: u64) {
        self.of(kind).bytes.add(bytes);
    }

    /// Requests to media hosts by status or kind of failure; failures are there only once they happened.
    pub(crate) fn host_requests(&self) -> impl Iterator<Item = (String, u64)> {
        let answers: BTreeMap<_, _> = self.host_answers.counts();
        let failures = UpstreamFailure::ALL.into_iter().zip(self.host_failures.iter().map(Counter::get));
        let failures = failures.filter(|(_, count)| *count > 0);
        answers
            .into_iter()
            .map(|(status, count)| (status.to_string(), count))
            .chain(failures.map(|(kind, count)| (kind.label().to_owned(), count)))
    }

    pub(crate) fn transcript_lookups(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.transcript_lookups.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enums_stand_in_the_order_of_their_lists() {
        assert!(StreamEnd::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(MediaKind::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
    }
}
