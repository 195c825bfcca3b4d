//! Freshness: how old an answer is, how long it lasts, and what it may still be used for.
//!
//! One pure calculation from what is known of the entry, the policy and `now` (RFC 9111 section 4.2,
//! RFC 5861); RFC terms stand beside the lines that implement them. The entry keeps facts and no
//! conclusions, so a policy that changes holds for what is stored already.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, EXPIRES};
use jiff::Timestamp;

use super::directives::{Demand, ResponseDirectives, Seconds, Standing};
use super::envelope::Changed;
use crate::clock::Instant;
use crate::config::{Cache as Policy, CacheControl};
use crate::domain::Forward;

/// When an upstream exchange happened, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// The request was sent.
    pub sent: Instant,
    /// The response was complete.
    pub received: Instant,
    /// The same by the calendar.
    pub received_at: Timestamp,
}

/// What is known of a stored answer's freshness. There is one of it in every entry, so it is kept
/// small.
#[derive(Debug, Clone)]
pub struct Facts {
    received: Instant,
    /// Seconds since 1970, by our calendar.
    received_at: i64,
    /// By how many seconds that is later than the response's own `Date`.
    ahead: i32,
    /// `corrected_initial_age` of RFC 9111 section 4.2.3, in nanoseconds.
    initial_age: u64,
    explicit: Option<(Source, u32)>,
    standing: Standing,
    /// When a call last changed, in seconds since 1970, or [`UNKNOWN`].
    changed: i64,
    is_missing: bool,
    /// Ten-thousandths by which a lifetime of our own policy is shortened: 0 to 1000.
    jitter: u16,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call, and when it last changed.
    Call(Changed),
    /// The upstream's word that there is no such call.
    Missing,
}

/// Where a freshness lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `s-maxage`.
    SharedMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// `no-cache`: never fresh.
    NoCache,
    /// `cache.ttl`.
    Settled,
    /// `cache.settle_ttl`.
    Settling,
    /// `cache.not_found_ttl`.
    Missing,
}

impl Source {
    /// Its name, for explanations.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SharedMaxAge => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "Expires",
            Self::NoCache => "no-cache",
            Self::Settled => "cache.ttl",
            Self::Settling => "cache.settle_ttl",
            Self::Missing => "cache.not_found_ttl",
        }
    }
}

impl Facts {
    /// Gathers the facts of a response. `headers` are those in force, a 304's laid over the stored
    /// ones; `age` is the `Age` of the response that just came.
    pub fn gather(
        headers: &HeaderMap,
        age: Option<&str>,
        exchange: Exchange,
        kind: Kind,
        jitter: u16,
    ) -> Self {
        let directives = ResponseDirectives::read(headers);
        let dated = http_date(headers, &DATE);
        let received_at = exchange.received_at.as_second();
        let seconds_since = |then: Timestamp| {
            u64::try_from(received_at.saturating_sub(then.as_second())).unwrap_or(0).saturating_mul(SECOND)
        };
        let ahead = dated.map_or(0, |dated| received_at.saturating_sub(dated.as_second()));
        // apparent_age = max(0, response_time - date_value)
        let apparent_age = dated.map_or(0, seconds_since);
        // corrected_age_value = age_value + response_delay
        let delay = exchange.received.nanos_since(exchange.sent);
        let corrected_age = (u64::from(age.map_or(0, age_value)) * SECOND).saturating_add(delay);
        let changed = match kind {
            Kind::Call(Changed::At(then)) => then.as_second(),
            Kind::Call(Changed::Unknown) | Kind::Missing => UNKNOWN,
        };
        Self {
            received: exchange.received,
            received_at,
            ahead: i32::try_from(ahead).unwrap_or(if ahead < 0 { i32::MIN } else { i32::MAX }),
            initial_age: apparent_age.max(corrected_age),
            explicit: explicit_lifetime(headers, &directives, dated.unwrap_or(exchange.received_at)),
            standing: directives.standing(),
            changed,
            is_missing: kind == Kind::Missing,
            jitter,
        }
    }

    /// What was stored.
    pub fn kind(&self) -> Kind {
        if self.is_missing {
            return Kind::Missing;
        }
        // `UNKNOWN` is no time that a calendar has.
        Kind::Call(Timestamp::from_second(self.changed).map_or(Changed::Unknown, Changed::At))
    }

    /// Whether it is a remembered 404.
    pub const fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// When the answer was received.
    pub const fn received(&self) -> Instant {
        self.received
    }

    /// When the answer was received, by the calendar, in whole seconds.
    pub fn received_at(&self) -> Timestamp {
        Timestamp::from_second(self.received_at).unwrap_or_default()
    }

    /// Whether the response forbids storing it.
    pub fn forbids_storing(&self, policy: &Policy) -> bool {
        self.standing.no_store && policy.upstream_cache_control == CacheControl::Honor
    }

    /// Whether the response by itself says that it is stale from the start, or must always be asked
    /// about: what makes a cache useless.
    pub fn defeats_caching(&self) -> bool {
        self.standing.no_store || self.standing.no_cache || matches!(self.explicit, Some((_, 0)))
    }
}

/// No time of a calendar's.
const UNKNOWN: i64 = i64::MAX;

/// A second in nanoseconds, in which all sums are done.
const SECOND: u64 = 1_000_000_000;

const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(SECOND).saturating_add(duration.subsec_nanos() as u64)
}

/// `age_value`: the first member; what can't be read is ignored (RFC 9111 section 5.1).
fn age_value(line: &str) -> u32 {
    let first = line.split(',').next().unwrap_or_default().trim();
    let digits = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
    if digits { first.parse().unwrap_or(u32::MAX).min(super::directives::MAX_SECONDS) } else { 0 }
}

/// RFC 9111 section 4.2.1. What is there but can't be read means 0, which is stale.
fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    date: Timestamp,
) -> Option<(Source, u32)> {
    let given = |source, seconds: Option<Seconds>| seconds.map(|seconds| (source, seconds.or_zero()));
    given(Source::SharedMaxAge, directives.s_maxage).or(given(Source::MaxAge, directives.max_age)).or_else(
        || {
            headers.contains_key(EXPIRES).then(|| {
                let expires = http_date(headers, &EXPIRES);
                let seconds =
                    expires.map_or(0, |expires| expires.as_second().saturating_sub(date.as_second()));
                let clamped = seconds.clamp(0, super::directives::MAX_SECONDS.into());
                (Source::Expires, u32::try_from(clamped).unwrap_or(0))
            })
        },
    )
}

/// A field's one date; `None` if it is absent, repeated or not a date.
fn http_date(headers: &HeaderMap, name: &http::HeaderName) -> Option<Timestamp> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let time = httpdate::parse_http_date(line.to_str().ok()?).ok()?;
    Timestamp::try_from(time).ok()
}

/// The arithmetic for one entry at one moment, term by term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reckoning {
    initial_age: u64,
    resident: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
    /// Where the lifetime comes from.
    pub source: Source,
    /// Whether any stale use is forbidden by the response.
    pub never_stale: bool,
}

impl Reckoning {
    /// Does the sum.
    pub fn of(facts: &Facts, policy: &Policy, now: Instant) -> Self {
        let honored = policy.upstream_cache_control == CacheControl::Honor && !facts.is_missing;
        let (source, lifetime) = lifetime(facts, policy, honored);
        let standing = &facts.standing;
        let never_stale = facts.is_missing || (honored && (standing.no_cache || standing.must_revalidate));
        let window = |own: Option<u32>, configured: u64| match own {
            _ if never_stale => 0,
            Some(seconds) if honored => u64::from(seconds) * SECOND,
            Some(_) | None => configured,
        };
        // A settling call is never older than two settle times, unless the upstream says so.
        let mut configured_revalidate = nanos(policy.stale_while_revalidate);
        if source == Source::Settling {
            let most = nanos(policy.settle_ttl).saturating_mul(2).saturating_sub(lifetime);
            configured_revalidate = configured_revalidate.min(most);
        }
        Self {
            initial_age: if honored { facts.initial_age } else { 0 },
            resident: now.nanos_since(facts.received),
            lifetime,
            stale_while_revalidate: window(standing.stale_while_revalidate.get(), configured_revalidate),
            stale_if_error: window(standing.stale_if_error.get(), nanos(policy.stale_if_error)),
            source,
            never_stale,
        }
    }

    /// How old the answer was when it came (`corrected_initial_age`).
    pub const fn initial_age(&self) -> Duration {
        Duration::from_nanos(self.initial_age)
    }

    /// How long it has been here (`resident_time`).
    pub const fn resident(&self) -> Duration {
        Duration::from_nanos(self.resident)
    }

    /// `freshness_lifetime`.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_nanos(self.lifetime)
    }

    /// How long it may be served stale while it is renewed.
    pub const fn stale_while_revalidate(&self) -> Duration {
        Duration::from_nanos(self.stale_while_revalidate)
    }

    /// How long it may be served stale because the upstream failed.
    pub const fn stale_if_error(&self) -> Duration {
        Duration::from_nanos(self.stale_if_error)
    }

    /// `current_age`.
    const fn age(&self) -> u64 {
        self.initial_age.saturating_add(self.resident)
    }

    /// `current_age` in whole seconds, as `Age` tells it.
    pub const fn age_seconds(&self) -> u64 {
        self.age() / SECOND
    }

    /// Whether it is fresh: `freshness_lifetime > current_age`.
    pub const fn is_fresh(&self) -> bool {
        self.lifetime > self.age()
    }

    /// How long it has been stale.
    const fn stale_for(&self) -> u64 {
        self.age().saturating_sub(self.lifetime)
    }

    /// Freshness left in seconds, rounded up: positive exactly for what is fresh.
    pub const fn ttl(&self) -> i64 {
        if self.is_fresh() {
            (self.lifetime - self.age()).div_ceil(SECOND).cast_signed()
        } else {
            -(self.stale_for() / SECOND).cast_signed()
        }
    }

    /// Whether it may be served now because the upstream failed.
    pub const fn may_serve_on_error(&self) -> bool {
        !self.never_stale && self.stale_for() < self.stale_if_error
    }

    /// Whether it may be served now while it is renewed.
    pub const fn may_serve_while_revalidating(&self) -> bool {
        !self.never_stale && self.stale_for() < self.stale_while_revalidate
    }

    /// Whether an entry is of no use any more: neither fresh, nor as a stale answer, nor to be validated.
    pub const fn is_spent(&self, policy: &Policy) -> bool {
        let beyond = if matches!(self.source, Source::Missing) {
            0
        } else if self.never_stale {
            nanos(policy.stale_if_error)
        } else if self.stale_while_revalidate > self.stale_if_error {
            self.stale_while_revalidate
        } else {
            self.stale_if_error
        };
        !self.is_fresh() && self.stale_for() >= beyond
    }
}

fn lifetime(facts: &Facts, policy: &Policy, honored: bool) -> (Source, u64) {
    if facts.is_missing {
        return (Source::Missing, nanos(policy.not_found_ttl));
    }
    if honored && facts.standing.no_cache {
        return (Source::NoCache, 0);
    }
    if let Some((source, seconds)) = facts.explicit.filter(|_| honored) {
        return (source, u64::from(seconds) * SECOND);
    }
    let (source, ttl) = if is_settled(facts, policy.settle_window) {
        (Source::Settled, policy.ttl)
    } else {
        (Source::Settling, policy.settle_ttl)
    };
    // What was stored together must not fall due together.
    let ttl = nanos(ttl);
    (source, ttl - ttl / 10_000 * u64::from(facts.jitter.min(1000)))
}

/// Whether a call had not changed for a whole settle window when its answer was made, both by the
/// upstream's calendar where it tells the date. One that changed in the future has a clock that can't be
/// trusted; an unknown change is as far in the future as can be.
fn is_settled(facts: &Facts, window: Duration) -> bool {
    let made_at = facts.received_at.saturating_sub(facts.ahead.into());
    let age = u64::try_from(made_at.saturating_sub(facts.changed));
    age.is_ok_and(|age| age.saturating_mul(SECOND) >= nanos(window))
}

/// What a lookup may do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it and renew it in the background.
    Renew,
    /// Serve it stale: the client said that it doesn't mind.
    Tolerated,
    /// Ask upstream first.
    Fetch {
        /// Why.
        forward: Forward,
        /// Whether it may be served if that fails.
        fallback: Fallback,
    },
}

/// Whether a failure may be answered from a stale entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// For as long as [`Reckoning::may_serve_on_error`] says.
    Allowed,
    /// The client's directives forbid it: the failure itself is the answer.
    Forbidden,
}

/// Holds an entry against a client's demand.
pub fn judge(reckoning: &Reckoning, demand: &Demand) -> Verdict {
    let usable = reckoning.is_fresh() || reckoning.may_serve_while_revalidating();
    if demand.no_cache || demand.no_store || !meets_ages(reckoning, demand) {
        let forward = if usable { Forward::Request } else { Forward::Stale };
        return Verdict::Fetch { forward, fallback: Fallback::Forbidden };
    }
    if reckoning.is_fresh() {
        return Verdict::Fresh;
    }
    if usable {
        return Verdict::Renew;
    }
    let tolerated = demand.max_stale.map(|seconds| u64::from(seconds) * SECOND);
    if !reckoning.never_stale && tolerated.is_some_and(|most| reckoning.stale_for() <= most) {
        return Verdict::Tolerated;
    }
    Verdict::Fetch { forward: Forward::Stale, fallback: Fallback::Allowed }
}

fn meets_ages(reckoning: &Reckoning, demand: &Demand) -> bool {
    // Ages are told in whole seconds, so they are compared so. `max-age=0` asks for validation.
    let young = |most: u32| most > 0 && reckoning.age_seconds() <= u64::from(most);
    let lasting = |least: u32| {
        let left = reckoning.lifetime.saturating_sub(reckoning.age());
        reckoning.is_fresh() && left >= u64::from(least) * SECOND
    };
    demand.max_age.is_none_or(young) && demand.min_fresh.is_none_or(lasting)
}

#[cfg(test)]
mod tests;
