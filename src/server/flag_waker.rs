//! Wakes a connection's task for events other than its socket's, at no cost while there are none.
//!
//! Polling a timer or a channel with every request registers a waker each time. Polled with this waker instead, they
//! are left alone until one of them sets the flag, and the connection only checks the flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The owner's side.
pub(super) struct FlagWaker {
    flag: Arc<WakeFlag>,
    /// The flag as a waker, for event sources.
    waker: Waker,
    /// The task that was registered last.
    task: Option<Waker>,
}

/// The event sources' side.
struct WakeFlag {
    set: AtomicBool,
    /// Task to wake. Kept after use, because the owner only re-registers when the task changes.
    task: Mutex<Option<Waker>>,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl FlagWaker {
    /// A waker with its flag set: no source has been polled with it yet.
    pub(super) fn new() -> Self {
        let flag = Arc::new(WakeFlag { set: AtomicBool::new(true), task: Mutex::default() });
        Self { waker: Arc::clone(&flag).into(), flag, task: None }
    }

    /// Whether the flag was set since the last call. If not, the task of `cx` is woken when it is.
    pub(super) fn take(&mut self, cx: &Context<'_>) -> bool {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *self.flag.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.task = Some(cx.waker().clone());
        }
        self.flag.set.load(Ordering::Relaxed) && self.flag.set.swap(false, Ordering::Acquire)
    }

    /// The waker to poll event sources with.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_wake_up_is_seen_once_and_wakes_the_task() {
        let mut flag_waker = FlagWaker::new();
        let flag = flag_waker.waker().clone();
        let looked = std::future::poll_fn(|cx| {
            assert!(flag_waker.take(cx), "it has set at the start");
            assert!(!flag_waker.take(cx));
            std::task::Poll::Ready(())
        });
        looked.await;
        flag.wake_by_ref();
        let mut looks = 0;
        std::future::poll_fn(|cx| {
            looks += 1;
            match flag_waker.take(cx) {
                true if looks == 1 => {
                    // The next wake-up must reach this task.
                    let flag = flag.clone();
                    drop(std::thread::spawn(move || flag.wake()));
                    std::task::Poll::Pending
                }
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        assert!(looks >= 2);
    }
}
