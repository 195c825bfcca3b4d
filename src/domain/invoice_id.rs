//! Invoice IDs, by which calls are listed.

use super::Alphabet;

const PREFIX: &[u8] = b"inv_";
const MAX_SUFFIX: usize = 64;
static ALPHABET: Alphabet = Alphabet::alphanumeric_and(b"_-");

/// The ID of one invoice: `^inv_[A-Za-z0-9_-]{1,64}$`, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InvoiceId(Box<str>);

/// The bytes are not an invoice ID. Holds none of them: the input is untrusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidInvoiceId;

impl InvoiceId {
    /// Reads raw bytes, before any percent-decoding.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, InvalidInvoiceId> {
        if !ALPHABET.spells_id(raw, PREFIX, MAX_SUFFIX) {
            return Err(InvalidInvoiceId);
        }
        std::str::from_utf8(raw).map(|text| Self(text.into())).map_err(|_| InvalidInvoiceId)
    }

    /// The ID as text.
    pub(crate) const fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_up_to_64_letters_digits_hyphens_or_underscores() {
        let longest = format!("inv_{}", "a".repeat(64));
        for id in ["inv_1", "inv_A-b_9", &longest] {
            assert_eq!(InvoiceId::parse(id.as_bytes()).unwrap().as_str(), id);
        }
        let too_long = format!("inv_{}", "a".repeat(65));
        for id in
            ["", "inv_", "inv", "INV_1", "inv_a.b", "inv_%31", "inv_1 ", "call_1", "inv_\u{e9}", &too_long]
        {
            assert_eq!(InvoiceId::parse(id.as_bytes()), Err(InvalidInvoiceId), "{id}");
        }
    }
}
