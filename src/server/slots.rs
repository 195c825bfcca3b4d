//! Slots for connections: a fixed number. When all are taken, idle connections make way for new ones.
//!
//! Among the connections that may be closed, those without authentication go first, in the order of arrival, then
//! those that have been idle for longest. Knows no sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::activity::{Activity, Evictable, SlotKind};
use crate::clock::{self, Instant};
use crate::telemetry::{CloseReason, ClosedConnections, Plane};

/// How long a connection keeps its slot in any case: a client that has just connected, or got an answer, needs time
/// to send a request.
const GRACE: Duration = Duration::from_millis(250);
/// How often to look for a connection to close while all are in use.
const PAUSE: Duration = Duration::from_millis(25);

/// The slots of one plane.
pub(crate) struct ConnectionSlots {
    plane: Plane,
    /// One permit per slot.
    permits: Arc<Semaphore>,
    /// Additional slots, reserved for connections whose first request the handler admits to them.
    reserved: Arc<Semaphore>,
    /// The number of slots.
    count: AtomicUsize,
    slots: Mutex<TakenSlots>,
    closed: Arc<ClosedConnections>,
    has_warned: AtomicBool,
}

#[derive(Default)]
struct TakenSlots {
    /// In the order of arrival.
    taken: BTreeMap<u64, TakenSlot>,
    next: u64,
}

struct TakenSlot {
    activity: Arc<Activity>,
    /// Aborts the connection's task. Absent until it is started.
    task: Option<AbortHandle>,
    /// The number of requests at the last check.
    begun: u32,
    /// Since when it has begun no request, as far as known, and when it arrived.
    quiet_since: Instant,
    came: Instant,
    is_closing: bool,
}

/// A slot that a connection may take.
pub(super) struct FreeSlot {
    permit: OwnedSemaphorePermit,
    pub(super) kind: SlotKind,
}

/// A taken slot; dropping it frees the slot.
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.slots().taken.remove(&self.number);
    }
}

impl ConnectionSlots {
    /// This many slots, and `reserved` reserved ones.
    pub(crate) fn new(
        plane: Plane,
        count: usize,
        reserved: usize,
        closed: Arc<ClosedConnections>,
    ) -> Arc<Self> {
        Arc::new(Self {
            plane,
            permits: Arc::new(Semaphore::new(count)),
            reserved: Arc::new(Semaphore::new(reserved)),
            count: AtomicUsize::new(count),
            slots: Mutex::default(),
            closed,
            has_warned: AtomicBool::new(false),
        })
    }

    pub(super) fn closed(&self) -> &ClosedConnections {
        &self.closed
    }

    /// Changes the number of slots. Surplus slots in use are removed when their connections end.
    pub(crate) fn resize(&self, new: usize) {
        // There is one reload at a time.
        let old = self.count.swap(new, Relaxed);
        if new > old {
            return self.permits.add_permits(new - old);
        }
        let surplus = old - new;
        let owed = surplus - self.permits.forget_permits(surplus);
        let permits = Arc::clone(&self.permits);
        if let (1.., Ok(runtime)) = (owed, tokio::runtime::Handle::try_current()) {
            let owed = u32::try_from(owed).unwrap_or(u32::MAX);
            drop(runtime.spawn(async move {
                if let Ok(owed) = permits.acquire_many(owed).await {
                    owed.forget();
                }
            }));
        }
    }

    /// Waits for a slot, closing a connection for it if that is necessary and possible.
    pub(super) async fn find(&self) -> FreeSlot {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return FreeSlot { permit, kind: SlotKind::Ordinary };
            }
            self.warn_once();
            let closes = self.close_one(clock::now());
            if !closes && let Ok(permit) = Arc::clone(&self.reserved).try_acquire_owned() {
                return FreeSlot { permit, kind: SlotKind::Reserved };
            }
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(PAUSE, freed).await {
                return FreeSlot { permit, kind: SlotKind::Ordinary };
            }
        }
    }

    /// Takes a slot for the connection with this activity.
    pub(super) fn take(self: &Arc<Self>, free: FreeSlot, activity: &Arc<Activity>) -> ConnectionSlot {
        let now = clock::now();
        let taken = TakenSlot {
            activity: Arc::clone(activity),
            task: None,
            begun: 0,
            quiet_since: now,
            came: now,
            is_closing: false,
        };
        let mut slots = self.slots();
        let number = slots.next;
        slots.next += 1;
        slots.taken.insert(number, taken);
        ConnectionSlot { slots: Arc::clone(self), number, _permit: free.permit }
    }

    /// Notes the task of the connection in this slot.
    pub(super) fn started(&self, number: u64, task: AbortHandle) {
        // It may have ended already.
        if let Some(taken) = self.slots().taken.get_mut(&number) {
            taken.activity.belongs_to(task.clone());
            taken.task = Some(task);
        }
    }

    /// Closes a connection, or finds one that is being closed.
    fn close_one(&self, now: Instant) -> bool {
        let mut slots = self.slots();
        if slots.taken.values().any(|taken| taken.is_closing) {
            return true;
        }
        for taken in slots.taken.values_mut() {
            taken.check(now);
        }
        let candidates = slots.taken.iter_mut().filter_map(|(number, taken)| {
            let rank = taken.rank(now, *number)?;
            Some((rank, taken))
        });
        let Some((_, first)) = candidates.min_by_key(|(rank, _)| *rank) else { return false };
        let Some(task) = &first.task else { return false };
        first.is_closing = true;
        task.abort();
        self.closed.count(CloseReason::Crowded);
        true
    }

    #[cold]
    fn warn_once(&self) {
        if !self.has_warned.swap(true, Relaxed) {
            tracing::warn!(
                plane = self.plane.label(),
                connections = self.count.load(Relaxed),
                "all connections are in use: idle ones are closed for new clients, unauthenticated ones first. \
                 connections_closed_total counts them"
            );
        }
    }

    fn slots(&self) -> MutexGuard<'_, TakenSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

/// The order of closing: the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unauthenticated { number: u64 },
    Idle { since: Instant, number: u64 },
}

impl TakenSlot {
    fn check(&mut self, now: Instant) {
        let begun = self.activity.begun();
        if begun != self.begun {
            self.begun = begun;
            self.quiet_since = now;
        }
    }

    fn rank(&self, now: Instant, number: u64) -> Option<Rank> {
        let is_past_grace = |since| now.duration_since(since) >= GRACE;
        match self.activity.quiet() {
            // Nothing that such a client does must be finished.
            Evictable::Unauthenticated if is_past_grace(self.came) => Some(Rank::Unauthenticated { number }),
            Evictable::Idle if is_past_grace(self.quiet_since) => {
                Some(Rank::Idle { since: self.quiet_since, number })
            }
            Evictable::Unauthenticated | Evictable::Idle | Evictable::Not => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::drain::CloseSignal;
    use super::*;
    use crate::message::HttpVersion;

    fn slots(count: usize, reserved: usize) -> Arc<ConnectionSlots> {
        ConnectionSlots::new(Plane::Data, count, reserved, Arc::default())
    }

    /// A connection that ends when it is closed.
    struct Connection {
        activity: Arc<Activity>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Connection {
        async fn open(slots: &Arc<ConnectionSlots>) -> Self {
            let free = slots.find().await;
            let activity = Activity::new(CloseSignal::default(), free.kind);
            activity.speaks(HttpVersion::Http1);
            let slot = slots.take(free, &activity);
            let number = slot.number();
            let task = tokio_util::task::TaskTracker::new().spawn(async move {
                let _slot = slot;
                std::future::pending::<()>().await;
            });
            slots.started(number, task.abort_handle());
            Self { activity, task }
        }

        async fn authenticated(slots: &Arc<ConnectionSlots>) -> Self {
            let connection = Self::open(slots).await;
            connection.asks();
            connection.activity.authenticate();
            connection
        }

        fn asks(&self) {
            self.activity.request_begins();
        }

        async fn is_closed(&self) -> bool {
            tokio::task::yield_now().await;
            self.task.is_finished()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unauthenticated_connections_make_way_first_then_the_longest_idle() {
        let slots = slots(4, 0);
        let [busy, idle] = [Connection::authenticated(&slots).await, Connection::authenticated(&slots).await];
        let [first, second] = [Connection::open(&slots).await, Connection::open(&slots).await];
        second.asks();
        let _waiting = busy.activity.answer_waits();
        let third = Connection::authenticated(&slots).await;
        assert!(first.is_closed().await && !second.is_closed().await);
        let _fourth = Connection::authenticated(&slots).await;
        assert!(second.is_closed().await && !idle.is_closed().await);
        third.asks();
        let _fifth = Connection::authenticated(&slots).await;
        assert!(idle.is_closed().await && !third.is_closed().await && !busy.is_closed().await);
        assert_eq!(slots.closed().get(CloseReason::Crowded), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_client_keeps_its_slot_for_a_moment() {
        let slots = slots(1, 0);
        let first = Connection::open(&slots).await;
        let start = clock::now();
        let _second = Connection::open(&slots).await;
        assert!(first.is_closed().await);
        let took = clock::now().duration_since(start);
        assert!((GRACE..2 * GRACE).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reserved_slot_is_used_when_no_other_can_be_freed() {
        let slots = slots(1, 1);
        let busy = Connection::authenticated(&slots).await;
        let _waiting = busy.activity.answer_waits();
        assert_eq!(Connection::open(&slots).await.activity.slot(), SlotKind::Reserved);
        assert!(!busy.is_closed().await);
        let late = tokio::time::timeout(Duration::from_millis(100), slots.find()).await;
        assert!(late.is_err(), "nothing can be closed yet");
        // The one in the reserved slot is closed, which frees no ordinary slot.
        let next = tokio::time::timeout(Duration::from_secs(1), slots.find()).await;
        assert!(next.is_ok_and(|free| free.kind == SlotKind::Reserved));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_slots_follows_the_configuration() {
        let slots = slots(1, 0);
        slots.resize(2);
        let [first, _second] = [slots.find().await, slots.find().await];
        slots.resize(1);
        drop(first);
        tokio::task::yield_now().await;
        let third = tokio::time::timeout(Duration::from_secs(5), slots.find()).await;
        assert!(third.is_err(), "the one that is left is the last");
    }
}
