//! A tenant's pause after the upstream's 429.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use crate::clock::Instant;
use crate::message::retry_after;

/// The shortest pause, also for a 429 without `Retry-After`.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause, even if the upstream asks for a year.
const LONGEST: Duration = Duration::from_secs(300);

/// Until when nothing is sent.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Pauses for `length` from `now`; a longer pause in progress is kept.
    pub(crate) fn begin(&self, length: Duration, now: Instant) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Some(now + length));
    }

    /// How long the pause lasts, if there is one.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// The pause that a 429's `Retry-After` asks for, within bounds. Rewrites the field to whole seconds, so that clients
/// get the value that the gateway itself uses.
pub(crate) fn take_pause(headers: &mut HeaderMap, now: Timestamp) -> Duration {
    let length = retry_after(headers, now).unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST);
    headers.insert(RETRY_AFTER, HeaderValue::from(length.as_secs()));
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn taken(value: Option<&'static str>) -> u64 {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        let length = take_pause(&mut headers, "2024-01-15T10:30:00Z".parse().unwrap());
        assert_eq!(headers[RETRY_AFTER], length.as_secs().to_string());
        length.as_secs()
    }

    #[test]
    fn seconds_and_dates_are_clamped() {
        assert_eq!(taken(Some("7")), 7);
        assert_eq!(taken(Some("Mon, 15 Jan 2024 10:30:20 GMT")), 20);
        for far in ["1000000000", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(taken(Some(far)), 300, "{far}");
        }
        for none in
            [None, Some("-5"), Some("soon"), Some(""), Some("0"), Some("Mon, 15 Jan 2024 10:00:00 GMT")]
        {
            assert_eq!(taken(none), 1, "{none:?}");
        }
    }

    #[test]
    fn a_pause_ends_and_a_shorter_one_does_not_shorten_it() {
        let (pause, now) = (Pause::default(), clock::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(pause.left(now), None);
        pause.begin(Duration::from_secs(10), now);
        pause.begin(Duration::from_secs(2), now);
        assert_eq!(pause.left(after(4)), Some(Duration::from_secs(6)));
        assert_eq!(pause.left(after(10)), None);
    }
}
