//! A tenant's pause after the upstream's 429: how long, and until when.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use crate::clock::Instant;

/// The shortest pause, also for a 429 that names none.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: an upstream that says "a year" is asked again before.
const LONGEST: Duration = Duration::from_secs(300);

/// Until when nothing is sent.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Pauses for so long from `now`; a longer pause that runs already stays.
    pub fn begin(&self, length: Duration, now: Instant) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Some(now + length));
    }

    /// How long it still runs, if it does.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// What a 429's `Retry-After` asks for (RFC 9110 section 10.2.3), within bounds. Rewrites the field to
/// whole seconds, so that clients are told what the gateway itself keeps to.
pub fn take_retry_after(headers: &mut HeaderMap, now: Timestamp) -> Duration {
    let asked = headers.get(RETRY_AFTER).and_then(|value| read(value, now));
    let length = asked.unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST);
    headers.insert(RETRY_AFTER, HeaderValue::from(length.as_secs()));
    length
}

fn read(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that are no number are too large a number.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs));
    }
    let then = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    let seconds = then.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
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
        let length = take_retry_after(&mut headers, "2024-01-15T10:30:00Z".parse().unwrap());
        assert_eq!(headers[RETRY_AFTER], length.as_secs().to_string());
        length.as_secs()
    }

    #[test]
    fn seconds_and_dates_are_read_and_clamped() {
        assert_eq!(taken(Some("7")), 7);
        assert_eq!(taken(Some("Mon, 15 Jan 2024 10:30:20 GMT")), 20);
        assert_eq!(taken(Some("1000000000")), 300);
        assert_eq!(taken(Some("99999999999999999999999")), 300);
        for nonsense in
            [None, Some("-5"), Some("soon"), Some(""), Some("0"), Some("Mon, 15 Jan 2024 10:00:00 GMT")]
        {
            assert_eq!(taken(nonsense), 1, "{nonsense:?}");
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
