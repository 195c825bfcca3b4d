use proptest::prelude::*;

use super::*;
use crate::clock;

fn answered(status: u16) -> Attempt {
    Attempt::Answered {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        reading: ResponseReading::Usable,
        connection: ConnectionUse::First,
    }
}

fn on_reused(attempt: Attempt) -> Attempt {
    match attempt {
        Attempt::Answered { status, retry_after, reading, .. } => {
            Attempt::Answered { status, retry_after, reading, connection: ConnectionUse::Reused }
        }
        Attempt::Failed(error) => Attempt::Failed(error),
    }
}

fn read_as(reading: ResponseReading, connection: ConnectionUse) -> Attempt {
    Attempt::Answered { status: StatusCode::OK, retry_after: None, reading, connection }
}

fn asking_to_wait(status: u16, seconds: u64) -> Attempt {
    Attempt::Answered {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: Some(Duration::from_secs(seconds)),
        reading: ResponseReading::Usable,
        connection: ConnectionUse::First,
    }
}

/// The decision after the first request, with ten seconds left and three attempts allowed.
fn after(attempt: Attempt) -> RepeatDecision {
    next(FetchHistory::first(), attempt, 0.0, 10_000)
}

fn next(history: FetchHistory, attempt: Attempt, jitter: f64, left_millis: u64) -> RepeatDecision {
    let now = clock::now();
    let deadline = now + Duration::from_millis(left_millis);
    history.next(
        attempt,
        &FetchLimits { max_attempts: 3, max_closed: 64, deadline, repeats: Repeats::Allowed },
        now,
        jitter,
    )
}

fn reason(next: RepeatDecision) -> Option<RepeatReason> {
    match next {
        RepeatDecision::Again { reason, .. } => Some(reason),
        RepeatDecision::Done => None,
    }
}

const OK: StatusCode = StatusCode::OK;

#[test]
fn only_safe_and_useful_repetitions_are_made() {
    for status in [502, 503, 504] {
        assert_eq!(reason(after(answered(status))), Some(RepeatReason::Retry), "{status}");
    }
    for status in [200, 304, 400, 404, 408, 421, 429, 500, 501, 505] {
        assert_eq!(after(answered(status)), RepeatDecision::Done, "{status}");
    }
    for error in [ExchangeError::Connect, ExchangeError::Reset] {
        assert_eq!(reason(after(Attempt::Failed(error))), Some(RepeatReason::Retry), "{error:?}");
    }
    for error in [
        ExchangeError::ConnectTimeout,
        ExchangeError::Timeout,
        ExchangeError::ResetInHead,
        ExchangeError::Truncated(OK),
        ExchangeError::Oversized(OK),
        ExchangeError::InterimFlood,
        ExchangeError::TooManyFields,
        ExchangeError::Invalid,
    ] {
        assert_eq!(after(Attempt::Failed(error)), RepeatDecision::Done, "{error:?}");
    }
}

#[test]
fn statuses_about_the_connection_are_repeated_on_another_at_once() {
    for status in [408, 421] {
        let next = after(on_reused(answered(status)));
        assert!(matches!(
            next,
            RepeatDecision::Again { reason: RepeatReason::HopStatus, pause: Duration::ZERO, .. }
        ));
    }
}

#[test]
fn attempts_are_counted_with_the_first() {
    let mut history = FetchHistory::first();
    for _ in 1..3 {
        let RepeatDecision::Again { history: then, .. } = next(history, answered(503), 0.0, 10_000) else {
            panic!()
        };
        history = then;
    }
    assert_eq!(next(history, answered(503), 0.0, 10_000), RepeatDecision::Done);
}

#[test]
fn pauses_double_and_are_spread_over_their_upper_half() {
    let second = FetchHistory { attempts: 2, ..FetchHistory::first() };
    let pause = |history, jitter| match next(history, answered(503), jitter, 10_000) {
        RepeatDecision::Again { pause, .. } => pause.as_secs_f64() * 1000.0,
        RepeatDecision::Done => panic!("done"),
    };
    assert_eq!((pause(FetchHistory::first(), 0.0), pause(FetchHistory::first(), 1.0)), (12.5, 25.0));
    assert_eq!((pause(second, 0.0), pause(second, 1.0)), (25.0, 50.0));
}

#[test]
fn no_request_begins_after_the_deadline() {
    assert_eq!(next(FetchHistory::first(), answered(503), 1.0, 25), RepeatDecision::Done);
    assert_ne!(next(FetchHistory::first(), answered(503), 1.0, 26), RepeatDecision::Done);
    assert_eq!(next(FetchHistory::first(), answered(401), 1.0, 0), RepeatDecision::Done);
}

#[test]
fn a_503s_retry_after_is_honoured_and_ends_the_fetch_beyond_the_deadline() {
    let RepeatDecision::Again { pause, .. } = after(asking_to_wait(503, 2)) else { panic!("done") };
    assert_eq!(pause, Duration::from_secs(2));
    assert_eq!(after(asking_to_wait(503, 10)), RepeatDecision::Done);
    assert_eq!(after(asking_to_wait(503, 60)), RepeatDecision::Done);
}

#[test]
fn a_rejected_key_is_followed_by_the_other_one_once() {
    let RepeatDecision::Again { reason, history, .. } = after(answered(401)) else { panic!("done") };
    assert_eq!(reason, RepeatReason::NextKey);
    assert_eq!(next(history, answered(401), 0.0, 10_000), RepeatDecision::Done);
    assert_ne!(next(history, answered(503), 0.0, 10_000), RepeatDecision::Done);
}

#[test]
fn the_whole_call_is_requested_again_only_once() {
    let other_version = read_as(ResponseReading::OtherVersion, ConnectionUse::First);
    let mix_up = read_as(ResponseReading::MixUp, ConnectionUse::Reused);
    for (first, second) in [(other_version, mix_up), (mix_up, other_version), (mix_up, mix_up)] {
        let RepeatDecision::Again { history, .. } = after(first) else { panic!("done") };
        assert_eq!(next(history, second, 0.0, 10_000), RepeatDecision::Done);
    }
    assert_eq!(
        after(read_as(ResponseReading::MixUp, ConnectionUse::First)),
        RepeatDecision::Done,
        "not a stray answer"
    );
    assert_eq!(
        after(read_as(ResponseReading::Unusable(NotStored::InvalidBody), ConnectionUse::Reused)),
        RepeatDecision::Done
    );
}

#[test]
fn closed_connections_are_replaced_as_often_as_there_are_connections() {
    let closed = Attempt::Failed(ExchangeError::Closed);
    let mut history = FetchHistory::first();
    for _ in 0..64 {
        let RepeatDecision::Again { reason, history: then, .. } = next(history, closed, 0.0, 10_000) else {
            panic!()
        };
        assert_eq!(reason, RepeatReason::ClosedConnection);
        history = then;
    }
    assert_eq!(reason(next(history, closed, 0.0, 10_000)), Some(RepeatReason::Retry), "now it is a failure");
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let reading = prop_oneof![
        Just(ResponseReading::Usable),
        Just(ResponseReading::Unusable(NotStored::InvalidBody)),
        Just(ResponseReading::OtherVersion),
        Just(ResponseReading::MixUp)
    ];
    let status = prop_oneof![
        Just(200_u16),
        Just(304),
        Just(401),
        Just(408),
        Just(421),
        Just(429),
        Just(500),
        Just(502),
        Just(503),
        Just(504)
    ];
    let connection = prop_oneof![Just(ConnectionUse::First), Just(ConnectionUse::Reused)];
    let retry_after = proptest::option::of((0_u64..20).prop_map(Duration::from_secs));
    let answered =
        (status, retry_after, reading, connection).prop_map(|(status, retry_after, reading, connection)| {
            Attempt::Answered {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after,
                reading,
                connection,
            }
        });
    let failed = prop_oneof![
        Just(ExchangeError::Connect),
        Just(ExchangeError::Closed),
        Just(ExchangeError::Reset),
        Just(ExchangeError::Timeout)
    ];
    prop_oneof![3 => answered, 1 => failed.prop_map(Attempt::Failed)]
}

/// Whether the upstream processed the request.
fn is_processed(attempt: Attempt) -> bool {
    !matches!(attempt, Attempt::Failed(ExchangeError::Connect | ExchangeError::Closed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_fetch_is_processed_at_most_max_attempts_and_two_more_times(
        attempts in proptest::collection::vec(attempt(), 200),
        max_attempts in 1_u32..6,
        max_closed in 0_usize..8,
    ) {
        let now = clock::now();
        let limits = FetchLimits { max_attempts, max_closed, deadline: now + Duration::from_secs(10) , repeats: Repeats::Allowed };
        let (mut history, mut processed, mut sent) = (FetchHistory::first(), 0, 0);
        for attempt in attempts {
            sent += 1;
            processed += u32::from(is_processed(attempt));
            match history.next(attempt, &limits, now, 0.5) {
                RepeatDecision::Done => break,
                RepeatDecision::Again { history: then, .. } => history = then,
            }
        }
        prop_assert!(processed <= max_attempts + 2, "{processed} of {sent}");
        prop_assert!(sent <= max_attempts + 2 + u32::try_from(max_closed).unwrap(), "{sent}");
    }
}
