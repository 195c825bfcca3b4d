//! Freeing very many things without holding anybody up.
//!
//! A thread of its own does that, after all others. But a kernel lets a thread that has begun go on for
//! some milliseconds, however low it stands; and glibc's next large allocation, on whichever thread, first
//! goes over all that was freed since the last one. On one core, callers wait for both. So the freeing
//! pauses again and again: what there is very much of tells when one of it was freed.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

/// Things that are freed at a stretch: 0.1 to 0.3 ms, since most of them are no longer in any cache of the
/// processor.
const STRETCH: u32 = 32;

/// What lies between two stretches. Measured with 5,000 lookups a second on the same core while a million
/// entries went: 99.9 % took less than 10 ms without pauses, and with them less than 2 ms, as without a purge.
const PAUSE: Duration = Duration::from_micros(500);

thread_local! {
    /// Things freed in this stretch; `None` on all other threads.
    static FREED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Drops something that consists of very many things.
pub fn free_apart<T: Send + 'static>(many: T) {
    let free = move || {
        FREED.set(Some(0));
        // On Linux this is about the thread. Where it isn't allowed, the pauses must do.
        let _ = rustix::process::nice(19);
        drop(many);
    };
    // Where there is no thread to be had, the closure goes, and the things with it.
    let _ = thread::Builder::new().name("cache-drop".into()).spawn(free);
}

/// One of them is being freed, by whichever thread.
pub fn freed_one() {
    let Ok(Some(freed)) = FREED.try_with(Cell::get) else { return };
    if freed < STRETCH {
        FREED.set(Some(freed + 1));
    } else {
        FREED.set(Some(0));
        #[expect(clippy::disallowed_methods, reason = "the thread has nothing else to do")]
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Tells where it was dropped.
    struct Thing(Sender<String>);

    impl Drop for Thing {
        fn drop(&mut self) {
            freed_one();
            let _ = self.0.send(thread::current().name().unwrap_or_default().to_owned());
        }
    }

    #[test]
    fn all_is_freed_on_a_thread_of_its_own() {
        let (told, places) = channel();
        free_apart((0..3 * STRETCH).map(|_| Thing(told.clone())).collect::<Vec<_>>());
        drop(told);
        let places: Vec<_> = places.iter().collect();
        assert_eq!(places, vec!["cache-drop"; 3 * STRETCH as usize]);
    }

    #[test]
    fn other_threads_do_not_pause() {
        assert_eq!(FREED.get(), None);
        (0..=STRETCH).for_each(|_| freed_one());
        assert_eq!(FREED.get(), None, "nothing is counted");
    }
}
