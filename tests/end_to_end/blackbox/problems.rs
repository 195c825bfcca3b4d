//! Problems: one list for `stats`, the dashboard and `/readyz?verbose`.

use serde_json::Value;

use crate::support::{Config, Finished, Gateway, Program, Upstream, call_reply, eventually, program, reply};

/// The problems of `stats`, as kind and tenant.
fn problems(gateway: &Gateway) -> Vec<(String, Option<String>)> {
    let stats = gateway.admin("/api/v1/stats").json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = stats["problems"].as_array().unwrap().iter();
    all.map(|problem| (text(&problem["kind"]).unwrap(), text(&problem["tenant"]))).collect()
}

fn of_alpha(kind: &str) -> (String, Option<String>) {
    (kind.to_owned(), Some("alpha".to_owned()))
}

#[test]
fn an_upstream_that_answers_html_with_200_is_a_problem_everywhere() {
    let upstream = Upstream::always(reply("200 OK", &["Content-Type: text/html"], "<html>Sign in</html>"));
    let gateway = Gateway::plain(&upstream);
    assert_eq!(problems(&gateway), []);
    assert!(!gateway.admin("/readyz?verbose").text().contains("[!]"));
    for number in 0..5 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 502);
    }
    assert_eq!(problems(&gateway), [of_alpha("upstream-invalid")]);
    let stats = gateway.admin("/api/v1/stats").json();
    let problem = &stats["problems"][0];
    let message = problem["message"].as_str().unwrap();
    assert!(message.starts_with("5 of 5 upstream requests got an answer that can't be used"), "{message}");
    assert!(problem["since"].as_str().unwrap().ends_with('Z'));
    let ready = gateway.admin("/readyz?verbose");
    assert_eq!(ready.status, 200, "readiness does not depend on the upstream");
    assert!(ready.text().contains("[!] upstream-invalid (alpha, since "), "{}", ready.text());
    let shown = Finished::of(&mut program(&["stats", "--admin", &gateway.admin.to_string()]));
    assert!(shown.out.contains("upstream-invalid") && shown.out.contains(message), "{}", shown.out);
    assert_eq!(gateway.metric("upstream_requests_total{code=\"invalid\",tenant=\"alpha\"}"), 5.0);
}

#[test]
fn a_failure_rate_too_low_for_the_breaker_is_a_problem() {
    let upstream = Upstream::scripted(|seen| match seen.number % 10 {
        0 => reply("503 X", &["Retry-After: 60", "Content-Type: application/json"], "{}"),
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = Gateway::plain(&upstream);
    for number in 0..40 {
        gateway.get(&format!("call_{number}"));
    }
    assert_eq!(problems(&gateway), [of_alpha("upstream-status")]);
}

#[test]
fn a_rejected_key_is_a_problem_until_the_upstream_accepts_one() {
    let upstream = Upstream::always(reply("401 X", &["Content-Type: application/json"], "{}"));
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 502);
    assert_eq!(problems(&gateway), [of_alpha("key-rejected")]);
    let key =
        |gateway: &Gateway| gateway.admin("/api/v1/stats").json()["tenants"]["alpha"]["upstream"].clone();
    assert_eq!((&key(&gateway)["key"], &key(&gateway)["key_rejected"]), (&"primary".into(), &true.into()));
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(problems(&gateway), []);
    assert_eq!(key(&gateway)["key_rejected"], false);
}

#[test]
fn limits_a_pause_and_a_refused_reload_are_problems_and_end() {
    let limits = "rate_limit = { per_second = 0.001, burst = 4 }";
    let config = Config::default().tenant(1, limits);
    let upstream =
        Upstream::always(reply("429 X", &["Retry-After: 30", "Content-Type: application/json"], "{}"));
    let gateway = config.clone().start(&upstream);
    gateway.get("call_1");
    for _ in 0..8 {
        gateway.get_as(1, "call_1", &[]);
    }
    let beta = |kind: &str| (kind.to_owned(), Some("beta".to_owned()));
    let paused = [of_alpha("upstream-paused"), beta("upstream-paused"), beta("rate-limit-spent")];
    assert_eq!(problems(&gateway), paused);
    gateway.rewrite("nonsense = 1\n");
    assert_eq!(gateway.post_reload().status, 422);
    assert_eq!(problems(&gateway)[0], ("reload-refused".to_owned(), None));
    let stats = gateway.admin("/api/v1/stats").json();
    assert_eq!(stats["problems"][0]["since"], stats["last_reload"]["at"]);
    assert_eq!(gateway.reload(&config).status, 200);
    assert_eq!(problems(&gateway), paused);
}

#[test]
fn callers_without_a_valid_token_are_a_problem_of_the_process() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for _ in 0..20 {
        gateway.connect().get("/v1/calls/call_1", "outdated-token-0123456789abcdefghij", &[]).read();
    }
    assert_eq!(problems(&gateway), [("callers-unauthorized".to_owned(), None)]);
}

#[test]
fn watched_figures_are_a_line_of_json_each_through_a_restart_of_the_gateway() {
    let upstream = Upstream::contract();
    let config = Config::default();
    let gateway = config.clone().start(&upstream);
    let admin = gateway.admin.to_string();
    let watch = Program::start(&mut program(&["stats", "--watch", "--json", "--admin", &admin]));
    eventually("a reading", || !watch.out().is_empty());
    drop(gateway);
    watch.err_line("about the end", |line| line.contains("cannot connect"));
    let again = config.with("admin", &format!("address = \"{admin}\"")).start(&upstream);
    let before = watch.out().len();
    eventually("a reading of the next one", || watch.out().len() > before);
    assert!(watch.out().iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    drop(again);
}
