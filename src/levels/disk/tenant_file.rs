//! One tenant's file as seen by the rest of the program: recalls, writes, and its state. All work is done on the
//! file's own thread, so a slow disk delays neither a runtime nor another tenant.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::directory::LevelDirectory;
use super::failure::FileFailure;
use super::mailbox::{DiskTask, Mailbox, QueuedWrite, RecallReply, RecallRequest, WorkerThread};
use super::open_files::OpenFileSlots;
use crate::clock::{self, WallClock};
use crate::domain::{CallId, Epoch, TenantName};
use crate::levels::fences::{PurgeFence, PurgeFences, PurgeScope};
use crate::levels::queue::{QueueRoom, WriteQueue};
use crate::levels::seal::SealRing;
use crate::levels::shared::SharedLevel;
use crate::telemetry::{LevelMetrics, LogThrottle, TenantMetrics, WriteResult};

/// Consecutive failures after which a file is down: nothing is requested from it until a retry succeeds.
const DOWN_AFTER: u32 = 3;
/// The stack of a file's thread.
const STACK_BYTES: usize = 512 << 10;

/// Shared by all files.
pub(super) struct FilesContext {
    pub(super) directory: LevelDirectory,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) open: OpenFileSlots,
    pub(super) metrics: Arc<LevelMetrics>,
    pub(super) wall: WallClock,
    /// The fleet whose purges concern the files.
    pub(super) fleet: Option<Arc<SharedLevel>>,
    /// The main function of a file's thread.
    pub(super) run: fn(Arc<TenantFile>),
}

/// The settings that a file is opened with.
#[derive(Debug)]
pub(super) struct FileSettings {
    pub(super) ring: Arc<SealRing>,
    pub(super) max_bytes: u64,
}

pub(super) struct TenantFile {
    pub(super) tenant: TenantName,
    pub(super) context: Arc<FilesContext>,
    pub(super) settings: ArcSwap<FileSettings>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) fences: PurgeFences,
    pub(super) metrics: ArcSwap<TenantMetrics>,
    failures: AtomicU32,
    is_down: AtomicBool,
    last_failure: Mutex<Option<FileFailure>>,
    log: LogThrottle<FileFailure>,
}

/// An erasure in progress.
pub(crate) struct Erasure(Receiver<Result<u64, FileFailure>>);

/// The file could not be erased in time: purged entries may still be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotErased;

impl Erasure {
    /// The result, if it has ended.
    #[cfg(test)]
    pub(crate) fn now(&self) -> Option<Result<u64, NotErased>> {
        self.0.try_recv().ok().map(|erased| erased.map_err(|_| NotErased))
    }

    /// Waits for the end, and returns the number of erased entries. Blocks.
    pub(crate) fn wait(self, patience: Duration) -> Result<u64, NotErased> {
        match self.0.recv_timeout(patience) {
            Ok(Ok(erased)) => Ok(erased),
            Ok(Err(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(NotErased),
        }
    }
}

impl TenantFile {
    pub(super) fn new(
        tenant: TenantName,
        context: Arc<FilesContext>,
        settings: FileSettings,
        epoch: Epoch,
        metrics: Arc<TenantMetrics>,
    ) -> Self {
        Self {
            tenant,
            context,
            settings: ArcSwap::from_pointee(settings),
            mailbox: Arc::default(),
            fences: PurgeFences::new(epoch),
            metrics: ArcSwap::new(metrics),
            failures: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
            last_failure: Mutex::default(),
            log: LogThrottle::default(),
        }
    }

    /// Whether it is out of use for now.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    /// Whether it may be used: a gateway of a fleet must have read the fleet's purges since its start.
    pub(super) fn is_allowed(&self) -> bool {
        self.context.fleet.as_ref().is_none_or(|fleet| fleet.ledger().is_caught_up())
    }

    /// Why it is down.
    pub(super) fn failure(&self) -> Option<FileFailure> {
        let failure = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.filter(|_| self.is_down())
    }

    /// Requests a call; the answer arrives when the disk gets to it.
    pub(super) fn recall(
        self: &Arc<Self>,
        id: &CallId,
        ring: &Arc<SealRing>,
        key: usize,
    ) -> oneshot::Receiver<RecallReply> {
        let (reply, answer) = oneshot::channel();
        let recall = RecallRequest { id: *id, ring: Arc::clone(ring), key, reply };
        self.start_if(self.mailbox.recall(recall));
        answer
    }

    /// Queues an entry for writing, unless too many are queued already.
    pub(super) fn write(self: &Arc<Self>, write: impl FnOnce(QueueRoom) -> QueuedWrite, bytes: usize) {
        let room = self.context.queue.take(bytes).filter(|_| !self.is_down());
        match room {
            Some(room) => self.start_if(self.mailbox.work(DiskTask::Write(write(room)))),
            None => self.metrics.load().disk.count_writes(WriteResult::Dropped, 1),
        }
        self.show_queue();
    }

    pub(super) fn show_queue(&self) {
        self.context.metrics.queue_bytes.set(self.context.queue.bytes() as u64);
    }

    /// Erases what was purged.
    pub(super) fn erase(
        self: &Arc<Self>,
        scope: PurgeScope,
        fence: PurgeFence,
        ring: &Arc<SealRing>,
    ) -> Erasure {
        let (done, erased) = channel();
        let work = DiskTask::Erase { scope, fence, ring: Arc::clone(ring), done: Some(done) };
        self.start_if(self.mailbox.work(work));
        Erasure(erased)
    }

    /// As [`erase`](Self::erase), without waiting for the result.
    pub(super) fn remove(self: &Arc<Self>, scope: PurgeScope, fence: PurgeFence, ring: &Arc<SealRing>) {
        let work = DiskTask::Erase { scope, fence, ring: Arc::clone(ring), done: None };
        self.start_if(self.mailbox.work(work));
    }

    /// Erases entries without any use.
    pub(super) fn sweep(self: &Arc<Self>) -> oneshot::Receiver<Result<(), FileFailure>> {
        let (done, swept) = oneshot::channel();
        self.start_if(self.mailbox.work(DiskTask::Sweep { done }));
        swept
    }

    /// Whether there is a file.
    pub(super) fn exists(&self) -> bool {
        std::fs::symlink_metadata(self.context.directory.file(&self.tenant)).is_ok()
    }

    fn start_if(self: &Arc<Self>, thread: WorkerThread) {
        if thread == WorkerThread::Runs {
            return;
        }
        let (run, file) = (self.context.run, Arc::clone(self));
        let builder = std::thread::Builder::new().name("disk".into()).stack_size(STACK_BYTES);
        if builder.spawn(move || run(file)).is_err() {
            self.mailbox.give_up();
            self.note_failure(FileFailure::Disk);
        }
    }

    /// Notes an answer.
    pub(super) fn note_success(&self) {
        self.failures.store(0, Ordering::Relaxed);
        if self.is_down.swap(false, Ordering::AcqRel) {
            self.context.metrics.down.lower();
            tracing::info!(tenant = self.tenant.as_str(), "disk level: the file is in use again");
        }
    }

    /// Notes a failure; a few in a row are tolerated.
    pub(super) fn note_failure(&self, failure: FileFailure) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= DOWN_AFTER {
            self.note_down(failure);
        }
    }

    /// Notes that it can't be used.
    pub(super) fn note_down(&self, failure: FileFailure) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        if !self.is_down.swap(true, Ordering::AcqRel) {
            self.context.metrics.down.raise();
            self.mailbox.look();
        }
        if self.log.allows(failure, clock::now()) {
            tracing::warn!(
                tenant = self.tenant.as_str(),
                directory = %self.context.directory.path().display(),
                cause = failure.text(),
                "disk level: not in use for now, so calls are kept in memory only; tried again twice a second"
            );
        }
    }

    /// Notes that it was recreated.
    pub(super) fn note_begun_anew(&self, cause: FileFailure) {
        if self.log.allows(cause, clock::now()) {
            match cause {
                FileFailure::Outdated => tracing::info!(tenant = self.tenant.as_str(), "disk level: {cause}"),
                _ => tracing::warn!(tenant = self.tenant.as_str(), "disk level: {cause}"),
            }
        }
    }
}
