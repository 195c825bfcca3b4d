//! The tasks of a file's thread. Recalls go first, because lookups wait for them; the rest is done in order. Writes, and
//! removals without a waiting caller, are collected briefly, because a transaction costs several times as much processor
//! time as an entry in it.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::failure::FileFailure;
use crate::clock::{self, Instant};
use crate::domain::CallId;
use crate::levels::fences::{PurgeFence, PurgeScope};
use crate::levels::queue::QueueRoom;
use crate::levels::seal::{EntryStamp, OpenedEntry, SealRing};

/// How long an entry waits to be written together with others, unless so many are gathered before.
pub(super) const GATHERING: Duration = Duration::from_millis(20);
const GATHERED_TASKS: usize = 64;
const GATHERED_BYTES: usize = 512 << 10;

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
    work: WorkQueue,
    has_thread: bool,
    wants_close: bool,
    /// The thread is to check the state of the file.
    wants_look: bool,
    ends: bool,
}

/// The tasks that are done in order.
#[derive(Default)]
struct WorkQueue {
    tasks: VecDeque<DiskTask>,
    /// When the first of them arrived.
    since: Option<Instant>,
    /// The bytes of the entries among them.
    bytes: usize,
    /// A caller waits for one of them.
    is_urgent: bool,
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
        self.push(|waiting| waiting.work.push(work))
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
        let was_idle = waiting.is_idle();
        push(&mut waiting);
        let thread = if waiting.has_thread { WorkerThread::Runs } else { WorkerThread::Missing };
        waiting.has_thread = true;
        let must_wake = was_idle || !waiting.gathers();
        drop(waiting);
        if must_wake {
            self.arrived.notify_one();
        }
        thread
    }

    /// The next work, after waiting for at most `patience`. Tasks without a waiting caller are collected until the
    /// first of them has waited for `gathering`.
    pub(super) fn next(&self, patience: Duration, gathering: Duration) -> MailboxEvent {
        let mut waiting = self.lock();
        if waiting.is_idle() {
            let arrived = self.arrived.wait_timeout_while(waiting, patience, |waiting| waiting.is_idle());
            waiting = arrived.unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.gathers() {
            let left = gathering.saturating_sub(waiting.work.age());
            let arrived = self.arrived.wait_timeout_while(waiting, left, |waiting| waiting.gathers());
            waiting = arrived.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(recall) = waiting.recalls.pop_front() {
            return MailboxEvent::Recall(recall);
        }
        if !waiting.work.tasks.is_empty() {
            return MailboxEvent::Work(std::mem::take(&mut waiting.work).tasks);
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
        match self.next(patience, Duration::ZERO) {
            MailboxEvent::Work(mut all) => {
                let first = all.pop_front().into_iter().collect();
                let mut waiting = self.lock();
                all.append(&mut waiting.work.tasks);
                waiting.work.tasks = all;
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
        let may_leave = waiting.recalls.is_empty() && waiting.work.tasks.is_empty();
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
        waiting.work = WorkQueue::default();
        waiting.has_thread = false;
        self.left.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MailboxState {
    fn is_idle(&self) -> bool {
        self.has_only_work() && self.work.tasks.is_empty()
    }

    /// Whether there is nothing to do but to write and remove entries, which may wait for more.
    fn gathers(&self) -> bool {
        self.has_only_work() && self.work.may_grow()
    }

    fn has_only_work(&self) -> bool {
        self.recalls.is_empty() && !self.wants_close && !self.wants_look && !self.ends
    }
}

impl WorkQueue {
    fn push(&mut self, task: DiskTask) {
        self.since.get_or_insert_with(clock::now);
        match &task {
            DiskTask::Write(write) => self.bytes += write.bytes.len(),
            DiskTask::Erase { done: None, .. } => {}
            DiskTask::Erase { done: Some(_), .. } | DiskTask::Sweep { .. } => self.is_urgent = true,
        }
        self.tasks.push_back(task);
    }

    fn may_grow(&self) -> bool {
        let tasks = 1..GATHERED_TASKS;
        tasks.contains(&self.tasks.len()) && self.bytes < GATHERED_BYTES && !self.is_urgent
    }

    /// How long the first task has waited.
    fn age(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| clock::now().duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::config::BaseUrl;
    use crate::domain::{Epoch, Mark, TenantName};
    use crate::levels::fences::PurgeFences;

    const FOREVER: Duration = Duration::from_secs(3600);

    fn mailbox() -> Mailbox {
        let mailbox = Mailbox::default();
        mailbox.claim_thread();
        mailbox
    }

    fn ring() -> Arc<SealRing> {
        let url = BaseUrl::parse("https://api.credira.com").unwrap();
        Arc::new(SealRing::new([], None, &url, &TenantName::parse("alpha").unwrap()))
    }

    fn id() -> CallId {
        CallId::parse(b"call_1").unwrap()
    }

    fn write(bytes: usize) -> DiskTask {
        let mark = Mark { epoch: Epoch { number: 0, random: 0 }, record: 0 };
        let (stamp, room) = (
            EntryStamp { mark, receipt: 0 },
            Arc::<crate::levels::queue::WriteQueue>::default().take(0).unwrap(),
        );
        let bytes = vec![0; bytes];
        DiskTask::Write(QueuedWrite { id: id(), ring: ring(), key: 0, stamp, spent: 0, bytes, room })
    }

    fn recall() -> RecallRequest {
        RecallRequest { id: id(), ring: ring(), key: 0, reply: oneshot::channel().0 }
    }

    /// How many tasks came at once; `None` for anything else.
    fn count(event: &MailboxEvent) -> Option<usize> {
        if let MailboxEvent::Work(work) = event { Some(work.len()) } else { None }
    }

    #[test]
    fn entries_gather_until_there_are_enough() {
        for (bytes, enough) in [(10, GATHERED_TASKS), (GATHERED_BYTES / 4, 4)] {
            let mailbox = mailbox();
            let (come, came) = channel();
            thread::scope(|scope| {
                scope.spawn(|| come.send(mailbox.next(FOREVER, FOREVER)).unwrap());
                for _ in 1..enough {
                    mailbox.work(write(bytes));
                }
                assert!(came.try_recv().is_err(), "more may come");
                mailbox.work(write(bytes));
                assert_eq!(count(&came.recv().unwrap()), Some(enough));
            });
        }
    }

    #[test]
    fn what_a_caller_waits_for_is_done_at_once() {
        let (done, _erased) = channel();
        let mut done = Some(done);
        let mut erase = || {
            let (scope, fence) = PurgeFences::new(Epoch { number: 0, random: 0 }).raise_call(&id());
            DiskTask::Erase { scope, fence, ring: ring(), done: done.take() }
        };
        let mailbox = mailbox();
        mailbox.work(write(10));
        mailbox.recall(recall());
        assert!(matches!(mailbox.next(FOREVER, FOREVER), MailboxEvent::Recall(_)));
        mailbox.work(erase());
        mailbox.work(write(10));
        assert_eq!(count(&mailbox.next(FOREVER, FOREVER)), Some(3), "in order, the first entry too");
        mailbox.work(erase());
        assert_eq!(count(&mailbox.next(FOREVER, Duration::ZERO)), Some(1), "without a waiting caller");
        mailbox.work(write(10));
        mailbox.close();
        assert_eq!(count(&mailbox.next(FOREVER, FOREVER)), Some(1));
        assert!(matches!(mailbox.next(FOREVER, FOREVER), MailboxEvent::Close));
        mailbox.work(write(10));
        assert_eq!(count(&mailbox.next(FOREVER, Duration::ZERO)), Some(1), "its time is up");
        mailbox.work(write(10));
        mailbox.end();
        assert_eq!(count(&mailbox.next(FOREVER, FOREVER)), Some(1), "the process ends");
    }
}
