//! Keeps lasting states from being logged with every request.

use super::super::media::ReportedHosts;
use crate::telemetry::LogThrottle;

/// Throttles the log lines of lasting states.
#[derive(Debug, Default)]
pub(super) struct LogThrottles {
    pub(super) rejected_keys: LogThrottle<RejectedKeys>,
    pub(super) pauses: LogThrottle<()>,
    pub(super) mix_ups: LogThrottle<()>,
    /// By reason.
    pub(super) failures: LogThrottle<&'static str>,
    /// Hosts that links may not lead to.
    pub(super) media_hosts: ReportedHosts,
}

/// Which keys the upstream rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectedKeys {
    TheOnlyOne,
    Both,
}
