//! Whether a failed attempt is worth another: a pure decision, with the budget asked last.

use std::time::Duration;

use http::StatusCode;

use super::transport::Broken;
use crate::clock::Instant;

/// The first pause; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A whole response.
    Answered(StatusCode),
    /// None.
    Broken(Broken),
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// That was it.
    Stop,
    /// Another attempt, after this pause, if the budget allows it.
    After(Duration),
}

/// Decides after attempt number `made` (from 1) of at most `max`. `jitter` is 0 to 1: pauses are
/// spread over their upper half, so that what failed together isn't repeated together.
pub fn decide(
    attempt: Attempt,
    made: u32,
    max: u32,
    jitter: f64,
    now: Instant,
    deadline: Instant,
) -> Decision {
    if made >= max || !is_safe(attempt) {
        return Decision::Stop;
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << made.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let pause = doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    // An attempt that would begin at the deadline is none.
    if now + pause >= deadline { Decision::Stop } else { Decision::After(pause) }
}

/// Lookups are `GET`s, so repeating one is harmless; but only where the upstream did not work on it,
/// or says that trying again may help, is there a point. A timeout has had its time.
fn is_safe(attempt: Attempt) -> bool {
    match attempt {
        Attempt::Answered(status) => matches!(status.as_u16(), 502..=504),
        Attempt::Broken(Broken::Connect | Broken::Stale | Broken::Reset) => true,
        Attempt::Broken(
            Broken::ConnectTimeout
            | Broken::Timeout
            | Broken::ResetInHead
            | Broken::Truncated(_)
            | Broken::Oversized(_)
            | Broken::Invalid,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn after(attempt: Attempt, made: u32, jitter: f64, left_millis: u64) -> Decision {
        let now = clock::now();
        decide(attempt, made, 3, jitter, now, now + Duration::from_millis(left_millis))
    }

    fn is_repeated(attempt: Attempt) -> bool {
        after(attempt, 1, 0.0, 10_000) != Decision::Stop
    }

    #[test]
    fn only_what_is_safe_and_may_help_is_repeated() {
        for status in [502, 503, 504] {
            assert!(is_repeated(Attempt::Answered(StatusCode::from_u16(status).unwrap())), "{status}");
        }
        for status in [200, 304, 400, 401, 404, 408, 429, 500, 501, 505] {
            assert!(!is_repeated(Attempt::Answered(StatusCode::from_u16(status).unwrap())), "{status}");
        }
        for broken in [Broken::Connect, Broken::Stale, Broken::Reset] {
            assert!(is_repeated(Attempt::Broken(broken)), "{broken:?}");
        }
        let ok = StatusCode::OK;
        for broken in [
            Broken::ConnectTimeout,
            Broken::Timeout,
            Broken::ResetInHead,
            Broken::Truncated(ok),
            Broken::Oversized(ok),
            Broken::Invalid,
        ] {
            assert!(!is_repeated(Attempt::Broken(broken)), "{broken:?}");
        }
    }

    #[test]
    fn attempts_are_counted_with_the_first() {
        let refused = Attempt::Broken(Broken::Connect);
        assert_ne!(after(refused, 2, 0.0, 10_000), Decision::Stop);
        assert_eq!(after(refused, 3, 0.0, 10_000), Decision::Stop);
    }

    #[test]
    fn pauses_double_and_are_spread_over_their_upper_half() {
        let refused = Attempt::Broken(Broken::Connect);
        let pause = |made, jitter| match after(refused, made, jitter, 10_000) {
            Decision::After(pause) => pause.as_secs_f64() * 1000.0,
            Decision::Stop => panic!("stopped"),
        };
        assert_eq!((pause(1, 0.0), pause(1, 1.0)), (12.5, 25.0));
        assert_eq!((pause(2, 0.0), pause(2, 1.0)), (25.0, 50.0));
    }

    #[test]
    fn no_attempt_begins_after_the_deadline() {
        assert_eq!(after(Attempt::Broken(Broken::Connect), 1, 1.0, 25), Decision::Stop);
        assert_ne!(after(Attempt::Broken(Broken::Connect), 1, 1.0, 26), Decision::Stop);
    }
}
