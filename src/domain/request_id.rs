use std::fmt;

use bytes::BufMut;
use http::HeaderValue;

use super::Alphabet;
use super::header_text::HeaderText;

const MAX_LEN: usize = 128;
static PLAIN: Alphabet = Alphabet::alphanumeric_and(b"._-");

/// Identifies one request in headers, logs and envelopes: `^[A-Za-z0-9._-]{1,128}$`, the client's own ID if it has
/// that form, else a new one of 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's ID, if its grammar makes it safe for our logs and the upstream's.
    pub(crate) fn accept(given: &HeaderValue) -> Option<Self> {
        let bytes = given.as_bytes();
        ((1..=MAX_LEN).contains(&bytes.len()) && PLAIN.spells(bytes)).then(|| Self(given.clone()))
    }

    /// A new ID of 128 random bits. It names a request and guards nothing, so `random` need not be
    /// unpredictable.
    pub(crate) fn from_random(random: u128) -> Self {
        let mut text = [0; 32];
        for (place, eight) in text.as_chunks_mut().0.iter_mut().enumerate() {
            *eight = digits((random >> (32 * place)) as u32);
        }
        let value = HeaderText::borrow().value(|out| out.put_slice(&text));
        Self(value.unwrap_or(HeaderValue::from_static("0")))
    }

    /// The ID as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Moves the ID out as the value of `X-Request-Id`.
    pub(crate) fn take_header_value(&mut self) -> HeaderValue {
        std::mem::replace(&mut self.0, HeaderValue::from_static(""))
    }

    /// The ID as the value of `X-Request-Id`; a cheap clone.
    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Eight hexadecimal digits, the least significant first: all nibbles spread over bytes and turned
/// into ASCII at once.
const fn digits(nibbles: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = nibbles as u64;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte that is above 9.
    let letters = ((spread + 6 * ONES) >> 4) & ONES;
    (spread + b'0' as u64 * ONES + letters * (b'a' - b'9' - 1) as u64).to_le_bytes()
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_only_in_its_plain_form() {
        let longest = "x".repeat(128);
        for good in ["a", "req_123456789", "A.b-C_9", &longest] {
            let value = HeaderValue::from_str(good).unwrap();
            assert_eq!(RequestId::accept(&value).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(129);
        for bad in ["", "a b", "a,b", "a\"b", "a/b", "a:b", &too_long] {
            assert_eq!(RequestId::accept(&HeaderValue::from_str(bad).unwrap()), None, "{bad:?}");
        }
        assert_eq!(RequestId::accept(&HeaderValue::from_bytes(b"\xff").unwrap()), None);
    }

    #[test]
    fn a_new_id_has_the_form_that_is_accepted() {
        let id = RequestId::from_random(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.as_str(), "fedcba9876543210fedcba9876543210");
        assert_eq!(RequestId::accept(&id.header_value()), Some(id));
    }
}
