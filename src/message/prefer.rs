//! `Prefer: wait=N` (RFC 7240 section 4.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::list::list_members;

/// `Prefer` (RFC 7240 section 2).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied` (RFC 7240 section 3).
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a client is willing to wait. The first `wait` of all lines counts; none, 0 and an unreadable one are
/// equivalent. A number that is out of range becomes the largest.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get_all(PREFER).iter().find_map(first_wait).flatten()
}

/// The first `wait` of a line: `None` if there is none, `Some(None)` if it asks for no wait.
fn first_wait(line: &HeaderValue) -> Option<Option<Duration>> {
    // Digits and `wait` are ASCII, so a line that is not UTF-8 has no valid one.
    let text = std::str::from_utf8(line.as_bytes()).ok()?;
    list_members(text).find_map(|member| {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        name.trim_end().eq_ignore_ascii_case("wait").then(|| seconds(value))
    })
}

/// The value of a `wait` without parameters: digits, quoted or not.
fn seconds(value: &str) -> Option<Duration> {
    let value = value.split(';').next().unwrap_or_default().trim();
    let digits = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| digits.parse().unwrap_or(u64::MAX))?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(lines: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        preferred_wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_digits_as_a_token_or_a_quoted_string() {
        for line in
            ["wait=30", "Wait=30", "wait=\"30\"", "wait = 30", "respond-async, wait=30", "wait=30; foo"]
        {
            assert_eq!(wait(&[line]), Some(30), "{line}");
        }
        assert_eq!(wait(&["wait=999999999999999999999999"]), Some(u64::MAX));
    }

    #[test]
    fn a_zero_or_unreadable_wait_is_ignored() {
        for line in [
            "", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5", "wait=x", "wait=\"5", "wait=5 s", "waits=5",
        ] {
            assert_eq!(wait(&[line]), None, "{line}");
        }
        assert_eq!(wait(&["return=\"a, wait=5\""]), None, "within a quoted string");
    }

    #[test]
    fn the_first_wait_of_all_lines_counts() {
        assert_eq!(wait(&["return=minimal", "wait=5, wait=9", "wait=7"]), Some(5));
        assert_eq!(wait(&["wait=x, wait=9"]), None);
    }
}
