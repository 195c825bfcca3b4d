//! The one bearer token of a request (RFC 6750 section 2.1).

use http::HeaderValue;

use crate::domain::{MAX_TOKEN_CHARS, is_token68};

const SCHEME: &[u8] = b"bearer";

/// The token in `Authorization: Bearer TOKEN`: the scheme in any case, one space, and nothing trimmed or guessed.
pub(crate) fn bearer_token(authorization: &HeaderValue) -> Option<&[u8]> {
    let line = authorization.as_bytes();
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    let token = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(SCHEME))?;
    (token.len() <= MAX_TOKEN_CHARS && is_token68(token)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenHash;

    fn hash_of(line: &[u8]) -> Option<TokenHash> {
        bearer_token(&HeaderValue::from_bytes(line).unwrap()).map(TokenHash::of)
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_the_token_as_it_is() {
        for line in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR abc"] {
            assert_eq!(hash_of(line.as_bytes()), Some(TokenHash::of(b"abc")), "{line}");
        }
        assert_ne!(hash_of(b"Bearer ABC"), Some(TokenHash::of(b"abc")));
    }

    #[test]
    fn anything_else_is_no_credential() {
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
            assert_eq!(hash_of(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(hash_of(b"Bearer \xff\xfe"), None);
    }
}
