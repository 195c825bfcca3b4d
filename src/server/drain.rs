//! Shutdown of a server: stop accepting, let connections finish, count the rest.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::clock::{self, TimedOut};

/// How long idle connections stay open after draining starts, so that requests in transit are served.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// The progress of a shutdown.
#[derive(Debug, Clone, Copy)]
enum DrainStage {
    Serving,
    Finishing { within: Duration },
}

/// Shuts down servers, and tracks every connection and task that they started.
#[derive(Debug)]
pub(crate) struct Drain {
    stage: watch::Sender<DrainStage>,
    close_signal: CloseSignal,
    tasks: TaskTracker,
}

/// A connection's or listener's view of the [`Drain`].
#[derive(Debug, Clone)]
pub(crate) struct DrainWatch {
    stage: watch::Receiver<DrainStage>,
    close_signal: CloseSignal,
    tasks: TaskTracker,
}

/// Whether each answer must announce that its connection closes.
#[derive(Debug, Clone, Default)]
pub(crate) struct CloseSignal(Arc<AtomicBool>);

impl CloseSignal {
    /// Whether it must.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Whether everything ended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Yes.
    Whole,
    /// No: this many tasks were left.
    CutOff(usize),
}

impl Drain {
    /// Not draining yet.
    pub(crate) fn new() -> Self {
        let close_signal = CloseSignal::default();
        Self { stage: watch::channel(DrainStage::Serving).0, close_signal, tasks: TaskTracker::new() }
    }

    /// A view for a server.
    pub(crate) fn watch(&self) -> DrainWatch {
        let close_signal = self.close_signal.clone();
        DrainWatch { stage: self.stage.subscribe(), close_signal, tasks: self.tasks.clone() }
    }

    /// Makes every answer announce that its connection closes, so that clients have moved on by the time it does.
    pub(crate) fn announce(&self) {
        self.close_signal.0.store(true, Relaxed);
    }

    /// Asks everything in progress to finish, for which it will have as long as `within`.
    pub(crate) fn begin(&self, within: Duration) {
        self.announce();
        self.stage.send_replace(DrainStage::Finishing { within });
        self.tasks.close();
    }

    /// Waits until everything has finished, for at most `within`.
    pub(crate) async fn finish(&self, within: Duration) -> Drained {
        match clock::within(within, self.tasks.wait()).await {
            Ok(()) => Drained::Whole,
            Err(TimedOut) => Drained::CutOff(self.tasks.len()),
        }
    }
}

impl DrainWatch {
    /// Whether answers must announce the shutdown.
    pub(crate) fn close_signal(&self) -> CloseSignal {
        self.close_signal.clone()
    }

    /// Whether draining has started.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(*self.stage.borrow(), DrainStage::Finishing { .. })
    }

    /// Resolves when draining starts, to the time that everything in progress then has to finish: waits that can be
    /// answered at once should end within it.
    pub(crate) async fn begun(&mut self) -> Duration {
        let begun = self.stage.wait_for(|stage| matches!(stage, DrainStage::Finishing { .. })).await;
        match begun.map(|stage| *stage) {
            Ok(DrainStage::Finishing { within }) => within,
            // The sender lives as long as the program.
            Ok(DrainStage::Serving) | Err(_) => Duration::ZERO,
        }
    }

    /// Resolves when idle connections should close: [`LAST_LOOK`] after draining starts.
    pub(crate) async fn due(&mut self) {
        self.begun().await;
        // Boxed: every connection waits for the drain, and few remain when it begins.
        Box::pin(tokio::time::sleep(LAST_LOOK)).await;
    }

    /// Starts a task on another runtime.
    pub(crate) fn spawn_on(
        &self,
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.tasks.spawn_on(task, runtime).abort_handle()
    }

    /// Starts a task that the drain waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(task).abort_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_its_tasks_and_counts_the_rest() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        watch.clone().spawn(async move { watch.due().await });
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::CutOff(1));
        drain.begin(Duration::from_secs(1));
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_is_announced_before_connections_are_closed() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        assert!(!watch.close_signal().is_due());
        drain.announce();
        assert!(watch.close_signal().is_due());
        let early = tokio::time::timeout(Duration::from_secs(1), watch.due()).await;
        assert!(early.is_err(), "announced is not begun");
        assert!(!watch.has_begun());
        drain.begin(Duration::from_secs(30));
        assert!(watch.has_begun());
        let start = clock::now();
        assert_eq!(watch.begun().await, Duration::from_secs(30));
        assert_eq!(clock::now(), start, "work can be cut short at once");
        watch.due().await;
        assert!(clock::now().duration_since(start) >= LAST_LOOK, "what is in transit has a moment more");
    }
}
