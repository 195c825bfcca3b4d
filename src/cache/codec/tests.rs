use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, VARY, VIA};

use super::*;
use crate::clock;
use crate::message::OUR_VIA;

const RECEIVED: i64 = 1_717_243_200;

fn id() -> CallId {
    CallId::parse(b"call_1").unwrap()
}

fn body() -> &'static str {
    r#"{"success":true,"data":{"id":"call_1","status":"completed","updated_time":"2024-01-15T10:33:00Z"},"meta":{}}"#
}

fn fetched(lines: &[(HeaderName, &'static str)], now: Instant) -> UpstreamResponse {
    let headers = lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    let received_at = Timestamp::from_second(RECEIVED).unwrap();
    let times = ExchangeTimes { sent: now, received: now, received_at };
    UpstreamResponse { status: StatusCode::OK, headers, body: body().into(), times }
}

fn stored(
    lines: &[(HeaderName, &'static str)],
    policy: &CacheSettings,
    now: Instant,
) -> std::sync::Arc<Entry> {
    match admit(&fetched(lines, now), &id(), policy, 0) {
        Admission::Store(candidate) => Entry::new(&candidate),
        other => panic!("{other:?}"),
    }
}

fn at(monotonic: Instant, seconds: i64) -> BothClocks {
    BothClocks { monotonic, wall: Timestamp::from_second(RECEIVED + seconds).unwrap() }
}

fn after(now: Instant, seconds: u64) -> BothClocks {
    at(now + Duration::from_secs(seconds), i64::try_from(seconds).unwrap())
}

fn recalled(
    entry: &Entry,
    policy: &CacheSettings,
    then: BothClocks,
    now: BothClocks,
) -> Result<std::sync::Arc<Entry>, UnusableEntry> {
    let encoded = entry.encode(policy, then).unwrap();
    Entry::decode(&encoded.bytes, encoded.receipt, &id(), policy, now, 0)
}

#[test]
fn what_comes_back_answers_as_what_was_stored() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let lines = [
        (CONTENT_TYPE, "application/json"),
        (ETAG, "\"v1\""),
        (CACHE_CONTROL, "max-age=600"),
        (VARY, "Accept"),
        (VIA, "1.1 edge"),
        (DATE, "Sat, 01 Jun 2024 12:00:00 GMT"),
        (AGE, "40"),
    ];
    for lines in [&lines[..], &[], &lines[..1]] {
        let entry = stored(lines, &policy, now);
        let back = recalled(&entry, &policy, after(now, 0), after(now, 0)).unwrap();
        let sorted = |entry: &Entry| {
            let mut fields = entry.response.unpack().fields;
            fields.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            fields
        };
        assert_eq!(sorted(&back), sorted(&entry));
        assert_eq!(
            (back.response.body(), back.response.own()),
            (entry.response.body(), entry.response.own())
        );
        assert_eq!(back.freshness(&policy, now), entry.freshness(&policy, now));
        assert_eq!(back.validators(), entry.validators());
        assert!(
            back.response
                .fields()
                .all(|(name, value)| *name != VIA || value.as_bytes().ends_with(OUR_VIA.as_bytes()))
        );
    }
}

#[test]
fn age_counts_all_time_since_the_receipt_and_what_it_was_then() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let entry = stored(&[(CACHE_CONTROL, "max-age=600"), (AGE, "40")], &policy, now);
    let later = after(now, 500);
    let back = recalled(&entry, &policy, after(now, 1), later).unwrap();
    assert_eq!(back.freshness(&policy, later.monotonic).age_seconds(), 540);
    assert_eq!(back.freshness(&policy, later.monotonic).ttl(), 60);
    // The process was not running for three days, and the machine has just started.
    let rebooted = BothClocks { monotonic: now, wall: at(now, 3 * 24 * 3600).wall };
    let lasting = stored(&[(CACHE_CONTROL, "max-age=600000")], &policy, now);
    let back = recalled(&lasting, &policy, after(now, 1), rebooted).unwrap();
    assert_eq!(back.freshness(&policy, now).age_seconds(), 3 * 24 * 3600);
}

#[test]
fn a_receipt_in_our_future_is_skew_beyond_five_seconds() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let entry = stored(&[], &policy, now);
    assert!(recalled(&entry, &policy, at(now, 0), at(now, -5)).is_ok());
    assert_eq!(recalled(&entry, &policy, at(now, 0), at(now, -6)).unwrap_err(), UnusableEntry::Skew);
}

#[test]
fn todays_policy_rules_what_was_stored_under_another() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let entry = stored(&[], &policy, now);
    let encoded = entry.encode(&policy, after(now, 0)).unwrap();
    let judge = |policy: &CacheSettings, seconds| {
        Entry::decode(&encoded.bytes, encoded.receipt, &id(), policy, after(now, seconds), 1000)
    };
    let jittered = judge(&policy, 0).unwrap().freshness(&policy, now).lifetime();
    assert_eq!(jittered, policy.ttl * 9 / 10, "drawn anew");
    let other = CacheSettings { cacheable_statuses: vec!["archived".into()], ..CacheSettings::for_tests() };
    assert_eq!(judge(&other, 0).unwrap_err(), UnusableEntry::Refused);
    let small = CacheSettings { max_entry_bytes: 10, ..CacheSettings::for_tests() };
    assert_eq!(judge(&small, 0).unwrap_err(), UnusableEntry::Refused);
    assert_eq!(judge(&policy, 100 * 24 * 3600).unwrap_err(), UnusableEntry::Spent);
    let another = CallId::parse(b"call_2").unwrap();
    let mixed = Entry::decode(&encoded.bytes, encoded.receipt, &another, &policy, after(now, 0), 0);
    assert_eq!(mixed.unwrap_err(), UnusableEntry::Refused);
}

#[test]
fn it_is_spent_once_no_use_is_left() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let plain = stored(&[(CACHE_CONTROL, "max-age=60")], &policy, now);
    let encoded = plain.encode(&policy, after(now, 10)).unwrap();
    assert_eq!(encoded.spent_at, RECEIVED + 60 + 24 * 3600 + 1);
    let never_stale = stored(&[(CACHE_CONTROL, "max-age=60, must-revalidate")], &policy, now);
    assert_eq!(never_stale.encode(&policy, after(now, 0)).unwrap().spent_at, RECEIVED + 61);
}

#[test]
fn no_other_bytes_are_an_entry() {
    let (policy, now) = (CacheSettings::for_tests(), clock::now());
    let encoded = stored(&[(ETAG, "\"v1\"")], &policy, now).encode(&policy, after(now, 0)).unwrap();
    let judge = |bytes: &[u8]| Entry::decode(bytes, encoded.receipt, &id(), &policy, after(now, 0), 0);
    for cut in 0..encoded.bytes.len() {
        assert!(judge(&encoded.bytes[..cut]).is_err(), "{cut}");
    }
    for place in 0..15 {
        let mut other = encoded.bytes.clone();
        other[place] ^= 0xff;
        // Another age is one; what else is read is not.
        assert!(judge(&other).is_err() || (3..11).contains(&place), "{place}");
    }
    assert_eq!(judge(&[]).unwrap_err(), UnusableEntry::Invalid);
    let many = [&[VERSION, 0, 200][..], &[0; 8], &u32::MAX.to_be_bytes()].concat();
    assert_eq!(judge(&many).unwrap_err(), UnusableEntry::Invalid);
}
