//! The traffic: what clients request, what they get, and the records kept of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Response};

use super::weather::Weather;
use super::world::{self, LIMITED, NAMES, TENANTS, TOKENS};

/// What happened, tenant by tenant.
pub(super) struct Ledger {
    seed: u64,
    /// Answers of any status.
    answered: [AtomicU64; TENANTS],
    /// Answers with a `Cache-Status`.
    looked_up: [AtomicU64; TENANTS],
    /// Requests whose client disconnected: their results are unknown.
    left: [AtomicU64; TENANTS],
    /// Failures that were explained.
    explained: AtomicU64,
    /// Good answers while nothing was wrong.
    calm: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            answered: Default::default(),
            looked_up: Default::default(),
            left: Default::default(),
            explained: AtomicU64::new(0),
            calm: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    /// Fails if anything has.
    pub(super) fn failures_so_far(&self) {
        let failures = self.failures.lock().unwrap();
        let some = failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(failures.is_empty(), "STORM_SEED={}: {} failures, as\n{some}", self.seed, failures.len());
    }

    /// The gateway's counts against the clients'.
    pub(super) fn check_counts(&self, metrics: &str) {
        let sum = |family: &str, label: &str| -> u64 {
            let lines =
                metrics.lines().filter(|line| line.starts_with(&format!("credira_gateway_{family}{{")));
            let lines = lines.filter(|line| line.contains(label));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let mut lookups = 0;
        for (tenant, name) in NAMES.iter().enumerate() {
            let label = format!("tenant=\"{name}\"");
            let left = self.left[tenant].load(SeqCst);
            let within = |count: u64, least: u64| (least..=least + left).contains(&count);
            let (requests, answered) = (sum("requests_total", &label), self.answered[tenant].load(SeqCst));
            assert!(
                within(requests, answered),
                "STORM_SEED={}: {name}: {requests}, {answered} + {left}",
                self.seed
            );
            let (outcomes, told) = (sum("cache_requests_total", &label), self.looked_up[tenant].load(SeqCst));
            assert!(within(outcomes, told), "STORM_SEED={}: {name}: {outcomes}, {told} + {left}", self.seed);
            lookups += outcomes;
        }
        let timed = sum("request_duration_seconds_count", "route=\"call\"");
        let refused = sum("request_duration_seconds_count", "outcome=\"none\",route=\"call\"");
        assert_eq!(timed - refused, lookups, "STORM_SEED={}: each lookup has one outcome", self.seed);
    }

    /// The storm must have been one.
    #[expect(clippy::print_stdout, reason = "what `--nocapture` shows of a run")]
    pub(super) fn check_variety(&self) {
        let answered: u64 = self.answered.iter().map(|count| count.load(SeqCst)).sum();
        let (explained, calm) = (self.explained.load(SeqCst), self.calm.load(SeqCst));
        let left: u64 = self.left.iter().map(|count| count.load(SeqCst)).sum();
        println!(
            "seed {}: {answered} answers, {explained} failures explained, {calm} in calm, {left} left",
            self.seed
        );
        assert!(answered > 1000 && explained > 0 && calm > 200 && left > 10, "STORM_SEED={}", self.seed);
    }
}

/// How a client handles a request.
struct Asked<'a> {
    tenant: usize,
    id: &'a str,
    method: &'static str,
    conditional: bool,
}

/// A plain lookup.
pub(super) fn plain(gateway: &Gateway, tenant: usize, id: &str) -> Response {
    gateway.connect().get(&format!("/v1/calls/{id}"), TOKENS[tenant], &[]).read()
}

/// Runs one client after another, until the end.
pub(super) fn ask(seed: u64, gateway: &Gateway, weather: &Weather, ledger: &Ledger, end: Instant) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kept: Option<Client> = None;
    while Instant::now() < end {
        let mut client = kept.take().unwrap_or_else(|| gateway.connect());
        let id = world::id(&mut random);
        let tenant = random.usize(..TENANTS);
        let asked = Asked {
            tenant,
            id: &id,
            method: if random.u8(..20) == 0 { "HEAD" } else { "GET" },
            conditional: random.u8(..20) == 0,
        };
        let path = format!("/v1/calls/{id}");
        match random.u8(..100) {
            0..=2 => unauthenticated(&mut client, &path, ledger),
            3..=4 => nonsense(&mut client, tenant, ledger),
            5..=9 => {
                client.request(asked.method, &path, TOKENS[tenant], &[]);
                ledger.left[tenant].fetch_add(1, SeqCst);
                std::thread::sleep(Duration::from_micros(random.u64(..2000)));
                client.leave();
                continue;
            }
            _ => {
                let mut lines = vec!["Cookie: x=canary", "X-Canary: canary"];
                lines.extend(asked.conditional.then_some("If-None-Match: *"));
                lines.extend((random.u8(..30) == 0).then_some("Cache-Control: no-cache"));
                let began = Instant::now();
                client.request(asked.method, &path, TOKENS[tenant], &lines);
                let answer = if asked.method == "HEAD" { client.read_head() } else { client.try_read() };
                match answer {
                    Some(answer) => judge(&asked, &answer, weather, began, ledger),
                    None => ledger.fail(format!("no answer to {} {path}", asked.method)),
                }
            }
        }
        if random.u8(..10) > 0 {
            kept = Some(client);
        }
        if random.u8(..4) == 0 {
            std::thread::sleep(Duration::from_millis(random.u64(..10)));
        }
    }
}

/// A client without a valid token.
fn unauthenticated(client: &mut Client, path: &str, ledger: &Ledger) {
    let answer = client.get(path, "token-of-no-tenant-0123456789abcdefg", &[]).read();
    if answer.status != 401 {
        ledger.fail(format!("a unauthenticated got {answer:?}"));
    }
}

/// A request that is not a lookup.
fn nonsense(client: &mut Client, tenant: usize, ledger: &Ledger) {
    let answer = client.get("/v1/calls/nonsense", TOKENS[tenant], &[]).read();
    ledger.answered[tenant].fetch_add(1, SeqCst);
    if answer.status != 400 && !(tenant == LIMITED && answer.status == 429) {
        ledger.fail(format!("nonsense got {answer:?}"));
    }
}

/// Whether an answer is right, or its failure is explained.
fn judge(asked: &Asked<'_>, answer: &Response, weather: &Weather, began: Instant, ledger: &Ledger) {
    let Asked { tenant, id, .. } = *asked;
    ledger.answered[tenant].fetch_add(1, SeqCst);
    ledger.looked_up[tenant].fetch_add(u64::from(answer.header("cache-status").is_some()), SeqCst);
    let right = match answer.status {
        200 => !world::is_missing(id) && (asked.method == "HEAD" || is_whole(tenant, id, answer)),
        304 => asked.conditional,
        404 => world::is_missing(id),
        _ => false,
    };
    let over_limit = tenant == LIMITED
        && answer.status == 429
        && answer.header("ratelimit").is_some_and(|limit| limit.contains("r=0"));
    if right || over_limit {
        let calm = right && !weather.explains(began, Instant::now());
        ledger.calm.fetch_add(u64::from(calm), SeqCst);
        return;
    }
    let may_be = matches!(answer.status, 429 | 500 | 502 | 503 | 504);
    if may_be && weather.explains(began, Instant::now()) {
        ledger.explained.fetch_add(1, SeqCst);
    } else {
        let text: String = answer.text().chars().take(300).collect();
        let method = asked.method;
        ledger.fail(format!(
            "{} got {} to {method} {id}: {:?} {text}",
            NAMES[tenant], answer.status, answer.headers
        ));
    }
}

/// Whether it is this tenant's answer about this call, to its last byte.
fn is_whole(tenant: usize, id: &str, answer: &Response) -> bool {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return false };
    let data = &body["data"];
    data["id"] == id && data["canary"] == world::canary(tenant, id) && data["filler"] == world::filler(id)
}

#[test]
fn the_storms_checker_detects_wrong_answers() {
    let text = |tenant, id: &str| world::body(tenant, id, 1);
    let of = |body: String| Response { status: 200, headers: Vec::new(), body: body.into_bytes() };
    let (id, other) = ("call_storm12", "call_storm13");
    assert!(is_whole(0, id, &of(text(0, id))));
    for (what, body) in [
        ("another tenant's", text(1, id)),
        ("another call", text(0, other)),
        ("another call's data under this ID", text(0, other).replacen(other, id, 1)),
        ("less than all", text(0, id).replacen('x', "", 1)),
        ("half", text(0, id)[..100].to_owned()),
        ("nothing", String::new()),
    ] {
        assert!(!is_whole(0, id, &of(body)), "{what}");
    }
    let ledger = Ledger::new(0);
    let asked = Asked { tenant: 0, id, method: "GET", conditional: false };
    let mut judged = 0;
    for (status, body) in [(200, text(1, id)), (304, String::new()), (404, "{}".into()), (502, "{}".into())] {
        let answer = Response { status, ..of(body) };
        judge(&asked, &answer, &Weather::new(), Instant::now(), &ledger);
        judged += 1;
        assert_eq!(ledger.failures.lock().unwrap().len(), judged, "{status} in calm weather");
    }
}
