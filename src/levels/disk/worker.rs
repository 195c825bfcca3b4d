//! The thread of one file: opens it on first use, answers recalls, writes in batches, erases, and closes it when it has
//! been idle. The only place that blocks on the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::failure::FileFailure;
use super::file::DiskFile;
use super::mailbox::{DiskTask, GATHERING, MailboxEvent, QueuedWrite, RecallReply, RecallRequest};
use super::rows::RowWrite;
use super::tenant_file::{FileSettings, TenantFile};
use crate::clock;
use crate::levels::fences::{PurgeFence, PurgeScope};
use crate::levels::seal::{SealRing, SealedName};
use crate::levels::shared::{MissedPurges, SharedLevel};
use crate::telemetry::{Eviction, WriteResult};

/// The time after which an idle file is closed.
const IDLE: Duration = Duration::from_secs(60);
/// The retry interval of a file that is down, or has an erasure pending.
const RETRY: Duration = Duration::from_millis(500);

/// How long an erasure waits for a slot among the open files.
const PLACE: Duration = Duration::from_millis(1500);

/// The thread's own.
pub(super) struct FileWorker {
    pub(super) shared: Arc<TenantFile>,
    open: Option<OpenFile>,
    /// Pending erasures. Nothing older is admitted meanwhile.
    owed: Vec<(PurgeScope, PurgeFence, Arc<SealRing>)>,
}

struct OpenFile {
    file: DiskFile,
    settings: Arc<FileSettings>,
}

impl FileWorker {
    pub(super) fn new(shared: Arc<TenantFile>) -> Self {
        Self { shared, open: None, owed: Vec::new() }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.shared.mailbox.next(if self.is_due() { RETRY } else { IDLE }, GATHERING) {
                MailboxEvent::Recall(recall) => self.recall(recall),
                MailboxEvent::Work(work) => self.work(work),
                MailboxEvent::Idle if self.is_due() => self.retry(),
                MailboxEvent::Close => self.close(),
                MailboxEvent::Idle | MailboxEvent::End => {
                    self.close();
                    if self.shared.mailbox.leave() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the file must be retried without a request.
    fn is_due(&self) -> bool {
        self.shared.is_down() || !self.owed.is_empty()
    }

    /// Retries a file that is down, or has an erasure pending.
    fn retry(&mut self) {
        let tried = self.opened().and_then(|file| file.probe());
        match tried {
            Ok(()) => self.shared.note_success(),
            Err(failure) => self.fail(failure),
        }
    }

    /// The file, opened with the current settings.
    fn opened(&mut self) -> Result<&mut DiskFile, FileFailure> {
        self.opened_within(Duration::ZERO)
    }

    /// The same, after waiting for a slot among the open files if necessary.
    fn opened_within(&mut self, patience: Duration) -> Result<&mut DiskFile, FileFailure> {
        let settings = self.shared.settings.load_full();
        if self.open.as_ref().is_some_and(|open| !Arc::ptr_eq(&open.settings, &settings)) {
            self.close();
        }
        self.shared.mailbox.note_use(clock::now());
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                if !self.shared.context.open.take(&self.shared.mailbox, patience) {
                    return Err(FileFailure::TooMany);
                }
                match self.open_file(&settings) {
                    Ok(file) => {
                        self.shared.note_success();
                        OpenFile { file, settings }
                    }
                    Err(failure) => {
                        self.shared.context.open.release(&self.shared.mailbox);
                        return Err(failure);
                    }
                }
            }
        };
        Ok(&mut self.open.insert(open).file)
    }

    fn open_file(&mut self, settings: &FileSettings) -> Result<DiskFile, FileFailure> {
        let (directory, tenant) = (&self.shared.context.directory, &self.shared.tenant);
        directory.prepare()?;
        let path = directory.file(tenant);
        let open = || DiskFile::open(&path, settings.max_bytes, &settings.ring.ids());
        let mut file = match open() {
            Err(cause @ (FileFailure::Corrupt | FileFailure::Outdated)) => {
                self.shared.note_begun_anew(cause);
                directory.erase(tenant)?;
                open()?
            }
            opened => opened?,
        };
        // Before any recall: pending since the file could not be opened.
        for (scope, fence, ring) in &self.owed {
            match scope {
                PurgeScope::All => {
                    drop(file);
                    directory.erase(tenant)?;
                    file = open()?;
                }
                PurgeScope::Call(id) => {
                    file.remove(&names(id, ring, &settings.ring))?;
                }
            }
            file.make_last()?;
            self.shared.fences.lower(scope, *fence);
        }
        self.owed.clear();
        match &self.shared.context.fleet {
            Some(fleet) => self.cleaned(file, fleet, settings),
            None => Ok(file),
        }
    }

    /// Erases what the fleet has purged since the file was cleaned last.
    fn cleaned(
        &self,
        mut file: DiskFile,
        fleet: &SharedLevel,
        settings: &FileSettings,
    ) -> Result<DiskFile, FileFailure> {
        let (directory, tenant) = (&self.shared.context.directory, &self.shared.tenant);
        let position = fleet.ledger().position();
        match fleet.ledger().missed(tenant, fleet.seal().tag(tenant), file.position()?) {
            MissedPurges::Everything if file.size()?.entries > 0 => {
                drop(file);
                directory.erase(tenant)?;
                file = DiskFile::open(&directory.file(tenant), settings.max_bytes, &settings.ring.ids())?;
            }
            MissedPurges::Calls(calls) if !calls.is_empty() => {
                for id in calls {
                    file.remove(&settings.ring.names(&id))?;
                }
                file.make_last()?;
            }
            MissedPurges::Everything | MissedPurges::Calls(_) => {}
        }
        if let Some(position) = position {
            file.set_position(position)?;
        }
        Ok(file)
    }

    pub(super) fn close(&mut self) {
        if let Some(OpenFile { file, .. }) = self.open.take() {
            let fleet = self.shared.context.fleet.as_ref().filter(|_| self.owed.is_empty());
            if let Some(position) = fleet.and_then(|fleet| fleet.ledger().position()) {
                // Otherwise it is cleaned once more when it is opened.
                let _ = file.set_position(position);
            }
            drop(file);
            self.shared.context.open.release(&self.shared.mailbox);
        }
    }

    /// Notes a failure, and drops the file, which is reopened for its next use.
    fn fail(&mut self, failure: FileFailure) {
        self.close();
        match failure {
            FileFailure::TooMany => {}
            FileFailure::Corrupt | FileFailure::Outdated => {
                self.shared.note_begun_anew(failure);
                let erased = self.shared.context.directory.erase(&self.shared.tenant);
                if let Err(failure) = erased {
                    self.shared.note_down(failure);
                }
            }
            FileFailure::Held
            | FileFailure::NoDirectory
            | FileFailure::ForeignDirectory
            | FileFailure::ReadOnly => self.shared.note_down(failure),
            FileFailure::Full | FileFailure::Disk => self.shared.note_failure(failure),
        }
    }

    pub(super) fn recall(&mut self, recall: RecallRequest) {
        let RecallRequest { id, ring, key, reply } = recall;
        // The lookup no longer waits.
        if reply.is_closed() {
            return;
        }
        let found = match self.find(&id, &ring, key) {
            Ok(found) => found,
            Err(failure) => {
                self.fail(failure);
                RecallOutcome { reply: RecallReply::Failed(failure), moved: None }
            }
        };
        let has_answered = !matches!(found.reply, RecallReply::Failed(_));
        if reply.send(found.reply).is_ok() && has_answered {
            self.shared.note_success();
        }
        if let Some(put) = found.moved {
            self.put(vec![put]);
        }
    }

    fn find(
        &mut self,
        id: &crate::domain::CallId,
        ring: &Arc<SealRing>,
        key: usize,
    ) -> Result<RecallOutcome, FileFailure> {
        let only = |reply| RecallOutcome { reply, moved: None };
        // Creating a file takes longer than a lookup waits, so the first write does it.
        if !self.is_there() {
            return Ok(only(RecallReply::Nothing));
        }
        let names = ring.names(id);
        let file = self.opened()?;
        let row = file.get(&names)?;
        let Some(row) = row else { return Ok(only(RecallReply::Nothing)) };
        let Some(opened) = ring.open(row.key, id, &row.sealed) else {
            file.remove(&names)?;
            return Ok(only(RecallReply::Invalid));
        };
        if !self.shared.fences.admit(id, opened.stamp.mark) {
            return Ok(only(RecallReply::Purged));
        }
        let is_moved = ring.in_use(key).is_some_and(|in_use| in_use != row.key);
        let moved = is_moved.then(|| ring.seal(key, id, opened.stamp, &opened.bytes)).flatten();
        let moved = moved.map(|sealed| RowWrite { sealed, others: names, spent: row.spent });
        Ok(RecallOutcome { reply: RecallReply::Found(opened), moved })
    }

    /// Executes queued tasks in order, without delaying a recall by more than one transaction.
    pub(super) fn work(&mut self, mut work: VecDeque<DiskTask>) {
        let mut writes = Vec::new();
        while let Some(next) = work.pop_front() {
            match next {
                DiskTask::Write(write) => {
                    writes.push(write);
                    if work.iter().next().is_some_and(|next| matches!(next, DiskTask::Write(_))) {
                        continue;
                    }
                    self.write(std::mem::take(&mut writes));
                }
                DiskTask::Erase { scope, fence, ring, done } => {
                    let promise = if done.is_some() { ErasePromise::Made } else { ErasePromise::None };
                    let erased = self.erase(&scope, fence, &ring, promise);
                    if let Err(failure) = erased {
                        self.owed.push((scope, fence, ring));
                        self.fail(failure);
                    }
                    if let Some(done) = done {
                        let _ = done.send(erased);
                    }
                }
                DiskTask::Sweep { done } => {
                    let swept = self.sweep();
                    if let Err(failure) = swept {
                        self.fail(failure);
                    }
                    let _ = done.send(swept);
                }
            }
            self.answer_recalls();
        }
    }

    fn answer_recalls(&mut self) {
        while let Some(recall) = self.shared.mailbox.take_recall() {
            self.recall(recall);
        }
    }

    fn write(&mut self, writes: Vec<QueuedWrite>) {
        let settings = self.shared.settings.load_full();
        let (known, metrics) = (settings.ring.ids(), self.shared.metrics.load_full());
        let mut puts = Vec::with_capacity(writes.len());
        for write in writes {
            let QueuedWrite { id, ring, key, stamp, spent, bytes, room } = write;
            let is_current = ring.in_use(key).is_some_and(|key| known.contains(&key));
            let sealed = match is_current && self.shared.fences.admit(&id, stamp.mark) {
                true => ring.seal(key, &id, stamp, &bytes),
                false => None,
            };
            match sealed {
                Some(sealed) => puts.push(RowWrite { sealed, others: ring.names(&id), spent }),
                None => metrics.disk.count_writes(WriteResult::Dropped, 1),
            }
            drop(room);
        }
        self.shared.show_queue();
        while !puts.is_empty() {
            let count = self
                .open
                .as_ref()
                .map_or(1, |open| open.file.batch(puts.iter().map(|put| put.sealed.bytes.len())));
            let rest = puts.split_off(count.min(puts.len()));
            self.put(std::mem::replace(&mut puts, rest));
            self.answer_recalls();
        }
    }

    fn put(&mut self, mut puts: Vec<RowWrite>) {
        let metrics = self.shared.metrics.load_full();
        let before = puts.len();
        let put = self.opened().and_then(|file| {
            puts.retain(|put| file.takes(put.sealed.bytes.len()));
            file.put(&puts)
        });
        let count = |result, entries: usize| metrics.disk.count_writes(result, entries as u64);
        match put {
            Ok(left) => {
                self.show_size();
                count(WriteResult::Stored, puts.len());
                count(WriteResult::Dropped, before - puts.len());
                metrics.disk.count_evictions(Eviction::Size, left.evicted);
                metrics.disk.count_evictions(Eviction::Replaced, left.replaced);
                self.shared.note_success();
            }
            Err(failure) => {
                count(WriteResult::Failed, before);
                self.fail(failure);
            }
        }
    }

    fn show_size(&self) {
        if let Some(size) = self.open.as_ref().and_then(|open| open.file.size().ok()) {
            self.shared.metrics.load().disk.show_size(size.entries, size.bytes);
        }
    }

    fn is_there(&self) -> bool {
        self.open.is_some() || self.shared.exists()
    }

    /// Erases what was purged, permanently.
    fn erase(
        &mut self,
        scope: &PurgeScope,
        fence: PurgeFence,
        ring: &Arc<SealRing>,
        promise: ErasePromise,
    ) -> Result<u64, FileFailure> {
        let erased = if !self.is_there() {
            0
        } else {
            match scope {
                PurgeScope::All => self.erase_file()?,
                PurgeScope::Call(id) => {
                    let settings = self.shared.settings.load_full();
                    let file = self.opened_within(PLACE)?;
                    let removed = file.remove(&names(id, ring, &settings.ring))?;
                    // Calls that are not final yet, and 404s, are seldom there: emptying the journal for each would
                    // keep the disk busy.
                    if removed > 0 || promise == ErasePromise::Made {
                        file.make_last()?;
                    }
                    removed
                }
            }
        };
        self.shared.fences.lower(scope, fence);
        self.shared.metrics.load().disk.count_evictions(Eviction::Purged, erased);
        self.show_size();
        Ok(erased)
    }

    /// Erases the file, unless another process holds it: that would remove its successor's journal.
    fn erase_file(&mut self) -> Result<u64, FileFailure> {
        let entries = match self.opened_within(PLACE).and_then(|file| file.size()) {
            Ok(size) => size.entries,
            Err(failure @ (FileFailure::Held | FileFailure::TooMany)) => return Err(failure),
            // Unreadable, but perhaps erasable.
            Err(_) => 0,
        };
        self.close();
        self.shared.context.directory.erase(&self.shared.tenant)?;
        self.shared.metrics.load().disk.show_size(0, 0);
        Ok(entries)
    }

    /// Erases entries without any use.
    fn sweep(&mut self) -> Result<(), FileFailure> {
        if !self.is_there() {
            return Ok(());
        }
        let now = self.shared.context.wall.now().as_second();
        let mut expired = 0;
        let swept = loop {
            match self.opened().and_then(|file| file.remove_spent(now)) {
                Ok(0) => break Ok(()),
                Ok(removed) => expired += removed,
                Err(failure) => break Err(failure),
            }
            self.answer_recalls();
        };
        let last = match expired {
            0 => Ok(()),
            _ => self.opened().and_then(DiskFile::make_last),
        };
        self.shared.metrics.load().disk.count_evictions(Eviction::Expired, expired);
        self.show_size();
        swept.and(last)
    }
}

/// Whether a caller gets the assurance that nothing is left of a call, replaced or evicted entries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErasePromise {
    Made,
    None,
}

/// The answer to a recall, and its entry under the key in use, if it was found under another one.
struct RecallOutcome {
    reply: RecallReply,
    moved: Option<RowWrite>,
}

/// The names of a call under every key that may have sealed it.
fn names(id: &crate::domain::CallId, ring: &SealRing, current: &SealRing) -> Vec<SealedName> {
    let mut names = ring.names(id);
    names.extend(current.names(id));
    names
}
