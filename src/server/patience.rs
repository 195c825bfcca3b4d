//! How long a connection may take, phase by phase: one timer a connection, armed when a slow phase
//! begins and otherwise looked at a few times per idle timeout.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::activity::Phase;
use crate::clock::{self, Instant};

/// A connection that does nothing is closed after one idle timeout and at most this share more.
const TICKS_PER_IDLE_TIMEOUT: u32 = 4;

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a request's head, and for the first request.
    pub head: Duration,
    /// For doing nothing, and for taking no byte of an answer.
    pub idle: Duration,
}

/// Watches one connection's phases.
pub struct Patience {
    timeouts: Timeouts,
    armed: Armed,
    timer: Pin<Box<Sleep>>,
}

/// What the timer is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    /// The end of this phase's time.
    Deadline(Phase),
    /// A look at what has happened since the last, after this many looks without a change.
    Tick { seen: Phase, quiet: u32 },
}

impl Patience {
    /// Starts with the time for the first head of a connection that was opened at `since`.
    pub fn new(timeouts: Timeouts, since: Instant) -> Self {
        let timer = Box::pin(tokio::time::sleep_until((since + timeouts.head).for_timer()));
        Self { timeouts, armed: Armed::Deadline(Phase::Head { begun: 0 }), timer }
    }

    /// Is ready when the connection has taken too long over `phase`, the phase it is in now.
    pub fn poll_expired(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(limit) = self.deadline_to_arm(phase) {
            self.arm(Armed::Deadline(phase), limit);
        } else if self.is_armed_too_late(phase) {
            self.tick(phase, 0);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            match self.armed {
                Armed::Deadline(armed) if armed == phase => return Poll::Ready(()),
                Armed::Deadline(_) => self.tick(phase, 0),
                Armed::Tick { seen, quiet } if seen == phase && matches!(phase, Phase::Idle { .. }) => {
                    if quiet + 1 >= TICKS_PER_IDLE_TIMEOUT {
                        return Poll::Ready(());
                    }
                    self.tick(phase, quiet + 1);
                }
                Armed::Tick { .. } => self.tick(phase, 0),
            }
        }
        Poll::Pending
    }

    /// Whether the timer is not set as `phase` wants it: then it must be looked at now.
    pub fn is_to_be_armed(&self, phase: Phase) -> bool {
        self.deadline_to_arm(phase).is_some() || self.is_armed_too_late(phase)
    }

    /// The limit of a phase that has its own deadline which isn't armed yet.
    fn deadline_to_arm(&self, phase: Phase) -> Option<Duration> {
        let limit = match phase {
            Phase::Head { .. } => self.timeouts.head,
            Phase::Write { .. } => self.timeouts.idle,
            Phase::Answer | Phase::Idle { .. } => return None,
        };
        (self.armed != Armed::Deadline(phase)).then_some(limit)
    }

    /// Whether the timer is set for the end of a head that has come, and an idle connection would have
    /// to go before that.
    fn is_armed_too_late(&self, phase: Phase) -> bool {
        matches!(self.armed, Armed::Deadline(Phase::Head { .. }))
            && !matches!(phase, Phase::Head { .. })
            && self.timeouts.idle < self.timeouts.head
    }

    fn tick(&mut self, seen: Phase, quiet: u32) {
        let tick = self.timeouts.idle / TICKS_PER_IDLE_TIMEOUT;
        self.arm(Armed::Tick { seen, quiet }, tick);
    }

    fn arm(&mut self, armed: Armed, after: Duration) {
        self.armed = armed;
        // Never at once: a timeout of nanoseconds must not spin.
        self.timer.as_mut().reset((clock::now() + after.max(Duration::from_millis(1))).for_timer());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts { head: Duration::from_secs(5), idle: Duration::from_secs(60) };

    /// Seconds until `patience` ends while the connection stays in `phase`.
    async fn ends_after(patience: &mut Patience, phase: Phase) -> f64 {
        let start = clock::now();
        poll_fn(|cx| patience.poll_expired(phase, cx)).await;
        clock::now().duration_since(start).as_secs_f64()
    }

    /// Lets a phase pass for a while.
    async fn stays(patience: &mut Patience, phase: Phase, seconds: u64) {
        let wait = Duration::from_secs(seconds);
        let expired = tokio::time::timeout(wait, poll_fn(|cx| patience.poll_expired(phase, cx))).await;
        assert!(expired.is_err(), "{phase:?} ended");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_its_time() {
        let took = ends_after(&mut Patience::new(TIMEOUTS, clock::now()), Phase::Head { begun: 0 }).await;
        assert!((5.0..5.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_slow_head_has_the_same_time() {
        let mut patience = Patience::new(TIMEOUTS, clock::now());
        stays(&mut patience, Phase::Answer, 20).await;
        stays(&mut patience, Phase::Idle { begun: 1 }, 20).await;
        let took = ends_after(&mut patience, Phase::Head { begun: 1 }).await;
        assert!((5.0..5.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_slow_heads_has_its_own_time() {
        let mut patience = Patience::new(TIMEOUTS, clock::now());
        for begun in 0..10 {
            stays(&mut patience, Phase::Head { begun }, 4).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_within_a_quarter_more() {
        let mut patience = Patience::new(TIMEOUTS, clock::now());
        stays(&mut patience, Phase::Answer, 1).await;
        let took = ends_after(&mut patience, Phase::Idle { begun: 1 }).await;
        assert!((60.0..=80.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timeout_shorter_than_that_of_heads_is_kept() {
        let brief = Timeouts { head: Duration::from_secs(60), idle: Duration::from_secs(4) };
        let mut patience = Patience::new(brief, clock::now());
        stays(&mut patience, Phase::Answer, 1).await;
        let took = ends_after(&mut patience, Phase::Idle { begun: 1 }).await;
        assert!((4.0..=5.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_a_connection_open() {
        let mut patience = Patience::new(TIMEOUTS, clock::now());
        for begun in 0..10 {
            stays(&mut patience, Phase::Idle { begun }, 50).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time() {
        stays(&mut Patience::new(TIMEOUTS, clock::now()), Phase::Answer, 100_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let mut patience = Patience::new(TIMEOUTS, clock::now());
        for writes in 0..10 {
            stays(&mut patience, Phase::Write { writes }, 50).await;
        }
        let took = ends_after(&mut patience, Phase::Write { writes: 10 }).await;
        assert!((60.0..60.1).contains(&took), "{took}");
    }
}
