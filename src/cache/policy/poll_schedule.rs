//! When the next poll of a watched call is due: pure.

use std::time::Duration;

use crate::clock::Instant;

/// The shortest and the longest pause between two polls: `wait.poll_min` and `wait.poll_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollPauses {
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

/// Whose turn a poll is, where gateways of a fleet share the polls of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollTurn {
    /// For the fleet: only the gateway that polls the call sends a request, and the others ask what it has found.
    ///
    /// So is the poll that follows a purge: the purge reaches all gateways, and one request answers it for all.
    Fleet,
    /// For this gateway's own clients: a waiter's time ends, or a client has asked it to refresh the call. It sends a
    /// request, whichever gateway polls the call, because what that one fetches reaches others only once it is final.
    Own,
}

/// The polls of one watch. It outlives its waiters for a while, so that clients that disconnect and return continue
/// the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollSchedule {
    began: Instant,
    /// The last poll, or the fetch that began the watch.
    last: Instant,
    /// The one before it.
    before: Instant,
    next: Instant,
    /// Whether a refresh has brought the next one forward.
    is_refresh: bool,
    /// After a purge, when to ask the fleet again at the latest: by then its poller may have an answer.
    ask_again: Option<Instant>,
    /// The earliest time for the next request, as set by the upstream, the breaker or the budget.
    held_until: Instant,
}

impl PollSchedule {
    /// Starts with a fetch that has just found the call unfinished. `jitter` is 0 to 1000.
    pub(crate) fn begin(now: Instant, pauses: PollPauses, jitter: u16) -> Self {
        let next = now + pause(Duration::ZERO, pauses, jitter);
        Self { began: now, last: now, before: now, next, is_refresh: false, ask_again: None, held_until: now }
    }

    /// Notes a poll. The next one follows after a quarter of the time that the call has been watched.
    pub(crate) fn polled(&mut self, now: Instant, pauses: PollPauses, jitter: u16) {
        self.before = std::mem::replace(&mut self.last, now);
        self.next = now + pause(now.duration_since(self.began), pauses, jitter);
        self.is_refresh = false;
    }

    /// Notes that the last poll sent no request, because another gateway of the fleet polls the call: it keeps no
    /// other from being sent.
    pub(crate) fn left(&mut self, now: Instant) {
        self.last = self.before;
        if let Some(instant) = self.ask_again.take().filter(|instant| *instant > now) {
            self.next = self.next.min(instant);
        }
    }

    /// The turn of a poll that begins now. `unheard` is as for [`due`](Self::due).
    pub(crate) fn turn(&self, now: Instant, unheard: Option<Instant>, pauses: PollPauses) -> PollTurn {
        let is_time_up = unheard.is_some_and(|end| self.early(end, pauses) <= now);
        if is_time_up || self.is_refresh { PollTurn::Own } else { PollTurn::Fleet }
    }

    /// The time until the next poll by the schedule.
    pub(crate) fn next_in(&self, now: Instant) -> Duration {
        self.next.max(self.held_until).duration_since(now)
    }

    /// Makes the next poll due at once, because a purge removed what was known of the call.
    pub(crate) fn hurry(&mut self, now: Instant, pauses: PollPauses) {
        self.next = now;
        self.ask_again = Some(now + pauses.shortest);
    }

    /// Makes the next poll due as soon as the shortest pause allows.
    pub(crate) fn advance(&mut self, now: Instant, pauses: PollPauses) {
        self.next = self.next.min(now.max(self.last + pauses.shortest));
        self.is_refresh = true;
    }

    /// Delays all polls until this instant.
    pub(crate) fn hold_until(&mut self, instant: Instant) {
        self.held_until = self.held_until.max(instant);
    }

    /// When the next poll is due. `unheard` is the earliest end of a waiter for which nothing has been fetched since
    /// its request: a poll is due by then, however long the pause would be, but no more than one per shortest pause
    /// for all of them.
    pub(crate) fn due(&self, unheard: Option<Instant>, pauses: PollPauses) -> Instant {
        let early = unheard.map_or(self.next, |end| self.early(end, pauses));
        self.next.min(early).max(self.held_until)
    }

    /// When a poll may be made for a waiter whose time ends then.
    fn early(&self, end: Instant, pauses: PollPauses) -> Instant {
        end.max(self.last + pauses.shortest)
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
        schedule.hurry(after(103_000), PAUSES);
        assert_eq!(schedule.due(None, PAUSES), after(108_000));
    }

    #[test]
    fn a_poll_is_this_gateways_own_for_a_waiter_whose_time_ends_and_for_a_refresh() {
        let start = clock::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut schedule = PollSchedule::begin(start, PAUSES, 0);
        let turn = |schedule: &PollSchedule, now, unheard: Option<u64>| {
            schedule.turn(after(now), unheard.map(after), PAUSES)
        };
        assert_eq!(turn(&schedule, 1_000, None), PollTurn::Fleet);
        assert_eq!(turn(&schedule, 1_000, Some(5_000)), PollTurn::Fleet);
        assert_eq!(turn(&schedule, 5_000, Some(5_000)), PollTurn::Own);
        assert_eq!(turn(&schedule, 500, Some(400)), PollTurn::Fleet, "within the shortest pause");
        schedule.advance(after(2_000), PAUSES);
        assert_eq!(turn(&schedule, 2_000, None), PollTurn::Own);
        schedule.polled(after(2_000), PAUSES, 0);
        schedule.hurry(after(2_500), PAUSES);
        assert_eq!(turn(&schedule, 2_500, None), PollTurn::Fleet, "one gateway answers a purge for all");
    }

    #[test]
    fn a_poll_that_is_left_to_another_gateway_delays_none_of_this_one() {
        let start = clock::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut schedule = PollSchedule::begin(start, PAUSES, 0);
        schedule.polled(after(40_000), PAUSES, 0);
        schedule.polled(after(49_900), PAUSES, 0);
        schedule.left(after(49_910));
        assert_eq!(schedule.due(None, PAUSES), after(59_900), "it asks at its own pace");
        assert_eq!(schedule.due(Some(after(50_000)), PAUSES), after(50_000));
        schedule.hurry(after(51_000), PAUSES);
        schedule.polled(after(51_000), PAUSES, 0);
        schedule.left(after(51_010));
        assert_eq!(schedule.due(None, PAUSES), after(52_000), "the answer to a purge is asked for soon");
        schedule.polled(after(52_000), PAUSES, 0);
        schedule.left(after(52_010));
        assert_eq!(schedule.due(None, PAUSES), after(62_000));
    }
}
