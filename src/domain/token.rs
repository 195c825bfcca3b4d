use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Alphabet, hex};

/// The longest bearer token, in characters: with `Bearer` it takes 512 bytes.
pub(crate) const MAX_TOKEN_CHARS: usize = 505;

/// The shortest token in the configuration, in characters: a shorter one could be guessed.
pub(crate) const MIN_TOKEN_CHARS: usize = 32;

/// The SHA-256 digest of a bearer token.
///
/// Tokens are looked up by digest, so timing does not reveal how close a guess came, and a wrong guess leaves nothing
/// behind. They have at least 32 characters and are meant to be random (`token new` generates 256 bits), so no salt
/// and no slow hash is needed.
#[derive(Clone, Copy)]
pub(crate) struct TokenHash([u8; 32]);

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidTokenHash;

impl TokenHash {
    /// Digests a token's bytes.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    pub(crate) fn from_hex(text: &str) -> Result<Self, InvalidTokenHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidTokenHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let mut nibbles = pair.iter().map(|digit| char::from(*digit).to_digit(16));
            let (Some(Some(high)), Some(Some(low))) = (nibbles.next(), nibbles.next()) else {
                return Err(InvalidTokenHash);
            };
            *byte = u8::try_from(high << 4 | low).map_err(|_| InvalidTokenHash)?;
        }
        Ok(Self(hash))
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        self.0.as_chunks().0.iter().copied().map(u64::from_ne_bytes)
    }

    /// The 64 lower-case digits that the configuration's `token_sha256` takes.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// Constant-time: all differing bits are collected before the result is inspected.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        let words = self.words().zip(other.words());
        let difference = words.fold(0, |found: u64, (mine, theirs)| found | (mine ^ theirs));
        difference.ct_eq(&0).into()
    }
}

impl Eq for TokenHash {}

/// Eight bytes of a SHA-256 digest are a good enough hash.
impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Whether the bytes are a `token68` (RFC 9110 section 11.2), the only form of a bearer token that
/// is accepted (RFC 6750 section 2.1).
pub(crate) fn is_token68(bytes: &[u8]) -> bool {
    let body = bytes.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    let body = bytes.get(..body).unwrap_or_default();
    !body.is_empty() && TOKEN68.spells(body)
}

/// The characters of a `token68` before its `=`s.
static TOKEN68: Alphabet = Alphabet::alphanumeric_and(b"-._~+/");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_hex_and_back() {
        let hash = TokenHash::of(b"abc");
        let hex = hash.to_hex();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(TokenHash::from_hex(&hex).unwrap(), hash);
        assert_eq!(TokenHash::from_hex(&hex.to_uppercase()).unwrap(), hash);
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_digest() {
        for bad in ["", "ba78", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(TokenHash::from_hex(bad), Err(InvalidTokenHash), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_digest() {
        assert_eq!(format!("{:?}", TokenHash::of(b"abc")), "TokenHash(…)");
    }

    #[test]
    fn a_bearer_token_is_a_token68() {
        for good in ["a", "abc123", "a-b._~+/", "YWJj==", "a="] {
            assert!(is_token68(good.as_bytes()), "{good}");
        }
        for len in 1..70 {
            let good = "x".repeat(len);
            assert!(is_token68(good.as_bytes()) && is_token68((good.clone() + "==").as_bytes()));
            for place in 0..len {
                let mut bad = good.clone().into_bytes();
                bad[place] = b' ';
                assert!(!is_token68(&bad), "{place} of {len}");
            }
        }
        for bad in ["", "=", "a b", "a,b", "a=b", "a\tb", "ä", "\"a\"", "a\0"] {
            assert!(!is_token68(bad.as_bytes()), "{bad:?}");
        }
    }
}
