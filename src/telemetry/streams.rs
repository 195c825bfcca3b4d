//! One stream's counters: it ends once.

use std::sync::Arc;

use super::media::StreamEnd;
use super::tenant::TenantMetrics;
use crate::domain::MediaKind;

/// Counts one stream while it flows, and its end when it is dropped: as that of a client that left, unless it ended
/// otherwise.
pub(crate) struct StreamTally {
    tenant: Arc<TenantMetrics>,
    kind: MediaKind,
    end: Option<StreamEnd>,
    bytes: u64,
}

impl StreamTally {
    pub(crate) fn begin(tenant: &Arc<TenantMetrics>, kind: MediaKind) -> Self {
        tenant.media.streams.raise();
        Self { tenant: Arc::clone(tenant), kind, end: None, bytes: 0 }
    }

    /// Bytes were handed over.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.tenant.media.count_bytes(self.kind, bytes);
    }

    /// Notes how it ended. The first end counts.
    pub(crate) fn end(&mut self, end: StreamEnd) {
        self.end.get_or_insert(end);
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How it ended, if it was dropped now.
    pub(crate) fn outcome(&self) -> StreamEnd {
        self.end.unwrap_or(StreamEnd::Client)
    }
}

impl Drop for StreamTally {
    fn drop(&mut self) {
        let media = &self.tenant.media;
        media.streams.lower();
        media.count_end(self.kind, self.outcome());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TenantName;

    #[test]
    fn a_stream_is_counted_while_it_flows_and_ends_once() {
        let tenant = Arc::new(TenantMetrics::new(TenantName::parse("a").unwrap()));
        let mut tally = StreamTally::begin(&tenant, MediaKind::Recording);
        tally.add(7);
        assert_eq!((tenant.media.streams(), tenant.media.bytes(MediaKind::Recording)), (1, 7));
        tally.end(StreamEnd::Timeout);
        tally.end(StreamEnd::Whole);
        drop(tally);
        drop(StreamTally::begin(&tenant, MediaKind::Recording));
        let ends: Vec<_> = tenant.media.ends(MediaKind::Recording).filter(|(_, count)| *count > 0).collect();
        assert_eq!(ends, [(StreamEnd::Client, 1), (StreamEnd::Timeout, 1)]);
        assert_eq!(tenant.media.streams(), 0);
        assert!(tenant.media.ends(MediaKind::Transcription).all(|(_, count)| count == 0));
    }
}
