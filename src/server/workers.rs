//! The threads that serve connections, each with a runtime of its own.
//!
//! A connection stays with its thread, and so does all work for it: tasks are neither stolen nor woken across
//! threads, which would cost a hit a considerable part of its time (a twentieth on one core, more on two).
//! Connections are assigned in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The maximum number of threads. A sidecar that needs more cores is no longer one.
const MOST: usize = 8;

/// The threads besides the accepting one, which takes its turn with them.
pub(crate) struct Workers {
    others: Vec<Handle>,
    turn: AtomicUsize,
    /// Dropping it ends the threads.
    _end: watch::Sender<()>,
}

impl Workers {
    /// The accepting thread only.
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self { others: Vec::new(), turn: AtomicUsize::new(0), _end: watch::channel(()).0 })
    }

    /// One thread per available core, the accepting one included.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start_some(cores.min(MOST) - 1)
    }

    fn start_some(others: usize) -> io::Result<Arc<Self>> {
        let (end, ended) = watch::channel(());
        let mut handles = Vec::with_capacity(others);
        for number in 1..=others {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let mut ended = ended.clone();
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                // Ends with an error when the sender is dropped.
                let _ = runtime.block_on(ended.changed());
                runtime.shutdown_background();
            })?;
        }
        Ok(Arc::new(Self { others: handles, turn: AtomicUsize::new(0), _end: end }))
    }

    /// Resolves once every thread has run a task.
    pub(crate) async fn all_run(&self) {
        for worker in &self.others {
            // Fails only when the thread has been asked to end.
            let _ = worker.spawn(async {}).await;
        }
    }

    /// The next in turn; `None` is the accepting thread.
    pub(crate) fn next(&self) -> Option<&Handle> {
        if self.others.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Relaxed) % (self.others.len() + 1);
        turn.checked_sub(1).and_then(|place| self.others.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_assigned_in_turn_and_threads_end_with_their_owner() {
        let workers = Workers::start_some(2).unwrap();
        let turns: Vec<_> = (0..6).map(|_| workers.next().map(Handle::id)).collect();
        let ids: Vec<_> = workers.others.iter().map(|handle| Some(handle.id())).collect();
        assert_eq!(turns, [None, ids[0], ids[1], None, ids[0], ids[1]]);
        let ran = workers.others[1].spawn(async { std::thread::current().name().map(String::from) });
        assert_eq!(ran.await.unwrap().as_deref(), Some("worker-2"));
        workers.all_run().await;
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        drop(workers.others[1].spawn(async move { told.recv().unwrap_or_default() }));
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(20), workers.all_run()).await;
        assert!(stuck.is_err(), "one thread has no time");
        drop(go_on);
        workers.all_run().await;
        let held = workers.others[0].spawn(std::future::pending::<()>());
        drop(workers);
        assert!(held.await.is_err_and(|error| error.is_cancelled()));
    }

    #[tokio::test]
    async fn alone_the_accepting_thread_serves_all() {
        assert!(Workers::none().next().is_none() && Workers::start_some(0).unwrap().next().is_none());
    }
}
