//! Entity tags (RFC 9110 section 8.8.3).

use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::domain::hex;

/// The entity tag of a call for which the upstream sent none: weak, and derived from the bytes of `data` alone, so an
/// answer that differs only in `meta` keeps it, in every process.
pub(crate) fn generated(data: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(data);
    let digits = hex(digest.get(..16).unwrap_or_default());
    // Hexadecimal digits always make a header value.
    HeaderValue::try_from(format!("W/\"{digits}\"")).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

/// Whether two tags match by weak comparison.
pub(crate) fn weakly_equal(a: &str, b: &str) -> bool {
    let opaque = |tag| str::strip_prefix(tag, "W/").unwrap_or(tag);
    opaque(a) == opaque(b)
}

/// Whether two tags match by strong comparison (RFC 9110 section 8.8.3.2).
pub(crate) fn strongly_equal(a: &str, b: &str) -> bool {
    a == b && !is_weak(a)
}

/// Whether a tag is marked as weak.
pub(crate) fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// Whether text is an entity tag: `"…"` or `W/"…"`.
pub(crate) fn is_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_tag_is_weak_and_depends_on_the_data_alone() {
        let tag = generated(b"{\"id\":\"call_1\"}");
        assert_eq!(tag, generated(b"{\"id\":\"call_1\"}"));
        assert_ne!(tag, generated(b"{\"id\":\"call_2\"}"));
        assert!(is_tag(tag.to_str().unwrap()) && is_weak(tag.to_str().unwrap()));
    }

    #[test]
    fn tags_are_distinguished_from_other_text() {
        assert!(!is_tag("abc") && !is_tag("\"a") && is_tag("\"\"") && is_tag("W/\"a\""));
    }

    #[test]
    fn comparison_is_weak_or_strong_rfc_9110_8_8_3_2() {
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!((strongly_equal(a, b), weakly_equal(a, b)), (strong, weak), "{a} {b}");
        }
    }
}
