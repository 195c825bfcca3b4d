//! The reference: the rules, written as plainly as possible, with none of the gateway's own types. Times are
//! milliseconds on one clock; those of the wall clock are seconds.

use std::collections::HashMap;

use super::sequence::{Answer, Ask, Condition, RequestDirectives, What, Word};

/// The answer that a client must get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub status: u16,
    /// `Cache-Status` without our name; `None` if absent.
    pub story: Option<String>,
    pub age: Option<i64>,
    /// Which answer of the upstream the body comes from.
    pub version: Option<u64>,
    /// The envelope's code.
    pub code: Option<&'static str>,
    /// The allowed values of `TTL` in the story: configured lifetimes have a jitter of a tenth.
    pub ttl: Option<(i64, i64)>,
}

/// The result of a request.
pub(super) enum Asked {
    /// An immediate answer, and whether a renewal begins.
    Answered(Expected, Renewal),
    /// A wait, and whether it is for a new fetch.
    Waits(Fetch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    Begins,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetch {
    New,
    InFlightGuard,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub version: u64,
    missing: bool,
    received: i64,
    initial_age: i64,
    words: Vec<Word>,
    /// When the call last changed, by the wall clock, in seconds.
    changed: Option<i64>,
    /// When the upstream generated the answer, by the wall clock, in seconds.
    made_at: i64,
    /// The configured lifetime that it was given, once known.
    pub own_lifetime: Option<i64>,
    pub tag: String,
    upstream_tag: bool,
    failures: u32,
    renew_after: i64,
    rules: Rules,
}

#[derive(Debug, Clone)]
struct Waiting {
    client: usize,
    forward: &'static str,
    entry: Option<Entry>,
    falls_back: bool,
    collapsed: bool,
    condition: Option<String>,
}

#[derive(Debug)]
struct InFlight {
    tenant: usize,
    call: usize,
    sent: i64,
    deadline: i64,
    entry: Option<Entry>,
    background: bool,
    store_mode: bool,
    /// Whether its call was purged meanwhile.
    purged: bool,
    waiting: Vec<Waiting>,
}

/// The complete state.
pub(super) struct Reference {
    pub now: i64,
    pub wall_seconds: i64,
    entries: HashMap<(usize, usize), Entry>,
    /// By the harness's number of the upstream request.
    flights: HashMap<u64, InFlight>,
    paused_until: [i64; 2],
    rules: Rules,
}

/// The configured durations: milliseconds, except for the window, which is in seconds of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub ttl: i64,
    pub settle_window: i64,
    pub settle_ttl: i64,
    pub stale_while_revalidate: i64,
    pub stale_if_error: i64,
    pub not_found_ttl: i64,
    pub total_timeout: i64,
}

/// The configuration of the gateway under test.
pub(super) const RULES: Rules = Rules {
    ttl: 1_000_000,
    settle_window: 600,
    settle_ttl: 30_000,
    stale_while_revalidate: 60_000,
    stale_if_error: 300_000,
    not_found_ttl: 5_000,
    total_timeout: 10_000,
};

/// Rounded up, but never across zero.
fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1000) + i64::from(millis.rem_euclid(1000) > 0)
}

impl InFlight {
    fn is_current(&self, key: (usize, usize)) -> bool {
        (self.tenant, self.call) == key && !self.purged
    }
}

impl Entry {
    fn has(&self, word: Word) -> bool {
        self.words.contains(&word)
    }

    fn least(&self, pick: impl Fn(&Word) -> Option<u32>) -> Option<i64> {
        self.words.iter().filter_map(pick).min().map(|seconds| i64::from(seconds) * 1000)
    }

    fn never_stale(&self) -> bool {
        self.missing
            || self.has(Word::NoCache)
            || self.has(Word::MustRevalidate)
            || self.words.iter().any(|word| matches!(word, Word::SharedMaxAge(_)))
    }

    /// Whether it is served while it is revalidated.
    fn is_renewable(&self, now: i64) -> bool {
        !self.never_stale() && -self.left(now) < self.revalidate_window()
    }

    fn explicit(&self) -> Option<i64> {
        let shared = self.least(|word| if let Word::SharedMaxAge(s) = word { Some(*s) } else { None });
        let unreadable = self.has(Word::UnreadableMaxAge).then_some(0);
        let max_age = unreadable
            .or_else(|| self.least(|word| if let Word::MaxAge(s) = word { Some(*s) } else { None }));
        shared.or(max_age)
    }

    fn is_settled(&self) -> bool {
        self.changed.is_some_and(|changed| {
            changed <= self.made_at && self.made_at - changed >= self.rules.settle_window
        })
    }

    /// The bounds of its configured lifetime: a jitter of a tenth.
    pub(super) fn own_bounds(&self) -> Option<(i64, i64)> {
        if self.missing || self.has(Word::NoCache) || self.explicit().is_some() {
            return None;
        }
        let full = if self.is_settled() { self.rules.ttl } else { self.rules.settle_ttl };
        Some((full * 9 / 10, full))
    }

    fn lifetime(&self) -> i64 {
        if self.missing {
            self.rules.not_found_ttl
        } else if self.has(Word::NoCache) {
            0
        } else {
            self.explicit().or(self.own_lifetime).unwrap_or(0)
        }
    }

    fn age(&self, now: i64) -> i64 {
        let initial = if self.missing { 0 } else { self.initial_age };
        initial + now - self.received
    }

    fn left(&self, now: i64) -> i64 {
        self.lifetime() - self.age(now)
    }

    fn ttl(&self, now: i64) -> i64 {
        seconds(self.left(now))
    }

    /// The possible values of `ttl` before the jitter is known.
    fn ttl_bounds(&self, now: i64) -> (i64, i64) {
        let (least, most) = self.own_bounds().unwrap_or((self.lifetime(), self.lifetime()));
        (seconds(least - self.age(now)), seconds(most - self.age(now)))
    }

    fn is_fresh(&self, now: i64) -> bool {
        self.left(now) > 0
    }

    fn revalidate_window(&self) -> i64 {
        let own = self.least(|word| if let Word::StaleWhileRevalidate(s) = word { Some(*s) } else { None });
        let settling = self.own_bounds().is_some() && !self.is_settled();
        let configured = if settling {
            self.rules.stale_while_revalidate.min(2 * self.rules.settle_ttl - self.lifetime())
        } else {
            self.rules.stale_while_revalidate
        };
        if self.never_stale() { 0 } else { own.unwrap_or(configured) }
    }

    fn error_window(&self) -> i64 {
        let own = self.least(|word| if let Word::StaleIfError(s) = word { Some(*s) } else { None });
        if self.never_stale() { 0 } else { own.unwrap_or(self.rules.stale_if_error) }
    }
}

fn expected(status: u16, story: String) -> Expected {
    Expected { status, story: Some(story), age: None, version: None, code: None, ttl: None }
}

impl Reference {
    pub(super) fn new(rules: Rules, wall_seconds: i64) -> Self {
        let (entries, flights) = Default::default();
        Self { now: 0, wall_seconds, entries, flights, paused_until: [0; 2], rules }
    }

    pub(super) fn entry(&mut self, tenant: usize, call: usize) -> Option<&mut Entry> {
        self.entries.get_mut(&(tenant, call))
    }

    /// A client sends a request; `client` identifies it, `number` the upstream request that it may cause.
    pub(super) fn ask(&mut self, ask: &Ask, client: usize, number: u64, condition: Option<String>) -> Asked {
        if ask.tenant > 1 {
            let refused = Expected {
                status: 401,
                story: None,
                age: None,
                version: None,
                code: Some("UNAUTHORIZED"),
                ttl: None,
            };
            return Asked::Answered(refused, Renewal::None);
        }
        let now = self.now;
        let key = (ask.tenant, ask.call);
        let entry = self.entries.get(&key).filter(|entry| !entry.missing || entry.is_fresh(now)).cloned();
        let wants = |directives: RequestDirectives| ask.demands.contains(&directives);
        let (mut forward, mut falls_back) = ("uri-miss", true);
        if let Some(entry) = &entry {
            let detail = match reuse(entry, &ask.demands, now) {
                EntryUse::Serve { detail } => Some(detail),
                EntryUse::Fetch { because, may_fall_back } => {
                    (forward, falls_back) = (because, may_fall_back);
                    None
                }
            };
            if let Some(detail) = detail {
                let renews = !entry.is_fresh(now)
                    && entry.is_renewable(now)
                    && now >= entry.renew_after
                    && !wants(RequestDirectives::OnlyIfCached);
                let renewal = if renews { self.begin_renewal(key, entry, number) } else { Renewal::None };
                return Asked::Answered(served(entry, now, detail, condition.as_deref()), renewal);
            }
        }
        if wants(RequestDirectives::OnlyIfCached) {
            let refused = Expected { code: Some("NOT_CACHED"), ..expected(504, format!("fwd={forward}")) };
            return Asked::Answered(refused, Renewal::None);
        }
        let entry = entry.filter(|entry| !entry.missing);
        let store_mode = !wants(RequestDirectives::NoStore);
        let in_flight = self.flights.values_mut().find(|flight| flight.is_current(key));
        let waiting = Waiting {
            client,
            forward,
            entry: entry.clone(),
            falls_back,
            collapsed: in_flight.is_some(),
            condition,
        };
        if let Some(flight) = in_flight {
            flight.store_mode |= store_mode;
            flight.waiting.push(waiting);
            return Asked::Waits(Fetch::InFlightGuard);
        }
        self.begin(key, entry.filter(|_| store_mode), number, store_mode, vec![waiting]);
        Asked::Waits(Fetch::New)
    }

    fn begin_renewal(&mut self, key: (usize, usize), entry: &Entry, number: u64) -> Renewal {
        if let Some(flight) = self.flights.values_mut().find(|flight| flight.is_current(key)) {
            flight.store_mode = true;
            return Renewal::None;
        }
        self.begin(key, Some(entry.clone()), number, true, Vec::new());
        Renewal::Begins
    }

    fn begin(
        &mut self,
        key: (usize, usize),
        entry: Option<Entry>,
        number: u64,
        store_mode: bool,
        waiting: Vec<Waiting>,
    ) {
        let background = waiting.is_empty();
        let (tenant, call) = key;
        let flight = InFlight {
            tenant,
            call,
            sent: self.now,
            deadline: self.now + self.rules.total_timeout,
            entry,
            background,
            store_mode,
            purged: false,
            waiting,
        };
        self.flights.insert(number, flight);
    }

    /// How long the upstream is paused for this tenant, if it is.
    pub(super) fn paused(&self, tenant: usize) -> Option<i64> {
        Some(self.paused_until[tenant] - self.now).filter(|left| *left > 0)
    }

    /// A fetch that was not sent because of a pause: answers all its waiters.
    pub(super) fn refuse_paused(&mut self, number: u64) -> Vec<(usize, Expected)> {
        let Some(flight) = self.flights.remove(&number) else { return Vec::new() };
        if flight.background {
            self.note_failure(&flight);
        }
        self.finish(flight, || (Expected { code: Some("RATE_LIMITED"), ..broken(429) }, true), "")
    }

    /// The validators that a request must have: the upstream's own tag of the stored entry.
    pub(super) fn validator(&self, number: u64) -> Option<String> {
        let entry = self.flights.get(&number)?.entry.as_ref()?;
        entry.upstream_tag.then(|| entry.tag.clone())
    }

    pub(super) fn has_flight(&self, number: u64) -> bool {
        self.flights.contains_key(&number)
    }

    /// The fetches whose deadline has passed.
    pub(super) fn overdue(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.deadline <= self.now)
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn leave(&mut self, client: usize) {
        for flight in self.flights.values_mut() {
            flight.waiting.retain(|waiting| waiting.client != client);
        }
    }

    pub(super) fn purge_call(&mut self, tenant: usize, call: usize) -> u64 {
        for flight in self.flights.values_mut().filter(|flight| flight.is_current((tenant, call))) {
            flight.purged = true;
        }
        u64::from(self.entries.remove(&(tenant, call)).is_some())
    }

    pub(super) fn purge_tenant(&mut self, tenant: usize) {
        for flight in self.flights.values_mut().filter(|flight| flight.tenant == tenant) {
            flight.purged = true;
        }
        self.entries.retain(|(owner, _), _| *owner != tenant);
    }

    pub(super) fn evict(&mut self, tenant: usize, call: usize) {
        self.entries.remove(&(tenant, call));
    }

    /// The upstream answers, or disconnects. Answers all waiters.
    pub(super) fn answer(
        &mut self,
        number: u64,
        version: u64,
        answer: &Answer,
        tag: &str,
    ) -> Vec<(usize, Expected)> {
        let Some(flight) = self.flights.remove(&number) else { return Vec::new() };
        if let What::TooMany(seconds) = answer.what {
            let until = self.now + i64::from(seconds) * 1000;
            self.paused_until[flight.tenant] = self.paused_until[flight.tenant].max(until);
        }
        let key = (flight.tenant, flight.call);
        let Interpretation { outcome, base, failure, change } = self.interpret(&flight, version, answer, tag);
        if !flight.purged {
            match &change {
                Change::Store(entry) if entry.missing && !flight.store_mode => {
                    drop(self.entries.remove(&key))
                }
                Change::Store(entry) if flight.store_mode => drop(self.entries.insert(key, entry.clone())),
                Change::Remove => drop(self.entries.remove(&key)),
                Change::Store(_) | Change::Nothing => {}
            }
        }
        if flight.background && matches!(change, Change::Nothing) {
            self.note_failure(&flight);
        }
        let sent_tag = match (&change, &flight.entry) {
            (Change::Store(entry), _) => Some(entry.tag.clone()),
            (_, Some(entry)) if answer.what == What::NotModified => Some(entry.tag.clone()),
            _ => answer.tagged.then(|| tag.to_owned()),
        };
        let ttl = match &change {
            Change::Store(entry) => Some(entry.ttl_bounds(self.now)),
            Change::Remove | Change::Nothing => None,
        };
        self.finish(
            flight,
            || {
                let mut base = base.clone();
                base.story.clone_from(&sent_tag);
                base.ttl = ttl;
                (base, failure)
            },
            &outcome,
        )
    }

    /// What an answer of the upstream's means to the waiters and to the store.
    fn interpret(&self, flight: &InFlight, version: u64, answer: &Answer, tag: &str) -> Interpretation {
        let may_change = !flight.purged;
        let no_store = answer.words.contains(&Word::NoStore);
        let status = status(answer.what);
        let refused = |why: &str| format!("; fwd-status={status}; detail={why}");
        let now = self.now;
        let (outcome, base, failure, change) = match answer.what {
            What::Completed(changed) => {
                let changed = changed.map(|ago| self.wall_seconds - i64::from(ago));
                let entry = self.entry_of(flight, version, answer, changed, tag);
                let mut base = expected(200, String::new());
                base.version = Some(version);
                base.age = Some(entry.age(now) / 1000).filter(|age| *age > 0);
                if no_store {
                    base.age = answer.age.map(i64::from);
                    (refused("no-store"), base, false, Change::Remove)
                } else {
                    (stored_or(flight, may_change, status, &refused), base, false, Change::Store(entry))
                }
            }
            What::NotModified if flight.entry.as_ref().is_some_and(|entry| entry.upstream_tag) => {
                let mut entry = flight.entry.clone().expect("just looked");
                if !answer.words.is_empty() {
                    entry.words.clone_from(&answer.words);
                }
                self.renew(&mut entry, flight, answer);
                let mut base = expected(200, String::new());
                base.version = Some(entry.version);
                base.age = Some(entry.age(now) / 1000);
                if entry.has(Word::NoStore) {
                    base.age = base.age.filter(|age| *age > 0);
                    (refused("no-store"), base, false, Change::Remove)
                } else {
                    let outcome = stored_or(flight, may_change, status, &refused);
                    if !outcome.contains("stored") {
                        base.age = base.age.filter(|age| *age > 0);
                    }
                    (outcome, base, false, Change::Store(entry))
                }
            }
            What::Missing => {
                let mut base = expected(404, String::new());
                base.version = Some(version);
                if no_store {
                    base.age = answer.age.map(i64::from);
                    (refused("no-store"), base, false, Change::Remove)
                } else {
                    let mut entry = self.entry_of(flight, version, answer, None, "");
                    entry.missing = true;
                    (stored_or(flight, may_change, status, &refused), base, false, Change::Store(entry))
                }
            }
            What::InProgress => {
                (refused("not-completed"), passed(status, version, answer), false, Change::Remove)
            }
            What::NotSuccess => {
                (refused("not-success"), passed(status, version, answer), false, Change::Nothing)
            }
            What::Duplicate => {
                (refused("duplicate-keys"), passed(status, version, answer), false, Change::Nothing)
            }
            What::VariesByAll if no_store => {
                (refused("no-store"), passed(status, version, answer), false, Change::Remove)
            }
            What::VariesByAll => (refused("vary"), passed(status, version, answer), false, Change::Remove),
            What::AnotherCall => (refused("identity"), broken(502), true, Change::Nothing),
            What::NoJson => (refused("invalid-body"), broken(502), true, Change::Nothing),
            What::NotModified | What::Redirect => (refused("status"), broken(502), true, Change::Nothing),
            What::KeyRejected => (refused("status"), broken(502), false, Change::Nothing),
            What::Forbidden | What::Gone => {
                (refused("status"), passed(status, version, answer), false, Change::Remove)
            }
            What::BadRequest | What::Partial => {
                (refused("status"), passed(status, version, answer), false, Change::Nothing)
            }
            What::ServerError | What::TooMany(_) => {
                (refused("status"), passed(status, version, answer), true, Change::Nothing)
            }
            What::Reset => (String::new(), broken(502), true, Change::Nothing),
        };
        Interpretation { outcome, base, failure, change }
    }

    /// The upstream's time is up.
    pub(super) fn time_out(&mut self, number: u64) -> Vec<(usize, Expected)> {
        let Some(flight) = self.flights.remove(&number) else { return Vec::new() };
        if flight.background {
            self.note_failure(&flight);
        }
        self.finish(flight, || (Expected { code: Some("UPSTREAM_TIMEOUT"), ..broken(504) }, true), "")
    }

    fn note_failure(&mut self, flight: &InFlight) {
        let renewed = flight.entry.as_ref().map(|entry| entry.version);
        let now = self.now;
        if let Some(entry) = self.entries.get_mut(&(flight.tenant, flight.call))
            && Some(entry.version) == renewed
            && !flight.purged
        {
            entry.renew_after = now + (1000_i64 << entry.failures.min(16)).min(30_000);
            entry.failures += 1;
        }
    }

    fn entry_of(
        &self,
        flight: &InFlight,
        version: u64,
        answer: &Answer,
        changed: Option<i64>,
        tag: &str,
    ) -> Entry {
        let mut entry = Entry {
            version,
            missing: false,
            received: 0,
            initial_age: 0,
            words: answer.words.clone(),
            changed,
            made_at: 0,
            own_lifetime: None,
            tag: tag.to_owned(),
            upstream_tag: answer.tagged,
            failures: 0,
            renew_after: 0,
            rules: self.rules,
        };
        self.renew(&mut entry, flight, answer);
        entry
    }

    fn renew(&self, entry: &mut Entry, flight: &InFlight, answer: &Answer) {
        let delay = self.now - flight.sent;
        let apparent = answer.dated.map_or(0, |ago| i64::from(ago) * 1000);
        entry.initial_age = apparent.max(answer.age.map_or(0, |age| i64::from(age) * 1000) + delay);
        entry.received = self.now;
        entry.made_at = self.wall_seconds - apparent / 1000;
        entry.own_lifetime = None;
        (entry.failures, entry.renew_after) = (0, 0);
    }

    /// The answer for each waiter: the flight's end, or its stale entry if that is better. `end` creates the end; its
    /// story is the tag for conditions so far.
    fn finish(
        &self,
        flight: InFlight,
        end: impl Fn() -> (Expected, bool),
        outcome: &str,
    ) -> Vec<(usize, Expected)> {
        let now = self.now;
        let answered = flight.waiting.into_iter().map(|waiting| {
            let (mut base, failure) = end();
            let stale = waiting.entry.as_ref().filter(|entry| {
                let stale_for = -entry.left(now);
                failure && waiting.falls_back && !entry.never_stale() && stale_for < entry.error_window()
            });
            if let Some(entry) = stale {
                return (
                    waiting.client,
                    served(entry, now, "; detail=stale-if-error", waiting.condition.as_deref()),
                );
            }
            let tag = base.story.take();
            let collapsed = if waiting.collapsed { "; collapsed" } else { "" };
            base.story = Some(format!("fwd={}{outcome}{collapsed}", waiting.forward));
            let known = base.status == 200
                && match (waiting.condition.as_deref(), tag.as_deref()) {
                    (Some("*"), _) => true,
                    (Some(condition), Some(tag)) => opaque(condition) == opaque(tag),
                    _ => false,
                };
            if known {
                (base.status, base.version) = (304, None);
            }
            (waiting.client, base)
        });
        answered.collect()
    }
}

/// What an answer of the upstream's means to the waiters and to the store.
struct Interpretation {
    /// The end of `Cache-Status` for all who waited.
    outcome: String,
    base: Expected,
    failure: bool,
    change: Change,
}

enum Change {
    Store(Entry),
    Remove,
    Nothing,
}

fn stored_or(flight: &InFlight, may_change: bool, status: u16, refused: &impl Fn(&str) -> String) -> String {
    if !may_change {
        refused("purged")
    } else if !flight.store_mode {
        refused("client-no-store")
    } else {
        format!("; fwd-status={status}; stored; ttl=TTL")
    }
}

/// Whether a stored entry answers a request with these directives.
fn reuse(entry: &Entry, demands: &[RequestDirectives], now: i64) -> EntryUse {
    let stale_for = -entry.left(now);
    let renewable = entry.is_renewable(now);
    let usable = entry.is_fresh(now) || renewable;
    let met = demands.iter().all(|directives| match directives {
        RequestDirectives::MaxAge(most) => *most > 0 && entry.age(now) / 1000 <= i64::from(*most),
        RequestDirectives::MinFresh(least) => {
            entry.is_fresh(now) && entry.left(now) >= i64::from(*least) * 1000
        }
        RequestDirectives::NoCache | RequestDirectives::NoStore => false,
        RequestDirectives::OnlyIfCached | RequestDirectives::MaxStale(_) => true,
    });
    let tolerated = demands.iter().filter_map(|directives| match directives {
        RequestDirectives::MaxStale(most) => Some(most.map_or(i64::MAX, |most| i64::from(most) * 1000)),
        _ => None,
    });
    let tolerated = tolerated.min().is_some_and(|most| stale_for <= most) && !entry.never_stale();
    if !met {
        let because = if usable { "request" } else { "stale" };
        EntryUse::Fetch { because, may_fall_back: false }
    } else if entry.is_fresh(now) {
        EntryUse::Serve { detail: if entry.missing { "; detail=negative" } else { "" } }
    } else if renewable {
        EntryUse::Serve { detail: "; detail=stale-while-revalidate" }
    } else if tolerated {
        EntryUse::Serve { detail: "" }
    } else {
        EntryUse::Fetch { because: "stale", may_fall_back: true }
    }
}

enum EntryUse {
    Serve { detail: &'static str },
    Fetch { because: &'static str, may_fall_back: bool },
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn served(entry: &Entry, now: i64, detail: &str, condition: Option<&str>) -> Expected {
    let status = if entry.missing { 404 } else { 200 };
    let mut expected = expected(status, format!("hit; ttl={}{detail}", entry.ttl(now)));
    expected.age = Some(entry.age(now) / 1000);
    expected.version = Some(entry.version);
    let known =
        condition.is_some_and(|condition| condition == "*" || opaque(condition) == opaque(&entry.tag));
    if status == 200 && known {
        (expected.status, expected.version) = (304, None);
    }
    expected
}

fn passed(status: u16, version: u64, answer: &Answer) -> Expected {
    let mut base = expected(status, String::new());
    base.story = None;
    base.version = Some(version);
    base.age = answer.age.map(i64::from);
    base
}

fn broken(status: u16) -> Expected {
    let mut base = expected(status, String::new());
    base.story = None;
    base
}

pub(super) fn status(what: What) -> u16 {
    match what {
        What::Completed(_)
        | What::InProgress
        | What::NotSuccess
        | What::AnotherCall
        | What::Duplicate
        | What::NoJson
        | What::VariesByAll => 200,
        What::NotModified => 304,
        What::Missing => 404,
        What::Forbidden => 403,
        What::Gone => 410,
        What::KeyRejected => 401,
        What::BadRequest => 400,
        What::ServerError => 500,
        What::Redirect => 302,
        What::Partial => 206,
        What::TooMany(_) => 429,
        What::Reset => 0,
    }
}

pub(super) fn condition_text(condition: Option<Condition>, last: Option<&str>) -> Option<String> {
    match condition? {
        Condition::Last => last.map(str::to_owned),
        Condition::Star => Some("*".to_owned()),
        Condition::Bogus => Some("\"bogus\"".to_owned()),
    }
}
