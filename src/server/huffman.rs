//! Finds a `#` in a Huffman-coded value (RFC 7541 section 5.2) and replaces its code by one of the same length.
//!
//! Distinguishes codes by their lengths alone: what they encode doesn't matter.

/// The lengths of Huffman codes in bits, with the codes of each (RFC 7541 appendix B). Codes of a length are
/// consecutive numbers, and shorter codes come first.
const CODES: [(u32, u32); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];
const LONGEST: u32 = 30;

/// For each length the first number beyond its codes, all padded to the longest.
const ENDS: [(u32, u32); CODES.len()] = ends();

const fn ends() -> [(u32, u32); CODES.len()] {
    let (mut ends, mut rest, mut end) = ([(0, 0); CODES.len()], CODES.as_slice(), 0);
    let mut place = 0;
    while let [(length, count), others @ ..] = rest {
        end += *count << (LONGEST - *length);
        let (_, from) = ends.split_at_mut(place);
        if let [slot, ..] = from {
            *slot = (*length, end);
        }
        (rest, place) = (others, place + 1);
    }
    ends
}

/// The code of `#`, and its length.
const HASH: (u32, u64) = (12, 0xffa);
/// XORed with the code, gives that of two `%`.
const TO_PAIR: u64 = 0xffa ^ 0b0101_0101_0101;
/// XORed with the code, gives that of `>`, which the HTTP library rejects in a path.
const TO_INVALID: u8 = 1;

/// The bits of a coded value that form no complete code yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    bits: u64,
    count: u32,
}

impl Bits {
    pub(super) const NONE: Self = Self { bits: 0, count: 0 };

    /// Takes the next byte, and replaces a `#` that ends in it.
    pub(super) fn take(&mut self, before: &mut [u8], byte: &mut u8) {
        self.bits = self.bits << 8 | u64::from(*byte);
        self.count += 8;
        while let Some((length, code)) = self.next_code() {
            self.count -= length;
            if (length, code) == HASH {
                replace(before, byte, self.count);
            }
            self.bits &= (1 << self.count) - 1;
        }
    }

    /// The first code, if it is complete.
    fn next_code(&self) -> Option<(u32, u64)> {
        let padded = match self.count.checked_sub(LONGEST) {
            Some(surplus) => self.bits >> surplus,
            None => self.bits << (LONGEST - self.count),
        };
        let (length, _) = ENDS.iter().find(|(_, end)| padded < u64::from(*end))?;
        (*length <= self.count).then(|| (*length, self.bits >> (self.count - length)))
    }
}

/// Replaces the code of a `#` that ends this many bits before the end of `byte`.
fn replace(before: &mut [u8], byte: &mut u8, bits_behind: u32) {
    let [.., third, second, first] = (TO_PAIR << bits_behind).to_be_bytes();
    match before {
        [.., far, near] => {
            *far ^= third;
            *near ^= second;
            *byte ^= first;
        }
        [near] if third == 0 => {
            *near ^= second;
            *byte ^= first;
        }
        // The first bits were in bytes that have been passed on already.
        _ => *byte ^= TO_INVALID << bits_behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_fill_their_space_and_are_all_there_are() {
        assert_eq!(CODES.iter().map(|(_, count)| count).sum::<u32>(), 257);
        assert_eq!(ENDS.last(), Some(&(LONGEST, 1 << LONGEST)));
    }
}
