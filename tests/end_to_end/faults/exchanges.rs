//! Responses that arrive in unusual ways, or not at all.

use std::time::Duration;

use crate::support::{
    Act, Authority, Config, Gate, Gateway, Http2Upstream, TOKENS, Upstream, call_reply, eventually, reply,
};

const JSON: &str = "Content-Type: application/json";

#[test]
fn a_stream_that_the_upstream_refuses_is_repeated() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = Http2Upstream::start(authority.certify(&["localhost"]).server(&["h2"], None));
    let base = format!("base_url = \"https://localhost:{}\"", upstream.address.port());
    let trust = format!("ca_file = \"{}\"", authority.write(folder.path()).display());
    let config = Config::default().with("upstream", &format!("{base}\n{trust}"));
    let gateway = Gateway::start(&config, upstream.address);
    // Bytes of other streams on the same connection do not count as the start of this response.
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(gateway.get("call_refused1").status, 200);
    assert_eq!(upstream.requests().iter().sum::<u32>(), 3);
    assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), 1.0);
}

#[test]
fn a_status_about_a_reused_connection_is_repeated_on_another_instead_of_relayed() {
    for status in ["408 Request Timeout", "421 Misdirected Request"] {
        let upstream = Upstream::scripted(move |seen| match seen.number {
            1 => reply(status, &[], ""),
            _ => call_reply(seen.id(), &[]),
        });
        let gateway = Gateway::plain(&upstream);
        assert_eq!(gateway.get("call_1").status, 200);
        assert_eq!(gateway.get("call_2").status, 200, "{status}");
        let seen = upstream.seen();
        assert_eq!(seen.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 1], "{status}");
    }
}

#[test]
fn a_status_about_a_fresh_connection_is_the_answer() {
    let upstream = Upstream::always(reply("408 Request Timeout", &[JSON], "{}"));
    let gateway = Gateway::plain(&upstream);
    assert_eq!((gateway.get("call_1").status, upstream.count()), (408, 1));
}

#[test]
fn upstream_data_that_arrived_during_a_stop_is_read_before_the_deadline_expires() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let config = Config::default()
        .with("upstream", "first_byte_timeout = \"1s\"\ntotal_timeout = \"1500ms\"")
        .with("upstream.retry", "max_attempts = 1")
        .with("upstream.breaker", "min_requests = 3");
    let gateway = config.start(&upstream);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
    }
    upstream.wait_for(20);
    gateway.process.signal("STOP");
    gate.open();
    // Longer than every deadline: there is no event to wait for in a process that is stopped.
    std::thread::sleep(Duration::from_secs(2));
    gateway.process.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 0.0);
    assert_eq!(upstream.count(), 20);
}

#[test]
fn a_head_of_an_answer_without_content_names_no_length() {
    let upstream = Upstream::always(vec![Act::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())]);
    let gateway = Gateway::plain(&upstream);
    let response = gateway.connect().request("HEAD", "/v1/calls/call_1", TOKENS[0], &[]).read_head().unwrap();
    assert_eq!((response.status, response.header("content-length")), (204, None));
}

#[test]
fn lookups_that_are_refused_for_the_budget_pay_nothing_into_the_retry_budget() {
    let upstream = Upstream::always(reply("503 X", &[JSON], "{}"));
    let config = |limit: &str| {
        Config::default()
            .with("upstream.retry", "max_attempts = 2\nbudget_percent = 20")
            .with("upstream.breaker", "min_requests = 100000")
            .tenant(0, limit)
    };
    let gateway = config("upstream_limit = { per_minute = 0.01, burst = 2 }").start(&upstream);
    assert_eq!(gateway.get("call_first").status, 503);
    assert_eq!(upstream.count(), 2, "the request and its retry spend the budget");
    let refused = 100;
    for number in 0..refused {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 429);
    }
    let limited = "rate_limited_total{limit=\"upstream\",tenant=\"alpha\"}";
    assert_eq!((gateway.metric(limited), upstream.count()), (f64::from(refused), 2));
    assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), 1.0);
    // If they had added to the budget, twenty retries would be available now.
    assert_eq!(gateway.reload(&config("")).status, 200);
    let start = std::time::Instant::now();
    for number in 0..10 {
        assert_eq!(gateway.get(&format!("call_again{number}")).status, 503);
    }
    let retries = upstream.count() as f64 - 2.0 - 10.0;
    let bound = 10.0 * 0.2 + 1.0 + start.elapsed().as_secs_f64() + 1.0;
    assert!(retries <= bound, "{retries} retries of 10 lookups, at most {bound}");
}

#[test]
fn a_response_has_at_most_256_fields_and_the_log_says_so() {
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: y")).collect::<Vec<_>>();
    let upstream = Upstream::scripted(move |seen| {
        let fields = fields(if seen.id() == "call_many" { 300 } else { 250 });
        call_reply(seen.id(), &fields.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(gateway.get("call_many").status, 502);
    gateway.process.err_line("with the reason", |line| {
        line.contains("upstream sent a response that cannot be used")
            && line.contains("more than 256 header fields")
    });
}

#[test]
fn a_refusal_of_the_upstream_budget_says_when_that_budget_has_room() {
    let upstream = Upstream::contract();
    let config = Config::default()
        .tenant(0, "rate_limit = { per_second = 100, burst = 200 }")
        .tenant(0, "upstream_limit = { per_minute = 1, burst = 1 }");
    let gateway = config.start(&upstream);
    let served = gateway.get("call_1");
    assert_eq!(served.header("ratelimit-policy"), Some("\"tenant\";q=200;w=2"));
    let refused = gateway.get("call_2");
    assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    let policy = refused.header("ratelimit-policy").unwrap();
    assert_eq!(policy, "\"tenant\";q=200;w=2, \"upstream\";q=1;w=60");
    let left = refused.header("ratelimit").unwrap();
    assert!(left.contains(", \"upstream\";r=0;t="), "{left}");
    eventually("it is counted", || {
        gateway.metric("rate_limited_total{limit=\"upstream\",tenant=\"alpha\"}") == 1.0
    });
}
