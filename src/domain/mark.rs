//! How old an answer is in terms of purges, never of clocks: an answer that was fetched before a purge must not come
//! back after it.

/// Where a gateway stands: which purges it has applied. A process without a fleet is an epoch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    /// Tells apart epochs that have the same number.
    pub(crate) random: u64,
}

/// The position of the gateway that fetched an answer, when the fetch began. It stays with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: Epoch,
    /// The last purge that had been applied by then.
    pub(crate) record: u64,
}

impl Mark {
    /// Bytes of the written form.
    pub(crate) const LEN: usize = 24;

    /// As it is written beside an answer.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let Self { epoch: Epoch { number, random }, record } = self;
        for (place, word) in bytes.chunks_exact_mut(8).zip([number, random, record]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Reads the written form.
    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| word.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        let mut word = || words.next().unwrap_or_default();
        Self { epoch: Epoch { number: word(), random: word() }, record: word() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_being_written() {
        let mark = Mark { epoch: Epoch { number: 7, random: u64::MAX - 1 }, record: 1 << 40 };
        assert_eq!(Mark::from_bytes(mark.to_bytes()), mark);
    }
}
