//! Traces: the spans that a collector receives, and the trace that the upstream sees. With the feature `otlp`.

use std::time::{Duration, Instant};

use crate::support::{
    Act, Authority, Collector, Config, Gateway, KEYS, Says, TOKENS, Upstream, call_reply, eventually, reply,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SERVER: &str = "GET /v1/calls/{id}";

/// The client's trace, sampled (`01`) or not (`00`).
fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}")
}

fn exporting_to(endpoint: &str) -> Config {
    Config::default().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn exporting(collector: &Collector) -> Config {
    exporting_to(&collector.url())
}

/// Waits until this many spans of both kinds were collected.
fn collected(collector: &Collector, servers: usize, clients: usize) -> [Vec<crate::support::Span>; 2] {
    let of_kind =
        |kind| collector.spans().into_iter().filter(move |span| span.kind == kind).collect::<Vec<_>>();
    eventually("the spans are collected", || of_kind(2).len() >= servers && of_kind(3).len() >= clients);
    [of_kind(2), of_kind(3)]
}

#[test]
fn a_miss_is_a_span_in_the_clients_trace_with_the_upstreams_below_it() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let gateway = exporting(&collector).start(&upstream);
    let lines = [&traceparent("01"), "tracestate: vendor=1", "X-Request-Id: one"];
    assert_eq!(gateway.get_with("call_1", &lines).status, 200);
    let [servers, clients] = collected(&collector, 1, 1);
    let (server, client) = (&servers[0], &clients[0]);
    assert_eq!((server.trace_id.as_str(), server.parent_id.as_str()), (TRACE, PARENT));
    assert_eq!((client.trace_id.as_str(), &client.parent_id), (TRACE, &server.id));
    assert_eq!((server.state.as_str(), server.status, client.status), ("vendor=1", 0, 0));
    assert!(0 < client.took_nanos && client.took_nanos < server.took_nanos);
    // The upstream's span is a child of the client's.
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id)));
    assert_eq!(seen.header("tracestate"), Some("vendor=1"));
    assert_eq!((server.name.as_str(), client.name.as_str()), (SERVER, SERVER));
    let call = &server.attributes["credira_gateway.call"];
    assert!(call.len() == 16 && call != "call_1");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/calls/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/calls/REDACTED"),
        ("network.protocol.version", "1.1"),
        ("network.peer.address", "127.0.0.1"),
        ("credira_gateway.tenant", "alpha"),
        ("credira_gateway.request_id", "one"),
        ("credira_gateway.cache.outcome", "miss"),
    ] {
        assert_eq!(server.attributes[key], value, "{key}");
    }
    let address = upstream.address();
    for (key, value) in [
        ("http.request.method", "GET".to_owned()),
        ("http.response.status_code", "200".into()),
        ("server.address", "127.0.0.1".into()),
        ("server.port", address.port().to_string()),
        ("url.template", "/v1/calls/{id}".into()),
        ("url.full", format!("http://{address}/v1/calls/REDACTED")),
    ] {
        assert_eq!(client.attributes[key], value, "{key}");
    }
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/traces.md")).unwrap();
    for key in server.attributes.keys().chain(client.attributes.keys()) {
        assert!(documented.contains(&format!("`{key}`")), "{key} is not documented");
    }
    assert_eq!(server.resource["service.name"], "credira-gateway");
    assert_eq!(server.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let head = collector.heads().remove(0).to_lowercase();
    assert!(
        head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("application/x-protobuf"),
        "{head}"
    );
}

#[test]
fn spans_show_the_caches_action_and_a_hit_has_no_child() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let gateway = exporting(&collector).start(&upstream);
    for id in ["call_1", "call_1", "call_progress1"] {
        gateway.get(id);
    }
    let [servers, clients] = collected(&collector, 3, 2);
    let told: Vec<_> = servers
        .iter()
        .map(|span| {
            let attribute = |key| span.attributes.get(key).map_or("", String::as_str);
            (attribute("credira_gateway.cache.outcome"), attribute("credira_gateway.cache.detail"))
        })
        .collect();
    assert_eq!(told, [("miss", ""), ("hit", ""), ("miss", "not-completed")]);
    assert!(clients.iter().all(|client| client.parent_id != servers[1].id));
}

#[test]
fn without_a_client_s_trace_one_begins_and_the_log_names_it() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let gateway = exporting(&collector).with("log", "access = \"all\"").start(&upstream);
    gateway.get("call_1");
    gateway.get("call_2");
    let [servers, clients] = collected(&collector, 2, 2);
    assert!(servers.iter().all(|span| span.parent_id.is_empty() && span.trace_id.len() == 32));
    assert_ne!(servers[0].trace_id, servers[1].trace_id);
    for (server, client) in servers.iter().zip(&clients) {
        assert_eq!((&client.trace_id, &client.parent_id), (&server.trace_id, &server.id));
        gateway.process.err_line("that names the trace", |line| {
            line.contains(&format!("\"trace_id\":\"{}\"", server.trace_id))
        });
    }
}

#[test]
fn a_client_that_is_not_sampled_is_followed_and_not_recorded() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let gateway = exporting(&collector).start(&upstream);
    gateway.get_with("call_1", &[&traceparent("00")]);
    gateway.get_with("call_2", &[&traceparent("01")]);
    collected(&collector, 1, 1);
    assert_eq!(collector.spans().len(), 2, "the second's alone");
    let sent = upstream.seen().remove(0).header("traceparent").unwrap().to_owned();
    let fields: Vec<_> = sent.split('-').collect();
    assert_eq!((fields[1], fields[3]), (TRACE, "00"));
    assert_ne!(fields[2], PARENT, "the parent is the gateway");
}

#[test]
fn the_standard_variables_choose_who_is_sampled_and_how_the_service_is_called() {
    let upstream = Upstream::contract();
    let ask = |variables: &[(&str, &str)]| {
        let collector = Collector::start();
        let mut config = exporting(&collector);
        for (name, value) in variables {
            config = config.env(name, value);
        }
        let mut gateway = config.start(&upstream);
        for number in 0..40 {
            gateway.get(&format!("call_{number}"));
        }
        gateway.get_with("call_1", &[&traceparent("01")]);
        gateway.process.signal("TERM");
        gateway.process.wait();
        let spans = collector.spans().into_iter().filter(|span| span.kind == 2);
        let (of_client, own): (Vec<_>, Vec<_>) = spans.partition(|span| span.trace_id == TRACE);
        let name = of_client.first().map(|span| span.resource["service.name"].clone());
        (own.len(), of_client.len(), name)
    };
    let sampler = |name| ("OTEL_TRACES_SAMPLER", name);
    let share = |share| ("OTEL_TRACES_SAMPLER_ARG", share);
    assert_eq!(ask(&[sampler("always_off")]), (0, 0, None));
    assert_eq!(ask(&[("OTEL_SDK_DISABLED", "true")]), (0, 0, None));
    assert_eq!(ask(&[("OTEL_TRACES_EXPORTER", "none")]), (0, 0, None));
    let service = ("OTEL_SERVICE_NAME", "calls");
    let (own, of_client, name) = ask(&[sampler("parentbased_traceidratio"), share("0"), service]);
    assert_eq!((own, of_client, name.as_deref()), (0, 1, Some("calls")));
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test");
    let (own, of_client, name) = ask(&[sampler("parentbased_traceidratio"), share("0.5"), attributes]);
    assert!((1..40).contains(&own), "about half: {own}");
    assert_eq!((of_client, name.as_deref()), (1, Some("other")));
}

// T70.
#[test]
fn spans_hold_no_secret_no_body_and_no_id_and_the_log_no_credential_of_the_collector() {
    let collector = Collector::start();
    let upstream = Upstream::scripted(|seen| {
        call_reply(seen.id(), &["X-Canary: canary-of-the-header", "ETag: \"canary-of-the-etag\""])
    });
    let config = exporting(&collector)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20credential-of-the-collector")
        .env("RUST_LOG", "trace")
        .with("log", "access = \"all\"\nlevel = \"trace\"\ncall_ids = true");
    let mut gateway = config.start(&upstream);
    for id in ["call_canary", "call_canary", "nonsense-canary", "call_canary?canary=1"] {
        gateway.get_with(id, &["User-Agent: canary-of-the-agent", &traceparent("01")]);
    }
    gateway.connect().get("/canary", TOKENS[1], &[]).read();
    collected(&collector, 5, 1);
    collector.answer(400);
    gateway.get("call_2");
    gateway.process.err_line("about the collector", |line| line.contains("collector rejects traces"));
    gateway.process.signal("TERM");
    gateway.process.wait();
    let sent = String::from_utf8_lossy(&collector.bytes()).into_owned();
    assert!(sent.contains("Bearer credential-of-the-collector"), "the collector gets its credential");
    for canary in ["canary", TOKENS[0], TOKENS[1], KEYS[0], KEYS[1], "+12025550143", "promised to pay"] {
        assert!(!sent.contains(canary), "{canary} in\n{sent}");
    }
    let log = gateway.process.err().join("\n");
    assert!(!log.contains("credential-of-the-collector"), "{log}");
}

#[test]
fn an_unauthenticated_client_decides_nothing_about_what_is_recorded() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let gateway = exporting(&collector).start(&upstream);
    for token in ["", "not-a-token"] {
        let answer = gateway.connect().get("/v1/calls/call_1", token, &[&traceparent("01")]).read();
        assert_eq!(answer.status, 401);
    }
    gateway.get("call_1");
    collected(&collector, 1, 1);
    assert!(collector.spans().iter().all(|span| span.trace_id != TRACE));
}

#[test]
fn failures_are_marked_with_their_kind() {
    let collector = Collector::start();
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_503" => reply("503 X", &["Content-Type: application/json"], "{}"),
        "call_404" => reply("404 X", &["Content-Type: application/json"], "{}"),
        "call_reset" => vec![Act::Reset],
        _ => vec![Act::Sleep(Duration::from_secs(2)), Act::Close],
    });
    let config = exporting(&collector).with("upstream.retry", "max_attempts = 1");
    let gateway = config.with("upstream", "first_byte_timeout = \"100ms\"").start(&upstream);
    let mut expected = Vec::new();
    for (id, server, client) in [
        ("call_503", "503", "503"),
        ("call_404", "", "404"),
        ("call_reset", "UPSTREAM_ERROR", "reset"),
        ("call_slow", "UPSTREAM_TIMEOUT", "timeout"),
    ] {
        gateway.get(id);
        expected.push((server.to_owned(), client.to_owned()));
    }
    let [servers, clients] = collected(&collector, 4, 4);
    let kind = |span: &crate::support::Span| span.attributes.get("error.type").cloned().unwrap_or_default();
    // A pooled connection that was reset may have been tried before.
    let last = |server: &crate::support::Span| {
        clients.iter().rfind(|client| client.parent_id == server.id).map(kind).unwrap_or_default()
    };
    let kinds: Vec<_> = servers.iter().map(|server| (kind(server), last(server))).collect();
    assert_eq!(kinds, expected);
    assert_eq!(servers.iter().map(|span| span.status).collect::<Vec<_>>(), [2, 0, 2, 2]);
    assert!(clients.iter().all(|span| span.status == 2));
    // A client that disconnected before its answer has no status.
    let mut gone = gateway.connect();
    gone.get("/v1/calls/call_slow2", TOKENS[0], &[]);
    upstream.wait_for(5);
    gone.leave();
    let [servers, _] = collected(&collector, 5, 4);
    assert_eq!((kind(&servers[4]).as_str(), servers[4].status), ("client_left", 2));
    assert!(!servers[4].attributes.contains_key("http.response.status_code"));
}

#[test]
fn each_attempt_is_a_span_of_its_own() {
    let collector = Collector::start();
    let upstream = Upstream::scripted(|seen| match seen.number {
        0 => reply("503 X", &[], "{}"),
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = exporting(&collector).start(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    let [servers, clients] = collected(&collector, 1, 2);
    assert!(clients.iter().all(|client| client.parent_id == servers[0].id));
    let sent: Vec<_> =
        upstream.seen().iter().map(|seen| seen.header("traceparent").unwrap().to_owned()).collect();
    for (sent, client) in sent.iter().zip(&clients) {
        assert!(sent.contains(&client.id), "{sent}");
    }
}

#[test]
fn an_absent_refusing_or_hanging_collector_costs_no_request() {
    let upstream = Upstream::contract();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (silent, refusing) = (Says::nothing(), Collector::start());
    refusing.answer(503);
    let endpoints = [format!("http://{closed}"), format!("http://{}", silent.address), refusing.url()];
    for endpoint in endpoints {
        let config = exporting_to(&endpoint)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8");
        let mut gateway = config.start(&upstream);
        let mut client = gateway.connect();
        client.get("/v1/calls/call_1", TOKENS[0], &[]).read();
        gateway.process.err_line("about the collector", |line| line.contains("collector rejects traces"));
        let start = Instant::now();
        for _ in 0..1000 {
            assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let told = gateway.process.err().iter().filter(|line| line.contains("rejects traces")).count();
        assert_eq!(told, 1, "{endpoint}: once");
        let start = Instant::now();
        gateway.process.signal("TERM");
        assert_eq!(gateway.process.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(4), "the end waits a second at most");
    }
}

#[test]
fn a_collector_that_comes_back_gets_what_ends_from_then_on() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    collector.answer(400);
    let gateway = exporting(&collector).start(&upstream);
    gateway.get("call_1");
    gateway.process.err_line("about the collector", |line| line.contains("collector rejects traces"));
    collector.answer(200);
    gateway.get("call_2");
    gateway.process.err_line("about the collector", |line| line.contains("collector accepts traces again"));
    collected(&collector, 1, 1);
}

#[test]
fn ended_spans_are_exported_before_the_process_ends() {
    let (collector, upstream) = (Collector::start(), Upstream::contract());
    let mut gateway = exporting(&collector).env("OTEL_BSP_SCHEDULE_DELAY", "600000").start(&upstream);
    gateway.get("call_1");
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn a_collector_may_speak_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let collector = Collector::over_tls(authority.certify(&["localhost"]).server(&[], None));
    let ca = authority.write(folder.path());
    let upstream = Upstream::contract();
    let endpoint = format!("https://localhost:{}", collector.port());
    let trusting = exporting_to(&endpoint).env("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().unwrap());
    let gateway = trusting.start(&upstream);
    gateway.get("call_1");
    collector.wait_for(1, SERVER);
    let taken = collector.spans().len();
    let distrusting = exporting_to(&endpoint).start(&upstream);
    distrusting.get("call_1");
    distrusting.process.err_line("about the collector", |line| line.contains("collector rejects traces"));
    assert_eq!(collector.spans().len(), taken);
}

#[test]
fn unusable_variables_are_logged_and_cost_only_traces() {
    let upstream = Upstream::contract();
    let starts = |variables: &[(&str, &str)], told: &str| {
        let mut config = Config::default();
        for (name, value) in variables {
            config = config.env(name, value);
        }
        let gateway = config.start(&upstream);
        assert_eq!(gateway.get("call_1").status, 200);
        let line = gateway.process.err_line(told, |line| line.contains(told));
        assert!(!gateway.process.err().join("\n").contains("secret-of-the-url"), "{line}");
    };
    let endpoint = |value| ("OTEL_EXPORTER_OTLP_ENDPOINT", value);
    starts(&[endpoint("not a url secret-of-the-url")], "traces are not exported");
    let good = endpoint("http://user:secret-of-the-url@127.0.0.1:9/secret-of-the-url");
    starts(&[good], "\"collector\":\"http://127.0.0.1:9\"");
    starts(&[good, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")], "nothing is compressed");
    starts(
        &[good, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such")],
        "OTEL_EXPORTER_OTLP_CERTIFICATE can't be used",
    );
    starts(&[good, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "only http/protobuf is spoken");
    starts(&[good, ("OTEL_TRACES_SAMPLER", "xray")], "OTEL_TRACES_SAMPLER: expected one of");
    starts(&[good, ("OTEL_TRACES_SAMPLER", "traceidratio")], "OTEL_TRACES_SAMPLER_ARG: expected a share");
    starts(&[("OTEL_TRACES_EXPORTER", "zipkin")], "OTEL_TRACES_EXPORTER: only otlp and none are known");
}

#[test]
fn without_the_variables_no_trace_is_begun_and_the_clients_is_passed_on_as_it_is() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get_with("call_1", &[&traceparent("01")]);
    gateway.get("call_2");
    let seen = upstream.seen();
    assert_eq!(seen[0].header("traceparent"), traceparent("01").strip_prefix("traceparent: "));
    assert_eq!(seen[1].header("traceparent"), None);
}
