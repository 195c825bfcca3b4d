//! Call IDs as they may appear in log lines.

use sha2::{Digest, Sha256};

use crate::domain::{CallId, hex};

/// Hashes call IDs under a key of this process, so that lines about one call can be correlated without revealing
/// which call it is.
#[derive(Clone)]
pub(crate) struct CallHasher {
    key: [u8; 32],
}

impl CallHasher {
    /// A hasher with this key.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// 16 hexadecimal digits.
    pub(crate) fn digest(&self, id: &CallId) -> String {
        let digest = Sha256::new().chain_update(self.key).chain_update(id.as_bytes()).finalize();
        hex(digest.get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_digest_a_process() {
        let id = CallId::parse(b"call_1").unwrap();
        let (one, other) = (CallHasher::new([1; 32]), CallHasher::new([2; 32]));
        assert_eq!(one.digest(&id), one.digest(&id));
        assert_ne!(one.digest(&id), other.digest(&id));
        assert_eq!(one.digest(&id).len(), 16);
    }
}
