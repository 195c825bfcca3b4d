//! A call's ID as a key of the store.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::domain::CallId;

/// IDs of up to this many bytes are stored inline.
const SHORT: usize = 22;

/// The bytes of a [`CallId`], inline if there are few: 24 bytes instead of 70. Found by the bytes alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredId {
    /// A length and the bytes.
    Short(u8, [u8; SHORT]),
    /// All bytes.
    Long(Box<[u8]>),
}

impl StoredId {
    /// Copies an ID.
    pub(crate) fn of(id: &CallId) -> Self {
        let bytes = id.as_bytes();
        let mut short = [0; SHORT];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Self::Short(len, short)
            }
            (None, _) | (_, Err(_)) => Self::Long(bytes.into()),
        }
    }

    /// The ID's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for StoredId {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Hashes as its bytes do, so that they find it.
impl Hash for StoredId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_id_of_any_length_is_found_by_its_bytes() {
        assert_eq!(size_of::<StoredId>(), 24);
        let mut map = HashMap::new();
        let texts: Vec<_> = (1..=64).map(|len| format!("call_{}", "x".repeat(len))).collect();
        for text in &texts {
            map.insert(StoredId::of(&CallId::parse(text.as_bytes()).unwrap()), text.clone());
        }
        for text in &texts {
            assert_eq!(map.get(text.as_bytes()), Some(text));
        }
        assert_eq!((map.len(), map.get(b"call_y".as_slice())), (64, None));
    }
}
