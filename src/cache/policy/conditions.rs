//! The conditions of a client's request (RFC 9110 section 13.1): whether it already has what it asks for.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use super::etag::weakly_equal;
use crate::message::{HttpDate, list_members, single_date};

/// A client's validators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    none_match: Option<String>,
    modified_since: Option<HttpDate>,
}

/// The validators of the response that conditions are evaluated against, as clients see them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Represented<'a> {
    pub(crate) etag: Option<&'a HeaderValue>,
    /// The upstream's own `Last-Modified`. Without one, `If-Modified-Since` is ignored: `Date` says when the
    /// *response* was generated, and the call may have changed within that second.
    pub(crate) last_modified: Option<&'a HeaderValue>,
}

impl Conditions {
    /// Reads a request's conditions, if it has any.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(IF_NONE_MATCH).iter().peekable();
        let none_match = lines.peek().is_some().then(|| {
            let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
            lines.join(",")
        });
        let modified_since = single_date(headers, &IF_MODIFIED_SINCE);
        let some = none_match.is_some() || modified_since.is_some();
        some.then_some(Self { none_match, modified_since })
    }

    /// Whether the client already has this response, so that the answer is 304. `If-None-Match` takes precedence over
    /// `If-Modified-Since` (RFC 9110 section 13.2.2).
    pub(crate) fn are_met(&self, represented: Represented<'_>) -> bool {
        if let Some(list) = &self.none_match {
            let tag = represented.etag.and_then(|tag| tag.to_str().ok());
            return list.trim() == "*"
                || tag.is_some_and(|tag| list_members(list).any(|member| weakly_equal(member, tag)));
        }
        match (represented.last_modified.and_then(HttpDate::parse), self.modified_since) {
            (Some(modified), Some(since)) => modified <= since,
            (None, _) | (_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(request: &[(&'static str, &str)], etag: &str, last_modified: &str) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in request {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let value = |text: &str| (!text.is_empty()).then(|| HeaderValue::from_str(text).unwrap());
        let (etag, last_modified) = (value(etag), value(last_modified));
        let represented = Represented { etag: etag.as_ref(), last_modified: last_modified.as_ref() };
        Conditions::read(&headers).is_some_and(|conditions| conditions.are_met(represented))
    }

    #[test]
    fn a_tag_is_compared_weakly_rfc_9110_13_1_2() {
        for list in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"x,y\",W/\"a\"", "*", " * "] {
            assert!(met(&[("if-none-match", list)], "W/\"a\"", ""), "{list}");
            assert!(met(&[("if-none-match", list)], "\"a\"", ""), "{list}");
        }
        for list in ["\"b\"", "a", "", "\"A\"", "\"a", "\"x, \"a\"\""] {
            assert!(!met(&[("if-none-match", list)], "\"a\"", ""), "{list}");
        }
        assert!(met(&[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], "\"a\"", ""));
    }

    #[test]
    fn if_none_match_takes_precedence_over_if_modified_since_rfc_9110_13_2_2() {
        let late = ("if-modified-since", "Tue, 16 Jan 2024 10:30:00 GMT");
        let modified = "Mon, 15 Jan 2024 10:30:00 GMT";
        assert!(met(&[late], "\"a\"", modified));
        assert!(!met(&[("if-none-match", "\"b\""), late], "\"a\"", modified));
    }

    #[test]
    fn if_modified_since_counts_only_against_last_modified_rfc_9110_13_1_3() {
        let since = |date| [("if-modified-since", date)];
        assert!(met(&since("Sun, 14 Jan 2024 00:00:00 GMT"), "", "Sun, 14 Jan 2024 00:00:00 GMT"));
        assert!(!met(&since("Sat, 13 Jan 2024 00:00:00 GMT"), "", "Sun, 14 Jan 2024 00:00:00 GMT"));
        assert!(!met(&since("Fri, 31 Dec 9999 23:59:59 GMT"), "\"a\"", ""), "without one it is ignored");
        assert!(!met(&since("yesterday"), "", "Sun, 14 Jan 2024 00:00:00 GMT"));
    }

    #[test]
    fn without_a_condition_there_is_nothing_to_meet() {
        assert_eq!(Conditions::read(&HeaderMap::new()), None);
    }
}
