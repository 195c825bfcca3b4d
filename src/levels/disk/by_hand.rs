//! A tenant's part of the level, whose thread is run by a test, step by step.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::DiskLevel;
use super::mailbox::MailboxEvent;
use super::tenant_disk::TenantDisk;
use super::worker::FileWorker;

/// The work of a tenant's file thread, done on a test's demand.
pub(crate) struct DiskThread(FileWorker);

impl DiskThread {
    /// Replaces the thread of this part's file for as long as it lives.
    pub(crate) fn of(disk: &TenantDisk) -> Self {
        disk.file().mailbox.claim_thread();
        Self(FileWorker::new(Arc::clone(disk.file())))
    }

    /// Closes the file, as the end of the process does.
    pub(crate) fn end(&mut self) {
        self.0.close();
    }

    /// Executes the next step; returns whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        match self.0.shared.mailbox.next_one(Duration::ZERO) {
            MailboxEvent::Recall(recall) => self.0.recall(recall),
            MailboxEvent::Work(work) => self.0.work(work),
            MailboxEvent::Close => self.0.close(),
            MailboxEvent::Idle | MailboxEvent::End => return false,
        }
        true
    }
}

impl DiskLevel {
    /// A level in this directory.
    pub(crate) fn for_tests(directory: &Path) -> Arc<Self> {
        let settings = crate::config::DiskSettings::for_tests(directory);
        Self::new(&settings, &Arc::default(), crate::clock::WallClock::system(), None).unwrap()
    }
}
