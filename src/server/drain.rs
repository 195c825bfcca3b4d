//! The end of a server: stop accepting, let connections finish, count the rest.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How long after the drain has begun sockets are still read that have said nothing: what was on its
/// way by then is answered.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Finishing,
}

/// Ends servers, and knows every connection and task that they started.
#[derive(Debug)]
pub struct Drain {
    stage: watch::Sender<Stage>,
    farewell: Farewell,
    tasks: TaskTracker,
}

/// A connection's or listener's view of the [`Drain`].
#[derive(Debug, Clone)]
pub struct DrainWatch {
    stage: watch::Receiver<Stage>,
    farewell: Farewell,
    tasks: TaskTracker,
}

/// Whether clients are to be told with each answer that their connection ends.
#[derive(Debug, Clone, Default)]
pub struct Farewell(Arc<AtomicBool>);

impl Farewell {
    /// Whether they are.
    pub fn is_due(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Whether everything had ended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Yes.
    Whole,
    /// No: this many tasks were left.
    CutOff(usize),
}

impl Drain {
    /// Nothing is ending yet.
    pub fn new() -> Self {
        let farewell = Farewell::default();
        Self { stage: watch::channel(Stage::Serving).0, farewell, tasks: TaskTracker::new() }
    }

    /// A view for a server.
    pub fn watch(&self) -> DrainWatch {
        let farewell = self.farewell.clone();
        DrainWatch { stage: self.stage.subscribe(), farewell, tasks: self.tasks.clone() }
    }

    /// Has clients told with each answer that their connection ends, so that by the time it does they
    /// have left.
    pub fn announce(&self) {
        self.farewell.0.store(true, Relaxed);
    }

    /// Tells everyone to finish what is under way.
    pub fn begin(&self) {
        self.announce();
        self.stage.send_replace(Stage::Finishing);
        self.tasks.close();
    }

    /// Waits until all have finished, for so long.
    pub async fn finish(&self, within: Duration) -> Drained {
        match tokio::time::timeout(within, self.tasks.wait()).await {
            Ok(()) => Drained::Whole,
            Err(_) => Drained::CutOff(self.tasks.len()),
        }
    }
}

impl DrainWatch {
    /// What answers say of the end.
    pub fn farewell(&self) -> Farewell {
        self.farewell.clone()
    }

    /// Ends when it is time to close what does nothing: a moment after the drain has begun.
    pub async fn due(&mut self) {
        // The sender is gone only when the whole program is.
        let _ = self.stage.wait_for(|stage| *stage >= Stage::Finishing).await;
        tokio::time::sleep(LAST_LOOK).await;
    }

    /// Starts a task on another runtime.
    pub fn spawn_on(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, runtime);
    }

    /// Starts a task that the drain waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_its_tasks_and_says_who_was_left() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        watch.clone().spawn(async move { watch.due().await });
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::CutOff(1));
        drain.begin();
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_before_their_connections_are_closed() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        assert!(!watch.farewell().is_due());
        drain.announce();
        assert!(watch.farewell().is_due());
        let early = tokio::time::timeout(Duration::from_secs(1), watch.due()).await;
        assert!(early.is_err(), "announced is not begun");
        drain.begin();
        watch.due().await;
    }
}
