//! HTTP dates (RFC 9110 section 5.6.7): the one place that reads and writes them.

use std::time::UNIX_EPOCH;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// A moment to the second, in seconds since 1970; negative before.
///
/// Not a [`Timestamp`]: that ends a day and a half before the last date that HTTP can express, `Fri, 31 Dec
/// 9999 23:59:59 GMT`, which servers send to say "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HttpDate(i64);

impl HttpDate {
    /// Reads a date in any of the three forms of RFC 9110. A wrong day of the week is ignored.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim();
        if let Ok(time) = httpdate::parse_http_date(text) {
            let since = time.duration_since(UNIX_EPOCH).ok()?;
            return i64::try_from(since.as_secs()).ok().map(Self);
        }
        // The parser above starts at 1970; RFC 9110 does not.
        let is_imf_fixdate = text.len() == 29 && text.ends_with(" GMT");
        let then = is_imf_fixdate.then(|| IMF_FIXDATE.parse_timestamp(text).ok()).flatten()?;
        Some(Self(then.as_second()))
    }

    /// The date as a field has it; `None` for one that no clock shows.
    pub(crate) fn to_header_value(self) -> Option<HeaderValue> {
        let at = Timestamp::from_second(self.0).ok().filter(|at| *at >= Timestamp::UNIX_EPOCH)?;
        Some(format_date(at))
    }

    pub(crate) const fn as_second(self) -> i64 {
        self.0
    }
}

static IMF_FIXDATE: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// The date of a field that occurs once; `None` if it is absent, repeated or not a date.
pub(crate) fn single_date(headers: &HeaderMap, name: &HeaderName) -> Option<HttpDate> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    HttpDate::parse(line)
}

/// A moment as a `Date` field has it.
pub(crate) fn format_date(at: Timestamp) -> HeaderValue {
    let text = httpdate::fmt_http_date(at.into());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        HttpDate::parse(&HeaderValue::from_str(text).unwrap()).map(HttpDate::as_second)
    }

    #[test]
    fn all_three_forms_are_read_rfc_9110_5_6_7() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn the_first_and_last_dates_that_http_can_express_are_read() {
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Wed, 31 Dec 1969 23:59:59 GMT"), Some(-1));
        assert_eq!(seconds("Mon, 01 Jan 1900 00:00:00 GMT"), Some(-2_208_988_800));
    }

    #[test]
    fn a_wrong_day_of_the_week_is_ignored() {
        assert_eq!(seconds("Mon, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Tue, 01 Jan 1900 00:00:00 GMT"), Some(-2_208_988_800));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "soon",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(HttpDate::parse(&HeaderValue::from_bytes(b"\xff").unwrap()), None);
    }

    #[test]
    fn a_repeated_date_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(single_date(&headers, &http::header::DATE), None);
        headers.append("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(single_date(&headers, &http::header::DATE).is_some());
        headers.append("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(single_date(&headers, &http::header::DATE), None);
    }

    #[test]
    fn written_dates_are_read_back() {
        let at: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        assert_eq!(HttpDate::parse(&format_date(at)).unwrap().as_second(), at.as_second());
    }
}
