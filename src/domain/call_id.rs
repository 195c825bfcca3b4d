use std::fmt;
use std::hash::{Hash, Hasher};

use super::Alphabet;

const PREFIX: &[u8] = b"call_";
const MAX_SUFFIX: usize = 64;
static ALPHABET: Alphabet = Alphabet::alphanumeric_and(b"");
const MAX_LEN: usize = PREFIX.len() + MAX_SUFFIX;

/// The ID of one call: `^call_[A-Za-z0-9]{1,64}$`, compared byte for byte.
///
/// Kept inline (70 bytes, no allocation), so that a lookup can be parsed, hashed and answered from
/// the cache without touching the heap.
#[derive(Clone, Copy)]
pub(crate) struct CallId {
    len: u8,
    bytes: [u8; MAX_LEN],
}

/// The bytes are not a call ID. Holds none of them: the input is untrusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidCallId;

impl CallId {
    /// Reads the raw bytes of one path segment, before any percent-decoding.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, InvalidCallId> {
        if !ALPHABET.spells_id(raw, PREFIX, MAX_SUFFIX) {
            return Err(InvalidCallId);
        }
        let mut bytes = [0; MAX_LEN];
        bytes.get_mut(..raw.len()).ok_or(InvalidCallId)?.copy_from_slice(raw);
        let len = u8::try_from(raw.len()).map_err(|_| InvalidCallId)?;
        Ok(Self { len, bytes })
    }

    /// The ID's bytes, 6 to 69 of them.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// The ID as text; it is ASCII by construction.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl PartialEq for CallId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for CallId {}

impl Hash for CallId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

/// Call IDs name people's conversations: `Debug` output, which ends up in logs, does not show them.
impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_call_underscore_and_1_to_64_ascii_alphanumerics() {
        for good in ["call_1", "call_123456789", "call_aZ09", &format!("call_{}", "x".repeat(64))] {
            assert_eq!(CallId::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        let long = format!("call_{}", "x".repeat(65));
        for bad in [
            "",
            "call_",
            "call",
            "CALL_1",
            "Call_1",
            "call_1_",
            "call_-1",
            "call_1.css",
            "call_1;x",
            "call_%31",
            "call_1 ",
            " call_1",
            "call_1\0",
            "call_1\n",
            "call_١",
            "call_１",
            "inv_1",
            "call_..",
            &long,
        ] {
            assert_eq!(CallId::parse(bad.as_bytes()), Err(InvalidCallId), "{bad:?}");
        }
        assert_eq!(CallId::parse(b"call_\xff\xfe"), Err(InvalidCallId));
    }

    #[test]
    fn ids_differ_by_case_and_by_length() {
        let id = |text: &str| CallId::parse(text.as_bytes()).unwrap();
        assert_ne!(id("call_a"), id("call_A"));
        assert_ne!(id("call_1"), id("call_10"));
        assert_eq!(id("call_1"), id("call_1"));
    }

    #[test]
    fn debug_output_does_not_show_the_id() {
        assert!(!format!("{:?}", CallId::parse(b"call_123456789").unwrap()).contains("123456789"));
    }
}
