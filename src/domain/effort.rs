use std::time::Duration;

/// The upstream effort of a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Requests that were sent.
    pub attempts: u32,
    /// The time between sending them and having their whole responses.
    pub upstream: Duration,
}

impl Effort {
    /// The effort of a fetch that sent nothing.
    pub(crate) const NONE: Self = Self { attempts: 0, upstream: Duration::ZERO };

    /// Of both together.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            attempts: self.attempts + other.attempts,
            upstream: self.upstream.saturating_add(other.upstream),
        }
    }
}
