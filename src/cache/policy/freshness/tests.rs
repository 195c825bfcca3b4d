use http::HeaderMap;
use http::header::AGE;
use jiff::Timestamp;

use super::*;
use crate::cache::policy::directives::RequestDirectives;
use crate::cache::policy::envelope::Changed;
use crate::cache::policy::freshness_inputs::EntryKind;
use crate::cache::policy::reuse::{Fallback, Reuse, judge_reuse};
use crate::clock;
use crate::domain::Forward;
use crate::message::ExchangeTimes;

const SETTLED: Changed = Changed::At(Timestamp::UNIX_EPOCH);

/// A response and a policy, to be evaluated later.
struct Case {
    headers: Vec<(&'static str, String)>,
    changed: Changed,
    links_expire: Option<i64>,
    delay: u64,
    jitter: u16,
    policy: CacheSettings,
}

fn case() -> Case {
    let policy = CacheSettings::for_tests();
    Case { headers: Vec::new(), changed: SETTLED, links_expire: None, delay: 0, jitter: 0, policy }
}

fn received_at() -> Timestamp {
    "2024-06-01T12:00:00Z".parse().unwrap()
}

fn http_time(seconds_ago: i64) -> String {
    let then = received_at().checked_sub(jiff::SignedDuration::from_secs(seconds_ago)).unwrap();
    httpdate::fmt_http_date(then.into())
}

impl Case {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    fn changed_ago(mut self, seconds: i64) -> Self {
        self.changed =
            Changed::At(received_at().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap());
        self
    }

    /// Its links expire so many seconds after it came.
    fn links_for(mut self, seconds: i64) -> Self {
        self.links_expire = Some(received_at().as_second() + seconds);
        self
    }

    fn after(&self, seconds: u64) -> Freshness {
        self.after_millis(seconds * 1000)
    }

    fn after_millis(&self, millis: u64) -> Freshness {
        let sent = clock::now();
        let received = sent + Duration::from_millis(self.delay);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, value.parse().unwrap());
        }
        let times = ExchangeTimes { sent, received, received_at: received_at() };
        let kind = EntryKind::Call { changed: self.changed, links_expire: self.links_expire };
        let inputs = FreshnessInputs::gather(&headers, headers.get(AGE), times, kind, self.jitter);
        Freshness::of(&inputs, &self.policy, received + Duration::from_millis(millis))
    }

    /// The whole lifetime in seconds.
    fn lifetime(&self) -> u64 {
        self.after(0).lifetime().as_secs()
    }
}

#[test]
fn s_maxage_goes_before_max_age_and_max_age_before_expires_rfc_9111_4_2_1() {
    let expires = |case: Case| case.header("date", http_time(0)).header("expires", http_time(-30));
    assert_eq!(expires(case()).lifetime(), 30);
    assert_eq!(expires(case().cache_control("max-age=20")).lifetime(), 20);
    assert_eq!(expires(case().cache_control("max-age=20, s-maxage=10")).lifetime(), 10);
    assert_eq!(expires(case()).after(0).source, LifetimeSource::Expires);
}

#[test]
fn expires_counts_from_date_and_without_one_from_receipt_rfc_9111_4_2_1() {
    let case_with_date = case().header("date", http_time(100)).header("expires", http_time(40));
    assert_eq!(case_with_date.lifetime(), 60);
    assert_eq!(case().header("expires", http_time(-60)).lifetime(), 60);
}

#[test]
fn explicit_but_invalid_freshness_is_stale_never_the_default_rfc_9111_4_2_1() {
    for line in [
        "max-age",
        "max-age=x",
        "max-age=-1",
        "max-age=1.5",
        "s-maxage=x, max-age=60",
        "max-age=60, max-age=x",
    ] {
        assert!(!case().cache_control(line).after(0).is_fresh(), "{line}");
    }
    for date in ["0", "-1", "tomorrow", ""] {
        assert!(!case().header("expires", date).after(0).is_fresh(), "{date}");
    }
    let twice = case().header("expires", http_time(-60)).header("expires", http_time(-90));
    assert!(!twice.after(0).is_fresh());
}

#[test]
fn huge_lifetimes_are_clamped_and_overflow_nothing_rfc_9111_1_2_2() {
    for line in ["max-age=99999999999", "max-age=18446744073709551616"] {
        let freshness = case().cache_control(line).after(u64::from(u32::MAX));
        assert_eq!(freshness.lifetime().as_secs(), 1 << 31);
        assert!(!freshness.is_fresh() && freshness.ttl() < 0);
        assert!(freshness.is_spent());
    }
}

#[test]
fn age_counts_from_its_first_member_and_rubbish_does_not_rfc_9111_5_1() {
    let age = |line: &str| case().cache_control("max-age=60").header("age", line).after(0).age_seconds();
    assert_eq!(age("40"), 40);
    assert_eq!(age("40, 10"), 40);
    assert_eq!(age("x, 10"), 0);
    assert_eq!(age("-5"), 0);
    assert_eq!(age("1.5"), 0);
    assert_eq!(age(""), 0);
    assert_eq!(age("99999999999999"), 1 << 31);
}

#[test]
fn an_old_date_makes_the_answer_old_and_the_larger_of_both_ages_counts_rfc_9111_4_2_3() {
    let aged = |date_ago, age: &str| {
        let case = case().cache_control("max-age=600").header("date", http_time(date_ago)).header("age", age);
        case.after(0).age_seconds()
    };
    assert_eq!(aged(50, "10"), 50);
    assert_eq!(aged(10, "50"), 50);
    assert_eq!(aged(-100, "7"), 7, "a date in the future makes nothing younger than nothing");
}

#[test]
fn time_in_transit_and_time_in_the_cache_count_rfc_9111_4_2_3() {
    let mut slow = case().cache_control("max-age=60").header("age", "10");
    slow.delay = 3000;
    assert_eq!(slow.after(5).age_seconds(), 18);
    assert!(slow.after(46).is_fresh() && !slow.after(47).is_fresh());
}

#[test]
fn fresh_means_that_the_lifetime_exceeds_the_age_rfc_9111_4_2() {
    let case = case().cache_control("max-age=60");
    assert!(case.after_millis(59_999).is_fresh());
    assert!(!case.after_millis(60_000).is_fresh());
}

#[test]
fn ttl_is_positive_exactly_for_what_is_fresh() {
    let case = case().cache_control("max-age=60");
    for (millis, ttl) in [
        (0, 60),
        (1, 60),
        (999, 60),
        (1000, 59),
        (59_999, 1),
        (60_000, 0),
        (60_001, 0),
        (61_000, -1),
        (62_500, -2),
    ] {
        assert_eq!(case.after_millis(millis).ttl(), ttl, "{millis} ms");
    }
    let mut aged = self::case().cache_control("max-age=0");
    aged.delay = 5;
    assert_eq!(aged.after(0).ttl(), 0);
}

#[test]
fn without_explicit_freshness_the_call_itself_decides() {
    let source = |case: Case| (case.after(0).source, case.lifetime());
    assert_eq!(source(case()), (LifetimeSource::Settled, 86_400));
    assert_eq!(source(case().changed_ago(600)), (LifetimeSource::Settled, 86_400));
    assert_eq!(source(case().changed_ago(599)), (LifetimeSource::Settling, 30));
    assert_eq!(source(case().changed_ago(0)), (LifetimeSource::Settling, 30));
    assert_eq!(source(case().changed_ago(-1)), (LifetimeSource::Settling, 30), "in the future");
    let mut unknown = case();
    unknown.changed = Changed::Unknown;
    assert_eq!(source(unknown), (LifetimeSource::Settling, 30));
    assert_eq!(source(case().changed_ago(1).cache_control("max-age=7")), (LifetimeSource::MaxAge, 7));
}

#[test]
fn configured_lifetimes_are_shortened_by_up_to_a_tenth_and_the_upstreams_are_not() {
    let mut jittered = case();
    jittered.jitter = 1000;
    assert_eq!(jittered.lifetime(), 77_760);
    jittered.jitter = 1;
    assert_eq!(jittered.after(0).lifetime(), Duration::from_millis(86_391_360));
    let mut explicit = case().cache_control("max-age=100");
    explicit.jitter = 1000;
    assert_eq!(explicit.lifetime(), 100);
}

#[test]
fn no_cache_is_never_fresh_rfc_9111_5_2_2_4() {
    let freshness = case().cache_control("no-cache, max-age=60").after(0);
    assert!(
        !freshness.is_fresh()
            && freshness.source == LifetimeSource::NoCache
            && !freshness.may_serve_on_error()
    );
}

#[test]
fn directives_against_stale_answers_forbid_both_kinds_rfc_9111_5_2_2() {
    for line in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
        let freshness =
            case().cache_control(&format!("max-age=1, stale-while-revalidate=99, stale-if-error=99, {line}"));
        let freshness = freshness.after(2);
        assert!(!freshness.may_serve_on_error(), "{line}");
        let verdict = judge_reuse(
            &freshness,
            &RequestDirectives { max_stale: Some(u32::MAX), ..RequestDirectives::default() },
        );
        assert_eq!(verdict, Reuse::Fetch { forward: Forward::Stale, fallback: Fallback::Allowed }, "{line}");
    }
}

#[test]
fn stale_windows_are_the_configured_ones_unless_the_response_has_its_own_rfc_5861() {
    let configured = case().cache_control("max-age=10");
    assert_eq!(judge_reuse(&configured.after(309), &RequestDirectives::default()), Reuse::Revalidate);
    assert_ne!(judge_reuse(&configured.after(310), &RequestDirectives::default()), Reuse::Revalidate);
    assert!(configured.after(10 + 86_399).may_serve_on_error());
    assert!(!configured.after(10 + 86_400).may_serve_on_error());
    let own = case().cache_control("max-age=10, stale-while-revalidate=5, stale-if-error=7");
    assert_eq!(judge_reuse(&own.after(14), &RequestDirectives::default()), Reuse::Revalidate);
    assert_ne!(judge_reuse(&own.after(15), &RequestDirectives::default()), Reuse::Revalidate);
    assert!(own.after(16).may_serve_on_error() && !own.after(17).may_serve_on_error());
    let none = case().cache_control("max-age=10, stale-while-revalidate=x, stale-if-error=0").after(11);
    assert!(
        !none.may_serve_on_error() && judge_reuse(&none, &RequestDirectives::default()) != Reuse::Revalidate
    );
}

#[test]
fn a_settling_call_is_served_no_longer_than_two_settle_times() {
    let settling = case().changed_ago(5);
    assert_eq!(judge_reuse(&settling.after(29), &RequestDirectives::default()), Reuse::Fresh);
    assert_eq!(judge_reuse(&settling.after(59), &RequestDirectives::default()), Reuse::Revalidate);
    assert_ne!(judge_reuse(&settling.after(60), &RequestDirectives::default()), Reuse::Revalidate);
    assert!(settling.after(60).may_serve_on_error(), "an outage is another matter");
}

#[test]
fn when_the_upstream_is_ignored_only_the_policy_counts() {
    for (name, value) in [
        ("cache-control", "max-age=5, must-revalidate"),
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("cache-control", "stale-while-revalidate=0"),
        ("expires", "0"),
        ("age", "90000"),
        ("date", "Mon, 15 Jan 2024 10:30:00 GMT"),
    ] {
        let mut ignored = case().header(name, value);
        ignored.policy.upstream_cache_control = CacheControl::Ignore;
        assert!(ignored.after(86_399).is_fresh(), "{value}");
        assert_eq!(
            judge_reuse(&ignored.after(86_401), &RequestDirectives::default()),
            Reuse::Revalidate,
            "{value}"
        );
    }
}

#[test]
fn an_entry_is_judged_by_the_clients_directives_rfc_9111_5_2_1() {
    let case = case().cache_control("max-age=60");
    let request = Reuse::Fetch { forward: Forward::Request, fallback: Fallback::Forbidden };
    let of = |seconds, directives| judge_reuse(&case.after(seconds), &directives);
    let none = RequestDirectives::default();
    assert_eq!(of(10, none), Reuse::Fresh);
    assert_eq!(of(10, RequestDirectives { no_cache: true, ..none }), request);
    assert_eq!(of(10, RequestDirectives { no_store: true, ..none }), request);
    assert_eq!(of(10, RequestDirectives { max_age: Some(10), ..none }), Reuse::Fresh);
    assert_eq!(of(10, RequestDirectives { max_age: Some(9), ..none }), request);
    assert_eq!(of(0, RequestDirectives { max_age: Some(0), ..none }), request);
    assert_eq!(of(10, RequestDirectives { min_fresh: Some(50), ..none }), Reuse::Fresh);
    assert_eq!(of(10, RequestDirectives { min_fresh: Some(51), ..none }), request);
    assert_eq!(
        of(70, RequestDirectives { min_fresh: Some(0), ..none }),
        request,
        "stale, but usable without the directives"
    );
    assert_eq!(of(70, RequestDirectives { max_age: Some(100), ..none }), Reuse::Revalidate);
    let stale = Reuse::Fetch { forward: Forward::Stale, fallback: Fallback::Forbidden };
    assert_eq!(
        of(400, RequestDirectives { no_cache: true, ..none }),
        stale,
        "nothing usable was there to be forced"
    );
}

#[test]
fn max_stale_accepts_entries_beyond_revalidation_rfc_9111_5_2_1_2() {
    let case = case().cache_control("max-age=60");
    let of = |seconds, most| {
        judge_reuse(
            &case.after(seconds),
            &RequestDirectives { max_stale: Some(most), ..RequestDirectives::default() },
        )
    };
    assert_eq!(of(1000, 940), Reuse::Tolerated);
    assert_eq!(of(1000, u32::MAX), Reuse::Tolerated);
    assert_eq!(of(1000, 939), Reuse::Fetch { forward: Forward::Stale, fallback: Fallback::Allowed });
}

#[test]
fn an_entry_is_kept_while_it_has_any_use() {
    let kept = |case: Case, seconds| {
        assert!(!case.after(seconds - 1).is_spent() && case.after(seconds).is_spent());
    };
    kept(case().cache_control("max-age=60"), 60 + 86_400);
    kept(case().cache_control("max-age=60, stale-while-revalidate=5, stale-if-error=7"), 67);
    let never = || case().cache_control("max-age=0, stale-if-error=0, stale-while-revalidate=0");
    assert!(never().after(0).is_spent() && case().cache_control("no-cache").after(0).is_spent());
    for validator in [("etag", "\"v1\""), ("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT")] {
        kept(never().header(validator.0, validator.1), 86_400);
        kept(case().cache_control("no-cache").header(validator.0, validator.1), 86_400);
        kept(
            case().cache_control("max-age=60, stale-if-error=200000").header(validator.0, validator.1),
            200_060,
        );
    }
    assert!(never().header("etag", "v1").after(0).is_spent(), "not a tag");
}

#[test]
fn a_remembered_404_is_fresh_for_its_time_and_never_stale() {
    let sent = clock::now();
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", "max-age=9999, stale-if-error=9999".parse().unwrap());
    let times = ExchangeTimes { sent, received: sent, received_at: received_at() };
    let inputs =
        FreshnessInputs::gather(&headers, Some(&"100".parse().unwrap()), times, EntryKind::Negative, 1000);
    let after =
        |seconds| Freshness::of(&inputs, &CacheSettings::for_tests(), sent + Duration::from_secs(seconds));
    assert_eq!(
        (after(0).lifetime(), after(4).is_fresh(), after(5).is_fresh()),
        (Duration::from_secs(5), true, false)
    );
    assert!(
        !after(6).may_serve_on_error()
            && judge_reuse(&after(6), &RequestDirectives::default()) != Reuse::Revalidate
    );
    assert!(!after(4).is_spent() && after(5).is_spent());
}

#[test]
fn a_call_is_of_no_use_once_its_links_are_about_to_expire() {
    let case = case().links_for(3600);
    let freshness = case.after(0);
    assert_eq!((freshness.source, freshness.lifetime().as_secs()), (LifetimeSource::Link, 3540));
    assert!(case.after(3539).is_fresh());
    let late = case.after(3540);
    assert!(!late.is_fresh() && !late.may_serve_while_revalidating() && !late.may_serve_on_error());
    assert!(late.links_are_spent() && late.is_spent());
}

#[test]
fn links_cap_stale_use_too_and_count_from_the_receipt_whatever_the_age() {
    let case = case().cache_control("max-age=600, stale-if-error=6000").header("age", "500").links_for(460);
    let freshness = case.after(0);
    assert_eq!((freshness.source, freshness.lifetime().as_secs()), (LifetimeSource::MaxAge, 600));
    assert_eq!(freshness.stale_if_error().as_secs(), 300, "400 s after the receipt its age is 900 s");
    assert!(case.after(399).may_serve_on_error() && !case.after(400).may_serve_on_error());
}

#[test]
fn links_that_last_longer_change_nothing_and_dead_ones_leave_no_lifetime() {
    let mut far = case().links_for(10 * 24 * 3600);
    assert_eq!(far.after(0).source, LifetimeSource::Settled);
    assert!(!far.after(0).links_are_spent());
    for seconds in [60, 0, -5, i64::from(i32::MIN)] {
        far = case().header("age", "7").links_for(seconds);
        let freshness = far.after(0);
        assert_eq!(
            (freshness.source, freshness.lifetime().as_secs()),
            (LifetimeSource::Link, 0),
            "{seconds}"
        );
        assert!(freshness.is_spent());
    }
}
