//! Rows of a tenant's file.

use super::failure::FileFailure;
use crate::levels::seal::{SealKeyId, SealedEntry, SealedName};

pub(super) type FileResult<T> = Result<T, FileFailure>;

/// An entry to be written.
#[derive(Debug)]
pub(super) struct RowWrite {
    pub(super) sealed: SealedEntry,
    /// The names of the same call under the keys of the ring.
    pub(super) others: Vec<SealedName>,
    /// The time from which it has no use, in seconds since 1970.
    pub(super) spent: i64,
}

/// An entry that was found.
#[derive(Debug)]
pub(super) struct StoredRow {
    pub(super) key: SealKeyId,
    pub(super) spent: i64,
    pub(super) sealed: Vec<u8>,
}

/// Numbers of removed entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RemovedRows {
    /// Evicted to make room.
    pub(super) evicted: u64,
    /// Replaced by newer ones.
    pub(super) replaced: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FileSize {
    pub(super) entries: u64,
    /// The journal included.
    pub(super) bytes: u64,
}
