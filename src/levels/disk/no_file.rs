//! In place of a tenant's file in a program that was built without the disk level, whose configuration can't name one.

use std::path::Path;

use super::failure::FileFailure;
use super::rows::{FileResult, FileSize, RemovedRows, RowWrite, StoredRow};
use crate::domain::Mark;
use crate::levels::seal::{SealKeyId, SealedName};

/// A file that can't be opened.
pub(super) enum DiskFile {}

/// As a file is closed.
impl Drop for DiskFile {
    fn drop(&mut self) {
        match *self {}
    }
}

impl DiskFile {
    pub(super) const fn open(_: &Path, _: u64, _: &[SealKeyId]) -> FileResult<Self> {
        Err(FileFailure::NoDirectory)
    }

    pub(super) const fn position(&self) -> FileResult<Option<Mark>> {
        match *self {}
    }

    pub(super) const fn set_position(&self, _: Mark) -> FileResult<()> {
        match *self {}
    }

    pub(super) const fn get(&self, _: &[SealedName]) -> FileResult<Option<StoredRow>> {
        match *self {}
    }

    pub(super) const fn takes(&self, _: usize) -> bool {
        match *self {}
    }

    pub(super) fn batch(&self, _: impl Iterator<Item = usize>) -> usize {
        match *self {}
    }

    pub(super) const fn put(&mut self, _: &[RowWrite]) -> FileResult<RemovedRows> {
        match *self {}
    }

    pub(super) const fn remove(&mut self, _: &[SealedName]) -> FileResult<u64> {
        match *self {}
    }

    pub(super) const fn remove_spent(&mut self, _: i64) -> FileResult<u64> {
        match *self {}
    }

    pub(super) const fn make_last(&mut self) -> FileResult<()> {
        match *self {}
    }

    pub(super) const fn size(&self) -> FileResult<FileSize> {
        match *self {}
    }

    pub(super) const fn probe(&self) -> FileResult<()> {
        match *self {}
    }
}
