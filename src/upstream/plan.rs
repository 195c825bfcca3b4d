//! The one decision whether a fetch repeats its request: pure.
//!
//! **Bound:** at most `max_attempts` + 2 requests of one fetch are processed upstream, whatever its answers. Beyond
//! `max_attempts` there is at most one with the tenant's other key, after a 401, and one without validators, after a
//! 304 about another version or an answer about another call on a reused connection. Requests on connections that the
//! upstream had closed before processing them are not counted; there are at most as many of those as connections. A
//! property test holds the bound.

use std::time::Duration;

use http::StatusCode;

use super::error::ExchangeError;
use crate::clock::Instant;
use crate::domain::{NotStored, RepeatReason};

/// The first pause before a retry; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Answered {
        status: StatusCode,
        /// The delay that the response's `Retry-After` asks for.
        retry_after: Option<Duration>,
        reading: ResponseReading,
        connection: ConnectionUse,
    },
    Failed(ExchangeError),
}

/// How the fetch's owner judges a complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseReading {
    Usable,
    /// Not a valid answer of the API, for this reason: clients get a 502.
    Unusable(NotStored),
    /// A 304 about another version than the one in question.
    OtherVersion,
    /// About another object than the one requested.
    MixUp,
}

/// Whether a connection had served requests before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionUse {
    First,
    Reused,
}

/// The limits of a fetch, fixed when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    /// The first request included.
    pub(crate) max_attempts: u32,
    /// The number of times that a request is repeated because its connection was closed.
    pub(crate) max_closed: usize,
    pub(crate) deadline: Instant,
    pub(crate) repeats: Repeats,
}

/// Whether a fetch may send its request more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    Allowed,
    /// The request may have had an effect.
    Never,
}

/// The requests of a fetch so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchHistory {
    attempts: u32,
    closed: usize,
    /// Whether the tenant's other key was tried.
    key_changed: bool,
    /// Whether the request was repeated without validators.
    asked_again: bool,
}

/// The decision after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepeatDecision {
    Done,
    /// Another request, after this pause.
    Again {
        reason: RepeatReason,
        pause: Duration,
        history: FetchHistory,
    },
}

impl FetchHistory {
    /// One request has been sent.
    pub(crate) const fn first() -> Self {
        Self { attempts: 1, closed: 0, key_changed: false, asked_again: false }
    }

    /// Whether the last request was sent with the tenant's other key.
    pub(crate) const fn changed_key(self) -> bool {
        self.key_changed
    }

    /// Decides what follows the last request. `jitter` is 0 to 1: pauses are spread over their upper half, so that
    /// requests which failed together aren't repeated together.
    pub(crate) fn next(
        self,
        last: Attempt,
        limits: &FetchLimits,
        now: Instant,
        jitter: f64,
    ) -> RepeatDecision {
        if limits.repeats == Repeats::Never {
            return RepeatDecision::Done;
        }
        let again = |reason, pause, history| {
            // A request can't begin at the deadline.
            if now + pause >= limits.deadline {
                RepeatDecision::Done
            } else {
                RepeatDecision::Again { reason, pause, history }
            }
        };
        let at_once = |reason, history| again(reason, Duration::ZERO, history);
        let retry = |reason, pause| match self.attempts < limits.max_attempts {
            true => again(reason, pause, Self { attempts: self.attempts + 1, ..self }),
            false => RepeatDecision::Done,
        };
        match last {
            Attempt::Failed(ExchangeError::Closed) if self.closed < limits.max_closed => {
                at_once(RepeatReason::ClosedConnection, Self { closed: self.closed + 1, ..self })
            }
            Attempt::Failed(error) if is_retryable(error) => retry(RepeatReason::Retry, self.backoff(jitter)),
            Attempt::Failed(_) => RepeatDecision::Done,
            Attempt::Answered { reading: ResponseReading::OtherVersion, .. } if !self.asked_again => {
                at_once(RepeatReason::OtherVersion, Self { asked_again: true, ..self })
            }
            Attempt::Answered {
                reading: ResponseReading::MixUp, connection: ConnectionUse::Reused, ..
            } if !self.asked_again => at_once(RepeatReason::MixUp, Self { asked_again: true, ..self }),
            Attempt::Answered { status, retry_after, connection, .. } => match status.as_u16() {
                401 if !self.key_changed => {
                    at_once(RepeatReason::NextKey, Self { key_changed: true, ..self })
                }
                408 | 421 if connection == ConnectionUse::Reused => {
                    retry(RepeatReason::HopStatus, Duration::ZERO)
                }
                // Waits as long as the upstream asks; beyond the deadline, the fetch ends.
                502..=504 => {
                    retry(RepeatReason::Retry, self.backoff(jitter).max(retry_after.unwrap_or_default()))
                }
                _ => RepeatDecision::Done,
            },
        }
    }

    fn backoff(self, jitter: f64) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        let doubled = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Lookups are `GET`s, so repeating one is harmless, but useful only if the upstream did not process it. After a
/// timeout there is no time left.
const fn is_retryable(error: ExchangeError) -> bool {
    match error {
        ExchangeError::Connect | ExchangeError::Closed | ExchangeError::Reset => true,
        ExchangeError::ConnectTimeout
        | ExchangeError::Timeout
        | ExchangeError::ResetInHead
        | ExchangeError::Truncated(_)
        | ExchangeError::Oversized(_)
        | ExchangeError::InterimFlood
        | ExchangeError::TooManyFields
        | ExchangeError::Invalid => false,
    }
}

#[cfg(test)]
mod tests;
