//! The one bearer token of a request (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::domain::{MAX_TOKEN_BYTES, TokenHash, is_token68};

const SCHEME: &[u8] = b"bearer";

/// The digest of the token in the request's only `Authorization: Bearer TOKEN`: the scheme in any
/// case, one space, and nothing trimmed or guessed.
pub fn token_hash(headers: &HeaderMap) -> Option<TokenHash> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    let token = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(SCHEME))?;
    (line.len() <= MAX_TOKEN_BYTES && is_token68(token)).then(|| TokenHash::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn hash_of(lines: &[&[u8]]) -> Option<TokenHash> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
        }
        token_hash(&headers)
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_the_token_as_it_is() {
        for line in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR abc"] {
            assert_eq!(hash_of(&[line.as_bytes()]), Some(TokenHash::of(b"abc")), "{line}");
        }
        assert_ne!(hash_of(&[b"Bearer ABC"]), Some(TokenHash::of(b"abc")));
    }

    #[test]
    fn anything_else_names_nobody() {
        let long = format!("Bearer {}", "a".repeat(506));
        for line in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer  abc",
            "Bearer\tabc",
            " Bearer abc",
            "Bearer abc ",
            "Bearer abc,def",
            "Bearer abc def",
            "Basic abc",
            "Bearerabc",
            "abc",
            "Bearer abc\u{e9}",
            "Bearer, Bearer abc",
            &long,
        ] {
            assert_eq!(hash_of(&[line.as_bytes()]), None, "{line:?}");
        }
        assert_eq!(hash_of(&[]), None);
        assert_eq!(hash_of(&[b"Bearer abc", b"Bearer abc"]), None, "two lines");
        assert_eq!(hash_of(&[b"Bearer \xff\xfe"]), None);
    }
}
