//! The wait that a lookup asks for. Not read for hits, which don't need it.

use std::time::Duration;

use http::HeaderMap;

use crate::cache::{PollPauses, WaitBounds, WaitTimes};
use crate::clock::Instant;
use crate::config::WaitSettings;
use crate::message::preferred_wait;

/// A client's wait, as far as it is granted.
pub(super) struct RequestedWait {
    pub(super) asked: Instant,
    pub(super) length: Duration,
    pub(super) bounds: WaitBounds,
}

impl RequestedWait {
    /// Reads a request. `None` if it does not wait.
    pub(super) fn read(headers: &HeaderMap, settings: &WaitSettings, asked: Instant) -> Option<Self> {
        let length = preferred_wait(headers)?.min(settings.max);
        let pauses = PollPauses { shortest: settings.poll_min, longest: settings.poll_max };
        let bounds = WaitBounds { waiting: settings.max_waiting, calls: settings.max_calls, pauses };
        (!length.is_zero()).then_some(Self { asked, length, bounds })
    }

    pub(super) fn times(&self, fetch: Duration) -> WaitTimes {
        let grace = self.bounds.pauses.shortest;
        WaitTimes { asked: self.asked, end: self.asked + self.length, grace, fetch }
    }
}
