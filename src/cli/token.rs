//! `token new`.

use super::outcome::{Exit, print};
use crate::domain::TokenHash;

/// 64 characters that are valid in a bearer token, so that each encodes 6 bits.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) fn new() -> Result<(), Exit> {
    let token = fresh()?;
    let hex = TokenHash::of(token.as_bytes()).to_hex();
    print(&format!("token: {token}\ntoken_sha256 = [\"{hex}\"]\n"))
}

/// A token with 256 random bits: 43 characters, the last of which encodes four of them.
pub(crate) fn fresh() -> Result<String, Exit> {
    let mut bytes = [0; 33];
    if let Some(random) = bytes.get_mut(..32) {
        getrandom::fill(random).map_err(|error| Exit::failure(format!("no randomness: {error}")))?;
    }
    let digits = bytes.chunks_exact(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| bits >> shift & 63)
    });
    Ok(digits.take(43).filter_map(|digit| ALPHABET.get(digit)).copied().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MIN_TOKEN_CHARS, is_token68};

    #[test]
    fn tokens_are_fresh_long_and_fit_a_header() {
        let (Ok(one), Ok(other)) = (fresh(), fresh()) else { panic!("no randomness") };
        assert_ne!(one, other);
        assert!(one.len() == 43 && one.len() >= MIN_TOKEN_CHARS && is_token68(one.as_bytes()));
    }
}
