//! The tasks that answer on the streams of one HTTP/2 connection, so that each stream can be reset individually.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

use super::backlog::StreamState;

/// Starts the streams' tasks for the HTTP library, which calls the service and then the executor for each stream.
#[derive(Clone, Default)]
pub(super) struct Streams {
    tasks: TaskTracker,
    /// The stream whose task starts next.
    opening: Arc<Mutex<Option<Arc<StreamState>>>>,
}

impl Streams {
    /// Opens a stream whose task is about to start.
    pub(super) fn open(&self) -> Arc<StreamState> {
        let stream = Arc::<StreamState>::default();
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&stream));
        stream
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stream = self.opening.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.tasks.spawn(future);
        if let Some(stream) = stream {
            stream.belongs_to(task.abort_handle());
        }
    }
}
