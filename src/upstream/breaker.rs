//! The circuit breaker: a pure state machine over outcomes and `now`.
//!
//! Closed, it counts outcomes over a sliding window and opens when too many failed. Open, it refuses
//! until its time is over. Half-open, it lets one probe through at a time: a success closes it, a
//! failure opens it again.

use std::time::Duration;

use crate::clock::Instant;
use crate::config::Breaker as Settings;

/// The window slides in so many steps.
const SLOTS: u32 = 10;
/// What a probe is supposed to take, for those who are refused meanwhile.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// A breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: Probing },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probing {
    Yes,
    No,
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead.
    Pass,
    /// Go ahead, and tell what came of it: everybody else waits for that.
    Probe,
    /// Don't.
    Refuse {
        /// When to try again.
        retry_after: Duration,
    },
}

/// How a request ended, as far as the upstream's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered.
    Good,
    /// It did not, or with a 5xx.
    Bad,
    /// Nothing was learnt: the request was never sent, or given up by us.
    Unknown,
}

/// A change worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It opened.
    Opened,
    /// It closed.
    Closed,
    /// A probe failed.
    Reopened,
}

impl Breaker {
    /// Closed.
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: State::Closed, window: Window::default() }
    }

    /// When to try again, if a request would be refused now. Changes nothing.
    pub fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until.duration_since(now)),
            State::HalfOpen { probing: Probing::Yes } => Some(PROBE_TIME),
            State::Closed | State::Open { .. } | State::HalfOpen { probing: Probing::No } => None,
        }
    }

    /// Whether a request may be sent now.
    pub fn admit(&mut self, now: Instant) -> Admission {
        if let Some(retry_after) = self.refuses(now) {
            return Admission::Refuse { retry_after };
        }
        match self.state {
            State::Closed => Admission::Pass,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { probing: Probing::Yes };
                Admission::Probe
            }
        }
    }

    /// Takes the end of a request that was admitted as `admission`.
    pub fn report(&mut self, admission: Admission, health: Health, now: Instant) -> Option<Change> {
        match (self.state, admission) {
            (State::HalfOpen { .. }, Admission::Probe) => self.end_probe(health, now),
            (State::Closed, _) => self.count(health, now),
            // Requests from before it opened tell nothing about the upstream now.
            (State::Open { .. } | State::HalfOpen { .. }, _) => None,
        }
    }

    fn end_probe(&mut self, health: Health, now: Instant) -> Option<Change> {
        match health {
            Health::Good => {
                self.state = State::Closed;
                self.window = Window::default();
                Some(Change::Closed)
            }
            Health::Bad => {
                self.state = State::Open { until: now + self.settings.open_for };
                Some(Change::Reopened)
            }
            Health::Unknown => {
                self.state = State::HalfOpen { probing: Probing::No };
                None
            }
        }
    }

    fn count(&mut self, health: Health, now: Instant) -> Option<Change> {
        let slot = self.settings.window / SLOTS;
        match health {
            Health::Good => self.window.slot(slot, now).good += 1,
            Health::Bad => self.window.slot(slot, now).bad += 1,
            Health::Unknown => return None,
        }
        let (good, bad) = self.window.totals();
        let enough = good + bad >= u64::from(self.settings.min_requests);
        let failing = bad * 100 >= u64::from(self.settings.failure_percent) * (good + bad);
        (health == Health::Bad && enough && failing).then(|| {
            self.state = State::Open { until: now + self.settings.open_for };
            Change::Opened
        })
    }

    /// Whether it refuses, or lets only probes through.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// What it does with requests now: `closed`, `open`, or `half-open` when the next may probe.
    pub fn state_label(&self, now: Instant) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { until } if now < until => "open",
            State::Open { .. } | State::HalfOpen { .. } => "half-open",
        }
    }
}

/// Outcomes of the last [`SLOTS`] slots of time.
#[derive(Debug, Default)]
struct Window {
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

impl Window {
    /// The slot for `now`, after those that are over were emptied.
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

    const SETTINGS: Settings = Settings {
        failure_percent: 50,
        min_requests: 4,
        window: Duration::from_secs(10),
        open_for: Duration::from_secs(5),
    };

    /// A breaker and its hand-moved clock.
    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    fn bench() -> Bench {
        Bench { breaker: Breaker::new(SETTINGS), now: clock::now() }
    }

    impl Bench {
        fn request(&mut self, health: Health) -> Option<Change> {
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
                assert_eq!(bench.request(Health::Bad), None);
            }
            assert_eq!(bench.request(Health::Bad), Some(Change::Opened));
            bench
        }
    }

    #[test]
    fn it_opens_when_enough_requests_failed_and_not_before() {
        let mut bench = Bench::opened();
        assert_eq!(bench.breaker.admit(bench.now), Admission::Refuse { retry_after: SETTINGS.open_for });
        bench.after(2000);
        assert_eq!(bench.breaker.admit(bench.now), Admission::Refuse { retry_after: Duration::from_secs(3) });
        assert!(bench.breaker.is_open());
    }

    #[test]
    fn it_stays_closed_while_most_requests_succeed() {
        let mut bench = bench();
        for _ in 0..100 {
            assert_eq!(bench.request(Health::Good), None);
            assert_eq!(bench.request(Health::Good), None);
            assert_eq!(bench.request(Health::Bad), None);
        }
        assert!(!bench.breaker.is_open());
    }

    #[test]
    fn half_of_them_failing_is_enough() {
        let mut bench = bench();
        for health in [Health::Good, Health::Good, Health::Bad] {
            assert_eq!(bench.request(health), None);
        }
        assert_eq!(bench.request(Health::Bad), Some(Change::Opened));
    }

    #[test]
    fn failures_older_than_the_window_are_forgotten() {
        let mut bench = bench();
        for _ in 0..3 {
            bench.request(Health::Bad);
        }
        bench.after(11_000);
        assert_eq!(bench.request(Health::Bad), None);
        bench.after(9_000);
        for _ in 0..2 {
            assert_eq!(bench.request(Health::Bad), None);
        }
        assert_eq!(bench.after(500).request(Health::Bad), Some(Change::Opened), "four within ten seconds");
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut bench = Bench::opened();
        bench.after(5000);
        assert_eq!(bench.breaker.admit(bench.now), Admission::Probe);
        assert!(matches!(bench.breaker.admit(bench.now), Admission::Refuse { .. }));
        assert_eq!(bench.breaker.report(Admission::Probe, Health::Bad, bench.now), Some(Change::Reopened));
        assert!(matches!(bench.breaker.admit(bench.now), Admission::Refuse { .. }));
        bench.after(5000);
        assert_eq!(bench.request(Health::Good), Some(Change::Closed));
        assert_eq!(bench.breaker.admit(bench.now), Admission::Pass);
    }

    #[test]
    fn a_closed_breaker_starts_counting_anew() {
        let mut bench = Bench::opened();
        bench.after(5000).request(Health::Good);
        for _ in 0..3 {
            assert_eq!(bench.request(Health::Bad), None);
        }
    }

    #[test]
    fn a_probe_that_was_never_sent_leaves_the_place_to_the_next() {
        let mut bench = Bench::opened();
        assert_eq!(bench.after(5000).request(Health::Unknown), None);
        assert_eq!(bench.breaker.admit(bench.now), Admission::Probe);
    }

    #[test]
    fn requests_from_before_it_opened_change_nothing() {
        let mut bench = Bench::opened();
        assert_eq!(bench.breaker.report(Admission::Pass, Health::Good, bench.now), None);
        assert_eq!(bench.breaker.report(Admission::Pass, Health::Bad, bench.now), None);
        assert!(bench.breaker.is_open());
    }

    #[test]
    fn a_look_changes_nothing() {
        let mut bench = Bench::opened();
        assert_eq!(bench.breaker.state_label(bench.now), "open");
        assert_eq!(bench.breaker.refuses(bench.now), Some(SETTINGS.open_for));
        bench.after(5000);
        assert_eq!(bench.breaker.state_label(bench.now), "half-open");
        assert_eq!(bench.breaker.refuses(bench.now), None);
        assert_eq!(bench.breaker.admit(bench.now), Admission::Probe);
        assert_eq!(bench.breaker.refuses(bench.now), Some(PROBE_TIME));
    }
}
