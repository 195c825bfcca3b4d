use std::fmt;

use http::HeaderValue;

const MAX_LEN: usize = 128;

/// What names one request in headers, logs and envelopes: `^[A-Za-z0-9._-]{1,128}$`, the client's
/// own where it has that form, else a new one of 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's ID, if its grammar lets it into our logs and the upstream's.
    pub fn accept(given: &HeaderValue) -> Option<Self> {
        let bytes = given.as_bytes();
        let plain = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        (plain && (1..=MAX_LEN).contains(&bytes.len())).then(|| Self(given.clone()))
    }

    /// A new ID of 128 random bits. It names a request and guards nothing, so `random` need not be
    /// unpredictable.
    pub fn from_random(random: u128) -> Self {
        let mut digits = [0; 32];
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = (random >> (4 * place) & 0xf) as u8;
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        }
        Self(HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The ID as the value of `X-Request-Id`; a cheap clone.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
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
