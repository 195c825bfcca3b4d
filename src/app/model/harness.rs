//! Plays a sequence to the gateway and to the reference, and compares what clients see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::reference::{Asked, Expected, Fetch, Reference, Renewal, Rules, condition_text, status};
use super::sequence::{Answer, Ask, NewKey, RequestDirectives, Step, What, Word};
use crate::app::in_process::{InProcessGateway, WholeAnswer, opened};
use crate::clock::{self, WallClock};
use crate::domain::CallId;
use crate::upstream::{ExchangeDeadlines, ExchangeError, Opened, Opening, Transport};

const NAMES: [&str; 2] = ["alpha", "beta"];
const TOKENS: [&str; 3] = [
    "token-of-alpha-0123456789abcdefghij",
    "token-of-beta-0123456789abcdefghijk",
    "token-of-no-tenant-0123456789abcdef",
];
const CALLS: [&str; 2] = ["call_1", "call_2"];

/// Some day in 2024.
const WALL_SECONDS: i64 = 1_717_243_200;

/// A request that waits for the upstream's answer.
struct Pending {
    number: u64,
    headers: HeaderMap,
    path: String,
    answer: oneshot::Sender<Result<Opened, ExchangeError>>,
}

/// The upstream: holds every request until the sequence answers it.
#[derive(Default)]
struct Script(Mutex<Vec<Pending>>);

impl Transport for Script {
    fn open(&self, request: Request<Bytes>, deadlines: ExchangeDeadlines) -> Opening<'_> {
        let (answer, answered) = oneshot::channel();
        let (head, _) = request.into_parts();
        let path = head.uri.path().to_owned();
        self.0.lock().unwrap().push(Pending { number: 0, headers: head.headers, path, answer });
        Box::pin(async move {
            match tokio::time::timeout_at(deadlines.end.for_timer(), answered).await {
                Ok(answered) => answered.unwrap_or(Err(ExchangeError::Reset)),
                Err(_) => Err(ExchangeError::Timeout),
            }
        })
    }
}

struct Client {
    tenant: usize,
    call: usize,
    task: JoinHandle<WholeAnswer>,
}

/// Both sides of the test.
pub(super) struct Harness {
    reference: Reference,
    in_process: InProcessGateway,
    script: Arc<Script>,
    wall_seconds: Arc<AtomicI64>,
    keys: [u32; 2],
    /// Pending upstream requests, by number.
    pending: BTreeMap<u64, Pending>,
    next_number: u64,
    next_version: u64,
    clients: BTreeMap<usize, Client>,
    next_client: usize,
    expected: BTreeMap<usize, Expected>,
    last_tags: BTreeMap<(usize, usize), String>,
    lookups: u64,
}

type Outcome = Result<(), String>;

fn configuration(keys: [u32; 2]) -> String {
    let tenants: String = NAMES
        .iter()
        .zip(TOKENS)
        .zip(keys)
        .map(|((name, token), key)| {
            format!(
                "[[tenants]]\nname = \"{name}\"\ntokens = [{{ value = \"{token}\" }}]\nupstream_key = {{ value = \"{name}-{key}\" }}\n"
            )
        })
        .collect();
    format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1\"\ntotal_timeout = \"10s\"\n[upstream.retry]\nmax_attempts = 1\n\
         [upstream.breaker]\nmin_requests = 1000000\n\
         [cache]\nttl = \"1000s\"\nsettle_window = \"600s\"\nsettle_ttl = \"30s\"\nstale_while_revalidate = \"60s\"\n\
         stale_if_error = \"300s\"\nnot_found_ttl = \"5s\"\n{tenants}"
    )
}

impl Harness {
    pub(super) fn new(rules: Rules) -> Self {
        let wall_seconds = Arc::new(AtomicI64::new(WALL_SECONDS));
        let wall = WallClock::by_hand(Arc::clone(&wall_seconds));
        let script = Arc::new(Script::default());
        Self {
            reference: Reference::new(rules, WALL_SECONDS),
            in_process: InProcessGateway::on_clock(wall, &configuration([0, 0]), Arc::clone(&script)),
            script,
            wall_seconds,
            keys: [0, 0],
            pending: BTreeMap::new(),
            next_number: 1,
            next_version: 1,
            clients: BTreeMap::new(),
            next_client: 0,
            expected: BTreeMap::new(),
            last_tags: BTreeMap::new(),
            lookups: 0,
        }
    }

    /// Plays a sequence; the error says where the gateway and the reference differ.
    pub(super) async fn play(&mut self, steps: &[Step]) -> Outcome {
        for (place, step) in steps.iter().enumerate() {
            let played = self.step(step).await;
            played.map_err(|error| format!("at step {place}, {step:?}: {error}"))?;
        }
        self.end().await
    }

    async fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Ask(ask) => self.ask(ask).await?,
            Step::Answer(which, answer) => {
                let numbers: Vec<u64> = self.pending.keys().copied().collect();
                if let Some(number) = numbers.get(which % numbers.len().max(1)) {
                    self.answer(*number, answer).await?;
                }
            }
            Step::Disconnect(which) => {
                let waiting: Vec<usize> = self.clients.keys().copied().collect();
                if let Some(client) = waiting.get(which % waiting.len().max(1)) {
                    self.clients.remove(client).unwrap().task.abort();
                    self.reference.leave(*client);
                }
            }
            Step::Pass(seconds) => self.pass(*seconds).await,
            Step::SetWallClock(seconds) => {
                self.reference.wall_seconds += i64::from(*seconds);
                self.wall_seconds.store(self.reference.wall_seconds, Ordering::SeqCst);
            }
            Step::PurgeCall(tenant, call) => {
                let purged = self.cache(*tenant).purge_call(&id(*call));
                let expected = self.reference.purge_call(*tenant, *call);
                same("purged", &purged, &expected)?;
            }
            Step::PurgeTenant(tenant) => {
                self.cache(*tenant).purge_all();
                self.reference.purge_tenant(*tenant);
            }
            Step::Evict(tenant, call) => {
                self.cache(*tenant).current().evict(&id(*call));
                self.reference.evict(*tenant, *call);
            }
            Step::Reload(tenant, key) => self.reload(*tenant, *key),
        }
        self.check().await
    }

    fn cache(&self, tenant: usize) -> Arc<crate::cache::TenantCache> {
        Arc::clone(self.in_process.tenant(NAMES[tenant]).cache())
    }

    #[expect(clippy::disallowed_methods, reason = "the test waits for its own tasks")]
    async fn ask(&mut self, ask: &Ask) -> Outcome {
        let client = self.next_client;
        self.next_client += 1;
        self.lookups += u64::from(ask.tenant < 2);
        let last = self.last_tags.get(&(ask.tenant, ask.call)).map(String::as_str);
        let condition = condition_text(ask.condition, last);
        let mut request = Request::builder()
            .uri(format!("/v1/calls/{}", CALLS[ask.call]))
            .header("host", "gateway")
            .header("authorization", format!("Bearer {}", TOKENS[ask.tenant]));
        if !ask.demands.is_empty() {
            let line: Vec<_> = ask.demands.iter().map(demand_text).collect();
            request = request.header("cache-control", line.join(", "));
        }
        if let Some(condition) = &condition {
            request = request.header("if-none-match", condition);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let task = tokio::spawn(self.in_process.ask(request));
        self.clients.insert(client, Client { tenant: ask.tenant, call: ask.call, task });
        let number = self.next_number;
        let begins = match self.reference.ask(ask, client, number, condition) {
            Asked::Answered(expected, renewal) => {
                self.expected.insert(client, expected);
                renewal == Renewal::Begins
            }
            Asked::Waits(fetch) => fetch == Fetch::New,
        };
        if begins {
            self.next_number += 1;
        }
        if begins && self.reference.paused(ask.tenant).is_some() {
            self.expected.extend(self.reference.refuse_paused(number));
        }
        settle().await;
        self.take_arrivals(ask, number)
    }

    /// Takes the requests that have reached the upstream: exactly those that the reference began, containing only
    /// what tenant, call and stored entry determine.
    fn take_arrivals(&mut self, ask: &Ask, number: u64) -> Outcome {
        let arrived = std::mem::take(&mut *self.script.0.lock().unwrap());
        let begun = u64::from(self.reference.has_flight(number));
        same("requests that reach the upstream", &(arrived.len() as u64), &begun)?;
        for mut pending in arrived {
            pending.number = number;
            let mut resolver: Vec<_> = pending.headers.keys().map(|name| name.as_str()).collect();
            resolver.sort_unstable();
            let validator = self.reference.validator(number);
            let mut expected =
                vec!["accept", "accept-encoding", "authorization", "user-agent", "via", "x-request-id"];
            if validator.is_some() {
                expected.push("if-none-match");
            }
            expected.sort_unstable();
            same("the request's fields", &resolver, &expected)?;
            let sent = pending.headers.get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
            same("If-None-Match", &sent, &validator)?;
            let key = format!("Bearer {}-{}", NAMES[ask.tenant], self.keys[ask.tenant]);
            same("the key", &pending.headers["authorization"].to_str().unwrap(), &key.as_str())?;
            same("the path", &pending.path, &format!("/v1/calls/{}", CALLS[ask.call]))?;
            self.pending.insert(number, pending);
        }
        Ok(())
    }

    async fn answer(&mut self, number: u64, answer: &Answer) -> Outcome {
        let pending = self.pending.remove(&number).unwrap();
        let version = self.next_version;
        self.next_version += 1;
        let call = pending.path.rsplit('/').next().unwrap().to_owned();
        let key = pending.headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        let asked_tag = pending.headers.get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
        let tag = if answer.tagged { format!("\"v{version}\"") } else { format!("made-{version}") };
        let answered = self.reference.answer(number, version, answer, &tag);
        self.expected.extend(answered);
        let result = match answer.what {
            What::Reset => Err(ExchangeError::ResetInHead),
            _ => Ok(received(answer, version, &call, &key, asked_tag, self.reference.wall_seconds)),
        };
        // A fetch whose deadline has passed no longer listens.
        let _ = pending.answer.send(result);
        settle().await;
        self.learn_lifetimes()
    }

    /// Configured lifetimes are jittered: the reference adopts the gateway's choice if it is within bounds.
    fn learn_lifetimes(&mut self) -> Outcome {
        for tenant in 0..2 {
            for call in 0..2 {
                let stored = self.cache(tenant).current().entry(&id(call));
                let known = self.reference.entry(tenant, call);
                let (Some(stored), Some(known)) = (&stored, known) else { continue };
                let tag =
                    stored.response.field(&http::header::ETAG).map(|tag| tag.to_str().unwrap().to_owned());
                if let Some(made) = tag.filter(|_| known.tag.starts_with("made-")) {
                    known.tag = made;
                }
                if let (Some((least, most)), None) = (known.own_bounds(), known.own_lifetime) {
                    let freshness = stored.freshness(&self.in_process.runtime.settings.cache, clock::now());
                    let chosen = i64::try_from(freshness.lifetime().as_millis()).unwrap();
                    if !(least..=most).contains(&chosen) {
                        return Err(format!("a lifetime of {chosen} ms is not within {least} and {most}"));
                    }
                    known.own_lifetime = Some(chosen);
                }
            }
        }
        Ok(())
    }

    async fn pass(&mut self, seconds: u16) {
        self.reference.now += i64::from(seconds) * 1000;
        self.reference.wall_seconds += i64::from(seconds);
        self.wall_seconds.store(self.reference.wall_seconds, Ordering::SeqCst);
        let overdue = self.reference.overdue();
        for number in &overdue {
            let answered = self.reference.time_out(*number);
            self.expected.extend(answered);
        }
        tokio::time::advance(Duration::from_secs(seconds.into())).await;
        settle().await;
        for number in overdue {
            self.pending.remove(&number);
        }
    }

    fn reload(&mut self, tenant: usize, key: NewKey) {
        if key == NewKey::Other {
            self.keys[tenant] += 1;
            self.reference.purge_tenant(tenant);
        }
        self.in_process.reload(&configuration(self.keys));
    }

    /// Every client that should have been answered was, as expected; no other was.
    async fn check(&mut self) -> Outcome {
        let answered: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, client)| client.task.is_finished())
            .map(|(client, _)| *client)
            .collect();
        for number in answered {
            let client = self.clients.remove(&number).unwrap();
            let saw = client.task.await.map_err(|error| error.to_string())?;
            let Some(expected) = self.expected.remove(&number) else {
                return Err(format!("client {number} should still wait, and saw {saw:?}"));
            };
            compare(&saw, &expected)
                .map_err(|error| format!("client {number}: {error}\nexpected {expected:?}\nsaw {saw:?}"))?;
            if let Some(tag) = saw.headers.get("etag").filter(|_| client.tenant < 2) {
                self.last_tags.insert((client.tenant, client.call), tag.to_str().unwrap().to_owned());
            }
        }
        if let Some(number) = self.expected.keys().next() {
            return Err(format!("client {number} should have been answered: {:?}", self.expected[number]));
        }
        Ok(())
    }

    /// All clients disconnect: every lookup has had exactly one outcome.
    async fn end(&mut self) -> Outcome {
        for client in std::mem::take(&mut self.clients).into_values() {
            client.task.abort();
            let _ = client.task.await;
        }
        settle().await;
        let tenants = self.in_process.runtime.metrics();
        let counted: u64 =
            tenants.iter().flat_map(|tenant| tenant.lookups().collect::<Vec<_>>()).map(|(_, n)| n).sum();
        same("outcomes", &counted, &self.lookups)
    }
}

fn id(call: usize) -> CallId {
    CallId::parse(CALLS[call].as_bytes()).unwrap()
}

/// Lets every task run until it waits. Time stands still meanwhile.
async fn settle() {
    for _ in 0..24 {
        tokio::task::yield_now().await;
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{what}: {got:?} instead of {expected:?}")) }
}

fn compare(saw: &WholeAnswer, expected: &Expected) -> Outcome {
    same("status", &saw.status, &expected.status)?;
    let story = saw.field("cache-status").map(|line| line.trim_start_matches("credira-gateway; ").to_owned());
    same_story(story, expected)?;
    same("Age", &saw.field("age").map(|age| age.parse().unwrap()), &expected.age)?;
    if saw.status == 304 {
        return Ok(());
    }
    let body: serde_json::Value = serde_json::from_slice(&saw.body).map_err(|error| error.to_string())?;
    same("version", &body["meta"]["version"].as_u64(), &expected.version)?;
    match expected.code {
        Some(code) => same("code", &body["error"]["code"].as_str(), &Some(code)),
        None => Ok(()),
    }
}

fn same_story(story: Option<String>, expected: &Expected) -> Outcome {
    let (Some(got), Some(template), Some((least, most))) = (&story, &expected.story, expected.ttl) else {
        return same("Cache-Status", &story, &expected.story);
    };
    let ttl = got.split("; ").find_map(|part| part.strip_prefix("ttl=")?.parse::<i64>().ok());
    match ttl.filter(|_| template.contains("TTL")) {
        Some(ttl) if !(least..=most).contains(&ttl) => {
            Err(format!("ttl {ttl} is not within {least} and {most}"))
        }
        Some(ttl) => same("Cache-Status", got, &template.replace("TTL", &ttl.to_string())),
        None => same("Cache-Status", got, template),
    }
}

fn demand_text(directives: &RequestDirectives) -> String {
    match directives {
        RequestDirectives::NoCache => "no-cache".into(),
        RequestDirectives::NoStore => "no-store".into(),
        RequestDirectives::OnlyIfCached => "only-if-cached".into(),
        RequestDirectives::MaxAge(seconds) => format!("max-age={seconds}"),
        RequestDirectives::MinFresh(seconds) => format!("min-fresh={seconds}"),
        RequestDirectives::MaxStale(Some(seconds)) => format!("max-stale={seconds}"),
        RequestDirectives::MaxStale(None) => "max-stale".into(),
    }
}

fn word_text(word: &Word) -> String {
    match word {
        Word::MaxAge(seconds) => format!("max-age={seconds}"),
        Word::SharedMaxAge(seconds) => format!("s-maxage=\"{seconds}\""),
        Word::UnreadableMaxAge => "max-age=soon".into(),
        Word::NoCache => "No-Cache".into(),
        Word::NoStore => "no-store".into(),
        Word::MustRevalidate => "must-revalidate".into(),
        Word::StaleWhileRevalidate(seconds) => format!("stale-while-revalidate={seconds}"),
        Word::StaleIfError(seconds) => format!("stale-if-error={seconds}"),
        Word::Private => "private".into(),
    }
}

/// The answer as received from the network.
fn received(
    answer: &Answer,
    version: u64,
    call: &str,
    key: &str,
    asked_tag: Option<String>,
    wall_seconds: i64,
) -> Opened {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: String| {
        headers.append(name, value.parse().unwrap());
    };
    for word in &answer.words {
        set("cache-control", word_text(word));
    }
    if let Some(age) = answer.age {
        set("age", age.to_string());
    }
    if let Some(ago) = answer.dated {
        let then = jiff::Timestamp::from_second(wall_seconds - i64::from(ago)).unwrap();
        set("date", httpdate::fmt_http_date(then.into()));
    }
    match (answer.what, asked_tag) {
        (What::NotModified, Some(tag)) if answer.tagged => set("etag", tag),
        (What::NotModified, _) => {}
        _ if answer.tagged => set("etag", format!("\"v{version}\"")),
        _ => {}
    }
    if answer.what == What::VariesByAll {
        set("vary", "Accept, *".into());
    }
    if let What::TooMany(seconds) = answer.what {
        set("retry-after", seconds.to_string());
    }
    let body = body(answer.what, version, call, key, wall_seconds);
    let status = StatusCode::from_u16(status(answer.what)).unwrap();
    opened(status, headers, body)
}

fn body(what: What, version: u64, call: &str, key: &str, wall_seconds: i64) -> String {
    let changed = match what {
        What::Completed(Some(ago)) => {
            jiff::Timestamp::from_second(wall_seconds - i64::from(ago)).unwrap().to_string()
        }
        _ => "unknown".to_owned(),
    };
    let (id, state, success, extra) = match what {
        What::AnotherCall => ("call_other", "completed", true, ""),
        What::InProgress => (call, "in_progress", true, ""),
        What::NotSuccess => (call, "completed", false, ""),
        What::Duplicate => (call, "completed", true, "\"status\":\"completed\","),
        _ => (call, "completed", true, ""),
    };
    match what {
        What::NoJson => "<html>".to_owned(),
        What::NotModified | What::Redirect => String::new(),
        What::Completed(_)
        | What::InProgress
        | What::NotSuccess
        | What::AnotherCall
        | What::Duplicate
        | What::VariesByAll
        | What::Partial => format!(
            r#"{{"success":{success},"data":{{"id":"{id}",{extra}"status":"{state}","updated_time":"{changed}","n":{version}}},"meta":{{"version":{version},"key":"{key}"}}}}"#
        ),
        _ => format!(
            r#"{{"success":false,"error":{{"code":"X","message":"x"}},"meta":{{"version":{version},"key":"{key}"}}}}"#
        ),
    }
}
