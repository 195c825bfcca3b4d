//! States of a gateway that a lookup may find, one for each verdict of `explain` and each cause.

use super::{
    Act, Client, Config, Disk, Gate, Gateway, Seen, TOKENS, Upstream, call, call_reply, eventually, reply,
    warm,
};

/// A situation, and what a lookup of alpha's gets in it.
pub(crate) struct Scene {
    pub name: &'static str,
    pub config: Config,
    /// The reply to an earlier process, which left the call on disk.
    pub left_on_disk: Option<fn(&Seen) -> Vec<Act>>,
    /// Sets it up.
    pub prepare: fn(&Gateway, &Upstream) -> Held,
    /// The call that is looked up.
    pub id: &'static str,
    /// The lookup's header lines: `Cache-Control` or `Prefer`.
    pub lines: &'static [&'static str],
    pub would: &'static str,
    /// The `detail` of the lookup's access line.
    pub detail: Option<&'static str>,
}

/// What keeps a situation as it is.
#[derive(Default)]
pub(crate) struct Held {
    pub clients: Vec<Client>,
    /// Holds the upstream back.
    pub gate: Gate,
    _disk: Option<Disk>,
}

/// A scene: a name, what a lookup gets, and what differs from a fresh gateway and a lookup of `call_1`.
fn scene(name: &'static str, would: &'static str, detail: Option<&'static str>) -> Scene {
    let prepare = |_: &Gateway, _: &Upstream| Held::default();
    let config = Config::default();
    Scene { name, config, left_on_disk: None, prepare, id: "call_1", lines: &[], would, detail }
}

impl Scene {
    fn with(self, section: &str, lines: &str) -> Self {
        Self { config: self.config.with(section, lines), ..self }
    }

    fn tenant(self, lines: &str) -> Self {
        Self { config: self.config.tenant(0, lines), ..self }
    }

    fn after(self, prepare: fn(&Gateway, &Upstream) -> Held) -> Self {
        Self { prepare, ..self }
    }

    fn on_disk(self, reply: fn(&Seen) -> Vec<Act>) -> Self {
        Self { left_on_disk: Some(reply), ..self }
    }

    fn of(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    fn sending(self, lines: &'static [&'static str]) -> Self {
        Self { lines, ..self }
    }

    /// Starts the gateway and sets the scene.
    pub(crate) fn open(&self) -> (Gateway, Upstream, Held) {
        let upstream = Upstream::contract();
        let mut config = self.config.clone().with("log", "access = \"all\"");
        let mut disk = None;
        if let Some(reply) = self.left_on_disk {
            let level = Disk::new();
            config = level.added_to(config);
            upstream.now(reply);
            warm(&config, &upstream, &["call_1"]);
            disk = Some(level);
        }
        let gateway = config.start(&upstream);
        let held = (self.prepare)(&gateway, &upstream);
        (gateway, upstream, Held { _disk: disk, ..held })
    }

    /// The explanation's path.
    pub(crate) fn path(&self) -> String {
        let field = |line: &&str| {
            let (name, value) = line.split_once(": ").expect("a header line");
            format!("{}={value}", name.to_ascii_lowercase())
        };
        let query = self.lines.iter().map(field).collect::<Vec<_>>().join("&");
        format!("/api/v1/explain/alpha/{}?{query}", self.id)
    }
}

const STALE: [&str; 3] = ["Cache-Control: max-age=60", "Age: 100", "ETag: \"v1\""];
const NO_EARLY_RENEWAL: &str = "stale_while_revalidate = \"0s\"";
const SENSITIVE: &str = "min_requests = 1\nopen_for = \"60s\"";

fn stored(gateway: &Gateway, _: &Upstream) -> Held {
    assert_eq!(gateway.get("call_1").status, 200);
    Held::default()
}

fn stored_stale(gateway: &Gateway, upstream: &Upstream) -> Held {
    upstream.now(|seen| call_reply(seen.id(), &STALE));
    stored(gateway, upstream)
}

/// Has a lookup of another call get this reply.
fn meets(gateway: &Gateway, upstream: &Upstream, acts: fn(&Seen) -> Vec<Act>) -> Held {
    upstream.now(acts);
    gateway.get("call_2");
    Held::default()
}

fn paused(gateway: &Gateway, upstream: &Upstream) -> Held {
    meets(gateway, upstream, |_| reply("429 X", &["Retry-After: 60"], "{}"))
}

fn opened(gateway: &Gateway, upstream: &Upstream) -> Held {
    meets(gateway, upstream, |_| reply("500 X", &[], "{}"))
}

/// Has a lookup wait for the upstream.
fn waiting(gateway: &Gateway, upstream: &Upstream, tenant: usize, id: &str) -> Held {
    let gate = Gate::default();
    let waits = gate.clone();
    upstream.now(move |seen| [vec![Act::Wait(waits.clone())], call_reply(seen.id(), &[])].concat());
    let before = upstream.count();
    let mut client = gateway.connect();
    client.get(&format!("/v1/calls/{id}"), TOKENS[tenant], &[]);
    upstream.wait_for(before + 1);
    Held { clients: vec![client], gate, _disk: None }
}

/// Every scene.
pub(crate) fn scenes() -> Vec<Scene> {
    let mut scenes = refused_before_the_cache();
    scenes.extend(answered_from_the_cache());
    scenes.extend(found_on_disk());
    scenes.extend(held_back());
    scenes.extend(sent_upstream());
    scenes
}

fn refused_before_the_cache() -> Vec<Scene> {
    vec![
        scene("the tenant's limit is spent, though the call is stored", "refuse", Some("tenant-limit"))
            .tenant("rate_limit = { per_minute = 1, burst = 1 }")
            .after(stored),
        scene("the limit comes before a malformed ID", "refuse", Some("tenant-limit"))
            .tenant("rate_limit = { per_minute = 1, burst = 1 }")
            .after(stored)
            .of("nonsense"),
        scene("the tenant has no such route", "refuse", Some("route")).tenant("routes = [\"calls\"]"),
        scene("the route comes before a malformed ID", "refuse", Some("route"))
            .tenant("routes = [\"calls\"]")
            .of("nonsense"),
        scene("the ID is malformed", "refuse", Some("call-id")).of("nonsense"),
    ]
}

fn answered_from_the_cache() -> Vec<Scene> {
    vec![
        scene("the call is stored", "hit", None).after(stored),
        scene("the call is stored and the upstream fails", "hit", None)
            .with("upstream.breaker", SENSITIVE)
            .after(|gateway, upstream| {
                stored(gateway, upstream);
                opened(gateway, upstream)
            }),
        scene("the upstream's 404 is remembered", "negative", Some("negative"))
            .after(|gateway, _| {
                gateway.get("call_missing1");
                Held::default()
            })
            .of("call_missing1"),
        scene("the entry is renewed while it is served", "stale", Some("stale-while-revalidate"))
            .after(stored_stale),
        scene("its renewal leaves the budget to lookups", "stale", Some("stale-while-revalidate"))
            .tenant("upstream_limit = { per_minute = 1, burst = 4 }")
            .after(|gateway, upstream| {
                stored_stale(gateway, upstream);
                gateway.get("call_2");
                gateway.get("call_3");
                Held::default()
            }),
        scene("its renewal leaves the connections to lookups", "stale", Some("stale-while-revalidate"))
            .with("upstream", "max_connections = 4")
            .after(|gateway, upstream| {
                stored_stale(gateway, upstream);
                let (mut held, others) = (waiting(gateway, upstream, 0, "call_2"), ["call_3", "call_4"]);
                for (count, id) in others.into_iter().enumerate() {
                    let mut client = gateway.connect();
                    client.get(&format!("/v1/calls/{id}"), TOKENS[0], &[]);
                    upstream.wait_for(3 + count);
                    held.clients.push(client);
                }
                held
            }),
        scene("its renewal waits after one that failed", "stale", Some("stale-while-revalidate")).after(
            |gateway, upstream| {
                stored_stale(gateway, upstream);
                upstream.now(|_| reply("500 X", &[], "{}"));
                gateway.get("call_1");
                let failures = "upstream_requests_total{code=\"500\",tenant=\"alpha\"}";
                eventually("the renewal has failed", || gateway.metric_or_0(failures) == 1.0);
                let renewal = || gateway.admin("/api/v1/explain/alpha/call_1").text();
                eventually("that is noted", || renewal().contains("waits after a failure"));
                Held::default()
            },
        ),
        scene("the client tolerates a stale entry", "stale", None)
            .with("cache", NO_EARLY_RENEWAL)
            .after(stored_stale)
            .sending(&["Cache-Control: max-stale=100"]),
        scene("the client takes only what is cached", "refuse", Some("only-if-cached"))
            .sending(&["Cache-Control: only-if-cached"]),
        scene("the client takes only what is cached and new", "refuse", Some("only-if-cached"))
            .after(stored)
            .sending(&["Cache-Control: only-if-cached,no-cache"]),
    ]
}

fn found_on_disk() -> Vec<Scene> {
    let fresh = |seen: &Seen| call_reply(seen.id(), &["ETag: \"v1\""]);
    let stale = |seen: &Seen| call_reply(seen.id(), &STALE);
    let paused = |gateway: &Gateway, upstream: &Upstream| paused(gateway, upstream);
    vec![
        scene("the call is on disk", "hit", Some("disk")).on_disk(fresh),
        scene("the call is on disk, the client takes only what is cached", "hit", Some("disk"))
            .on_disk(fresh)
            .sending(&["Cache-Control: only-if-cached"]),
        scene("the call is on disk and the breaker is open", "hit", Some("disk"))
            .with("upstream.breaker", SENSITIVE)
            .on_disk(fresh)
            .after(opened),
        scene("the call is on disk and the budget is spent", "hit", Some("disk"))
            .tenant("upstream_limit = { per_minute = 1, burst = 1 }")
            .on_disk(fresh)
            .after(|gateway, _| {
                gateway.get("call_2");
                Held::default()
            }),
        scene("the call is on disk, the client wants it renewed", "fetch", None)
            .on_disk(fresh)
            .sending(&["Cache-Control: no-cache"]),
        scene("a stale entry is on disk", "fetch", None).with("cache", NO_EARLY_RENEWAL).on_disk(stale),
        scene(
            "a stale entry is on disk and is renewed while it is served",
            "stale",
            Some("stale-while-revalidate"),
        )
        .on_disk(stale),
        scene("a stale entry is on disk, the upstream said 429", "stale", Some("stale-if-error"))
            .with("cache", NO_EARLY_RENEWAL)
            .on_disk(stale)
            .after(paused),
        scene("too many lookups wait for a call on disk to be read", "refuse", Some("max-waiting"))
            .with("upstream", "max_waiting = 1")
            .on_disk(fresh)
            .after(|gateway, upstream| waiting(gateway, upstream, 0, "call_2")),
    ]
}

fn held_back() -> Vec<Scene> {
    vec![
        scene("too many lookups of all tenants wait", "refuse", Some("max-in-flight"))
            .with("limits", "max_in_flight = 1")
            .after(|gateway, upstream| waiting(gateway, upstream, 1, "call_2")),
        scene("too many lookups of the tenant wait", "refuse", Some("max-waiting"))
            .with("upstream", "max_waiting = 1")
            .after(|gateway, upstream| waiting(gateway, upstream, 0, "call_2")),
        scene("too many fetches of the tenant outlive their lookups", "refuse", Some("max-waiting"))
            .with("upstream", "max_waiting = 1")
            .after(|gateway, upstream| {
                let mut held = waiting(gateway, upstream, 0, "call_2");
                held.clients.drain(..).for_each(Client::leave);
                eventually("it has left", || gateway.metric("requests_in_flight") == 0.0);
                held
            }),
        scene("the bound on waiting comes before a stale entry", "refuse", Some("max-waiting"))
            .with("upstream", "max_waiting = 1")
            .with("cache", NO_EARLY_RENEWAL)
            .after(|gateway, upstream| {
                stored_stale(gateway, upstream);
                waiting(gateway, upstream, 0, "call_2")
            }),
        scene("the upstream budget is spent", "refuse", Some("upstream-budget"))
            .tenant("upstream_limit = { per_minute = 1, burst = 1 }")
            .after(|gateway, _| {
                gateway.get("call_2");
                Held::default()
            }),
        scene("the upstream budget is spent, a stale entry is there", "stale", Some("stale-if-error"))
            .tenant("upstream_limit = { per_minute = 1, burst = 1 }")
            .with("cache", NO_EARLY_RENEWAL)
            .after(stored_stale),
        scene("the upstream said 429", "refuse", Some("upstream-pause")).after(paused),
        scene("the upstream said 429, a stale entry is there", "stale", Some("stale-if-error"))
            .with("cache", NO_EARLY_RENEWAL)
            .after(|gateway, upstream| {
                stored_stale(gateway, upstream);
                paused(gateway, upstream)
            }),
        scene("the pause comes before the breaker and the budget", "refuse", Some("upstream-pause"))
            .tenant("upstream_limit = { per_minute = 1, burst = 2 }")
            .with("upstream.breaker", "min_requests = 2\nopen_for = \"60s\"")
            .after(|gateway, upstream| {
                opened(gateway, upstream);
                paused(gateway, upstream)
            }),
        scene("the breaker is open", "refuse", Some("breaker"))
            .with("upstream.breaker", SENSITIVE)
            .after(opened),
        scene("the breaker is open, a stale entry is there", "stale", Some("stale-if-error"))
            .with("upstream.breaker", SENSITIVE)
            .with("cache", NO_EARLY_RENEWAL)
            .after(|gateway, upstream| {
                stored_stale(gateway, upstream);
                opened(gateway, upstream)
            }),
        scene("the breaker is open, the client wants it renewed", "refuse", Some("breaker"))
            .with("upstream.breaker", SENSITIVE)
            .after(|gateway, upstream| {
                stored(gateway, upstream);
                opened(gateway, upstream)
            })
            .sending(&["Cache-Control: no-cache"]),
        scene("the breaker waits for its probe", "refuse", Some("breaker"))
            .with("upstream.breaker", "min_requests = 1\nopen_for = \"10ms\"")
            .after(|gateway, upstream| {
                opened(gateway, upstream);
                let state = || gateway.admin("/api/v1/stats").json()["tenants"]["alpha"]["upstream"].clone();
                eventually("a probe may pass", || state()["breaker"] == "half-open");
                waiting(gateway, upstream, 0, "call_3")
            }),
    ]
}

fn sent_upstream() -> Vec<Scene> {
    vec![
        scene("nothing is stored", "fetch", None),
        scene("the breaker lets a probe pass", "fetch", None)
            .with("upstream.breaker", "min_requests = 1\nopen_for = \"10ms\"")
            .after(|gateway, upstream| {
                opened(gateway, upstream);
                upstream.now(|seen| call_reply(seen.id(), &[]));
                let state = || gateway.admin("/api/v1/stats").json()["tenants"]["alpha"]["upstream"].clone();
                eventually("a probe may pass", || state()["breaker"] == "half-open");
                Held::default()
            }),
        scene("the entry must be revalidated", "fetch", None)
            .with("cache", NO_EARLY_RENEWAL)
            .after(stored_stale),
        scene("the client wants it renewed", "fetch", None)
            .after(|gateway, upstream| {
                upstream.now(|seen| call_reply(seen.id(), &["ETag: \"v1\""]));
                stored(gateway, upstream)
            })
            .sending(&["Cache-Control: no-cache"]),
        scene("the client has nothing stored", "fetch", Some("client-no-store"))
            .after(|gateway, upstream| {
                upstream.now(|seen| call_reply(seen.id(), &["ETag: \"v1\""]));
                stored(gateway, upstream)
            })
            .sending(&["Cache-Control: no-store"]),
        scene("the upstream rejects the key", "fetch", Some("key-rejected"))
            .after(|gateway, upstream| meets(gateway, upstream, |_| reply("401 X", &[], "{}"))),
        scene("the upstream's answers are of no use", "fetch", Some("upstream-failed"))
            .after(|gateway, upstream| meets(gateway, upstream, |_| vec![Act::Close])),
        scene("the upstream fails in HTML", "fetch", Some("upstream-status"))
            .after(|gateway, upstream| meets(gateway, upstream, |_| reply("500 X", &[], "<html>"))),
        scene("the upstream does not answer", "fetch", Some("upstream-timeout"))
            .with("upstream", "first_byte_timeout = \"20ms\"")
            .after(|gateway, upstream| {
                let gate = Gate::default();
                let waits = gate.clone();
                upstream.now(move |_| vec![Act::Wait(waits.clone())]);
                gateway.get("call_2");
                Held { gate, ..Held::default() }
            }),
        scene("the call is being fetched", "follow", None)
            .after(|gateway, upstream| waiting(gateway, upstream, 0, "call_1")),
        scene("the call is being fetched and the budget is spent", "follow", None)
            .tenant("upstream_limit = { per_minute = 1, burst = 1 }")
            .after(|gateway, upstream| waiting(gateway, upstream, 0, "call_1")),
        scene("the call is polled, the client may wait", "wait", Some("not-completed"))
            .with("wait", "poll_min = \"1s\"\npoll_max = \"1s\"")
            .after(|gateway, upstream| {
                upstream.now(|seen| {
                    let body = call(seen.id()).replace("\"completed\"", "\"in_progress\"");
                    reply("200 OK", &["Content-Type: application/json"], &body)
                });
                let mut client = gateway.connect();
                client.get("/v1/calls/call_1", TOKENS[0], &["Prefer: wait=20"]);
                eventually("it is polled", || gateway.metric("watches{tenant=\"alpha\"}") == 1.0);
                Held { clients: vec![client], ..Held::default() }
            })
            .sending(&["Prefer: wait=2"]),
    ]
}
