//! The thread that writes log lines to standard error. A stalled reader costs lines, which are counted; it delays
//! neither requests nor the end of the process.
//!
//! Knows only bytes, not their meaning.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may be queued. Their space is allocated at startup: 32 bytes a line.
const QUEUE_LINES: usize = 2048;

/// How long the end of the process waits for the queue to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

enum Message {
    Line(Vec<u8>),
    /// Wakes the thread when nothing is queued.
    End,
}

/// Where lines are queued. Never blocks and never fails.
#[derive(Clone)]
pub(super) struct LineQueue {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Ends the thread when dropped, once the queue is written or [`FLUSH_TIMEOUT`] has passed. A thread that is still
/// blocked in a write is abandoned.
pub(super) struct WriterGuard {
    messages: SyncSender<Message>,
    is_ending: Arc<AtomicBool>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

/// Starts the thread. Without one every line is dropped and counted.
pub(super) fn start() -> (LineQueue, WriterGuard) {
    // A duplicate of the descriptor: `io::stderr` would hold its lock for as long as a write blocks, and with it
    // block everything else that reports an error.
    start_over(io::stderr().as_fd().try_clone_to_owned().map(File::from))
}

fn start_over<W: Write + Send + 'static>(output: io::Result<W>) -> (LineQueue, WriterGuard) {
    let (messages, queued) = sync_channel(QUEUE_LINES);
    let (running, ended) = sync_channel(0);
    let dropped = Arc::<AtomicU64>::default();
    let is_ending = Arc::<AtomicBool>::default();
    let thread = output.and_then(|output| {
        let thread =
            Thread { queued, output, dropped: Arc::clone(&dropped), is_ending: Arc::clone(&is_ending) };
        thread::Builder::new().name("log".into()).spawn(move || {
            let _running = running;
            thread.run();
        })
    });
    if let Err(error) = thread {
        // Ignore write errors: there is nowhere else to report them.
        let _ = writeln!(io::stderr(), "credira-gateway: cannot start the log's thread: {error}");
    }
    (LineQueue { messages: messages.clone(), dropped }, WriterGuard { messages, is_ending, ended })
}

struct Thread<W> {
    queued: Receiver<Message>,
    output: W,
    dropped: Arc<AtomicU64>,
    is_ending: Arc<AtomicBool>,
}

impl<W: Write> Thread<W> {
    fn run(mut self) {
        while let Ok(message) = self.queued.recv() {
            self.write(message);
            while let Ok(message) = self.queued.try_recv() {
                self.write(message);
            }
            if self.is_ending.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn write(&mut self, message: Message) {
        match message {
            Message::Line(line) if self.output.write_all(&line).is_err() => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Message::Line(_) | Message::End => {}
        }
    }
}

impl LineQueue {
    /// Lines that did not fit the queue, or that standard error did not accept.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Write for LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.messages.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LineQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        // A full queue needs no wake-up: the thread looks at the flag once it is empty.
        let _ = self.messages.try_send(Message::End);
        let _ = self.ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until the channel is closed, then fails.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn queued_lines_are_written_before_the_guard_is_dropped() {
        let kept = Kept::default();
        let (mut queue, guard) = start_over(Ok(kept.clone()));
        for number in 0..1000 {
            writeln!(queue, "{number}").unwrap();
        }
        drop(guard);
        assert_eq!(String::from_utf8(kept.0.lock().unwrap().clone()).unwrap().lines().count(), 1000);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_stalled_output_costs_lines_and_delays_the_end_only_briefly() {
        let (release, stalled) = channel();
        let (mut queue, guard) = start_over(Ok(Stalled(stalled)));
        for _ in 0..QUEUE_LINES + 10 {
            queue.write_all(b"line\n").unwrap();
        }
        let dropped = queue.dropped();
        assert!((9..=10).contains(&dropped), "one line may be with the thread: {dropped}");
        drop(guard);
        drop(release);
    }

    #[test]
    fn without_an_output_every_line_is_dropped_and_counted() {
        let (mut queue, guard) = start_over(Err::<Kept, _>(io::ErrorKind::Other.into()));
        queue.write_all(b"line\n").unwrap();
        assert_eq!(queue.dropped(), 1);
        drop(guard);
    }
}
