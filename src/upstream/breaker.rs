//! The circuit breaker: a pure state machine over outcomes and `now`.
//!
//! Closed, it counts outcomes over a sliding window and opens when too many failed. Open, it refuses until `open_for`
//! has passed. Half-open, it lets one probe through at a time: a success closes it, a failure opens it again.

use std::time::Duration;

use crate::clock::Instant;
use crate::config::BreakerSettings;

/// The number of steps in which the window slides.
const SLOTS: u32 = 10;
/// The assumed duration of a probe, for the `Retry-After` of requests refused meanwhile.
const PROBE_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
    window: OutcomeWindow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: Probing },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probing {
    Yes,
    No,
}

/// The decision on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerDecision {
    /// Go ahead.
    Pass,
    /// Go ahead, and report the result, which decides for all others.
    Probe,
    /// Don't.
    Refuse {
        /// When to try again.
        retry_after: Duration,
    },
}

/// A request's result, as an indication of the upstream's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthSignal {
    /// It responded.
    Good,
    /// It did not respond, or with a 5xx.
    Bad,
    /// Nothing: the request was never sent, or abandoned by the gateway.
    Unknown,
}

/// A state change to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    Opened,
    Closed,
    /// A probe failed.
    Reopened,
}

impl Breaker {
    /// Closed.
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: BreakerState::Closed, window: OutcomeWindow::default() }
    }

    /// When to try again, if a request would be refused now. Changes nothing.
    pub(super) fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.state {
            BreakerState::Open { until } if now < until => Some(until.duration_since(now)),
            BreakerState::HalfOpen { probing: Probing::Yes } => Some(PROBE_TIME),
            BreakerState::Closed
            | BreakerState::Open { .. }
            | BreakerState::HalfOpen { probing: Probing::No } => None,
        }
    }

    /// Whether a request may be sent now.
    pub(super) fn admit(&mut self, now: Instant) -> BreakerDecision {
        if let Some(retry_after) = self.refuses(now) {
            return BreakerDecision::Refuse { retry_after };
        }
        match self.state {
            BreakerState::Closed => BreakerDecision::Pass,
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => {
                self.state = BreakerState::HalfOpen { probing: Probing::Yes };
                BreakerDecision::Probe
            }
        }
    }

    /// Takes the result of a request that was admitted as `admission`.
    pub(super) fn report(
        &mut self,
        admission: BreakerDecision,
        health: HealthSignal,
        now: Instant,
    ) -> Option<BreakerChange> {
        match (self.state, admission) {
            (BreakerState::HalfOpen { .. }, BreakerDecision::Probe) => self.end_probe(health, now),
            (BreakerState::Closed, _) => self.count(health, now),
            // Requests from before it opened say nothing about the upstream now.
            (BreakerState::Open { .. } | BreakerState::HalfOpen { .. }, _) => None,
        }
    }

    fn end_probe(&mut self, health: HealthSignal, now: Instant) -> Option<BreakerChange> {
        match health {
            HealthSignal::Good => {
                self.state = BreakerState::Closed;
                self.window = OutcomeWindow::default();
                Some(BreakerChange::Closed)
            }
            HealthSignal::Bad => {
                self.state = BreakerState::Open { until: now + self.settings.open_for };
                Some(BreakerChange::Reopened)
            }
            HealthSignal::Unknown => {
                self.state = BreakerState::HalfOpen { probing: Probing::No };
                None
            }
        }
    }

    fn count(&mut self, health: HealthSignal, now: Instant) -> Option<BreakerChange> {
        let slot = self.settings.window / SLOTS;
        match health {
            HealthSignal::Good => self.window.slot(slot, now).good += 1,
            HealthSignal::Bad => self.window.slot(slot, now).bad += 1,
            HealthSignal::Unknown => return None,
        }
        let (good, bad) = self.window.totals();
        let enough = good + bad >= u64::from(self.settings.min_requests);
        let failing = bad * 100 >= u64::from(self.settings.failure_percent) * (good + bad);
        (health == HealthSignal::Bad && enough && failing).then(|| {
            self.state = BreakerState::Open { until: now + self.settings.open_for };
            BreakerChange::Opened
        })
    }

    /// Whether it refuses, or lets only probes through.
    pub(super) fn is_open(&self) -> bool {
        self.state != BreakerState::Closed
    }

    /// Its current treatment of requests: `closed`, `open`, or `half-open` if the next may probe.
    pub(super) fn state_label(&self, now: Instant) -> &'static str {
        match self.state {
            BreakerState::Closed => "closed",
            BreakerState::Open { until } if now < until => "open",
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => "half-open",
        }
    }
}

/// Outcomes in the last [`SLOTS`] slots of time.
#[derive(Debug, Default)]
struct OutcomeWindow {
    slots: [Slot; SLOTS as usize],
    current: usize,
    /// When the current slot began.
    since: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    good: u32,
    bad: u32,
}

impl OutcomeWindow {
    /// The slot for `now`, after expired slots were cleared.
    fn slot(&mut self, length: Duration, now: Instant) -> &mut Slot {
        let since = *self.since.get_or_insert(now);
        let passed = now.duration_since(since).as_nanos() / length.as_nanos().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= SLOTS {
            self.slots = Default::default();
            self.since = Some(now);
        } else if passed > 0 {
            for _ in 0..passed {
                self.current = (self.current + 1) % self.slots.len();
                *self.current_slot() = Slot::default();
            }
            self.since = Some(since + length * passed);
        }
        self.current_slot()
    }

    fn current_slot(&mut self) -> &mut Slot {
        let [first, rest @ ..] = &mut self.slots;
        match self.current.checked_sub(1) {
            Some(place) => rest.get_mut(place).unwrap_or(first),
            None => first,
        }
    }

    fn totals(&self) -> (u64, u64) {
        self.slots
            .iter()
            .fold((0, 0), |(good, bad), slot| (good + u64::from(slot.good), bad + u64::from(slot.bad)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failure_percent: 50,
        min_requests: 4,
        window: Duration::from_secs(10),
        open_for: Duration::from_secs(5),
    };

    /// A breaker with a clock that the test moves.
    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    fn bench() -> Bench {
        Bench { breaker: Breaker::new(SETTINGS), now: clock::now() }
    }

    impl Bench {
        fn request(&mut self, health: HealthSignal) -> Option<BreakerChange> {
            let admission = self.breaker.admit(self.now);
            self.breaker.report(admission, health, self.now)
        }

        fn after(&mut self, millis: u64) -> &mut Self {
            self.now += Duration::from_millis(millis);
            self
        }

        fn opened() -> Self {
            let mut bench = bench();
            for _ in 0..3 {
                assert_eq!(bench.request(HealthSignal::Bad), None);
            }
            assert_eq!(bench.request(HealthSignal::Bad), Some(BreakerChange::Opened));
            bench
        }
    }

    #[test]
    fn it_opens_when_enough_requests_failed_and_not_before() {
        let mut bench = Bench::opened();
        assert_eq!(
            bench.breaker.admit(bench.now),
            BreakerDecision::Refuse { retry_after: SETTINGS.open_for }
        );
        bench.after(2000);
        assert_eq!(
            bench.breaker.admit(bench.now),
            BreakerDecision::Refuse { retry_after: Duration::from_secs(3) }
        );
        assert!(bench.breaker.is_open());
    }

    #[test]
    fn it_stays_closed_while_most_requests_succeed() {
        let mut bench = bench();
        for _ in 0..100 {
            assert_eq!(bench.request(HealthSignal::Good), None);
            assert_eq!(bench.request(HealthSignal::Good), None);
            assert_eq!(bench.request(HealthSignal::Bad), None);
        }
        assert!(!bench.breaker.is_open());
    }

    #[test]
    fn half_of_them_failing_is_enough() {
        let mut bench = bench();
        for health in [HealthSignal::Good, HealthSignal::Good, HealthSignal::Bad] {
            assert_eq!(bench.request(health), None);
        }
        assert_eq!(bench.request(HealthSignal::Bad), Some(BreakerChange::Opened));
    }

    #[test]
    fn failures_older_than_the_window_are_forgotten() {
        let mut bench = bench();
        for _ in 0..3 {
            bench.request(HealthSignal::Bad);
        }
        bench.after(11_000);
        assert_eq!(bench.request(HealthSignal::Bad), None);
        bench.after(9_000);
        for _ in 0..2 {
            assert_eq!(bench.request(HealthSignal::Bad), None);
        }
        assert_eq!(
            bench.after(500).request(HealthSignal::Bad),
            Some(BreakerChange::Opened),
            "four within ten seconds"
        );
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut bench = Bench::opened();
        bench.after(5000);
        assert_eq!(bench.breaker.admit(bench.now), BreakerDecision::Probe);
        assert!(matches!(bench.breaker.admit(bench.now), BreakerDecision::Refuse { .. }));
        assert_eq!(
            bench.breaker.report(BreakerDecision::Probe, HealthSignal::Bad, bench.now),
            Some(BreakerChange::Reopened)
        );
        assert!(matches!(bench.breaker.admit(bench.now), BreakerDecision::Refuse { .. }));
        bench.after(5000);
        assert_eq!(bench.request(HealthSignal::Good), Some(BreakerChange::Closed));
        assert_eq!(bench.breaker.admit(bench.now), BreakerDecision::Pass);
    }

    #[test]
    fn a_closed_breaker_starts_counting_anew() {
        let mut bench = Bench::opened();
        bench.after(5000).request(HealthSignal::Good);
        for _ in 0..3 {
            assert_eq!(bench.request(HealthSignal::Bad), None);
        }
    }

    #[test]
    fn a_probe_that_was_never_sent_lets_the_next_one_through() {
        let mut bench = Bench::opened();
        assert_eq!(bench.after(5000).request(HealthSignal::Unknown), None);
        assert_eq!(bench.breaker.admit(bench.now), BreakerDecision::Probe);
    }

    #[test]
    fn requests_from_before_it_opened_change_nothing() {
        let mut bench = Bench::opened();
        assert_eq!(bench.breaker.report(BreakerDecision::Pass, HealthSignal::Good, bench.now), None);
        assert_eq!(bench.breaker.report(BreakerDecision::Pass, HealthSignal::Bad, bench.now), None);
        assert!(bench.breaker.is_open());
    }

    #[test]
    fn asking_about_refusal_changes_nothing() {
        let mut bench = Bench::opened();
        assert_eq!(bench.breaker.state_label(bench.now), "open");
        assert_eq!(bench.breaker.refuses(bench.now), Some(SETTINGS.open_for));
        bench.after(5000);
        assert_eq!(bench.breaker.state_label(bench.now), "half-open");
        assert_eq!(bench.breaker.refuses(bench.now), None);
        assert_eq!(bench.breaker.admit(bench.now), BreakerDecision::Probe);
        assert_eq!(bench.breaker.refuses(bench.now), Some(PROBE_TIME));
    }
}
