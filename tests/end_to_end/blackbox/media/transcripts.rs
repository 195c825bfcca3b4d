//! Transcriptions of stored calls, which are kept in memory.

use std::thread;

use super::*;
use crate::support::{Gate, eventually};

const TEXT: &str = "agent: Good morning.\n";
const PLAIN: &str = "Content-Type: text/plain; charset=utf-8";

fn transcript(lines: &[&str]) -> Vec<Act> {
    reply("200 OK", &[&[PLAIN], lines].concat(), TEXT)
}

fn outcome(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("transcript_requests_total{{outcome=\"{outcome}\",tenant=\"alpha\"}}"))
}

#[test]
fn a_transcription_is_fetched_once_and_served_from_memory() {
    let upstream = with_media(|_| transcript(&[]));
    let gateway = config().start(&upstream);
    let first = get(&gateway, TRANSCRIPTION, &["Range: bytes=0-4"]);
    assert_eq!((first.status, first.text().as_str()), (206, "agent"));
    assert_eq!(first.story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(media_requests(&upstream)[0].header("range"), None, "all of it is fetched");
    let response = get(&gateway, TRANSCRIPTION, &[]);
    assert_eq!((response.status, response.text().as_str()), (200, TEXT));
    assert_eq!(response.story(), "hit; ttl");
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-disposition", "attachment; filename=\"call_1.txt\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("cache-control", "private, no-cache"),
        ("vary", "Authorization"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    assert!(response.header("age").is_some());
    let etag = format!("If-None-Match: {}", response.header("etag").expect("one of our own"));
    assert_eq!(get(&gateway, TRANSCRIPTION, &[&etag]).status, 304);
    let part = get(&gateway, TRANSCRIPTION, &["Range: bytes=-9"]);
    assert_eq!((part.status, part.text().as_str()), (206, "morning.\n"));
    assert_eq!(part.header("content-range"), Some("bytes 12-20/21"));
    let outside = get(&gateway, TRANSCRIPTION, &["Range: bytes=99-"]);
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */21")));
    let mut client = gateway.connect();
    let head = client.request("HEAD", TRANSCRIPTION, TOKENS[0], &[]).read_head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (200, Some("21")));
    assert_eq!(upstream.count(), 2, "one for the call, one for its transcription");
    assert_eq!((outcome(&gateway, "miss"), outcome(&gateway, "hit")), (1.0, 5.0));
    assert_eq!(gateway.outcomes("hit"), 5.0, "of the call");
}

#[test]
fn those_who_want_the_same_share_one_fetch() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = with_media(move |_| [vec![Act::Wait(held.clone())], transcript(&[])].concat());
    let gateway = config().start(&upstream);
    gateway.get("call_1");
    thread::scope(|scope| {
        let asking: Vec<_> = (0..10).map(|_| scope.spawn(|| get(&gateway, TRANSCRIPTION, &[]))).collect();
        eventually("all wait", || gateway.metric("requests_in_flight") >= 10.0);
        gate.open();
        for answer in asking {
            assert_eq!(answer.join().unwrap().text(), TEXT);
        }
    });
    assert_eq!(media_requests(&upstream).len(), 1);
    assert_eq!(outcome(&gateway, "collapsed") + outcome(&gateway, "miss") + outcome(&gateway, "hit"), 10.0);
}

// T107.
#[test]
fn a_purge_removes_a_transcription_and_beats_its_fetch() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = with_media(move |_| [vec![Act::Wait(held.clone())], transcript(&[])].concat());
    let gateway = config().start(&upstream);
    thread::scope(|scope| {
        let asking = scope.spawn(|| get(&gateway, TRANSCRIPTION, &[]));
        upstream.wait_for(2);
        assert_eq!(gateway.delete("/api/v1/cache/alpha/call_1").json()["purged"], 1);
        gate.open();
        let response = asking.join().unwrap();
        assert_eq!(response.story(), "fwd=uri-miss; fwd-status=200; detail=purged");
    });
    assert_eq!(get(&gateway, TRANSCRIPTION, &[]).story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(get(&gateway, TRANSCRIPTION, &[]).story(), "hit; ttl");
    for path in ["/api/v1/cache/alpha/call_1", "/api/v1/cache/alpha"] {
        assert_eq!(gateway.delete(path).json()["purged"], 1, "it does not count");
        assert_eq!(get(&gateway, TRANSCRIPTION, &[]).story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    }
}

#[test]
fn a_stale_transcription_is_revalidated_or_stands_in() {
    let upstream = with_media(|seen| match seen.header("if-none-match") {
        Some("\"7\"") => reply("304 Not Modified", &["ETag: \"7\"", "Cache-Control: max-age=0"], ""),
        _ => transcript(&["ETag: \"7\"", "Cache-Control: max-age=0"]),
    });
    let gateway = config().with("cache", "stale_while_revalidate = \"0s\"").start(&upstream);
    get(&gateway, TRANSCRIPTION, &[]);
    let response = get(&gateway, TRANSCRIPTION, &[]);
    assert_eq!(
        (response.story().as_str(), response.text().as_str()),
        ("fwd=stale; fwd-status=304; stored; ttl", TEXT)
    );
    let address = upstream.address();
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some(id) => call_reply(&own_links(id, address)),
        None => reply("503 X", &[], ""),
    });
    let response = get(&gateway, TRANSCRIPTION, &[]);
    assert_eq!((response.status, response.text().as_str()), (200, TEXT));
    assert_eq!(response.story(), "hit; ttl; detail=stale-if-error");
}

#[test]
fn what_may_not_or_cannot_be_kept_is_passed_on() {
    let large = "x".repeat(3000);
    let copy = large.clone();
    let upstream = with_media(move |_| reply("200 OK", &[PLAIN], &copy));
    let gateway = config().with("cache", "max_entry_bytes = \"2KiB\"").start(&upstream);
    for _ in 0..2 {
        let response = get(&gateway, TRANSCRIPTION, &[]);
        assert_eq!((response.status, response.text()), (200, large.clone()));
        assert_eq!(response.cache_status(), "fwd=bypass; fwd-status=200");
    }
    let upstream = with_media(|_| transcript(&["Cache-Control: no-store"]));
    let gateway = config().start(&upstream);
    for _ in 0..2 {
        assert_eq!(
            get(&gateway, TRANSCRIPTION, &[]).story(),
            "fwd=uri-miss; fwd-status=200; detail=no-store"
        );
    }
    let upstream = with_media(|_| transcript(&[]));
    let gateway = config().with("cache", "max_transcript_bytes = \"0B\"").start(&upstream);
    for _ in 0..2 {
        assert_eq!(get(&gateway, TRANSCRIPTION, &[]).cache_status(), "fwd=bypass; fwd-status=200");
    }
    assert_eq!(media_requests(&upstream).len(), 2);
}

#[test]
fn a_call_that_is_no_longer_there_takes_its_transcription_with_it() {
    let upstream = with_media(|_| transcript(&[]));
    let gateway = config().start(&upstream);
    get(&gateway, TRANSCRIPTION, &[]);
    let gone = r#"{"success":false,"error":{"code":"NOT_FOUND","message":"x"},"meta":{}}"#;
    upstream.now(move |_| reply("404 X", &["Content-Type: application/json"], gone));
    let response = get(&gateway, TRANSCRIPTION, &["Cache-Control: no-cache"]);
    assert_eq!((response.status, response.text().as_str()), (404, gone));
    let address = upstream.address();
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some(id) => call_reply(&own_links(id, address)),
        None => reply("500 X", &[], ""),
    });
    gateway.delete("/api/v1/cache/alpha/call_1");
    assert_eq!(get(&gateway, TRANSCRIPTION, &[]).status, 500, "nothing of before is left");
}
