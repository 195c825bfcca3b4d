//! What is stored, for how long, and how it is used.

use crate::support::{Config, Gateway, TOKENS, Upstream, call, call_reply, reply};

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";

/// A call with an `updated_time` this many seconds ago (negative: in the future), and no other time.
fn updated_ago(id: &str, seconds: i64) -> String {
    let then = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
    format!(
        r#"{{"success":true,"data":{{"id":"{id}","status":"completed","updated_time":"{then:.0}"}},"meta":{{}}}}"#
    )
}

#[test]
fn a_completed_call_is_a_hit_the_second_time_and_unfinished_ones_never() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").story(), MISS);
    let hit = gateway.get("call_1");
    assert_eq!((hit.story().as_str(), hit.header("age")), ("hit; ttl", Some("0")));
    for id in ["call_progress1", "call_initiated1"] {
        for _ in 0..2 {
            assert_eq!(gateway.get(id).story(), "fwd=uri-miss; fwd-status=200; detail=not-completed", "{id}");
        }
    }
    assert_eq!(upstream.count(), 5);
}

#[test]
fn a_settled_call_lasts_for_ttl_and_a_settling_one_for_settle_ttl() {
    let upstream = Upstream::scripted(|seen| {
        let body = match seen.id() {
            "call_settled" => updated_ago(seen.id(), 700),
            "call_settling" => updated_ago(seen.id(), 10),
            "call_future" => updated_ago(seen.id(), -100),
            "call_timeless" => {
                r#"{"success":true,"data":{"id":"call_timeless","status":"completed"}}"#.into()
            }
            _ => updated_ago(seen.id(), 700).replace('T', " at "),
        };
        reply("200 OK", &[], &body)
    });
    let gateway = Gateway::plain(&upstream);
    let ttl = |id: &str| {
        gateway.get(id);
        gateway.get(id).ttl()
    };
    let settled = ttl("call_settled");
    assert!((77_700..=86_400).contains(&settled), "{settled}");
    for id in ["call_settling", "call_future", "call_timeless", "call_unreadable"] {
        let settling = ttl(id);
        assert!((26..=30).contains(&settling), "{id}: {settling}");
    }
}

#[test]
fn configured_lifetimes_are_jittered() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let ttls: std::collections::HashSet<_> =
        (0..20).map(|n| gateway.get(&format!("call_{n}")).ttl()).collect();
    assert!(ttls.len() > 10, "{ttls:?}");
}

#[test]
fn the_upstreams_own_freshness_goes_first_and_counts_its_age() {
    let upstream = Upstream::scripted(|seen| {
        let line = match seen.id() {
            "call_maxage" => "Cache-Control: max-age=100",
            "call_shared" => "Cache-Control: max-age=100, s-maxage=50",
            "call_aged" => "Cache-Control: max-age=100\r\nAge: 40",
            "call_huge" => "Cache-Control: max-age=99999999999",
            "call_quoted" => "cache-control: MAX-AGE=\"70\"",
            _ => "Cache-Control: max-age=x",
        };
        call_reply(seen.id(), &[line])
    });
    let gateway = Gateway::plain(&upstream);
    for (id, ttl) in [("maxage", 100), ("shared", 50), ("aged", 60), ("huge", 1 << 31), ("quoted", 70)] {
        let id = format!("call_{id}");
        gateway.get(&id);
        let hit = gateway.get(&id);
        assert!((ttl - 2..=ttl).contains(&hit.ttl()), "{id}: {}", hit.ttl());
        assert_eq!(hit.story(), "hit; ttl");
    }
    let aged: u64 = gateway.get("call_aged").header("age").unwrap().parse().unwrap();
    assert!((40..45).contains(&aged), "{aged}");
    gateway.get("call_invalid");
    assert!(gateway.get("call_invalid").ttl() <= 0, "explicit but invalid freshness is stale");
}

#[test]
fn only_what_fits_is_stored_and_the_cache_stays_within_its_bytes() {
    let upstream = Upstream::contract();
    let config = Config::default()
        .with("cache", "max_entry_bytes = \"1KiB\"")
        .tenant(1, "cache_max_bytes = \"20KiB\"");
    let gateway = config.start(&upstream);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; detail=too-large");

    let gateway = Config::default().tenant(0, "cache_max_bytes = \"20KiB\"").start(&upstream);
    let mut client = gateway.connect();
    for number in 0..100 {
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
    }
    let (entries, bytes) =
        (gateway.metric("cache_entries{tenant=\"alpha\"}"), gateway.metric("cache_bytes{tenant=\"alpha\"}"));
    assert!(bytes <= 20.0 * 1024.0 && entries >= 5.0, "{entries} entries, {bytes} bytes");
    assert!(bytes >= entries * 1700.0, "keys, headers and bookkeeping are counted in: {bytes} for {entries}");
}

#[test]
fn the_statuses_that_are_final_are_the_configurations() {
    let upstream = Upstream::contract();
    let statuses = "cacheable_statuses = [\"completed\", \"in_progress\"]";
    let gateway = Config::default().with("cache", statuses).start(&upstream);
    assert_eq!(gateway.get("call_progress1").story(), MISS);
    assert_eq!(gateway.get("call_progress1").story(), "hit; ttl");
    assert_eq!(gateway.get("call_initiated1").story(), "fwd=uri-miss; fwd-status=200; detail=not-completed");
}

#[test]
fn an_absent_tag_is_generated_from_the_data_alone() {
    let upstream = Upstream::scripted(|seen| {
        let body = call(seen.id()).replace("req_000000000", &format!("req_{:09}", seen.number));
        reply("200 OK", &[], &body)
    });
    let tag = |gateway: &Gateway| gateway.get("call_1").header("etag").unwrap().to_owned();
    let (one, other) = (Gateway::plain(&upstream), Gateway::plain(&upstream));
    assert!(tag(&one).starts_with("W/\""));
    assert_eq!(tag(&one), tag(&other), "the same in every process, whatever meta says");
    let upstream = Upstream::always(call_reply("call_1", &["ETag: \"v7\""]));
    assert_eq!(tag(&Gateway::plain(&upstream)), "\"v7\"");
}

// T61.
#[test]
fn unknown_calls_are_cached_briefly() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let first = gateway.get("call_missing1");
    assert_eq!((first.status, first.story().as_str()), (404, "fwd=uri-miss; fwd-status=404; stored; ttl"));
    let second = gateway.get("call_missing1");
    assert_eq!(
        (second.status, second.story().as_str(), second.body),
        (404, "hit; ttl; detail=negative", first.body)
    );
    assert_eq!((upstream.count(), gateway.outcomes("negative")), (1, 1.0));
    assert_eq!(gateway.get_as(1, "call_missing1", &[]).story(), "fwd=uri-miss; fwd-status=404; stored; ttl");
    let again = gateway.get_with("call_missing1", &["Cache-Control: no-cache"]);
    assert_eq!(again.story(), "fwd=request; fwd-status=404; stored; ttl");

    let off = Config::default().with("cache", "not_found_ttl = \"0s\"").start(&upstream);
    for _ in 0..2 {
        assert_eq!(off.get("call_missing1").story(), "fwd=uri-miss; fwd-status=404; detail=status");
    }
}

#[test]
fn outcomes_add_up_to_the_lookups() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for id in ["call_1", "call_1", "call_missing", "call_missing", "call_progress", "call_forbidden"] {
        gateway.get(id);
    }
    gateway.connect().get("/v1/calls/nonsense", TOKENS[0], &[]).read();
    gateway.connect().get("/nowhere", TOKENS[0], &[]).read();
    let all = ["hit", "negative", "stale", "bypass", "waited", "collapsed", "revalidated", "miss"];
    assert_eq!(all.map(|outcome| gateway.outcomes(outcome)), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0]);
    assert_eq!(gateway.metric("requests_total{code=\"400\",route=\"call\",tenant=\"alpha\"}"), 1.0);
    assert_eq!(gateway.metric("requests_total{code=\"404\",route=\"none\",tenant=\"alpha\"}"), 1.0);
    assert_eq!(gateway.metric("requests_total{code=\"200\",route=\"call\",tenant=\"alpha\"}"), 3.0);
    assert_eq!(gateway.metric("request_duration_seconds_count{outcome=\"miss\",route=\"call\"}"), 4.0);
}
