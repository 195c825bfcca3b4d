use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::clock;
use crate::limits::bucket::LocalBucket;

fn rate(micros: u64, burst: u32) -> Rate {
    Rate { interval: Duration::from_micros(micros), burst: NonZeroU32::new(burst).unwrap() }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The fleet's bucket, as the engine's script has it.
struct ModelBucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl ModelBucket {
    fn full(rate: Rate, at: Instant) -> Self {
        Self { rate, tokens: rate.burst.get().into(), at }
    }

    fn give(&mut self, now: Instant, wanted: u32) -> (u32, f64) {
        let refilled = now.duration_since(self.at).as_secs_f64() / self.rate.interval.as_secs_f64();
        let tokens = (self.tokens + refilled).min(self.rate.burst.get().into());
        let given = (tokens.floor() as u32).min(wanted);
        (self.tokens, self.at) = (tokens - f64::from(given), now);
        (given, self.tokens)
    }
}

/// How long a question and its answer take, and whether the answer is lost.
#[derive(Debug, Clone, Copy)]
struct Trip {
    there: u64,
    back: u64,
    is_lost: bool,
}

const FAST: Trip = Trip { there: 1, back: 1, is_lost: false };

enum Event {
    Asked { tokens: u32, trip: Trip },
    Answered { given: u32, left: f64, is_lost: bool },
    Retry,
}

struct ModelGateway {
    account: LeaseAccount,
    next: Option<(Instant, Event)>,
}

/// Gateways that share a limit by an engine, on one clock.
struct ModelFleet {
    now: Instant,
    bucket: ModelBucket,
    gateways: Vec<ModelGateway>,
    /// Whether its requests have waited long enough.
    are_late: bool,
    admitted: Vec<Instant>,
}

impl ModelFleet {
    fn new(gateways: usize, rate: Rate, overdraft: Overdraft) -> Self {
        let now = clock::now();
        let gateway = || ModelGateway { account: LeaseAccount::new(rate, overdraft), next: None };
        Self {
            now,
            bucket: ModelBucket::full(rate, now),
            gateways: (0..gateways).map(|_| gateway()).collect(),
            are_late: false,
            admitted: Vec::new(),
        }
    }

    fn count(&self) -> u32 {
        self.gateways.len().try_into().unwrap()
    }

    fn ask(&mut self, place: usize, trip: Trip) -> LeaseVerdict {
        let (now, count) = (self.now, self.count());
        let gateway = &mut self.gateways[place];
        if let Some(tokens) = gateway.account.ask(now, count) {
            gateway.next = Some((now + millis(trip.there), Event::Asked { tokens, trip }));
        }
        let verdict = gateway.account.admit(now, count, self.are_late);
        if verdict == LeaseVerdict::Admitted {
            self.admitted.push(now);
        }
        verdict
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let due = |(place, gateway): (usize, &ModelGateway)| Some((gateway.next.as_ref()?.0, place));
            let next = self.gateways.iter().enumerate().filter_map(due).min();
            let Some((at, place)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = at;
            self.carry_out(place);
        }
        self.now = end;
    }

    fn carry_out(&mut self, place: usize) {
        let (now, gateway) = (self.now, &mut self.gateways[place]);
        gateway.next = match gateway.next.take().unwrap().1 {
            Event::Asked { tokens, trip } => {
                let (given, left) = self.bucket.give(now, tokens);
                let answer = Event::Answered { given, left, is_lost: trip.is_lost };
                Some((now + millis(trip.back), answer))
            }
            Event::Answered { given, left, is_lost: false } => {
                gateway.account.receive(now, given, left);
                None
            }
            Event::Answered { is_lost: true, .. } => {
                gateway.account.fail(now);
                Some((now + millis(250), Event::Retry))
            }
            Event::Retry => {
                let again = gateway.account.ask_again(now);
                again.map(|tokens| (now + millis(1), Event::Asked { tokens, trip: FAST }))
            }
        };
    }

    /// Asserts the bound for every span of time between two admissions.
    fn assert_bound(&self, more: u32) {
        let Rate { interval, burst } = self.bucket.rate;
        for (first, from) in self.admitted.iter().enumerate() {
            for (last, to) in self.admitted.iter().enumerate().skip(first) {
                let seconds = to.duration_since(*from).as_secs_f64() + 1.0;
                let most = f64::from(burst.get() + more) + seconds / interval.as_secs_f64();
                let seen = last - first + 1;
                assert!(seen as f64 <= most + 1e-6, "{seen} of {most} in {seconds} s");
            }
        }
    }
}

fn trips() -> impl Strategy<Value = Trip> {
    (0..300_u64, 0..300_u64, prop::bool::weighted(0.1)).prop_map(|(there, back, is_lost)| Trip {
        there,
        back,
        is_lost,
    })
}

/// Requests in their order: after how many milliseconds, how many at once, at which gateway, and how the engine answers.
fn requests() -> impl Strategy<Value = Vec<(u64, u32, usize, Trip)>> {
    let pause = prop_oneof![4 => 0..20_u64, 2 => 20..400_u64, 1 => 400..2500_u64];
    prop::collection::vec((pause, 1..12_u32, 0..4_usize, trips()), 1..120)
}

#[test]
fn the_bound_holds_however_gateways_and_engine_interleave() {
    let micros = prop_oneof![500..20_000_u64, 20_000..2_000_000_u64];
    let cases = (1..5_usize, micros, 1..60_u32, requests());
    proptest!(ProptestConfig::with_cases(300), |((gateways, micros, burst, requests) in cases)| {
        for (overdraft, are_late) in
            [(Overdraft::AtOnce, false), (Overdraft::WhenLate, false), (Overdraft::WhenLate, true)]
        {
            let mut fleet = ModelFleet::new(gateways, rate(micros, burst), overdraft);
            fleet.are_late = are_late;
            for (pause, count, place, trip) in &requests {
                fleet.advance(millis(*pause));
                for _ in 0..*count {
                    fleet.ask(place % gateways, *trip);
                }
            }
            let count = fleet.count();
            fleet.assert_bound(match (overdraft, are_late) {
                (Overdraft::AtOnce, _) | (_, true) => count * burst.div_ceil(4 * count),
                (Overdraft::WhenLate, false) => 0,
            });
        }
    });
}

#[test]
fn under_overload_the_fleet_admits_what_one_bucket_would() {
    for overdraft in [Overdraft::AtOnce, Overdraft::WhenLate] {
        for (per_second, burst) in [(10, 10), (40, 40), (100, 20), (100, 200), (1000, 100)] {
            for gateways in [1, 3, 10] {
                let rate = rate(1_000_000 / per_second, burst);
                let mut fleet = ModelFleet::new(gateways, rate, overdraft);
                let (seconds, trip) = (10, Trip { there: 1, back: 2, is_lost: false });
                // Five times the rate, at random gateways.
                let requests = 5 * per_second * seconds;
                for _ in 0..requests {
                    fleet.advance(Duration::from_micros(seconds * 1_000_000 / requests));
                    fleet.ask(fastrand::usize(..gateways), trip);
                }
                let exact = u64::from(burst) + per_second * seconds;
                let share = fleet.admitted.len() as f64 / exact as f64;
                let case = format!("{overdraft:?}: {per_second}/s, {burst}, {gateways} gateways: {share:.3}");
                assert!((0.9..=1.15).contains(&share), "{case}");
                fleet.assert_bound(burst + 4 * 10);
            }
        }
    }
}

/// Ten questions a second at most while the engine answers, so that it can serve many gateways.
#[test]
fn a_steady_load_asks_the_engine_a_few_times_a_second() {
    for per_second in [1_u64, 20, 90] {
        let mut fleet = ModelFleet::new(1, rate(10_000, 100), Overdraft::AtOnce);
        let mut questions = 0;
        for _ in 0..10 * per_second {
            fleet.advance(Duration::from_micros(1_000_000 / per_second));
            let before = fleet.gateways[0].next.is_some();
            assert_eq!(fleet.ask(0, FAST), LeaseVerdict::Admitted, "{per_second}/s");
            questions += u32::from(!before && fleet.gateways[0].next.is_some());
        }
        assert!(questions <= 100, "{per_second}/s: {questions} questions in 10 s");
    }
}

// M19.
#[test]
fn what_idle_gateways_had_leased_is_gone_when_all_are_asked_at_once() {
    let mut fleet = ModelFleet::new(3, rate(100_000, 12), Overdraft::WhenLate);
    for place in 0..3 {
        fleet.ask(place, FAST);
    }
    fleet.advance(Duration::from_secs(60));
    let before = fleet.admitted.len();
    for _ in 0..20 {
        for place in 0..3 {
            fleet.ask(place, FAST);
        }
        fleet.advance(millis(3));
    }
    assert!(fleet.admitted.len() - before <= 12, "{} admitted", fleet.admitted.len());
}

#[test]
fn an_overdraft_is_bounded_and_repaid_first() {
    let mut fleet = ModelFleet::new(3, rate(10_000, 24), Overdraft::AtOnce);
    let slow = Trip { there: 5, back: 5, is_lost: false };
    let verdicts: Vec<_> = (0..4).map(|_| fleet.ask(0, slow)).collect();
    assert_eq!(verdicts[..2], [LeaseVerdict::Admitted; 2], "a quarter of the burst for three gateways");
    assert_eq!(verdicts[2..], [LeaseVerdict::Refused; 2]);
    assert_eq!(fleet.gateways[0].account.owed, 2);
    fleet.advance(millis(20));
    let account = &fleet.gateways[0].account;
    assert_eq!((account.owed, account.held()), (0, 6), "of the eight that were leased");
}

#[test]
fn a_lease_that_comes_late_counts_and_one_that_is_not_spent_is_gone() {
    let mut account = LeaseAccount::new(rate(1_000, 100), Overdraft::WhenLate);
    let start = clock::now();
    let asked = account.ask(start, 1).unwrap();
    account.receive(start + millis(700), asked, 50.0);
    assert_eq!(account.admit(start + millis(999), 1, false), LeaseVerdict::Admitted);
    let asked = account.ask(start + millis(1000), 1).unwrap();
    account.receive(start + millis(1001), asked, 50.0);
    assert!(account.held_at(start + millis(1002)) > 0);
    assert_eq!(account.held_at(start + millis(2000)), 0);
    let asked = account.ask(start + millis(2100), 1).unwrap();
    account.receive(start + millis(3100), asked, 50.0);
    assert_eq!(account.held_at(start + millis(3100)), 0, "too late to be spent");
}

#[test]
fn an_engine_that_does_not_answer_is_lost_until_it_does() {
    let mut account = LeaseAccount::new(rate(1_000, 100), Overdraft::AtOnce);
    let start = clock::now();
    account.ask(start, 1).unwrap();
    assert_eq!(account.admit(start + millis(249), 1, false), LeaseVerdict::Admitted, "on its way");
    assert_eq!(account.admit(start + millis(250), 1, false), LeaseVerdict::Unanswered);
    account.fail(start + millis(900));
    assert_eq!(account.admit(start + millis(5000), 1, false), LeaseVerdict::Unanswered);
    assert_eq!(account.ask_again(start + millis(5000)), Some(1), "what is owed");
    account.receive(start + millis(5001), 1, 99.0);
    assert_eq!((account.is_lost(start + millis(5001)), account.owed), (false, 0));
}

#[test]
fn a_bucket_that_is_empty_is_not_asked_until_it_can_have_a_token() {
    let mut account = LeaseAccount::new(rate(30_000_000, 2), Overdraft::WhenLate);
    let start = clock::now();
    account.ask(start, 1).unwrap();
    account.receive(start, 0, 0.99);
    let refused = account.exhausted(start);
    assert_eq!((refused.retry_after, refused.left.remaining), (millis(300), 0));
    assert_eq!(account.would_admit(start), LeaseVerdict::Refused);
    assert_eq!(account.ask(start + millis(299), 1), None);
    assert!(account.ask(start + millis(301), 1).is_some());
    account.receive(start + millis(301), 0, 0.0);
    let at = |after: u64| start + millis(301 + after);
    let later = |after: u64| account.exhausted(at(after)).retry_after.as_millis();
    assert_eq!((later(0), later(10_000)), (30_000, 20_000), "when a token has come");
    assert_eq!(account.would_admit(at(999)), LeaseVerdict::Refused);
    assert_eq!(account.would_admit(at(1000)), LeaseVerdict::Admitted, "it may be another bucket by then");
}

#[test]
fn a_refusal_says_when_a_token_can_come() {
    let start = clock::now();
    let mut account = LeaseAccount::new(rate(60_000_000, 4), Overdraft::AtOnce);
    account.ask(start, 1).unwrap();
    assert_eq!(
        account.exhausted(start).retry_after,
        SHORTEST_PAUSE,
        "a lease of a full bucket is on its way"
    );
    account.receive(start, 0, 0.0);
    assert_eq!(account.exhausted(start).retry_after, Duration::from_secs(60));
    account.owed = 2;
    assert_eq!(account.exhausted(start).retry_after, Duration::from_secs(180), "once two are repaid");
}

#[test]
fn a_request_that_may_need_no_token_asks_for_none_where_they_are_rare() {
    let mut account = LeaseAccount::new(rate(1_000_000, 10), Overdraft::WhenLate);
    assert_eq!(account.foresee(clock::now(), 1), None);
    let mut account = LeaseAccount::new(rate(10_000, 10), Overdraft::WhenLate);
    assert_eq!(account.foresee(clock::now(), 3), Some(1));
}

#[test]
fn the_quota_is_what_the_fleet_has_left_as_far_as_it_is_known() {
    let mut account = LeaseAccount::new(rate(1_000_000, 10), Overdraft::AtOnce);
    let start = clock::now();
    let quota = |account: &LeaseAccount, after: u64| {
        let quota = account.quota(start + millis(after));
        (quota.remaining, quota.full_in_seconds, quota.scope)
    };
    let fleet = Some(LimitScope::Fleet);
    assert_eq!(quota(&account, 0), (10, 0, fleet));
    account.ask(start, 1).unwrap();
    account.admit(start, 1, false);
    assert_eq!(quota(&account, 0), (9, 1, fleet), "one is owed");
    account.receive(start, 1, 4.5);
    assert_eq!(quota(&account, 0), (4, 6, fleet));
    assert_eq!(quota(&account, 600), (5, 5, fleet), "refilled");
}

#[test]
fn a_share_has_a_part_of_the_rate_and_at_least_one_request() {
    assert_eq!(share(rate(1_000, 10), 3), rate(3_000, 3));
    assert_eq!(share(rate(1_000, 2), 3), rate(3_000, 1));
    assert_eq!(share(rate(1_000, 2), 1), rate(1_000, 2));
}

#[test]
fn a_share_of_the_slowest_limit_among_many_gateways_is_one_that_a_bucket_can_count() {
    let slowest = Rate { interval: Duration::from_secs_f64(1.0 / 1e-7), burst: NonZeroU32::MIN };
    for gateways in [2000, u32::MAX] {
        let bucket = LocalBucket::new(share(slowest, gateways), Some(LimitScope::Local));
        assert!(bucket.take(clock::now()).is_ok());
        let refused = bucket.take(clock::now()).unwrap_err();
        assert!(refused.retry_after > Duration::from_secs(365 * 24 * 3600), "{refused:?}");
    }
}
