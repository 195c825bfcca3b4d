//! `explain` and the lookup right after it.

use serde_json::Value;

use crate::support::scenes::{Scene, scenes};
use crate::support::{Gateway, Response, TOKENS, Upstream, eventually};

/// Details of refusals that do not occur in explanations, with the reason.
const NOT_EXPLAINED: [(&str, &str); 14] = [
    ("token", "explain is given the tenant"),
    ("method", "explain is given a lookup"),
    ("query", "explain is given a path without one"),
    ("fragment", "explain is given a path"),
    ("host", "explain is given a path"),
    ("body", "explain is given a lookup, which has none"),
    ("expectation", "explain is given no such field"),
    ("draining", "a lookup that is cut off began before the drain"),
    ("reloaded", "it ends a wait that began before the reload"),
    ("no-media", "explained with the call's media: media/explained.rs"),
    ("not-ready", "explained with the call's media: media/explained.rs"),
    ("media-streams", "explained with the call's media: media/explained.rs"),
    ("range", "only the answer to a range says that it is outside"),
    ("panic", "a bug"),
];

/// Compares an explanation with the lookup after it.
fn compare(scene: &Scene) {
    let (gateway, upstream, held) = scene.open();
    let (name, before) = (scene.name, upstream.count());
    let explained = gateway.admin(&scene.path()).json();
    assert_eq!(upstream.count(), before, "{name}: nothing is sent");
    let mut client = gateway.connect();
    let lines = [scene.lines, &["X-Request-Id: explained"]].concat();
    client.get(&format!("/v1/calls/{}", scene.id), TOKENS[0], &lines);
    if scene.would == "follow" {
        eventually("it waits, too", || gateway.metric("requests_in_flight") == 2.0);
        held.gate.open();
    }
    let answer = client.read();
    let line = access_line(&gateway);
    assert_eq!(explained["would"], scene.would, "{name}: {explained:#}");
    assert_eq!(line["detail"].as_str(), scene.detail, "{name}: {line:#}");
    let sent = upstream.count() - before;
    match scene.would {
        "refuse" => {
            assert_eq!(explained["code"], answer.code(), "{name}: {explained:#}");
            assert_eq!(explained["detail"], line["detail"], "{name}: {explained:#}");
            compare_retry_after(&explained, &answer, name);
            assert!(
                sent == 0 && explained.get("retry_after").is_some() == answer.header("retry-after").is_some()
            );
        }
        "hit" => assert!(line["outcome"] == "hit" && sent == 0, "{name}: {line:#}"),
        "negative" => assert!(line["outcome"] == "negative" && sent == 0, "{name}: {line:#}"),
        "stale" => {
            assert_eq!(line["outcome"], "stale", "{name}");
            compare_request(&explained, &upstream, before, name);
        }
        "fetch" => {
            assert!(
                ["miss", "bypass", "revalidated"].iter().any(|word| line["outcome"] == *word),
                "{line:#}"
            );
            compare_request(&explained, &upstream, before, name);
        }
        "follow" => assert!(line["outcome"] == "collapsed" && sent == 0, "{name}: {line:#}"),
        "wait" => assert_eq!(line["outcome"], "waited", "{name}"),
        other => panic!("{name}: {other}"),
    }
    assert!(scene.would == "refuse" || explained.get("code").is_none(), "{name}: {explained:#}");
    held.gate.open();
}

fn access_line(gateway: &Gateway) -> Value {
    let line = gateway.process.err_line("about the lookup", |line| {
        line.contains("credira_gateway::access") && line.contains("\"request_id\":\"explained\"")
    });
    serde_json::from_str(&line).unwrap()
}

/// The explained time may be longer, since time passes in between.
fn compare_retry_after(explained: &Value, answer: &Response, name: &str) {
    let told = answer.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
    let (explained, told) = (explained["retry_after"].as_u64().unwrap_or(0), told.unwrap_or(0));
    assert!((told..=told + 2).contains(&explained), "{name}: explained {explained}, told {told}");
}

/// The explained request is the one that is sent, or none is.
fn compare_request(explained: &Value, upstream: &Upstream, before: usize, name: &str) {
    let steps = explained["decisions"].as_array().unwrap();
    let request = steps.iter().find(|step| step["step"] == "request");
    if request.is_none_or(|request| request["result"] != "would be sent") {
        assert_eq!(upstream.count(), before, "{name}: {explained:#}");
        return;
    }
    upstream.wait_for(before + 1);
    let (request, seen) = (&request.unwrap()["details"], upstream.seen()[before].clone());
    let url = format!("http://{}{}", upstream.address(), seen.target);
    assert_eq!((request["method"].as_str(), request["url"].as_str()), (Some("GET"), Some(&*url)), "{name}");
    assert_eq!(request["if_none_match"].as_str(), seen.header("if-none-match"), "{name}");
    assert_eq!(request["if_modified_since"].as_str(), seen.header("if-modified-since"), "{name}");
}

fn compare_all(would: &str) {
    let scenes = scenes().into_iter().filter(|scene| scene.would == would);
    let compared = scenes.map(|scene| compare(&scene)).count();
    assert!(compared > 0, "no scene for {would}");
}

#[test]
fn a_lookup_is_refused_as_explained() {
    compare_all("refuse");
}

#[test]
fn a_lookup_is_answered_from_the_cache_as_explained() {
    ["hit", "negative", "stale"].into_iter().for_each(compare_all);
}

#[test]
fn a_lookup_asks_upstream_as_explained() {
    ["fetch", "follow", "wait"].into_iter().for_each(compare_all);
}

/// docs/operations.md lists the details of all refusals; a unit test keeps that list complete.
#[test]
fn every_refusal_that_a_lookup_can_meet_has_a_scene() {
    let page = include_str!("../../../docs/operations.md");
    let row = page.lines().find(|line| line.starts_with("| `detail` |")).expect("the row");
    let (_, list) = row.split_once("a refusal ").expect("the list");
    let scenes = scenes();
    for detail in list.split('`').skip(1).step_by(2) {
        let has_scene = scenes.iter().any(|scene| scene.detail == Some(detail));
        let excused = NOT_EXPLAINED.iter().any(|(word, _)| *word == detail);
        assert!(has_scene != excused, "{detail}: a scene or a reason why there is none");
    }
}

#[test]
fn a_query_that_is_not_understood_is_refused() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for query in ["x=1", "prefer", "prefer=%zz", "cache-control=no-cache&cache-control=no-store"] {
        let answer = gateway.admin(&format!("/api/v1/explain/alpha/call_1?{query}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_REQUEST"), "{query}");
    }
    let encoded = gateway.admin("/api/v1/explain/alpha/call_1?cache-control=only%2Dif-cached%2C+max-age%3D0");
    assert_eq!(encoded.json()["code"], "NOT_CACHED");
}
