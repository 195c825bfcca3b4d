//! Wakes a connection's task for what happens beside its socket, at no cost while nothing does.
//!
//! A timer or a channel that is polled with every request pays for its registration each time. Polled
//! with the bell's waker instead, they are left alone until one of them rings it: for the connection
//! that is one look at a flag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The owner's side.
pub struct Bell {
    rope: Arc<Rope>,
    /// The rope as a waker, for those who ring.
    waker: Waker,
    /// The task that was told to be woken last.
    task: Option<Waker>,
}

/// What those who ring hold.
struct Rope {
    rung: AtomicBool,
    /// Whom to wake. It stays when it was used: the owner tells only of changes.
    task: Mutex<Option<Waker>>,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Bell {
    /// A bell that has rung once: nobody has been polled with its waker yet.
    pub fn new() -> Self {
        let rope = Arc::new(Rope { rung: AtomicBool::new(true), task: Mutex::default() });
        Self { waker: Arc::clone(&rope).into(), rope, task: None }
    }

    /// Whether it rang since the last look. If not, the task of `cx` is woken when it does.
    pub fn has_rung(&mut self, cx: &Context<'_>) -> bool {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *self.rope.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.task = Some(cx.waker().clone());
        }
        self.rope.rung.load(Ordering::Relaxed) && self.rope.rung.swap(false, Ordering::Acquire)
    }

    /// The waker to poll others with.
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_once_for_each_pull_and_wakes_its_task() {
        let mut bell = Bell::new();
        let rope = bell.waker().clone();
        let looked = std::future::poll_fn(|cx| {
            assert!(bell.has_rung(cx), "it has rung at the start");
            assert!(!bell.has_rung(cx));
            std::task::Poll::Ready(())
        });
        looked.await;
        rope.wake_by_ref();
        let mut looks = 0;
        std::future::poll_fn(|cx| {
            looks += 1;
            match bell.has_rung(cx) {
                true if looks == 1 => {
                    // The next pull must wake this task.
                    let rope = rope.clone();
                    drop(std::thread::spawn(move || rope.wake()));
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
