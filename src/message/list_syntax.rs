//! Whether a line of a list field is well-formed, so that our member may be appended to it.

use http::header::{VARY, VIA};
use http::{HeaderName, HeaderValue};
use sfv::{List, ListEntry, Parser};

use super::names::CACHE_STATUS;

/// Whether a line of `Cache-Status` (RFC 9211 section 2), `Via` (RFC 9110 section 7.6.3) or `Vary` (section
/// 12.5.5) is well-formed; other fields always are.
pub(crate) fn is_well_formed(name: &HeaderName, line: &HeaderValue) -> bool {
    let bytes = line.as_bytes();
    match *name {
        VARY => members(bytes).all(is_token),
        VIA => members(bytes).all(is_via_member),
        _ if *name == CACHE_STATUS => is_cache_status(bytes),
        _ => true,
    }
}

/// Members of a list without quoted strings. A comment in `Via` may contain commas; that is rare enough to be treated
/// as malformed.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// `[ protocol-name "/" ] protocol-version RWS received-by [ RWS comment ]`.
fn is_via_member(member: &[u8]) -> bool {
    let mut words = member.splitn(3, |byte| matches!(byte, b' ' | b'\t'));
    let is_protocol = words.next().is_some_and(|word| word.split(|byte| *byte == b'/').all(is_token));
    let is_received_by = |word: &[u8]| {
        !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"()\"\\".contains(byte))
    };
    let is_named = words.next().is_some_and(is_received_by);
    is_protocol && is_named && words.next().is_none_or(|comment| is_comment(comment.trim_ascii()))
}

fn is_comment(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
    inner.is_some_and(|inner| !inner.iter().any(|byte| b"()\\".contains(byte)))
}

/// A list of strings and tokens with parameters.
fn is_cache_status(line: &[u8]) -> bool {
    let names_a_cache = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => item.bare_item.as_token().is_some() || item.bare_item.as_string().is_some(),
        ListEntry::InnerList(_) => false,
    };
    Parser::new(line).parse::<List>().is_ok_and(|list| list.iter().all(names_a_cache))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well_formed(name: &'static str, line: &str) -> bool {
        is_well_formed(&HeaderName::from_static(name), &HeaderValue::from_str(line).unwrap())
    }

    #[test]
    fn cache_status_is_a_list_of_names_with_parameters() {
        for line in ["edge; hit", "\"Cache A\"; fwd=uri-miss; ttl=-5, b; hit;detail=\"x\"", ""] {
            assert!(well_formed("cache-status", line), "{line}");
        }
        for line in ["edge; detail=\"unclosed", "?", "edge, ", "(a b)", "7", "edge;;hit", "edge=1"] {
            assert!(!well_formed("cache-status", line), "{line}");
        }
    }

    #[test]
    fn via_is_a_list_of_protocols_and_names() {
        for line in ["1.1 a", "HTTP/1.1 proxy.example:8080 (product/1), 2 b", "1.1 varnish", ""] {
            assert!(well_formed("via", line), "{line}");
        }
        for line in ["1.1", "1.1 a (unclosed", "\"1.1 a", "1.1 a b c", "1.1 \"a\""] {
            assert!(!well_formed("via", line), "{line}");
        }
    }

    #[test]
    fn vary_is_a_list_of_names_or_a_star() {
        for line in ["Accept", "*", "Accept, Origin ,", ""] {
            assert!(well_formed("vary", line), "{line}");
        }
        for line in ["\"Accept", "Accept Origin", "a;b"] {
            assert!(!well_formed("vary", line), "{line}");
        }
        assert!(well_formed("x-other", "\"anything"));
    }
}
