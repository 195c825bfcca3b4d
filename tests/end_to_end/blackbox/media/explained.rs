//! What `explain` says of a call's media, and the request right after it.

use serde_json::Value;

use super::*;
use crate::support::{Finished, Gate, eventually, program};

/// A part of every link that no explanation may contain.
const SIGNATURE: &str = "canary";

/// A situation, and what a request for media gets in it.
struct Scene {
    name: &'static str,
    config: fn() -> Config,
    kind: &'static str,
    /// The call's body, given the upstream's address and the media host's.
    call: fn(SocketAddr, SocketAddr) -> String,
    /// Sets it up. What is returned is kept until the end.
    prepare: fn(&Gateway, &Upstream, &Gate) -> Vec<Client>,
    lines: &'static [&'static str],
    would: &'static str,
    /// The `detail` of the request's access line.
    detail: Option<&'static str>,
    link: &'static str,
    host: Option<&'static str>,
}

/// The recording of a stored call, whose link leads to the upstream itself.
fn scene(name: &'static str, would: &'static str) -> Scene {
    Scene {
        name,
        config,
        kind: "recording",
        call: |upstream, _| linking(&format!("http://{upstream}/1.mp3?signature={SIGNATURE}")),
        prepare: stored,
        lines: &[],
        would,
        detail: None,
        link: "found",
        host: Some("upstream"),
    }
}

/// A settled call both of whose links are this one.
fn linking(link: &str) -> String {
    call_with("call_1", &format!("\"{link}\""), &format!("\"{link}\""))
}

fn stored(gateway: &Gateway, _: &Upstream, _: &Gate) -> Vec<Client> {
    assert_eq!(gateway.get("call_1").status, 200);
    Vec::new()
}

fn scenes() -> Vec<Scene> {
    [as_the_link_says(), as_the_gateway_stands(), transcriptions()].into_iter().flatten().collect()
}

fn as_the_link_says() -> Vec<Scene> {
    let broken = || Scene { detail: Some("link"), ..scene("", "refuse") };
    vec![
        scene("the link leads to the upstream", "fetch"),
        Scene {
            call: |_, host| linking(&format!("http://{host}/1.mp3?signature={SIGNATURE}")),
            host: Some("media-host"),
            ..scene("the link leads to a media host", "fetch")
        },
        Scene {
            name: "the link's host is not allowed",
            call: |_, _| linking(&format!("https://media.vendor.test/1.mp3?signature={SIGNATURE}")),
            host: Some("not-allowed"),
            ..broken()
        },
        Scene {
            name: "the link leads into the API",
            call: |upstream, _| linking(&format!("http://{upstream}/v1/users/1?signature={SIGNATURE}")),
            link: "unusable",
            host: None,
            ..broken()
        },
        Scene {
            name: "the link is no text",
            call: |_, _| call_with("call_1", "1", "1"),
            link: "unusable",
            host: None,
            ..broken()
        },
        Scene {
            call: |_, _| call_with("call_1", "null", "\"\""),
            detail: Some("no-media"),
            link: "absent",
            host: None,
            ..scene("there is no link and none will come", "refuse")
        },
        Scene {
            call: |_, _| call_as("call_1", "completed", "2999-01-01T00:00:00Z", "null", "null"),
            detail: Some("not-ready"),
            link: "absent",
            host: None,
            ..scene("there is no link yet", "refuse")
        },
    ]
}

fn as_the_gateway_stands() -> Vec<Scene> {
    let sensitive = || config().with("upstream.breaker", "min_requests = 1\nopen_for = \"60s\"");
    let unknown = || Scene { link: "unknown", host: None, ..scene("", "fetch") };
    vec![
        Scene { name: "the call is not stored", prepare: |_, _, _| Vec::new(), ..unknown() },
        Scene {
            config: || config().tenant(0, "rate_limit = { per_minute = 1, burst = 1 }"),
            link: "unknown",
            host: None,
            detail: Some("tenant-limit"),
            ..scene("the tenant's limit is spent", "refuse")
        },
        Scene {
            config: || Config::default().tenant(0, "routes = [\"recording\"]"),
            prepare: |gateway, _, _| {
                assert_eq!(get(gateway, RECORDING, &[]).status, 200);
                Vec::new()
            },
            ..scene("the tenant may ask for the recording and not for the call", "fetch")
        },
        Scene {
            name: "the upstream knows no such call",
            call: |_, _| String::new(),
            prepare: |gateway, _, _| {
                assert_eq!(gateway.get("call_1").status, 404);
                Vec::new()
            },
            would: "negative",
            detail: Some("negative"),
            ..unknown()
        },
        Scene {
            config: || config().with("media", "max_streams = 1"),
            prepare: |gateway, upstream, gate| {
                let mut held = stored(gateway, upstream, gate);
                held.extend(flowing(gateway));
                held
            },
            detail: Some("media-streams"),
            ..scene("every stream of the tenant is taken", "refuse")
        },
        Scene {
            config: sensitive,
            prepare: |gateway, upstream, gate| {
                let held = stored(gateway, upstream, gate);
                assert_eq!(gateway.get("call_broken").status, 500);
                held
            },
            detail: Some("breaker"),
            ..scene("the breaker is open", "refuse")
        },
        Scene {
            config: sensitive,
            call: |_, host| linking(&format!("http://{host}/1.mp3?signature={SIGNATURE}")),
            prepare: |gateway, upstream, gate| {
                let held = stored(gateway, upstream, gate);
                assert_eq!(gateway.get("call_broken").status, 500);
                held
            },
            host: Some("media-host"),
            ..scene("the breaker is open, and the link leads elsewhere", "fetch")
        },
        Scene {
            lines: &["Cache-Control: only-if-cached"],
            detail: Some("only-if-cached"),
            ..scene("the client takes only what is cached", "refuse")
        },
    ]
}

fn transcriptions() -> Vec<Scene> {
    let transcription = || Scene { kind: "transcription", ..scene("", "fetch") };
    vec![
        Scene { name: "the transcription is not stored", ..transcription() },
        Scene {
            name: "the transcription is stored",
            prepare: |gateway, _, _| {
                assert_eq!(get(gateway, TRANSCRIPTION, &[]).status, 200);
                Vec::new()
            },
            would: "hit",
            ..transcription()
        },
        Scene {
            name: "the transcription is stored, and every stream is taken",
            config: || config().with("media", "max_streams = 1"),
            prepare: |gateway, _, _| {
                assert_eq!(get(gateway, TRANSCRIPTION, &[]).status, 200);
                flowing(gateway)
            },
            would: "hit",
            ..transcription()
        },
        Scene {
            name: "the transcription is being fetched",
            prepare: |gateway, upstream, gate| {
                let mut held = stored(gateway, upstream, gate);
                let mut client = gateway.connect();
                client.get(TRANSCRIPTION, TOKENS[0], &["X-Request-Id: slow"]);
                upstream.wait_for(2);
                held.push(client);
                held
            },
            would: "follow",
            ..transcription()
        },
        Scene {
            name: "the client takes only a stored transcription",
            lines: &["Cache-Control: only-if-cached"],
            would: "refuse",
            detail: Some("only-if-cached"),
            ..transcription()
        },
    ]
}

/// A stream that flows until the gate opens.
fn flowing(gateway: &Gateway) -> Vec<Client> {
    let mut client = gateway.connect();
    client.get(RECORDING, TOKENS[0], &["X-Request-Id: slow"]).read_head().expect("a head");
    vec![client]
}

/// Compares an explanation with the request after it.
fn compare(scene: &Scene) {
    let (name, gate) = (scene.name, Gate::default());
    let host = Upstream::always(reply("200 OK", &[MPEG], SOUND));
    let upstream = Upstream::scripted(|_| Vec::new());
    let (call, waits) = ((scene.call)(upstream.address(), host.address()), gate.clone());
    let is_text = scene.kind == "transcription";
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some("call_1") if !call.is_empty() => call_reply(&call),
        Some("call_1") => reply(
            "404 Not Found",
            &["Content-Type: application/json"],
            r#"{"success":false,"error":{"code":"NOT_FOUND","message":"x"},"meta":{}}"#,
        ),
        Some(_) => reply("500 X", &[], "{}"),
        // Only the one that sets the scene is slow.
        None if seen.header("x-request-id") == Some("slow") => vec![
            Act::Send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\n1"
                    .to_vec(),
            ),
            Act::Wait(waits.clone()),
            Act::Send(b"2".to_vec()),
        ],
        None if is_text => reply("200 OK", &["Content-Type: text/plain"], "words"),
        None => reply("200 OK", &[MPEG], SOUND),
    });
    let gateway = (scene.config)()
        .with("media", &format!("hosts = [\"{}\"]", host.address()))
        .with("log", "access = \"all\"")
        .start(&upstream);
    let held = (scene.prepare)(&gateway, &upstream, &gate);
    let (sent_before, before) = (upstream.count() + host.count(), upstream.count());
    let query =
        scene.lines.iter().map(|line| line.to_ascii_lowercase().replace(": ", "=")).collect::<Vec<_>>();
    let explained = gateway.admin(&format!("/api/v1/explain/alpha/call_1?{}", query.join("&")));
    assert!(!explained.text().contains(SIGNATURE), "{name}: {}", explained.text());
    let explained = media_of(&explained.json(), scene.kind);
    assert_eq!(upstream.count() + host.count(), sent_before, "{name}: nothing is sent");
    assert_eq!(explained["would"], scene.would, "{name}: {explained:#}");
    assert_eq!(explained["link"], scene.link, "{name}: {explained:#}");
    assert_eq!(explained["host"].as_str(), scene.host, "{name}: {explained:#}");

    let mut client = gateway.connect();
    let lines = [scene.lines, &["X-Request-Id: explained"]].concat();
    client.get(&format!("/v1/calls/call_1/{}", scene.kind), TOKENS[0], &lines);
    if scene.would == "follow" {
        eventually("it waits, too", || gateway.metric("requests_in_flight") == 2.0);
        gate.open();
    }
    let answer = client.read();
    let sent = upstream.count() + host.count() - sent_before;
    let line = gateway.process.err_line("about the request", |line| {
        line.contains("credira_gateway::access") && line.contains("\"request_id\":\"explained\"")
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["detail"].as_str(), scene.detail, "{name}: {line:#}");
    match scene.would {
        "refuse" => {
            assert_eq!(explained["code"], answer.code(), "{name}: {explained:#}");
            assert_eq!(explained["detail"], line["detail"], "{name}: {explained:#}");
            let again = |value: &Value| value.as_u64();
            let told = answer.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
            let explained = again(&explained["retry_after"]);
            assert_eq!(explained.is_some(), told.is_some(), "{name}");
            let (explained, told) = (explained.unwrap_or(0), told.unwrap_or(0));
            assert!((told..=told + 2).contains(&explained), "{name}: explained {explained}, told {told}");
            assert_eq!(sent, 0, "{name}");
        }
        "fetch" => {
            assert_eq!(answer.status, 200, "{name}");
            let asked_call = usize::from(scene.link == "unknown");
            assert_eq!(sent, asked_call + 1, "{name}: the link is followed");
            let is_upstreams = upstream.count() - before - asked_call == 1;
            assert_eq!(is_upstreams, scene.host != Some("media-host"), "{name}");
        }
        "hit" | "follow" => assert_eq!((answer.status, sent), (200, 0), "{name}"),
        "negative" => assert_eq!((answer.status, sent), (404, 0), "{name}"),
        other => panic!("{name}: {other}"),
    }
    gate.open();
    drop(held);
}

fn media_of(explained: &Value, kind: &str) -> Value {
    let media = explained["media"].as_array().expect("a list");
    media.iter().find(|one| one["kind"] == kind).expect("this kind").clone()
}

#[test]
fn a_request_for_media_gets_what_was_explained() {
    scenes().iter().for_each(compare);
}

#[test]
fn an_explanation_says_when_a_link_expires_and_how_many_streams_are_left() {
    let gate = Gate::default();
    let waits = gate.clone();
    let upstream = with_media(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\n{MPEG}\r\nContent-Length: 2\r\n\r\n1");
        vec![Act::Send(head.into_bytes()), Act::Wait(waits.clone()), Act::Send(b"2".to_vec())]
    });
    let gateway = config().with("media", "max_streams = 3").start(&upstream);
    let explain = || media_of(&gateway.admin("/api/v1/explain/alpha/call_1").json(), "recording");
    gateway.get("call_1");
    assert_eq!((&explain()["expires_in_seconds"], &explain()["streams_left"]), (&Value::Null, &3.into()));
    let client = flowing(&gateway);
    assert_eq!(explain()["streams_left"], 2);
    gate.open();
    drop(client);
    eventually("its place is free again", || explain()["streams_left"] == 3);

    let in_an_hour =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let link = format!("http://{}/1.mp3?Expires={in_an_hour}&signature={SIGNATURE}", upstream.address());
    upstream.now(move |_| call_reply(&linking(&link)));
    gateway.delete("/api/v1/cache/alpha/call_1");
    gateway.get("call_1");
    let seconds = explain()["expires_in_seconds"].as_i64().expect("a time");
    assert!((3580..=3600).contains(&seconds), "{seconds}");
}

#[test]
fn only_the_media_that_the_tenant_may_ask_for_is_explained() {
    let upstream = with_media(|_| Vec::new());
    let explain = |config: Config, id: &str| {
        let explained = config.start(&upstream).admin(&format!("/api/v1/explain/alpha/{id}")).json();
        let media = explained["media"].as_array().expect("a list").clone();
        media.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let one = |routes: &str| Config::default().tenant(0, &format!("routes = [{routes}]"));
    assert_eq!(explain(Config::default(), "call_1"), [""; 0]);
    assert_eq!(explain(one("\"call\", \"transcription\""), "call_1"), ["transcription"]);
    assert_eq!(explain(config(), "call_1"), ["recording", "transcription"]);
    assert_eq!(explain(config(), "nonsense"), [""; 0]);
}

#[test]
fn the_command_prints_what_would_come_of_the_media_and_no_link() {
    let upstream = Upstream::scripted(|_| Vec::new());
    let link = format!("http://{}/1.mp3?signature={SIGNATURE}", upstream.address());
    upstream.now(move |_| call_reply(&linking(&link)));
    let gateway = config().start(&upstream);
    gateway.get("call_1");
    let admin = gateway.admin.to_string();
    let printed = Finished::of(&mut program(&["explain", "alpha", "call_1", "--admin", &admin])).out;
    assert!(!printed.contains(SIGNATURE), "{printed}");
    let recording = printed.split("\nrecording ").nth(1).unwrap_or_else(|| panic!("{printed}"));
    assert!(recording.trim_start().starts_with("fetch (the link would be followed)\n"), "{printed}");
    for line in ["    link: found\n", "    host: upstream\n", "    streams_left: 16\n"] {
        assert!(recording.contains(line), "{printed}");
    }
}
