//! The tasks of a file's thread. Recalls go first, because lookups wait for them; the rest is done in order.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::failure::FileFailure;
use crate::clock::Instant;
use crate::domain::CallId;
use crate::levels::fences::{PurgeFence, PurgeScope};
use crate::levels::queue::QueueRoom;
use crate::levels::seal::{EntryStamp, OpenedEntry, SealRing};

/// A lookup's request.
pub(super) struct RecallRequest {
    pub(super) id: CallId,
    pub(super) ring: Arc<SealRing>,
    /// The position of the key in use in the ring.
    pub(super) key: usize,
    pub(super) reply: oneshot::Sender<RecallReply>,
}

/// The file's answer.
pub(crate) enum RecallReply {
    Found(OpenedEntry),
    Nothing,
    /// The entry was found, and could not be opened.
    Invalid,
    /// The entry was found, and is older than a purge.
    Purged,
    Failed(FileFailure),
}

/// An entry queued for writing.
pub(super) struct QueuedWrite {
    pub(super) id: CallId,
    pub(super) ring: Arc<SealRing>,
    /// The position in the ring of the key that seals it.
    pub(super) key: usize,
    pub(super) stamp: EntryStamp,
    pub(super) spent: i64,
    pub(super) bytes: Vec<u8>,
    pub(super) room: QueueRoom,
}

/// A task that is done in order.
pub(super) enum DiskTask {
    Write(QueuedWrite),
    /// Erase a call, or everything.
    Erase {
        scope: PurgeScope,
        fence: PurgeFence,
        ring: Arc<SealRing>,
        done: Option<Sender<Result<u64, FileFailure>>>,
    },
    /// Erase entries without any use.
    Sweep {
        done: oneshot::Sender<Result<(), FileFailure>>,
    },
}

/// The next work of the thread.
pub(super) enum MailboxEvent {
    Recall(RecallRequest),
    /// Tasks, with everything queued behind them.
    Work(VecDeque<DiskTask>),
    /// Nothing for now.
    Idle,
    /// Close the file, because another one needs its slot.
    Close,
    /// Nothing more: the process ends.
    End,
}

/// The queue of a file's thread.
#[derive(Default)]
pub(super) struct Mailbox {
    waiting: Mutex<MailboxState>,
    arrived: Condvar,
    left: Condvar,
    last_use: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct MailboxState {
    recalls: VecDeque<RecallRequest>,
    work: VecDeque<DiskTask>,
    has_thread: bool,
    wants_close: bool,
    /// The thread is to check the state of the file.
    wants_look: bool,
    ends: bool,
}

/// Whether a thread must be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerThread {
    Runs,
    Missing,
}

impl Mailbox {
    pub(super) fn recall(&self, recall: RecallRequest) -> WorkerThread {
        self.push(|waiting| waiting.recalls.push_back(recall))
    }

    pub(super) fn work(&self, work: DiskTask) -> WorkerThread {
        self.push(|waiting| waiting.work.push_back(work))
    }

    /// When the file was last used, if it was.
    pub(super) fn last_use(&self) -> Option<Instant> {
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_use(&self, now: Instant) {
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Asks for the file to be closed once it is idle.
    pub(super) fn close(&self) {
        self.lock().wants_close = true;
        self.arrived.notify_one();
    }

    /// Asks the thread to check the state of the file.
    pub(super) fn look(&self) {
        self.lock().wants_look = true;
        self.arrived.notify_one();
    }

    /// Asks the thread to end once its queue is empty.
    pub(super) fn end(&self) {
        self.lock().ends = true;
        self.arrived.notify_one();
    }

    fn push(&self, push: impl FnOnce(&mut MailboxState)) -> WorkerThread {
        let mut waiting = self.lock();
        push(&mut waiting);
        let thread = if waiting.has_thread { WorkerThread::Runs } else { WorkerThread::Missing };
        waiting.has_thread = true;
        drop(waiting);
        self.arrived.notify_one();
        thread
    }

    /// The next work, after waiting for at most `patience`.
    pub(super) fn next(&self, patience: Duration) -> MailboxEvent {
        let mut waiting = self.lock();
        if waiting.is_idle() {
            let arrived = self.arrived.wait_timeout_while(waiting, patience, |waiting| waiting.is_idle());
            waiting = arrived.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(recall) = waiting.recalls.pop_front() {
            return MailboxEvent::Recall(recall);
        }
        if !waiting.work.is_empty() {
            return MailboxEvent::Work(std::mem::take(&mut waiting.work));
        }
        waiting.wants_look = false;
        match *waiting {
            MailboxState { ends: true, .. } => MailboxEvent::End,
            MailboxState { wants_close: true, .. } => {
                waiting.wants_close = false;
                MailboxEvent::Close
            }
            MailboxState { .. } => MailboxEvent::Idle,
        }
    }

    /// Makes a test act as the thread.
    #[cfg(test)]
    pub(super) fn claim_thread(&self) {
        self.lock().has_thread = true;
    }

    /// As [`next`](Self::next), with a single task at most.
    #[cfg(test)]
    pub(super) fn next_one(&self, patience: Duration) -> MailboxEvent {
        match self.next(patience) {
            MailboxEvent::Work(mut all) => {
                let first = all.pop_front().into_iter().collect();
                let mut waiting = self.lock();
                all.append(&mut waiting.work);
                waiting.work = all;
                MailboxEvent::Work(first)
            }
            next => next,
        }
    }

    /// A recall that waits, if there is one.
    pub(super) fn take_recall(&self) -> Option<RecallRequest> {
        self.lock().recalls.pop_front()
    }

    /// Whether the thread may end because its queue is empty. Afterwards another one is started for new work.
    pub(super) fn leave(&self) -> bool {
        let mut waiting = self.lock();
        let may_leave = waiting.recalls.is_empty() && waiting.work.is_empty();
        waiting.has_thread &= !may_leave;
        self.left.notify_all();
        may_leave
    }

    /// Waits until the thread has ended, if there is one, or the time is up.
    pub(super) fn wait_for_end(&self, patience: Duration) {
        let waiting = self.lock();
        drop(self.left.wait_timeout_while(waiting, patience, |waiting| waiting.has_thread));
    }

    /// Drops the queue because no thread could be started; waiters notice.
    pub(super) fn give_up(&self) {
        let mut waiting = self.lock();
        waiting.recalls.clear();
        waiting.work.clear();
        waiting.has_thread = false;
        self.left.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MailboxState {
    fn is_idle(&self) -> bool {
        let wants_nothing = !self.wants_close && !self.wants_look && !self.ends;
        self.recalls.is_empty() && self.work.is_empty() && wants_nothing
    }
}
