//! A tenant's part of the disk level, under one configuration.

use std::sync::Arc;
use std::time::Duration;

use super::failure::FileFailure;
use super::mailbox::{QueuedWrite, RecallReply};
use super::tenant_file::{Erasure, TenantFile};
use crate::clock;
use crate::domain::{CallId, Mark};
use crate::levels::fences::{PurgeFence, PurgeScope};
use crate::levels::seal::{EntryStamp, OpenedEntry, SealRing};
use crate::telemetry::LevelResult;

/// A lookup's result from the level.
pub(crate) enum RecallResult {
    Found(OpenedEntry),
    /// Nothing, for this reason.
    Nothing(LevelResult),
}

/// A purge in progress: nothing older is taken from the level any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RaisedPurge(PurgeScope, PurgeFence);

/// A tenant's part of the level.
pub(crate) struct TenantDisk {
    file: Arc<TenantFile>,
    ring: Arc<SealRing>,
    timeout: Duration,
}

impl TenantDisk {
    pub(super) fn new(file: Arc<TenantFile>, ring: Arc<SealRing>, timeout: Duration) -> Self {
        Self { file, ring, timeout }
    }

    #[cfg(test)]
    pub(super) const fn file(&self) -> &Arc<TenantFile> {
        &self.file
    }

    /// The mark of a fetch that begins now.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.file.is_allowed().then(|| self.file.fences.mark())
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.file.context.wall.now()
    }

    /// Why it is out of use, if it is.
    pub(crate) fn failure(&self) -> Option<FileFailure> {
        self.file.failure()
    }

    /// Requests a call, waiting no longer than configured. `key` is the position of the upstream key in use.
    pub(crate) async fn recall(&self, id: &CallId, key: usize) -> RecallResult {
        if self.file.is_down() || !self.file.is_allowed() {
            return RecallResult::Nothing(LevelResult::Down);
        }
        let began = clock::now();
        let answer = clock::within(self.timeout, self.file.recall(id, &self.ring, key)).await;
        self.file.context.metrics.time(clock::now().duration_since(began));
        match answer {
            Ok(Ok(RecallReply::Found(opened))) => RecallResult::Found(opened),
            Ok(Ok(RecallReply::Nothing)) => RecallResult::Nothing(LevelResult::Miss),
            Ok(Ok(RecallReply::Invalid)) => RecallResult::Nothing(LevelResult::Invalid),
            Ok(Ok(RecallReply::Purged)) => RecallResult::Nothing(LevelResult::Purged),
            Ok(Ok(RecallReply::Failed(FileFailure::Held | FileFailure::TooMany))) => {
                RecallResult::Nothing(LevelResult::Down)
            }
            // No answer: the thread has ended.
            Ok(Ok(RecallReply::Failed(_)) | Err(_)) => RecallResult::Nothing(LevelResult::Error),
            Err(clock::TimedOut) => {
                self.file.note_failure(FileFailure::Disk);
                RecallResult::Nothing(LevelResult::Timeout)
            }
        }
    }

    /// Queues a call that was fetched since `stamp.mark` for writing. Does not wait.
    pub(crate) fn store(&self, id: &CallId, key: usize, stamp: EntryStamp, spent: i64, bytes: Vec<u8>) {
        let (id, ring, size) = (*id, Arc::clone(&self.ring), bytes.len());
        self.file.write(|room| QueuedWrite { id, ring, key, stamp, spent, bytes, room }, size);
    }

    /// Queues the removal of a call that the upstream no longer has, or that is no longer final. Does not wait.
    pub(crate) fn remove(&self, id: &CallId) {
        let (scope, fence) = self.file.fences.raise_call(id);
        self.file.remove(scope, fence, &self.ring);
    }

    /// Begins a purge of a call.
    pub(crate) fn raise_call(&self, id: &CallId) -> RaisedPurge {
        let (scope, fence) = self.file.fences.raise_call(id);
        RaisedPurge(scope, fence)
    }

    /// Begins a purge of everything.
    pub(crate) fn raise_all(&self) -> RaisedPurge {
        RaisedPurge(PurgeScope::All, self.file.fences.raise_all())
    }

    /// Erases what was purged.
    pub(crate) fn erase(&self, RaisedPurge(scope, fence): RaisedPurge) -> Erasure {
        self.file.erase(scope, fence, &self.ring)
    }

    /// Erases everything, because the tenant is gone or belongs to another account.
    pub(crate) fn retire(&self) {
        let fence = self.file.fences.raise_all();
        self.file.remove(PurgeScope::All, fence, &self.ring);
    }
}
