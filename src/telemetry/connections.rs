//! Connections that the server closed, by plane and reason.

use super::counter::Counter;

/// A group of listeners with the same service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    Data,
    Admin,
}

impl Plane {
    pub(crate) const ALL: [Self; 2] = [Self::Data, Self::Admin];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Admin => "admin",
        }
    }
}

/// Why the server closes a connection that its client would have kept open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sent no further request in time.
    Idle,
    /// A head, or a TLS handshake, took too long.
    Head,
    /// All connections were in use and other clients waited.
    Crowded,
    /// The client took no bytes of an answer in time.
    Stalled,
}

impl CloseReason {
    pub(crate) const ALL: [Self; 4] = [Self::Idle, Self::Head, Self::Crowded, Self::Stalled];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Crowded => "crowded",
            Self::Stalled => "stalled",
        }
    }
}

/// The counts of one plane.
#[derive(Debug, Default)]
pub(crate) struct ClosedConnections([Counter; CloseReason::ALL.len()]);

impl ClosedConnections {
    pub(crate) fn count(&self, reason: CloseReason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.increment();
        }
    }

    pub(crate) fn get(&self, reason: CloseReason) -> u64 {
        self.0.get(reason as usize).map_or(0, Counter::get)
    }
}
