use std::time::Duration;

use super::*;
use crate::cache::FetchResponse;
use crate::cache::fetch_result::ResultKind;
use crate::domain::{Effort, ForwardOutcome, NotStored, Refusal};

const PAUSES: PollPauses = PollPauses { shortest: Duration::from_secs(1), longest: Duration::from_secs(10) };
const BOUNDS: WaitBounds = WaitBounds { waiting: 3, calls: 2, pauses: PAUSES };

fn id(number: u32) -> CallId {
    CallId::parse(format!("call_{number}").as_bytes()).unwrap()
}

fn times(asked: Instant, seconds: u64) -> WaitTimes {
    let end = asked + Duration::from_secs(seconds);
    WaitTimes { asked, end, grace: PAUSES.shortest, fetch: Duration::from_secs(10) }
}

/// A failure, distinguished by its `Retry-After`.
fn failure(seconds: u64) -> FetchResult {
    let retry_after = Duration::from_secs(seconds);
    FetchResult::unanswered(ForwardOutcome::NoResponse, Refusal::UpstreamPaused { retry_after })
}

/// The result of a call that is not final, without a body.
fn unfinished() -> FetchResult {
    let outcome = ForwardOutcome::NotStored { status: 200, why: NotStored::NotCompleted };
    FetchResult { outcome, response: FetchResponse::Refusal(Refusal::NotCached), effort: Effort::NONE }
}

fn gone() -> FetchResult {
    FetchResult::unanswered(ForwardOutcome::NoResponse, Refusal::UpstreamKeyRejected)
}

fn begin(
    watches: &Arc<Watches>,
    call: u32,
    now: Instant,
    seconds: u64,
) -> Result<JoinedWatch, WaitLimitReached> {
    watches.begin(&id(call), times(now, seconds), StoreMode::Store, Some(unfinished()), &BOUNDS, now)
}

fn join(watches: &Arc<Watches>, call: u32, now: Instant) -> Option<Result<JoinedWatch, WaitLimitReached>> {
    watches.join(&id(call), times(now, 30), StoreMode::Store, &BOUNDS)
}

#[test]
fn all_waiters_of_a_call_share_one_poller() {
    let (watches, now) = (Watches::new(), clock::now());
    assert!(join(&watches, 1, now).is_none());
    let (_first, poller) = begin(&watches, 1, now, 30).unwrap();
    assert!(poller.is_some());
    let (_second, poller) = join(&watches, 1, now).unwrap().unwrap();
    assert!(poller.is_none());
    assert_eq!(watches.size(), (2, 1));
}

#[test]
fn waiters_and_calls_are_bounded_apart() {
    let (watches, now) = (Watches::new(), clock::now());
    let _first = begin(&watches, 1, now, 30).unwrap();
    let second = begin(&watches, 2, now, 30).unwrap();
    assert_eq!(begin(&watches, 3, now, 30).err(), Some(WaitLimitReached), "no third call");
    let _third = join(&watches, 1, now).unwrap().unwrap();
    assert_eq!(join(&watches, 2, now).unwrap().err(), Some(WaitLimitReached), "no fourth waiter");
    drop(second);
    let _fourth = begin(&watches, 3, now, 30).unwrap();
    assert_eq!(watches.size(), (3, 2));
}

#[test]
fn a_watch_without_waiters_stops_and_is_remembered_with_its_schedule() {
    let (watches, now) = (Watches::new(), clock::now());
    let (waiter, poller) = begin(&watches, 1, now, 30).unwrap();
    let mut poller = poller.unwrap();
    poller.begin(now + Duration::from_secs(60)).unwrap();
    let due = poller.due().unwrap();
    drop(waiter);
    assert_eq!(poller.due(), None);
    let (waiter, again) = join(&watches, 1, now).unwrap().unwrap();
    assert_eq!(again.unwrap().due(), Some(due));
    drop(waiter);
    let long_after = clock::now() + Duration::from_secs(11);
    assert!(join(&watches, 1, long_after).is_none(), "remembered for the longest pause alone");
}

#[test]
fn watches_without_waiters_are_bounded() {
    let (watches, now) = (Watches::new(), clock::now());
    for call in 0..100 {
        drop(begin(&watches, call, now, 30).unwrap());
    }
    assert!(watches.table().watches.len() <= BOUNDS.calls * REMEMBERED + 1);
}

#[test]
fn a_fetch_from_before_a_waiters_request_does_not_answer_it() {
    let (watches, now) = (Watches::new(), clock::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let (mut first, _poller) = begin(&watches, 1, now, 5).unwrap();
    let (mut second, _) =
        watches.join(&id(1), times(after(2), 3), StoreMode::Store, &BOUNDS).unwrap().unwrap();
    watches.completed(&id(1), after(1), &unfinished());
    assert!(matches!(first.decide(after(5)), WaitDecision::TimeUp(Some(_))));
    assert!(
        matches!(second.decide(after(5)), WaitDecision::WaitUntil(until) if until == after(6)),
        "a poll is due"
    );
    watches.completed(&id(1), after(5), &unfinished());
    assert!(matches!(second.decide(after(5)), WaitDecision::TimeUp(Some(_))));
}

#[test]
fn a_poll_in_flight_is_awaited_beyond_the_end() {
    let (watches, now) = (Watches::new(), clock::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let first = watches.begin(&id(1), times(now, 5), StoreMode::Store, None, &BOUNDS, now).unwrap();
    let (mut waiter, poller) = (first.0, first.1.unwrap());
    assert_eq!(poller.begin(after(5)).map(|poll| poll.mode), Some(StoreMode::Store));
    assert!(matches!(waiter.decide(after(7)), WaitDecision::WaitUntil(_)));
    poller.end(PollEnd::Polled { held_until: None }, after(6));
    assert!(matches!(waiter.decide(after(7)), WaitDecision::TimeUp(None)));
}

#[test]
fn a_failure_is_the_answer_only_if_nothing_else_was_fetched() {
    let (watches, now) = (Watches::new(), clock::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let (mut first, _poller) = begin(&watches, 1, now, 5).unwrap();
    let (mut second, _) = join(&watches, 1, after(1)).unwrap().unwrap();
    watches.completed(&id(1), after(2), &failure(7));
    let WaitDecision::TimeUp(Some(result)) = first.decide(after(5)) else { panic!("its time is up") };
    assert_eq!(result.kind(), ResultKind::Unfinished);
    assert!(matches!(second.decide(after(5)), WaitDecision::WaitUntil(_)));
    let WaitDecision::TimeUp(Some(result)) = second.decide(after(31)) else { panic!("its time is up") };
    assert_eq!(result.kind(), ResultKind::Failure);
}

#[test]
fn a_conclusive_answer_ends_every_wait_and_the_watch() {
    let (watches, now) = (Watches::new(), clock::now());
    let (mut first, poller) = begin(&watches, 1, now, 30).unwrap();
    let (mut second, _) = join(&watches, 1, now).unwrap().unwrap();
    watches.completed(&id(1), now, &gone());
    for waiter in [&mut first, &mut second] {
        assert!(matches!(waiter.decide(now), WaitDecision::Conclusive(_)));
    }
    assert_eq!(poller.unwrap().due(), None);
    assert!(join(&watches, 1, now).is_none());
    assert_eq!(watches.size(), (2, 0), "until they leave");
    drop((first, second));
    assert_eq!(watches.size(), (0, 0));
}

#[test]
fn a_purge_polls_at_once_and_invalidates_earlier_results() {
    let (watches, now) = (Watches::new(), clock::now());
    let after = |millis| now + Duration::from_millis(millis);
    let (mut waiter, poller) = begin(&watches, 1, now, 30).unwrap();
    let mut poller = poller.unwrap();
    poller.begin(after(100)).unwrap();
    watches.purged(&id(1), after(200));
    assert_eq!(poller.interest(after(100)), PollInterest::Overtaken);
    assert_eq!(poller.due(), Some(after(200)));
    watches.completed(&id(1), after(100), &gone());
    assert!(matches!(waiter.decide(after(300)), WaitDecision::WaitUntil(_)));
    assert!(waiter.best().is_none());
    poller.begin(after(300)).unwrap();
    assert_eq!(poller.interest(after(300)), PollInterest::Awaited);
    watches.completed(&id(1), after(300), &gone());
    assert!(matches!(waiter.decide(after(400)), WaitDecision::Conclusive(_)));
}

#[test]
fn closing_ends_waits_with_their_best_result_and_admits_no_more() {
    let (watches, now) = (Watches::new(), clock::now());
    let (mut waiter, poller) = begin(&watches, 1, now, 30).unwrap();
    watches.close();
    assert!(matches!(waiter.decide(now), WaitDecision::Closed(Some(_))));
    assert_eq!(poller.unwrap().due(), None);
    assert!(join(&watches, 1, now).is_none());
    assert_eq!(begin(&watches, 1, now, 30).err(), Some(WaitLimitReached));
}

#[test]
fn a_refresh_brings_the_next_poll_forward_but_not_below_the_shortest_pause() {
    let (watches, now) = (Watches::new(), clock::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let refresh = |call, now| watches.refresh(&id(call), now, PAUSES.shortest);
    assert_eq!(refresh(2, now), Refresh::Due);
    assert_eq!(refresh(2, now), Refresh::TooSoon);
    assert_eq!(refresh(2, after(1)), Refresh::Due);
    let (_waiter, poller) = begin(&watches, 1, now, 300).unwrap();
    let mut poller = poller.unwrap();
    poller.begin(after(100)).unwrap();
    assert_eq!(refresh(1, after(100)), Refresh::Polled);
    assert_eq!(poller.due(), Some(after(101)));
    poller.begin(after(101)).unwrap();
    assert_eq!(refresh(1, after(105)), Refresh::Polled);
    assert_eq!(poller.due(), Some(after(105)));
}

#[test]
fn a_watch_of_no_store_waiters_is_polled_without_storing() {
    let (watches, now) = (Watches::new(), clock::now());
    let begin = watches.begin(&id(1), times(now, 5), StoreMode::NoStore, None, &BOUNDS, now);
    let (_waiter, poller) = begin.unwrap();
    let poller = poller.unwrap();
    assert_eq!(poller.begin(now).map(|poll| poll.mode), Some(StoreMode::NoStore));
    let _second = join(&watches, 1, now).unwrap().unwrap();
    assert_eq!(poller.begin(now).map(|poll| poll.mode), Some(StoreMode::Store));
}

/// Every interleaving of waits with what ends them, beside the single flight.
#[cfg(feature = "loom")]
mod interleavings {
    use std::ops::ControlFlow;

    use loom::sync::Mutex;
    use loom::thread::spawn;

    use super::*;
    use crate::cache::single_flight::{Joined, SingleFlight};
    use crate::domain::Level;

    /// A result that ends every wait.
    fn end() -> FetchResult {
        let outcome = ForwardOutcome::Recalled(Level::Shared);
        FetchResult { outcome, ..gone() }
    }

    fn has_ended(waiter: &mut Waiter, now: Instant) -> bool {
        matches!(waiter.decide(now), WaitDecision::Conclusive(_))
    }

    /// A fetch stores the call and passes it to the watch, while a lookup that has found it unfinished begins to wait,
    /// looks into the store, and its poller joins the single flight: it never waits for what was fetched already.
    #[test]
    fn no_interleaving_of_a_fetch_and_a_beginning_wait_misses_the_call() {
        loom::model(|| {
            let (watches, now) = (Watches::new(), clock::now());
            let flights = SingleFlight::<u32, ()>::new();
            let store = Arc::new(Mutex::new(None::<()>));
            let Joined::Lead { guard, .. } =
                flights.join(&1, StoreMode::Store, || ControlFlow::<(), ()>::Continue(()))
            else {
                panic!("there is no other fetch")
            };
            let fetching = spawn({
                let (watches, store) = (Arc::clone(&watches), Arc::clone(&store));
                move || {
                    guard.complete(|_, _| *store.lock().unwrap() = Some(()));
                    watches.completed(&id(1), now, &end());
                }
            });
            let (mut waiter, poller) = begin(&watches, 1, now, 30).unwrap();
            let was_stored = store.lock().unwrap().is_some();
            let polled = flights.join(&1, StoreMode::Store, || match *store.lock().unwrap() {
                Some(()) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            });
            assert!(!matches!(polled, Joined::Lead { .. }), "the poll sends a second request");
            fetching.join().unwrap();
            assert!(was_stored || has_ended(&mut waiter, now), "it waits for what was fetched");
            drop((waiter, poller));
            assert_eq!(watches.size(), (0, 0));
        });
    }

    /// The last waiter leaves while the poller looks for its next poll and another lookup joins: one of them polls, and only
    /// one.
    #[test]
    fn no_interleaving_leaves_a_waiter_without_a_poller_or_with_two() {
        loom::model(|| {
            let (watches, now) = (Watches::new(), clock::now());
            let (first, poller) = begin(&watches, 1, now, 30).unwrap();
            let mut poller = poller.unwrap();
            let polling = spawn(move || {
                let goes_on = poller.due().is_some();
                (goes_on, poller)
            });
            let leaving = spawn(move || drop(first));
            let (second, another) = join(&watches, 1, now).unwrap().unwrap();
            leaving.join().unwrap();
            let (goes_on, mut poller) = polling.join().unwrap();
            assert!(goes_on != another.is_some(), "{goes_on}");
            assert!(!goes_on || poller.due().is_some());
            drop((second, another, poller));
        });
    }

    /// A fetch from before a purge completes while the call is purged and another lookup joins.
    #[test]
    fn no_interleaving_answers_a_waiter_with_what_was_sent_before_a_purge() {
        loom::model(|| {
            let (watches, now) = (Watches::new(), clock::now());
            let purged = now + Duration::from_secs(1);
            let (first, poller) = begin(&watches, 1, now, 30).unwrap();
            let completing = spawn({
                let watches = Arc::clone(&watches);
                move || watches.completed(&id(1), now, &end())
            });
            watches.purged(&id(1), purged);
            if let Some(joined) = join(&watches, 1, purged) {
                let (mut second, _) = joined.unwrap();
                completing.join().unwrap();
                assert!(!has_ended(&mut second, purged), "it got what was sent before the purge");
            } else {
                completing.join().unwrap();
            }
            drop((first, poller));
        });
    }

    /// The last waiter leaves during a poll: its poller learns of it, and so ends the claim to poll the call.
    #[test]
    fn no_interleaving_hides_from_a_poller_that_no_client_waits() {
        loom::model(|| {
            let (watches, now) = (Watches::new(), clock::now());
            let (waiter, poller) = begin(&watches, 1, now, 30).unwrap();
            let poller = poller.unwrap();
            let sent = now;
            poller.begin(sent).unwrap();
            let leaving = spawn(move || drop(waiter));
            let before = poller.interest(sent);
            leaving.join().unwrap();
            assert!(matches!(before, PollInterest::Awaited | PollInterest::Abandoned));
            assert_eq!(poller.interest(sent), PollInterest::Abandoned);
            // It was woken, so that it asks again.
            let mut changed = std::pin::pin!(poller.changed());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(changed.as_mut().poll(&mut context).is_ready());
        });
    }
}
