//! A `#` in a request target.
//!
//! No request target contains one (RFC 9112 section 3.2), but the HTTP library drops it together with everything
//! after it, which would make `/v1/calls/call_1#x` another spelling of `/v1/calls/call_1`. The server therefore
//! replaces it, before the library parses the target, by characters that no valid target contains either, and both
//! planes refuse targets with them.

use http::Uri;

/// Replaces a `#` sent as one byte.
pub(crate) const FRAGMENT_BYTE: u8 = b'^';
/// Replaces a Huffman-coded `#` (RFC 7541 appendix B), whose code has twice the bits of a `%`.
const FRAGMENT_PAIR: &[u8; 2] = b"%%";

/// Whether the target was sent with a `#`, or with equally invalid characters.
pub(crate) fn has_fragment(uri: &Uri) -> bool {
    let target = uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    let Some(first) = memchr::memchr2(FRAGMENT_BYTE, b'%', target) else { return false };
    let rest = target.get(first..).unwrap_or_default();
    rest.contains(&FRAGMENT_BYTE) || rest.windows(2).any(|pair| pair == FRAGMENT_PAIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_found_wherever_they_are_and_encoded_characters_are_not_marks() {
        for target in ["/v1/calls/call_1^x", "/^", "/a?b^", "/v1/calls/call_1%%x", "/%%", "/%41%%"] {
            assert!(has_fragment(&target.parse().unwrap()), "{target}");
        }
        for target in ["/v1/calls/call_1", "/%41%42", "/a?b=%25", "/%", "/%4%5", "*", "gateway:80"] {
            assert!(!has_fragment(&target.parse().unwrap()), "{target}");
        }
    }
}
