//! Time limits of a connection, phase by phase. Each connection has one timer, which is set when a phase with a
//! deadline begins and otherwise fires a few times per idle timeout: requests set none.
//!
//! Knows neither sockets nor requests: [`Activity`](super::activity::Activity) reports the phase.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::activity::Phase;
use crate::clock::{self, Countdown, Remaining};
use crate::telemetry::CloseReason;

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// For a request's head, and for the first request.
    pub head: Duration,
    /// For being idle, up to a quarter more; and for a client that reads nothing of an answer.
    pub idle: Duration,
}

/// Enforces the limits of one connection's phases.
pub(super) struct ConnectionTimer {
    timeouts: Timeouts,
    /// The phase whose limit is running down.
    armed: Phase,
    countdown: Countdown,
    timer: Pin<Box<Sleep>>,
}

impl ConnectionTimer {
    /// Continues with the rest of the limit for the connection's first head.
    pub(super) fn new(timeouts: Timeouts, first_head: Countdown) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(first_head.next_check().for_timer()));
        Self { timeouts, armed: Phase::Head { begun: 0 }, countdown: first_head, timer }
    }

    /// Is ready, with the reason, when the connection has exceeded the limit of its current `phase`.
    pub(super) fn poll_expired(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if self.is_to_be_armed(phase) {
            self.arm(phase);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.armed != phase || phase == Phase::Answer {
                self.arm(phase);
                continue;
            }
            match self.countdown.check(clock::now()) {
                Remaining::Until(next) => self.timer.as_mut().reset(next.for_timer()),
                Remaining::Nothing => return Poll::Ready(reason(phase)),
            }
        }
        Poll::Pending
    }

    /// Whether the timer must be set at once. An idle phase need not be noticed before the next check, so a request
    /// that arrives before that costs nothing.
    pub(super) fn is_to_be_armed(&self, phase: Phase) -> bool {
        match phase {
            Phase::Head { .. } | Phase::Write { .. } => self.armed != phase,
            // The next check, set for an earlier head, may be later than an idle connection must end.
            Phase::Answer | Phase::Unauthenticated { .. } | Phase::Idle { .. } => {
                matches!(self.armed, Phase::Head { .. }) && self.timeouts.idle < self.timeouts.head
            }
        }
    }

    fn arm(&mut self, phase: Phase) {
        let limit = match phase {
            Phase::Head { .. } => self.timeouts.head,
            // An unauthenticated client needs no more time for its token than for a head.
            Phase::Unauthenticated { .. } => self.timeouts.head.min(self.timeouts.idle),
            Phase::Write { .. } | Phase::Answer | Phase::Idle { .. } => self.timeouts.idle,
        };
        self.armed = phase;
        self.countdown = Countdown::start(limit, clock::now());
        self.timer.as_mut().reset(self.countdown.next_check().for_timer());
    }
}

/// Why a connection that exceeds the limit of this phase is closed.
const fn reason(phase: Phase) -> CloseReason {
    match phase {
        Phase::Head { .. } => CloseReason::Head,
        Phase::Write { .. } => CloseReason::Stalled,
        Phase::Answer | Phase::Unauthenticated { .. } | Phase::Idle { .. } => CloseReason::Idle,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts { head: Duration::from_secs(5), idle: Duration::from_secs(60) };

    fn started(timeouts: Timeouts) -> ConnectionTimer {
        ConnectionTimer::new(timeouts, Countdown::start(timeouts.head, clock::now()))
    }

    /// Seconds until `timer` ends while the connection stays in `phase`.
    async fn ends_after(timer: &mut ConnectionTimer, phase: Phase) -> f64 {
        let start = clock::now();
        poll_fn(|cx| timer.poll_expired(phase, cx)).await;
        clock::now().duration_since(start).as_secs_f64()
    }

    /// Lets a phase pass for a while.
    async fn stays(timer: &mut ConnectionTimer, phase: Phase, seconds: u64) {
        let wait = Duration::from_secs(seconds);
        let expired = tokio::time::timeout(wait, poll_fn(|cx| timer.poll_expired(phase, cx))).await;
        assert!(expired.is_err(), "{phase:?} ended");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_its_time() {
        let took = ends_after(&mut started(TIMEOUTS), Phase::Head { begun: 0 }).await;
        assert!((5.0..5.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_slow_head_has_the_same_time() {
        let mut timer = started(TIMEOUTS);
        stays(&mut timer, Phase::Answer, 20).await;
        stays(&mut timer, Phase::Idle { begun: 1 }, 20).await;
        let took = ends_after(&mut timer, Phase::Head { begun: 1 }).await;
        assert!((5.0..5.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_slow_heads_has_its_own_time() {
        let mut timer = started(TIMEOUTS);
        for begun in 0..10 {
            stays(&mut timer, Phase::Head { begun }, 4).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_within_a_quarter_more() {
        let mut timer = started(TIMEOUTS);
        stays(&mut timer, Phase::Answer, 1).await;
        let took = ends_after(&mut timer, Phase::Idle { begun: 1 }).await;
        assert!((60.0..=80.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timeout_shorter_than_that_of_heads_is_kept() {
        let brief = Timeouts { head: Duration::from_secs(60), idle: Duration::from_secs(4) };
        let mut timer = started(brief);
        stays(&mut timer, Phase::Answer, 1).await;
        let took = ends_after(&mut timer, Phase::Idle { begun: 1 }).await;
        assert!((4.0..=5.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_authenticate_has_the_time_of_a_head() {
        let mut timer = started(TIMEOUTS);
        stays(&mut timer, Phase::Answer, 1).await;
        let took = ends_after(&mut timer, Phase::Unauthenticated { begun: 1 }).await;
        assert!((5.0..=6.5).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_a_connection_open() {
        let mut timer = started(TIMEOUTS);
        for begun in 0..10 {
            stays(&mut timer, Phase::Idle { begun }, 50).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time() {
        stays(&mut started(TIMEOUTS), Phase::Answer, 100_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected() {
        let mut timer = started(TIMEOUTS);
        for writes in 0..10 {
            stays(&mut timer, Phase::Write { writes }, 50).await;
        }
        let took = ends_after(&mut timer, Phase::Write { writes: 10 }).await;
        assert!((60.0..60.1).contains(&took), "{took}");
    }

    /// The time that a phase still has after the process was stopped for a minute during it.
    async fn left_after_a_stop(phase: Phase, limit: f64) {
        let mut timer = started(TIMEOUTS);
        stays(&mut timer, phase, 1).await;
        tokio::time::advance(Duration::from_secs(300)).await;
        let took = ends_after(&mut timer, phase).await;
        assert!(took >= limit / 2.0, "{phase:?}: {took}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_during_a_stop_of_the_process_does_not_count_against_clients() {
        left_after_a_stop(Phase::Head { begun: 0 }, 5.0).await;
        left_after_a_stop(Phase::Head { begun: 1 }, 5.0).await;
        left_after_a_stop(Phase::Write { writes: 1 }, 60.0).await;
        left_after_a_stop(Phase::Idle { begun: 1 }, 60.0).await;
    }
}
