//! The rules. Pure: observations in, findings out.

use std::time::Duration;

use jiff::Timestamp;

use super::counts::Counts;
use super::kind::ProblemKind;
use crate::domain::TenantName;
use crate::telemetry::{KeyInUse, UpstreamFailure};

/// Fewer failures than this are no problem, whatever their share.
const FEW: u64 = 3;
/// Failed upstream requests are a problem from this fraction on.
const FAILED_PART: u64 = 20;
/// Refused requests are a problem from this fraction on.
const REFUSED_PART: u64 = 100;
/// Requests without a valid token are a problem from this number on: callers retry, and scanners are common.
const MANY_UNAUTHORIZED: u64 = 20;
/// Fewer evictions than this are no thrashing.
const MANY_EVICTED: u64 = 20;
/// An entry that survives longer than this is worth storing.
const WORTH_STORING: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
pub(super) struct TenantObserved {
    pub(super) name: TenantName,
    /// The counts within the window.
    pub(super) counts: Counts,
    pub(super) window: Duration,
    /// Entries in its cache.
    pub(super) entries: u64,
    /// `None` if it is closed.
    pub(super) breaker: Option<&'static str>,
    /// How long the upstream's 429 still delays requests.
    pub(super) paused_for: Option<Duration>,
    pub(super) key: KeyObserved,
    /// Why its disk is not in use, if it isn't.
    pub(super) disk: Option<&'static str>,
}

/// The state of a tenant's upstream keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyObserved {
    InUse(KeyInUse),
    /// The upstream rejected every key.
    Rejected(KeyInUse),
}

#[derive(Debug, Clone)]
pub(super) struct ProcessObserved {
    pub(super) window: Duration,
    /// Requests without a valid token within the window.
    pub(super) unauthorized: u64,
    /// Log lines that were dropped within the window.
    pub(super) log_lines_dropped: u64,
    /// When the last reload was rejected, with the problems; `None` if it was not.
    pub(super) reload_refused: Option<(Timestamp, Vec<String>)>,
    /// Why the shared level is not in use, if it isn't.
    pub(super) shared: Option<&'static str>,
    /// Gateways of the fleet whose keys differ from this one's.
    pub(super) strangers: Vec<String>,
}

/// A problem that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: ProblemKind,
    pub(super) tenant: Option<TenantName>,
    /// When it began, if known.
    pub(super) since: Option<Timestamp>,
    pub(super) message: String,
}

/// Every problem, the most pressing first.
pub(super) fn find(process: &ProcessObserved, tenants: &[TenantObserved]) -> Vec<Finding> {
    let mut found = of_process(process);
    for tenant in tenants {
        let rules = [of_keys, of_breaker, of_failures, of_pause, of_limits, of_levels, of_cache];
        let messages = rules.into_iter().flat_map(|rule| rule(tenant));
        found.extend(messages.map(|(kind, message)| Finding {
            kind,
            tenant: Some(tenant.name.clone()),
            since: None,
            message,
        }));
    }
    found.sort_by(|a, b| (a.kind, &a.tenant).cmp(&(b.kind, &b.tenant)));
    found
}

fn of_process(seen: &ProcessObserved) -> Vec<Finding> {
    let within = within(seen.window);
    let mut found = Vec::new();
    let mut add = |kind, since, message| found.push(Finding { kind, tenant: None, since, message });
    if let Some((at, problems)) = &seen.reload_refused {
        let message = format!(
            "reload rejected; still running the previous configuration. Fix the file and reload again: {}",
            problems.join("; ")
        );
        add(ProblemKind::ReloadRefused, Some(*at), message);
    }
    if let Some(cause) = seen.shared {
        let message = format!(
            "shared level not in use: {cause}. Calls are fetched by this gateway alone, and a purge does not reach the \
             others"
        );
        add(ProblemKind::SharedLevelDown, None, message);
    }
    if !seen.strangers.is_empty() {
        let message = format!(
            "gateways of the fleet whose keys differ: with another shared.key they share nothing with this one, with \
             other keys of a tenant not its calls: {}",
            seen.strangers.join(", ")
        );
        add(ProblemKind::FleetKeysDiffer, None, message);
    }
    if seen.unauthorized >= MANY_UNAUTHORIZED {
        let message = format!(
            "{} requests without a valid token {within}: a caller may use an outdated one",
            seen.unauthorized
        );
        add(ProblemKind::CallersUnauthorized, None, message);
    }
    if seen.log_lines_dropped > 0 {
        let lines = seen.log_lines_dropped;
        let message = format!("{lines} log lines were dropped {within}, because their reader is too slow");
        add(ProblemKind::LogLinesDropped, None, message);
    }
    found
}

type TenantProblems = Vec<(ProblemKind, String)>;

fn of_keys(seen: &TenantObserved) -> TenantProblems {
    let mut found = Vec::new();
    match seen.key {
        KeyObserved::Rejected(KeyInUse::Only) => found.push((
            ProblemKind::KeyRejected,
            "upstream rejects upstream_key with 401: replace the key and reload".to_owned(),
        )),
        KeyObserved::Rejected(KeyInUse::Primary | KeyInUse::Next) => found.push((
            ProblemKind::KeyRejected,
            "upstream rejects upstream_key and upstream_key_next with 401: replace them and reload".to_owned(),
        )),
        KeyObserved::InUse(KeyInUse::Next) => found.push((
            ProblemKind::KeyPromoted,
            "upstream rejected upstream_key, and upstream_key_next is in use: make it upstream_key and reload"
                .to_owned(),
        )),
        KeyObserved::InUse(KeyInUse::Only | KeyInUse::Primary) => {}
    }
    if seen.counts.mix_ups > 0 {
        let message = format!(
            "upstream answered {} requests with another call than the one asked for {}: report it to the vendor",
            seen.counts.mix_ups,
            within(seen.window)
        );
        found.push((ProblemKind::IdentityMismatch, message));
    }
    found
}

fn of_breaker(seen: &TenantObserved) -> TenantProblems {
    let message = |state| {
        format!(
            "breaker is {state}: lookups are answered from the cache or with 503 while the upstream is probed"
        )
    };
    seen.breaker.map(|state| (ProblemKind::BreakerOpen, message(state))).into_iter().collect()
}

/// All failures together decide whether there is a problem, so that one spread over several kinds is found, too.
fn of_failures(seen: &TenantObserved) -> TenantProblems {
    let counts = &seen.counts;
    let failed = counts.failed();
    if failed < FEW || failed * FAILED_PART < counts.upstream {
        return Vec::new();
    }
    let kinds = UpstreamFailure::ALL.into_iter().zip(counts.failures).map(|(failure, count)| {
        let (kind, what) = match failure {
            UpstreamFailure::Connect => (ProblemKind::UpstreamConnect, "found no connection"),
            UpstreamFailure::Timeout => (ProblemKind::UpstreamTimeout, "timed out"),
            UpstreamFailure::Reset => (ProblemKind::UpstreamReset, "were cut off"),
            UpstreamFailure::Invalid => (
                ProblemKind::UpstreamInvalid,
                "got an answer that can't be used (no JSON, another call, too large)",
            ),
        };
        (kind, what, count)
    });
    let status = (ProblemKind::UpstreamStatus, "were answered with a 5xx", counts.server_errors);
    let message = |what, count| {
        format!("{count} of {} upstream requests {what} {}", counts.upstream, within(seen.window))
    };
    let all = kinds.chain([status]).filter(|(.., count)| *count > 0);
    all.map(|(kind, what, count)| (kind, message(what, count))).collect()
}

fn of_pause(seen: &TenantObserved) -> TenantProblems {
    let times = seen.counts.told_to_wait;
    let message = match seen.paused_for {
        Some(left) => format!(
            "upstream answered 429: nothing is sent for another {} s. Lower upstream_limit if this recurs",
            left.as_secs() + 1
        ),
        None if times >= FEW => {
            format!("upstream answered 429 to {times} requests {}: lower upstream_limit", within(seen.window))
        }
        None => return Vec::new(),
    };
    vec![(ProblemKind::UpstreamPaused, message)]
}

fn of_limits(seen: &TenantObserved) -> TenantProblems {
    let counts = &seen.counts;
    let mut found = Vec::new();
    let mut add = |kind, refused: u64, of: u64, by: &str| {
        if refused >= FEW && refused * REFUSED_PART >= of {
            found.push((kind, format!("{by} refused {refused} of {of} requests {}", within(seen.window))));
        }
    };
    add(ProblemKind::RateLimitSpent, counts.rate_limited, counts.requests, "rate_limit");
    add(ProblemKind::UpstreamLimitSpent, counts.upstream_limited, counts.requests, "upstream_limit");
    let by = "max_in_flight or max_waiting";
    add(ProblemKind::Overloaded, counts.overloaded, counts.requests, by);
    found
}

fn of_levels(seen: &TenantObserved) -> TenantProblems {
    let message = |cause| format!("disk level is not in use, calls are kept in memory only: {cause}");
    seen.disk.map(|cause| (ProblemKind::LevelDown, message(cause))).into_iter().collect()
}

/// The cache thrashes if most fetched entries evict others, and entries don't survive for long.
fn of_cache(seen: &TenantObserved) -> TenantProblems {
    let Counts { evicted, fetched, .. } = seen.counts;
    if evicted < MANY_EVICTED || evicted * 2 < fetched {
        return Vec::new();
    }
    let survives = seen.window.mul_f64(seen.entries as f64 / evicted as f64);
    if survives >= WORTH_STORING {
        return Vec::new();
    }
    let message = format!(
        "cache is too small: {evicted} entries were evicted to make room for {fetched} {}, so that an entry \
         survives about {} s. Raise cache_max_bytes",
        within(seen.window),
        survives.as_secs()
    );
    vec![(ProblemKind::CacheThrashing, message)]
}

fn within(window: Duration) -> String {
    match window.as_secs() {
        seconds @ 0..120 => format!("in the last {seconds} s"),
        seconds => format!("in the last {} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> TenantObserved {
        TenantObserved {
            name: TenantName::parse("alpha").unwrap(),
            counts: Counts::default(),
            window: Duration::from_secs(305),
            entries: 10,
            breaker: None,
            paused_for: None,
            key: KeyObserved::InUse(KeyInUse::Only),
            disk: None,
        }
    }

    fn calm() -> ProcessObserved {
        ProcessObserved {
            window: Duration::from_secs(305),
            unauthorized: 0,
            log_lines_dropped: 0,
            reload_refused: None,
            shared: None,
            strangers: Vec::new(),
        }
    }

    fn kinds(process: &ProcessObserved, tenant: TenantObserved) -> Vec<&'static str> {
        find(process, &[tenant]).into_iter().map(|finding| finding.kind.label()).collect()
    }

    fn counted(counts: Counts) -> Vec<&'static str> {
        kinds(&calm(), TenantObserved { counts, ..quiet() })
    }

    fn failures(upstream: u64, failures: [u64; 4], server_errors: u64) -> Counts {
        Counts { upstream, failures, server_errors, ..Counts::default() }
    }

    #[test]
    fn an_idle_gateway_has_no_problems() {
        assert!(find(&calm(), &[quiet()]).is_empty());
    }

    #[test]
    fn every_unusable_answer_is_a_problem_however_healthy_the_status() {
        assert_eq!(counted(failures(3, [0, 0, 0, 3], 0)), ["upstream-invalid"]);
        assert_eq!(counted(failures(2, [0, 0, 0, 2], 0)), [""; 0], "two are no pattern");
    }

    #[test]
    fn a_failure_rate_too_low_for_the_breaker_is_found_and_named_by_kind() {
        assert_eq!(counted(failures(100, [0, 0, 0, 0], 5)), ["upstream-status"]);
        assert_eq!(counted(failures(101, [0, 0, 0, 0], 5)), [""; 0]);
        assert_eq!(
            counted(failures(100, [1, 1, 1, 1], 1)),
            ["upstream-connect", "upstream-timeout", "upstream-reset", "upstream-status", "upstream-invalid"]
        );
        let counts = failures(40, [0, 12, 0, 0], 0);
        let found = find(&calm(), &[TenantObserved { counts, ..quiet() }]);
        assert_eq!(found[0].message, "12 of 40 upstream requests timed out in the last 5 min");
    }

    #[test]
    fn states_are_problems_for_as_long_as_they_last() {
        let tenant = |change: &dyn Fn(&mut TenantObserved)| {
            let mut tenant = quiet();
            change(&mut tenant);
            kinds(&calm(), tenant)
        };
        assert_eq!(tenant(&|seen| seen.breaker = Some("half-open")), ["breaker-open"]);
        assert_eq!(tenant(&|seen| seen.paused_for = Some(Duration::from_millis(1))), ["upstream-paused"]);
        for key in [KeyInUse::Only, KeyInUse::Primary, KeyInUse::Next] {
            assert_eq!(tenant(&|seen| seen.key = KeyObserved::Rejected(key)), ["key-rejected"]);
        }
        assert_eq!(tenant(&|seen| seen.disk = Some("no space left on the device")), ["level-down"]);
        assert_eq!(tenant(&|seen| seen.key = KeyObserved::InUse(KeyInUse::Next)), ["key-promoted"]);
        assert_eq!(tenant(&|seen| seen.key = KeyObserved::InUse(KeyInUse::Primary)), [""; 0]);
    }

    #[test]
    fn limits_that_refuse_one_request_in_a_hundred_are_spent() {
        let base = Counts { requests: 1000, ..Counts::default() };
        assert_eq!(counted(Counts { rate_limited: 10, ..base }), ["rate-limit-spent"]);
        assert_eq!(counted(Counts { rate_limited: 9, ..base }), [""; 0]);
        assert_eq!(counted(Counts { upstream_limited: 10, ..base }), ["upstream-limit-spent"]);
        assert_eq!(counted(Counts { overloaded: 10, ..base }), ["overloaded"]);
        assert_eq!(counted(Counts { told_to_wait: 3, ..base }), ["upstream-paused"]);
        assert_eq!(counted(Counts { mix_ups: 1, ..base }), ["identity-mismatch"]);
    }

    #[test]
    fn a_cache_thrashes_only_if_entries_do_not_survive_an_hour() {
        let counts = Counts { fetched: 100, evicted: 60, ..Counts::default() };
        let with = |entries, counts| kinds(&calm(), TenantObserved { entries, counts, ..quiet() });
        assert_eq!(with(100, counts), ["cache-thrashing"]);
        assert_eq!(with(1000, counts), [""; 0], "a large cache turns over slowly");
        assert_eq!(with(100, Counts { fetched: 121, ..counts }), [""; 0]);
        assert_eq!(with(100, Counts { evicted: 19, fetched: 19, ..counts }), [""; 0]);
    }

    #[test]
    fn problems_of_the_process_come_with_the_tenants_by_urgency() {
        let at: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        let process = ProcessObserved {
            unauthorized: 20,
            log_lines_dropped: 1,
            reload_refused: Some((at, vec!["g.toml:1:1: cache.tll: unknown key".into()])),
            ..calm()
        };
        let found = find(&process, &[TenantObserved { breaker: Some("open"), ..quiet() }]);
        let kinds: Vec<_> = found.iter().map(|finding| finding.kind.label()).collect();
        assert_eq!(kinds, ["reload-refused", "breaker-open", "callers-unauthorized", "log-lines-dropped"]);
        assert_eq!((found[0].since, found[1].since), (Some(at), None));
        assert!(found[0].message.ends_with("g.toml:1:1: cache.tll: unknown key"), "{}", found[0].message);
    }

    #[test]
    fn the_window_is_named_in_seconds_while_the_process_is_young() {
        assert_eq!(within(Duration::from_secs(7)), "in the last 7 s");
        assert_eq!(within(Duration::from_secs(329)), "in the last 5 min");
    }
}
