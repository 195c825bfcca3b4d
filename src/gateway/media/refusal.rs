//! What a client gets in place of a recording or transcription: pure. No body of another host's error is passed on.

use crate::cache::Maturity;
use crate::domain::{ForwardOutcome, MediaKind, NotStored, Refusal};
use crate::upstream::{Destination, FetchError, HeadProblem, MediaError};

/// What a call without a link is answered with.
pub(in crate::gateway) const fn missing(kind: MediaKind, maturity: Maturity) -> Refusal {
    match maturity {
        Maturity::Settled => Refusal::NoMedia(kind),
        Maturity::Changing => Refusal::NotReady,
    }
}

/// The refusal, and the rule that the upstream broke if it broke one.
pub(super) fn of(error: MediaError, maturity: Maturity, kind: MediaKind) -> (Refusal, Option<NotStored>) {
    let (problem, destination) = match error {
        MediaError::Link => return (Refusal::UpstreamFailed, Some(NotStored::Link)),
        MediaError::Exchange(error) => return unsent(FetchError::Exchange(error)),
        MediaError::NotSent(error) => return unsent(error),
        MediaError::Head(problem, destination) => (problem, destination),
    };
    let (status, retry_after) = match problem {
        HeadProblem::Unusable(why) => return (Refusal::UpstreamFailed, Some(why)),
        HeadProblem::Unsatisfiable { complete } => return (Refusal::RangeNotSatisfiable { complete }, None),
        HeadProblem::Status { status, retry_after } => (status, retry_after),
    };
    let refusal = match (status.as_u16(), destination) {
        (404 | 410, _) => missing(kind, maturity),
        (401, Destination::Base) => Refusal::UpstreamKeyRejected,
        (403 | 429 | 500..=599, Destination::Base) => Refusal::UpstreamStatus { status, retry_after },
        (429, Destination::MediaHost) => Refusal::MediaHostBusy { retry_after },
        _ => return (Refusal::UpstreamFailed, Some(NotStored::Status)),
    };
    (refusal, None)
}

/// Whether a link has stopped working, as one that has expired does.
pub(super) fn is_dead(error: &MediaError) -> bool {
    matches!(error, MediaError::Head(HeadProblem::Status { status, .. }, _)
        if matches!(status.as_u16(), 401 | 403 | 404 | 410))
}

fn unsent(error: FetchError) -> (Refusal, Option<NotStored>) {
    let unusable = match error.outcome() {
        ForwardOutcome::NotStored { why, .. } => Some(why),
        ForwardOutcome::NotSent
        | ForwardOutcome::NoResponse
        | ForwardOutcome::Recalled(_)
        | ForwardOutcome::Renewed { .. }
        | ForwardOutcome::Stored { .. } => None,
    };
    (error.refusal(), unusable)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::upstream::ExchangeError;

    fn by_status(status: u16, destination: Destination, maturity: Maturity) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        let problem = HeadProblem::Status { status, retry_after: None };
        of(MediaError::Head(problem, destination), maturity, MediaKind::Recording).0
    }

    #[test]
    fn what_is_not_there_is_404_once_the_call_is_settled_and_409_before() {
        for destination in [Destination::Base, Destination::MediaHost] {
            for status in [404, 410] {
                let refusal = |maturity| by_status(status, destination, maturity);
                assert_eq!(refusal(Maturity::Settled), Refusal::NoMedia(MediaKind::Recording));
                assert_eq!(refusal(Maturity::Changing), Refusal::NotReady);
            }
        }
    }

    // T96.
    #[test]
    fn only_the_upstreams_own_statuses_are_kept() {
        let (base, host) = (Destination::Base, Destination::MediaHost);
        let status =
            |status, destination| by_status(status, destination, Maturity::Settled).status().as_u16();
        for kept in [403, 429, 500, 503] {
            assert_eq!(status(kept, base), kept);
        }
        for replaced in [400, 401, 405, 301] {
            assert_eq!(status(replaced, base), 502, "{replaced}");
        }
        for replaced in [400, 401, 403, 500, 503, 301] {
            assert_eq!(status(replaced, host), 502, "{replaced}");
        }
        assert_eq!(status(429, host), 503);
    }

    #[test]
    fn a_failure_names_the_rule_that_was_broken() {
        let of = |error| of(error, Maturity::Settled, MediaKind::Recording);
        assert_eq!(of(MediaError::Link), (Refusal::UpstreamFailed, Some(NotStored::Link)));
        let head = MediaError::Head(HeadProblem::Unusable(NotStored::MediaType), Destination::Base);
        assert_eq!(of(head), (Refusal::UpstreamFailed, Some(NotStored::MediaType)));
        assert_eq!(of(MediaError::Exchange(ExchangeError::Timeout)), (Refusal::UpstreamTimeout, None));
        let outside = MediaError::Head(HeadProblem::Unsatisfiable { complete: Some(7) }, Destination::Base);
        assert_eq!(of(outside), (Refusal::RangeNotSatisfiable { complete: Some(7) }, None));
    }
}
