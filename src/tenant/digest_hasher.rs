//! The hasher of maps whose keys are hashes themselves.

use std::hash::Hasher;

/// Uses a part of the digest that is the key.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write_u128(&mut self, number: u128) {
        // The lower half is as random as the whole.
        self.0 = number as u64;
    }
}
