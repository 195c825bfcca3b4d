//! When the next poll of a watched call is due: pure.

use std::time::Duration;

use crate::clock::Instant;

/// The shortest and the longest pause between two polls: `wait.poll_min` and `wait.poll_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollPauses {
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

/// The polls of one watch. It outlives its waiters for a while, so that clients that disconnect and return continue
/// the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollSchedule {
    began: Instant,
    /// The last poll, or the fetch that began the watch.
    last: Instant,
    next: Instant,
    /// The earliest time for the next request, as set by the upstream, the breaker or the budget.
    held_until: Instant,
}

impl PollSchedule {
    /// Starts with a fetch that has just found the call unfinished. `jitter` is 0 to 1000.
    pub(crate) fn begin(now: Instant, pauses: PollPauses, jitter: u16) -> Self {
        Self { began: now, last: now, next: now + pause(Duration::ZERO, pauses, jitter), held_until: now }
    }

    /// Notes a poll. The next one follows after a quarter of the time that the call has been watched.
    pub(crate) fn polled(&mut self, now: Instant, pauses: PollPauses, jitter: u16) {
        self.last = now;
        self.next = now + pause(now.duration_since(self.began), pauses, jitter);
    }

    /// Makes the next poll due at once, because a purge removed what was known of the call.
    pub(crate) const fn hurry(&mut self, now: Instant) {
        self.next = now;
    }

    /// Makes the next poll due as soon as the shortest pause allows.
    pub(crate) fn advance(&mut self, now: Instant, pauses: PollPauses) {
        self.next = self.next.min(now.max(self.last + pauses.shortest));
    }

    /// Delays all polls until this instant.
    pub(crate) fn hold_until(&mut self, instant: Instant) {
        self.held_until = self.held_until.max(instant);
    }

    /// When the next poll is due. `unheard` is the earliest end of a waiter for which nothing has been fetched since
    /// its request: a poll is due by then, however long the pause would be, but no more than one per shortest pause
    /// for all of them.
    pub(crate) fn due(&self, unheard: Option<Instant>, pauses: PollPauses) -> Instant {
        let early = unheard.map_or(self.next, |end| end.max(self.last + pauses.shortest));
        self.next.min(early).max(self.held_until)
    }
}

/// A quarter of the time watched, within bounds, less up to a tenth: the jitter keeps watches that began together
/// from being polled together.
fn pause(watched: Duration, pauses: PollPauses, jitter: u16) -> Duration {
    let pause = (watched / 4).min(pauses.longest).max(pauses.shortest);
    let less = pause / 10_000 * u32::from(jitter.min(1000));
    pause.saturating_sub(less).max(pauses.shortest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PAUSES: PollPauses =
        PollPauses { shortest: Duration::from_secs(1), longest: Duration::from_secs(10) };

    /// The seconds at which a call is polled that is watched without interruption.
    fn polls(until: u64, jitter: u16) -> Vec<f64> {
        let start = clock::now();
        let mut schedule = PollSchedule::begin(start, PAUSES, jitter);
        let mut all = Vec::new();
        loop {
            let due = schedule.due(None, PAUSES);
            if due > start + Duration::from_secs(until) {
                return all;
            }
            all.push(due.duration_since(start).as_secs_f64());
            schedule.polled(due, PAUSES, jitter);
        }
    }

    #[test]
    fn a_call_of_three_minutes_costs_at_most_32_polls() {
        for jitter in [0, 500, 1000] {
            let polls = polls(180, jitter);
            assert!((25..=31).contains(&polls.len()), "{jitter}: {polls:?}, and the first fetch");
        }
    }

    #[test]
    fn pauses_grow_within_their_bounds() {
        let polls = polls(600, 1000);
        let pauses: Vec<_> = polls.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses[0], 1.0, "never below the shortest, jitter included");
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{pauses:?}");
        assert!(pauses.last().is_some_and(|last| (9.0..=10.0).contains(last)), "{pauses:?}");
    }

    #[test]
    fn a_waiter_without_a_fetch_brings_a_poll_forward_but_not_below_the_shortest_pause() {
        let start = clock::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut schedule = PollSchedule::begin(start, PAUSES, 0);
        schedule.polled(after(100_000), PAUSES, 0);
        assert_eq!(schedule.due(None, PAUSES), after(110_000));
        assert_eq!(schedule.due(Some(after(105_000)), PAUSES), after(105_000));
        assert_eq!(schedule.due(Some(after(100_200)), PAUSES), after(101_000));
        assert_eq!(schedule.due(Some(after(120_000)), PAUSES), after(110_000));
        schedule.hold_until(after(108_000));
        assert_eq!(schedule.due(Some(after(105_000)), PAUSES), after(108_000), "the upstream asked for it");
        schedule.advance(after(109_000), PAUSES);
        assert_eq!(schedule.due(None, PAUSES), after(109_000));
        schedule.hurry(after(103_000));
        assert_eq!(schedule.due(None, PAUSES), after(108_000));
    }
}
