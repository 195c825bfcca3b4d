//! `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date: the one place that reads it.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;

use super::date::HttpDate;

/// The longest delay that is distinguished: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long a response asks its client to wait, from `now`; zero for a date that has passed. `None` if the
/// field is absent or unreadable.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that overflow are a number that is too large.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let seconds = HttpDate::parse(value)?.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &str) -> Option<u64> {
        let headers = [(RETRY_AFTER, HeaderValue::from_str(value).unwrap())].into_iter().collect();
        retry_after(&headers, "2024-01-15T10:30:00Z".parse().unwrap()).map(|delay| delay.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("Mon, 15 Jan 2024 10:30:20 GMT"), Some(20));
        assert_eq!(read("Mon, 15 Jan 2024 10:00:00 GMT"), Some(0));
    }

    #[test]
    fn distant_dates_are_clamped() {
        for value in ["1000000000", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(read(value), Some(LONGEST.as_secs()), "{value}");
        }
    }

    #[test]
    fn anything_else_is_unreadable() {
        for value in ["", "-5", "soon", "1.5", "7s"] {
            assert_eq!(read(value), None, "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
