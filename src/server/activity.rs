//! What a connection is doing, told by the three who know: its socket, its requests, and the task
//! that drives it.
//!
//! Requests are cheap and many, so nothing here reads the clock for one: activity is counted, and
//! the driver looks at the counts when its one coarse timer fires.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::drain::Farewell;
use super::opening::Speaks;
use super::untaken::Untaken;

/// The state of one connection. All accesses are relaxed: it guards no other memory, and a reading
/// that is a moment old is as good.
#[derive(Debug)]
pub struct Activity {
    /// Requests whose answers are waited for.
    in_flight: AtomicU32,
    /// Requests begun; wraps.
    begun: AtomicU32,
    /// Bytes came that no request was made of yet.
    head_open: AtomicBool,
    /// The last of them belong to a head that has not ended.
    head_unfinished: AtomicBool,
    /// The socket took no more bytes at the last attempt.
    write_blocked: AtomicBool,
    /// Successful writes; wraps.
    writes: AtomicU32,
    speaks: Speaks,
    farewell: Farewell,
    /// Answers left lying, where the client can do that: in HTTP/2.
    untaken: Untaken,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The rest of a request's head, or the first request; `begun` tells one head from the next.
    Head {
        /// Requests begun so far.
        begun: u32,
    },
    /// The client to take bytes; `writes` tells one stall from the next.
    Write {
        /// Successful writes so far.
        writes: u32,
    },
    /// The answer to a request, or the client to take one of its answers in HTTP/2.
    Answer,
    /// Another request; `begun` tells one pause from the next.
    Idle {
        /// Requests begun so far.
        begun: u32,
    },
}

impl Activity {
    /// A connection that has just begun to speak: the rest of its first request is due, if it speaks in
    /// lines; in HTTP/2, heads are frames and only requests count.
    pub fn new(speaks: Speaks, farewell: Farewell) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            head_open: AtomicBool::new(speaks == Speaks::Lines),
            head_unfinished: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            writes: AtomicU32::new(0),
            speaks,
            farewell,
            untaken: Untaken::default(),
        })
    }

    /// Bytes of HTTP/1.1 came; the last of them end a head, or leave one unfinished.
    pub fn head_bytes_came(&self, unfinished: bool) {
        self.head_open.store(true, Relaxed);
        self.head_unfinished.store(unfinished, Relaxed);
    }

    /// The socket took bytes.
    pub fn wrote(&self) {
        count_one(&self.writes);
        if self.write_blocked.load(Relaxed) {
            self.write_blocked.store(false, Relaxed);
        }
    }

    /// The socket took none.
    pub fn write_blocked(&self) {
        self.write_blocked.store(true, Relaxed);
    }

    /// A request's head is complete.
    pub fn request_begins(&self) {
        self.head_open.store(self.head_unfinished.load(Relaxed), Relaxed);
        count_one(&self.begun);
    }

    /// A request must wait for its answer; the guard ends with the answer's head, or when it is dropped.
    pub fn answer_waits(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether the client is to be told with each answer that the connection ends. HTTP/2 has a frame
    /// for that, which is sent when the drain begins.
    pub fn is_ending(&self) -> bool {
        self.speaks == Speaks::Lines && self.farewell.is_due()
    }

    /// The answers that the client has not taken to their end.
    pub const fn untaken(&self) -> &Untaken {
        &self.untaken
    }

    /// What the connection waits for now.
    pub fn phase(&self) -> Phase {
        if self.write_blocked.load(Relaxed) {
            Phase::Write { writes: self.writes.load(Relaxed) }
        } else if self.in_flight.load(Relaxed) > 0 || self.untaken.any() {
            Phase::Answer
        } else if self.head_open.load(Relaxed) {
            Phase::Head { begun: self.begun.load(Relaxed) }
        } else {
            Phase::Idle { begun: self.begun.load(Relaxed) }
        }
    }
}

/// Counts one, where only the task that drives the connection counts: so this need not be one atomic step.
fn count_one(counter: &AtomicU32) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// A request under way. Whoever drops it, the handler's end or the client's leaving, ends it.
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl InFlight {
    /// The connection's state.
    pub fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
