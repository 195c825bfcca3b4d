//! `Cache-Control`, as sent by upstreams and clients (RFC 9111 section 5.2).
//!
//! Established parsers drop what they can't read; here an unreadable `max-age` must count as "already stale", the
//! extensions of RFC 5861 are needed, and of two conflicting values the stricter applies.

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderValue};

use crate::message::list_members;

/// The largest number of seconds that is distinguished (RFC 9111 section 1.2.2).
pub(crate) const MAX_SECONDS: u32 = 1 << 31;

/// The number of seconds given with a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seconds {
    /// Readable; clamped to 2³¹.
    Given(u32),
    /// Present, but not a number.
    Unreadable,
}

impl Seconds {
    fn parse(argument: Option<&str>) -> Self {
        let digits = argument.unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Self::Unreadable;
        }
        // All digits, so a number that overflows is too large.
        Self::Given(digits.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
    }

    /// The number; 0 if unreadable.
    pub(crate) const fn or_zero(self) -> u32 {
        match self {
            Self::Given(seconds) => seconds,
            Self::Unreadable => 0,
        }
    }

    const fn readable(self) -> Option<u32> {
        match self {
            Self::Given(seconds) => Some(seconds),
            Self::Unreadable => None,
        }
    }
}

/// The stricter of two values: fewer seconds, and unreadable before all.
fn stricter(old: Option<Seconds>, new: Seconds) -> Option<Seconds> {
    Some(match (old, new) {
        (None, new) => new,
        (Some(Seconds::Unreadable), _) | (Some(_), Seconds::Unreadable) => Seconds::Unreadable,
        (Some(Seconds::Given(a)), Seconds::Given(b)) => Seconds::Given(a.min(b)),
    })
}

/// An upstream's directives about storing and reusing its response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    /// `no-cache`; also with a list of fields, which is the safe interpretation.
    pub(crate) no_cache: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never stale.
    pub(crate) must_revalidate: bool,
    pub(crate) s_maxage: Option<Seconds>,
    pub(crate) max_age: Option<Seconds>,
    pub(crate) stale_while_revalidate: Option<Seconds>,
    pub(crate) stale_if_error: Option<Seconds>,
}

/// The directives of a response that still apply once its lifetime was calculated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReuseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// Never stale.
    pub(crate) must_revalidate: bool,
    pub(crate) stale_while_revalidate: StaleWindow,
    pub(crate) stale_if_error: StaleWindow,
}

/// A number of seconds that a response may give; a single word, because every entry has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StaleWindow(u32);

impl StaleWindow {
    const ABSENT: Self = Self(u32::MAX);

    const fn of(given: Option<Seconds>) -> Self {
        match given {
            Some(seconds) => Self(seconds.or_zero()),
            None => Self::ABSENT,
        }
    }

    /// The seconds, if the response gave any; 0 if unreadable.
    pub(crate) const fn get(self) -> Option<u32> {
        if self.0 == Self::ABSENT.0 { None } else { Some(self.0) }
    }
}

impl ResponseDirectives {
    /// The directives that still apply.
    pub(crate) const fn reuse(&self) -> ReuseDirectives {
        let Self { no_store, no_cache, must_revalidate, stale_while_revalidate, stale_if_error, .. } = *self;
        let stale_while_revalidate = StaleWindow::of(stale_while_revalidate);
        let stale_if_error = StaleWindow::of(stale_if_error);
        ReuseDirectives { no_store, no_cache, must_revalidate, stale_while_revalidate, stale_if_error }
    }

    /// Reads all `Cache-Control` lines.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for_each_directive(headers.get_all(CACHE_CONTROL), |name, argument| match name {
            "no-store" => found.no_store = true,
            "no-cache" => found.no_cache = true,
            "must-revalidate" | "proxy-revalidate" => found.must_revalidate = true,
            "s-maxage" => {
                found.must_revalidate = true;
                found.s_maxage = stricter(found.s_maxage, Seconds::parse(argument));
            }
            "max-age" => found.max_age = stricter(found.max_age, Seconds::parse(argument)),
            "stale-while-revalidate" => {
                found.stale_while_revalidate =
                    stricter(found.stale_while_revalidate, Seconds::parse(argument));
            }
            "stale-if-error" => {
                found.stale_if_error = stricter(found.stale_if_error, Seconds::parse(argument))
            }
            _ => {}
        });
        found
    }
}

/// A client's requirements for a stored response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    /// `no-cache`, or `Pragma: no-cache` where there is no `Cache-Control`.
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    /// `max-age`, in seconds; an unreadable one is 0.
    pub(crate) max_age: Option<u32>,
    /// `min-fresh`, in seconds.
    pub(crate) min_fresh: Option<u32>,
    /// `max-stale`, in seconds; without a number, any.
    pub(crate) max_stale: Option<u32>,
}

impl RequestDirectives {
    /// Reads a request. An unreadable `min-fresh` or `max-stale` is ignored: one would forbid everything, the other
    /// allow it.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            for_each_directive(headers.get_all(PRAGMA), |name, _| found.no_cache |= name == "no-cache");
            return found;
        }
        let (mut max_age, mut min_fresh, mut max_stale) = (None, None, None);
        for_each_directive(headers.get_all(CACHE_CONTROL), |name, argument| match name {
            "no-cache" => found.no_cache = true,
            "no-store" => found.no_store = true,
            "only-if-cached" => found.only_if_cached = true,
            "max-age" => max_age = stricter(max_age, Seconds::parse(argument)),
            "min-fresh" => min_fresh = min_fresh.max(Seconds::parse(argument).readable()),
            "max-stale" if argument.is_none() => max_stale = stricter(max_stale, Seconds::Given(u32::MAX)),
            "max-stale" => max_stale = stricter(max_stale, Seconds::parse(argument)),
            _ => {}
        });
        found.max_age = max_age.map(Seconds::or_zero);
        found.min_fresh = min_fresh;
        found.max_stale = max_stale.and_then(Seconds::readable);
        found
    }
}

/// Calls `take` with each directive's lower-case name and its argument, quotes removed.
///
/// A quoted string may hold commas and equals signs (RFC 9110 section 5.6.4); white space around `=`
/// makes the directive unreadable rather than absent.
fn for_each_directive<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    mut take: impl FnMut(&str, Option<&str>),
) {
    for line in lines {
        let text = String::from_utf8_lossy(line.as_bytes());
        for member in list_members(&text) {
            let (name, argument) = match member.split_once('=') {
                Some((name, argument)) => (name, Some(unquoted(argument))),
                None => (member, None),
            };
            take(&name.trim_end().to_ascii_lowercase(), argument);
        }
    }
}

fn unquoted(argument: &str) -> &str {
    argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn response(line: &str) -> ResponseDirectives {
        ResponseDirectives::read(&headers("cache-control", &[line]))
    }

    fn max_age(line: &str) -> Option<Seconds> {
        response(line).max_age
    }

    #[test]
    fn names_are_read_in_any_case_and_arguments_quoted_or_not() {
        for line in ["max-age=60", "MAX-AGE=60", "Max-Age=\"60\"", "private, max-age=60", ",, max-age=60 ,"] {
            assert_eq!(max_age(line), Some(Seconds::Given(60)), "{line}");
        }
    }

    #[test]
    fn an_invalid_number_is_unreadable_rather_than_absent() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=\"\"",
            "max-age=abc",
            "max-age=-1",
            "max-age=1.5",
            "max-age=1a",
            "max-age=a1",
            "max-age='60'",
            "max-age = 60",
            "max-age= 60",
            "max-age=\"60",
            "max-age=0x10",
            "max-age=+60",
        ] {
            assert_eq!(max_age(line), Some(Seconds::Unreadable), "{line}");
        }
        assert_eq!(max_age("private"), None);
        assert_eq!(max_age("x-max-age=60"), None);
    }

    #[test]
    fn huge_numbers_are_clamped() {
        for line in ["max-age=2147483648", "max-age=99999999999", "max-age=99999999999999999999999"] {
            assert_eq!(max_age(line), Some(Seconds::Given(MAX_SECONDS)), "{line}");
        }
    }

    #[test]
    fn of_repeated_directives_the_strictest_counts() {
        assert_eq!(max_age("max-age=60, max-age=10"), Some(Seconds::Given(10)));
        assert_eq!(max_age("max-age=10, max-age=60"), Some(Seconds::Given(10)));
        assert_eq!(max_age("max-age=60, max-age=x"), Some(Seconds::Unreadable));
        let lines = headers("cache-control", &["max-age=60", "no-store, max-age=5"]);
        let found = ResponseDirectives::read(&lines);
        assert!(found.no_store && found.max_age == Some(Seconds::Given(5)));
    }

    #[test]
    fn quoted_text_is_not_a_directive() {
        let found = response("ext=\"no-store, max-age=1\", max-age=60, other=\"a\\\"b, no-cache\"");
        assert_eq!(found, ResponseDirectives { max_age: Some(Seconds::Given(60)), ..Default::default() });
    }

    #[test]
    fn a_qualified_no_cache_counts_as_a_whole_one() {
        assert!(response("no-cache=\"set-cookie\"").no_cache);
    }

    #[test]
    fn s_maxage_forbids_staleness() {
        assert!(response("s-maxage=60").must_revalidate);
        assert!(response("proxy-revalidate").must_revalidate);
        assert!(!response("max-age=60").must_revalidate);
    }

    #[test]
    fn clients_directives_are_read() {
        let read = |line: &str| RequestDirectives::read(&headers("cache-control", &[line]));
        assert!(
            read("no-cache").no_cache && read("no-store").no_store && read("only-if-cached").only_if_cached
        );
        assert_eq!(read("max-age=0").max_age, Some(0));
        assert_eq!(read("max-age=x").max_age, Some(0));
        assert_eq!(read("min-fresh=5").min_fresh, Some(5));
        assert_eq!(read("min-fresh=5, min-fresh=9, min-fresh=7").min_fresh, Some(9));
        assert_eq!(read("min-fresh=x").min_fresh, None);
        assert_eq!(read("max-stale").max_stale, Some(u32::MAX));
        assert_eq!(read("max-stale=7").max_stale, Some(7));
        assert_eq!(read("max-stale=x").max_stale, None);
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut both = headers("pragma", &["no-cache"]);
        assert!(RequestDirectives::read(&both).no_cache);
        both.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=9"));
        assert!(!RequestDirectives::read(&both).no_cache);
    }
}
