//! Sets of ASCII characters.

/// Letters, digits, and a few other characters.
pub(crate) struct Alphabet([bool; 256]);

impl Alphabet {
    /// Letters, digits and these.
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let (mut byte, mut rest): (u8, &mut [bool]) = (0, &mut set);
        while let [first, following @ ..] = rest {
            *first = byte.is_ascii_alphanumeric() || is_among(byte, others);
            byte = byte.wrapping_add(1);
            rest = following;
        }
        Self(set)
    }

    /// Whether all bytes are of this alphabet. Every byte is checked, without early exit: two loads and an `and` per
    /// byte, and no branch.
    pub(crate) fn spells(&self, text: &[u8]) -> bool {
        let is_in = |byte: &u8| self.0.get(usize::from(*byte)).is_some_and(|is| *is);
        text.iter().fold(true, |so_far, byte| so_far & is_in(byte))
    }

    /// Whether `raw` consists of this prefix and 1 to `most` characters of this alphabet.
    pub(crate) fn spells_id(&self, raw: &[u8], prefix: &[u8], most: usize) -> bool {
        raw.strip_prefix(prefix)
            .is_some_and(|suffix| (1..=most).contains(&suffix.len()) && self.spells(suffix))
    }
}

const fn is_among(byte: u8, mut bytes: &[u8]) -> bool {
    while let [first, following @ ..] = bytes {
        if *first == byte {
            return true;
        }
        bytes = following;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alphabet_has_letters_digits_and_what_was_named() {
        static SET: Alphabet = Alphabet::alphanumeric_and(b"-~");
        for byte in 0..=u8::MAX {
            let is_in = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'~';
            assert_eq!(SET.spells(&[byte]), is_in, "{byte}");
            assert_eq!(SET.spells(&[b'a', byte, b'9']), is_in, "{byte}");
        }
        assert!(SET.spells(b""));
    }
}
