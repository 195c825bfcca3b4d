//! The end of a server: stop accepting, let connections finish, count the rest.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

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
    tasks: TaskTracker,
}

/// A connection's or listener's view of the [`Drain`].
#[derive(Debug, Clone)]
pub struct DrainWatch {
    stage: watch::Receiver<Stage>,
    tasks: TaskTracker,
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
        Self { stage: watch::channel(Stage::Serving).0, tasks: TaskTracker::new() }
    }

    /// A view for a server.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { stage: self.stage.subscribe(), tasks: self.tasks.clone() }
    }

    /// Tells everyone to finish what is under way.
    pub fn begin(&self) {
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
    /// Ends when the drain begins.
    pub async fn begun(&mut self) {
        // The sender is gone only when the whole program is.
        let _ = self.stage.wait_for(|stage| *stage >= Stage::Finishing).await;
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
        watch.clone().spawn(async move { watch.begun().await });
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::CutOff(1));
        drain.begin();
        assert_eq!(drain.finish(Duration::from_secs(1)).await, Drained::Whole);
    }
}
