//! The only module that reads the time. Everything that decides takes `now` as an argument.
//!
//! Ages and deadlines use the monotonic clock, which steps of the wall clock do not affect. It is tokio's, so a test
//! that pauses tokio's time controls the time of the whole gateway. The wall clock is read only for dates from the
//! upstream or a client. Limits on others use a [`Countdown`], which leaves out the time in which this process was
//! stopped.

use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;

/// How far the origin of instants lies before that of the monotonic clock, which is the machine's start: what is older
/// than that, as an entry that was stored before a reboot, has an instant too. Thirty years in nanoseconds.
const BEFORE_BOOT: u64 = 30 * 366 * 24 * 3600 * 1_000_000_000;

/// A reading of the monotonic clock, in nanoseconds since [`BEFORE_BOOT`].
///
/// The standard library's type takes twice the memory, which every stored entry would pay for, and some sixty
/// instructions per subtraction, which every request would. All arithmetic here saturates; 64 bits of nanoseconds
/// last for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

/// Now, on the monotonic clock, which tokio's timers use as well.
#[cfg(not(test))]
pub(crate) fn now() -> Instant {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is ever negative on this clock.
    let since_boot =
        now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.cast_unsigned());
    Instant(BEFORE_BOOT.saturating_add(since_boot))
}

/// Now, on tokio's clock, which a test may pause and advance.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    use std::sync::LazyLock;
    // An hour before the first reading, so that no paused clock is ever behind it.
    static ORIGIN: LazyLock<std::time::Instant> =
        LazyLock::new(|| std::time::Instant::now() - Duration::from_secs(3600));
    let elapsed = tokio::time::Instant::now().into_std().duration_since(*ORIGIN);
    Instant(BEFORE_BOOT.saturating_add(saturated(elapsed)))
}

const fn saturated(duration: Duration) -> u64 {
    match duration.as_secs().checked_mul(1_000_000_000) {
        Some(nanos) => nanos.saturating_add(duration.subsec_nanos() as u64),
        None => u64::MAX,
    }
}

impl Instant {
    /// The time since `earlier`; zero if that is later.
    pub(crate) const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same instant for tokio's timers; now, if it has passed. One that the clock cannot represent becomes thirty
    /// years from now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn for_timer(self) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(30 * 366 * 24 * 3600);
        tokio::time::Instant::now() + self.duration_since(now()).min(FAR)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(saturated(more)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, less: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(less)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, more: Duration) {
        *self = *self + more;
    }
}

/// How often a limit checks the clock.
const PARTS: u32 = 4;
/// How late a timer may fire in a running process: delays by the kernel and a busy thread.
const PUNCTUAL: Duration = Duration::from_millis(25);
/// The shortest interval between two checks: tokio's timers have a resolution of milliseconds, and a limit of
/// nanoseconds must not spin.
const SHORTEST_PART: Duration = Duration::from_millis(1);
/// How often the runtime may read data that has already arrived before a limit runs out.
const LAST_LOOKS: u32 = 4;

/// A limit on a peer that runs down only while this process runs.
///
/// After a stop (SIGSTOP, a frozen container, a paused machine) all deadlines have passed, and the bytes that arrived
/// meanwhile are still unread. So the limit is waited for in parts, and a part whose timer fired late counts only for
/// what remains of it after the delay. After a stop, at least one part of running time remains to read what has
/// arrived. A stop within one part can cost that part, a quarter of the limit, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Countdown {
    left: Duration,
    part: Duration,
    look: Instant,
}

/// The rest of a [`Countdown`] after a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Some time; the next check is due at this instant.
    Until(Instant),
    /// The limit has run out.
    Nothing,
}

/// The limit ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl Countdown {
    /// Starts counting down `limit`.
    pub(crate) fn start(limit: Duration, now: Instant) -> Self {
        let part = (limit / PARTS).max(SHORTEST_PART);
        Self { left: limit, part, look: now + part }
    }

    /// When the next check is due.
    pub(crate) const fn next_check(&self) -> Instant {
        self.look
    }

    /// Performs a check that is due.
    pub(crate) fn check(&mut self, now: Instant) -> Remaining {
        let waited = self.part.min(self.left);
        let delay = now.duration_since(self.look);
        let counted = match delay <= PUNCTUAL {
            true => waited,
            // A starved process delays every timer; this floor makes the limit run out there, too.
            false => waited.saturating_sub(delay).max(self.part / 8).min(waited),
        };
        self.left -= counted;
        if self.left.is_zero() {
            return Remaining::Nothing;
        }
        self.look = now + self.part.min(self.left).max(SHORTEST_PART);
        Remaining::Until(self.look)
    }

    /// Runs `future` until the limit has run out. The rest of the limit carries over to the next call.
    pub(crate) async fn bound<F: Future>(&mut self, future: F) -> Result<F::Output, TimedOut> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                // Data that has arrived takes precedence over the deadline.
                biased;
                output = &mut future => return Ok(output),
                () = tokio::time::sleep_until(self.look.for_timer()) => {}
            }
            if self.check(now()) == Remaining::Nothing {
                break;
            }
        }
        // Timers fire before the tasks that read data which arrived at the same moment.
        for _ in 0..LAST_LOOKS {
            tokio::task::yield_now().await;
            if let Poll::Ready(output) = futures_util::poll!(&mut future) {
                return Ok(output);
            }
        }
        Err(TimedOut)
    }
}

/// Runs `future` until `deadline`, which is extended by any time in which this process does not run.
pub(crate) async fn until<F: Future>(deadline: Instant, future: F) -> Result<F::Output, TimedOut> {
    within(deadline.duration_since(now()), future).await
}

/// Runs `future` for at most `limit` of this process's running time.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    Countdown::start(limit, now()).bound(future).await
}

#[derive(Debug, Clone, Default)]
pub(crate) struct WallClock {
    /// A test's own time, in seconds since 1970.
    #[cfg(test)]
    by_hand: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

impl WallClock {
    /// The machine's clock.
    pub(crate) fn system() -> Self {
        Self::default()
    }

    /// A clock that shows the time that a test sets.
    #[cfg(test)]
    pub(crate) fn by_hand(seconds: std::sync::Arc<std::sync::atomic::AtomicI64>) -> Self {
        Self { by_hand: Some(seconds) }
    }

    /// The current date and time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(seconds) = &self.by_hand {
            let seconds = seconds.load(std::sync::atomic::Ordering::SeqCst);
            return Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        }
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_moves_with_a_paused_clock_and_no_arithmetic_overflows() {
        let start = now();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now().duration_since(start), Duration::from_secs(90));
        assert_eq!(start.duration_since(now()), Duration::ZERO);
        assert_eq!(start + Duration::MAX, Instant(u64::MAX));
        assert!((start + Duration::MAX).for_timer() > now().for_timer());
        tokio::time::sleep_until((now() + Duration::from_secs(5)).for_timer()).await;
        assert_eq!(now().duration_since(start), Duration::from_secs(95));
    }

    #[test]
    fn there_are_instants_from_long_before_the_machine_started() {
        let (now, years) = (now(), Duration::from_secs(20 * 365 * 24 * 3600));
        assert_eq!(now.duration_since(now - years), years);
        assert_eq!(now - Duration::MAX, Instant(0));
    }

    const LIMIT: Duration = Duration::from_secs(4);

    /// Seconds until a limit runs out if each timer fires `delays` late; the last delay repeats.
    fn runs_out_after(delays: &[f64]) -> f64 {
        let start = Instant(0);
        let mut countdown = Countdown::start(LIMIT, start);
        let mut delays = delays.iter().chain(std::iter::repeat(delays.last().unwrap()));
        loop {
            let now = countdown.next_check() + Duration::from_secs_f64(*delays.next().unwrap());
            if countdown.check(now) == Remaining::Nothing {
                return now.duration_since(start).as_secs_f64();
            }
        }
    }

    #[test]
    fn a_limit_runs_out_on_time_while_the_process_runs() {
        assert_eq!(runs_out_after(&[0.0]), 4.0);
        assert!((4.0..=4.1).contains(&runs_out_after(&[0.025])));
        let mut brief = Countdown::start(Duration::from_nanos(1), Instant(0));
        assert_eq!(brief.next_check(), Instant(1_000_000), "a limit of nanoseconds must not spin");
        assert_eq!(brief.check(brief.next_check()), Remaining::Nothing);
    }

    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        for stopped in [0.5, 2.0, 60.0] {
            for part in 0..4 {
                let mut delays = [0.0; 5];
                delays[part] = stopped;
                let took = runs_out_after(&delays);
                // A part may be repeated for a stop that took less than all of it.
                assert!((stopped + 4.0..=stopped + 4.9).contains(&took), "{stopped} in {part}: {took}");
            }
        }
    }

    #[test]
    fn a_late_timer_leaves_time_to_read_what_has_arrived() {
        let mut countdown = Countdown::start(LIMIT, Instant(0));
        for _ in 0..3 {
            assert_ne!(countdown.check(countdown.next_check()), Remaining::Nothing);
        }
        let late = countdown.next_check() + Duration::from_secs(60);
        let Remaining::Until(next) = countdown.check(late) else { panic!("judged before anything was read") };
        assert!(next.duration_since(late) >= Duration::from_millis(500));
    }

    #[test]
    fn a_starved_process_still_ends_its_limits() {
        let took = runs_out_after(&[1.0]);
        assert!((4.0..70.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_future_may_use_the_rest_of_anothers_limit() {
        let mut countdown = Countdown::start(LIMIT, now());
        let start = now();
        let sleep = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert_eq!(countdown.bound(sleep(3)).await, Ok(()));
        assert_eq!(countdown.bound(sleep(3)).await, Err(TimedOut));
        assert!((3.9..4.1).contains(&now().duration_since(start).as_secs_f64()));
        assert_eq!(within(LIMIT, sleep(5)).await, Err(TimedOut));
        assert_eq!(within(LIMIT, async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_the_wait_on_time() {
        let start = now();
        let elapsed = until(start + Duration::from_secs(3), std::future::pending::<()>()).await;
        assert_eq!(elapsed, Err(TimedOut));
        let took = now().duration_since(start);
        assert!((Duration::from_secs(3)..Duration::from_millis(3010)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_process_does_not_run_extends_a_deadline() {
        let start = now();
        let waiting = async {
            let _ = until(start + Duration::from_secs(1), std::future::pending::<()>()).await;
            now().duration_since(start)
        };
        let stop = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            // Timers that were due meanwhile fire afterwards, as after SIGCONT.
            tokio::time::advance(Duration::from_secs(2)).await;
        };
        let (took, ()) = tokio::join!(waiting, stop);
        assert!((Duration::from_millis(2800)..Duration::from_millis(3100)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_arrived_during_a_stop_is_read_before_the_deadline_expires() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let deadline = now() + Duration::from_millis(100);
        let stop = async {
            tokio::time::advance(Duration::from_millis(110)).await;
            sender.send(7).unwrap();
        };
        let (answer, ()) = tokio::join!(until(deadline, receiver), stop);
        assert_eq!(answer, Ok(Ok(7)));
    }
}
