//! The activity of one connection, reported by its socket, its requests and the task that drives it.
//!
//! Requests are cheap and many, so no request reads the clock here: events are counted, and the driver compares the
//! counts when its one coarse timer fires. Knows no limits, which are up to `ConnectionTimer` and `ConnectionSlots`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

use super::backlog::SendBacklog;
use super::drain::CloseSignal;
use crate::message::HttpVersion;

/// The state of one connection. All accesses are relaxed: it guards no other memory, and slightly outdated values are
/// good enough.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests whose answers the handler has not finished.
    in_flight: AtomicU32,
    /// Requests begun; wraps.
    begun: AtomicU32,
    /// Bytes have arrived that belong to no request yet.
    head_open: AtomicBool,
    /// The last of them belong to an incomplete head.
    head_unfinished: AtomicBool,
    /// The socket accepted no more bytes at the last attempt.
    write_blocked: AtomicBool,
    /// Successful writes; wraps.
    writes: AtomicU32,
    is_http2: AtomicBool,
    /// The client has authenticated, or made a request that needs no authentication.
    authenticated: AtomicBool,
    place: SlotKind,
    close_signal: CloseSignal,
    /// Answers that HTTP/2's flow control holds back.
    backlog: Arc<SendBacklog>,
    task: OnceLock<AbortHandle>,
}

/// The kind of slot that a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Ordinary,
    /// Reserved for certain requests.
    Reserved,
}

/// The event that a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The rest of a request's head, or the first request; `begun` distinguishes successive heads.
    Head { begun: u32 },
    /// The client to read; `writes` distinguishes successive stalls.
    Write { writes: u32 },
    /// The handler's answer or the rest of its body, or the client to read one of its answers over HTTP/2.
    Answer,
    /// A request that authenticates the client; `begun` distinguishes successive pauses.
    Unauthenticated { begun: u32 },
    /// Another request; `begun` distinguishes successive pauses.
    Idle { begun: u32 },
}

/// Whether a connection may be closed to make way for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evictable {
    /// It may: the client has not authenticated.
    Unauthenticated,
    /// It may: it waits for its next request.
    Idle,
    Not,
}

impl Activity {
    /// A connection that was accepted just now.
    pub(crate) fn new(close_signal: CloseSignal, place: SlotKind) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            head_open: AtomicBool::new(true),
            head_unfinished: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            writes: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            authenticated: AtomicBool::new(false),
            place,
            close_signal,
            backlog: Arc::default(),
            task: OnceLock::new(),
        })
    }

    /// The version is known. Over HTTP/1.1 the rest of the first head is due; in HTTP/2 heads are frames, and only
    /// requests count.
    pub(crate) fn speaks(&self, version: HttpVersion) {
        self.is_http2.store(version == HttpVersion::Http2, Relaxed);
        self.head_open.store(version == HttpVersion::Http1, Relaxed);
    }

    /// Bytes have arrived over HTTP/1.1; the last of them end a head, or leave one incomplete.
    pub(crate) fn head_bytes_came(&self, unfinished: bool) {
        self.head_open.store(true, Relaxed);
        self.head_unfinished.store(unfinished, Relaxed);
    }

    /// The socket accepted bytes.
    pub(crate) fn wrote(&self) {
        count_one(&self.writes);
        if self.write_blocked.load(Relaxed) {
            self.write_blocked.store(false, Relaxed);
        }
    }

    /// The socket accepted none.
    pub(crate) fn write_blocked(&self) {
        self.write_blocked.store(true, Relaxed);
    }

    /// A request's head is complete.
    pub(crate) fn request_begins(&self) {
        self.head_open.store(self.head_unfinished.load(Relaxed), Relaxed);
        count_one(&self.begun);
    }

    /// Requests begun so far; wraps.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Relaxed)
    }

    /// The client has authenticated.
    pub(crate) fn authenticate(&self) {
        // Nearly always set already, and a store would cost more than this check.
        if !self.authenticated.load(Relaxed) {
            self.authenticated.store(true, Relaxed);
        }
    }

    pub(crate) const fn slot(&self) -> SlotKind {
        self.place
    }

    /// The handler starts working on an answer. The guard lives until the answer is complete.
    pub(crate) fn answer_waits(self: &Arc<Self>) -> PendingAnswer {
        self.in_flight.fetch_add(1, Relaxed);
        PendingAnswer(Arc::clone(self))
    }

    /// Whether each answer must announce that the connection closes. HTTP/2 has a frame for that, sent when the drain
    /// begins.
    pub(crate) fn announces_close(&self) -> bool {
        (self.place == SlotKind::Reserved || self.close_signal.is_due()) && !self.is_http2.load(Relaxed)
    }

    /// The answers that HTTP/2 holds back.
    pub(crate) const fn backlog(&self) -> &Arc<SendBacklog> {
        &self.backlog
    }

    /// Notes the task that drives the connection.
    pub(crate) fn belongs_to(&self, task: AbortHandle) {
        // Set only once.
        let _ = self.task.set(task);
    }

    /// Closes the connection without sending anything more.
    pub(crate) fn close(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// The current phase.
    pub(crate) fn phase(&self) -> Phase {
        let begun = self.begun.load(Relaxed);
        if self.write_blocked.load(Relaxed) {
            Phase::Write { writes: self.writes.load(Relaxed) }
        } else if self.in_flight.load(Relaxed) > 0 || self.backlog.any() {
            Phase::Answer
        } else if self.head_open.load(Relaxed) {
            Phase::Head { begun }
        } else if self.authenticated.load(Relaxed) {
            Phase::Idle { begun }
        } else {
            Phase::Unauthenticated { begun }
        }
    }

    /// Whether the connection may be closed to make way for others.
    pub(crate) fn quiet(&self) -> Evictable {
        if !self.authenticated.load(Relaxed) {
            return Evictable::Unauthenticated;
        }
        match self.phase() {
            Phase::Idle { .. } | Phase::Unauthenticated { .. } => Evictable::Idle,
            Phase::Head { .. } | Phase::Write { .. } | Phase::Answer => Evictable::Not,
        }
    }
}

/// Increments a counter that only the connection's own task writes, so this need not be one atomic step.
fn count_one(counter: &AtomicU32) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// An answer that the handler has not finished. Dropped when it is finished, or when the client disconnects.
#[derive(Debug)]
pub(crate) struct PendingAnswer(Arc<Activity>);

impl PendingAnswer {
    pub(crate) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
