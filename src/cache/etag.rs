//! Entity tags and the conditions that clients put on them (RFC 9110 sections 8.8.3 and 13.1).

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::directives::members;
use crate::domain::hex;

/// The entity tag of a call for which the upstream gives none: weak, and made of the bytes of `data`
/// alone, so that an answer of which only `meta` changed keeps it, in every process.
pub fn generated(data: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(data);
    let digits = hex(digest.get(..16).unwrap_or_default());
    // Hexadecimal digits always make a header value.
    HeaderValue::try_from(format!("W/\"{digits}\"")).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

/// Whether two tags name the same representation, weakly compared.
pub fn weakly_equal(a: &str, b: &str) -> bool {
    let opaque = |tag| str::strip_prefix(tag, "W/").unwrap_or(tag);
    opaque(a) == opaque(b)
}

/// Whether text is an entity tag: `"…"` or `W/"…"`.
pub fn is_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

/// What a client has, and when it had it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    none_match: Option<String>,
    modified_since: Option<HeaderValue>,
}

/// What a condition is held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// `ETag`.
    pub etag: Option<&'a HeaderValue>,
    /// `Last-Modified`.
    pub last_modified: Option<&'a HeaderValue>,
    /// `Date`, which stands in for a missing `Last-Modified` (RFC 9111 section 4.3.2).
    pub date: Option<&'a HeaderValue>,
}

impl Conditions {
    /// Reads a request's conditions, if it has any.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(IF_NONE_MATCH).iter().peekable();
        let none_match = lines.peek().is_some().then(|| {
            let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
            lines.join(",")
        });
        let mut dates = headers.get_all(IF_MODIFIED_SINCE).iter();
        let modified_since = dates.next().filter(|_| dates.next().is_none()).cloned();
        let some = none_match.is_some() || modified_since.is_some();
        some.then_some(Self { none_match, modified_since })
    }

    /// Whether the client has this representation already, so that 304 answers it. `If-None-Match`
    /// goes before `If-Modified-Since` (RFC 9110 section 13.2.2).
    pub fn are_met(&self, validators: Validators<'_>) -> bool {
        if let Some(list) = &self.none_match {
            let tag = validators.etag.and_then(|tag| tag.to_str().ok());
            return list.trim() == "*"
                || tag.is_some_and(|tag| members(list).any(|member| weakly_equal(member, tag)));
        }
        let date = |value: Option<&HeaderValue>| httpdate::parse_http_date(value?.to_str().ok()?).ok();
        let modified = date(validators.last_modified.or(validators.date));
        match (modified, date(self.modified_since.as_ref())) {
            (Some(modified), Some(since)) => modified <= since,
            _ => false,
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
        let date = HeaderValue::from_static("Mon, 15 Jan 2024 10:30:00 GMT");
        let validators =
            Validators { etag: etag.as_ref(), last_modified: last_modified.as_ref(), date: Some(&date) };
        Conditions::read(&headers).is_some_and(|conditions| conditions.are_met(validators))
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
    fn if_none_match_goes_before_if_modified_since_rfc_9110_13_2_2() {
        let late = ("if-modified-since", "Tue, 16 Jan 2024 10:30:00 GMT");
        let modified = "Mon, 15 Jan 2024 10:30:00 GMT";
        assert!(met(&[late], "\"a\"", modified));
        assert!(!met(&[("if-none-match", "\"b\""), late], "\"a\"", modified));
    }

    #[test]
    fn a_date_is_compared_with_last_modified_else_with_date_rfc_9111_4_3_2() {
        let since = |date| [("if-modified-since", date)];
        assert!(met(&since("Sun, 14 Jan 2024 00:00:00 GMT"), "", "Sun, 14 Jan 2024 00:00:00 GMT"));
        assert!(!met(&since("Sat, 13 Jan 2024 00:00:00 GMT"), "", "Sun, 14 Jan 2024 00:00:00 GMT"));
        assert!(met(&since("Mon, 15 Jan 2024 10:30:00 GMT"), "", ""));
        assert!(!met(&since("Mon, 15 Jan 2024 10:29:59 GMT"), "", ""));
        assert!(!met(&since("yesterday"), "", ""));
    }

    #[test]
    fn a_generated_tag_is_weak_and_of_the_data_alone() {
        let tag = generated(b"{\"id\":\"call_1\"}");
        assert_eq!(tag, generated(b"{\"id\":\"call_1\"}"));
        assert_ne!(tag, generated(b"{\"id\":\"call_2\"}"));
        assert!(is_tag(tag.to_str().unwrap()) && tag.as_bytes().starts_with(b"W/\""));
    }

    #[test]
    fn without_a_condition_there_is_nothing_to_meet() {
        assert_eq!(Conditions::read(&HeaderMap::new()), None);
        assert!(!is_tag("abc") && !is_tag("\"a") && is_tag("\"\""));
    }
}
