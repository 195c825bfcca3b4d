use std::time::Duration;

use super::*;
use crate::clock;

fn id() -> CallId {
    CallId::parse(b"call_1").unwrap()
}

const CALL: &str = r#"{"success":true,"data":{"id":"call_1","status":"completed","end_time":"2024-01-01T00:00:00Z"},"meta":{}}"#;
const MISSING: &str =
    r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"},"meta":{}}"#;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let now = clock::now();
    let received_at = "2024-06-01T12:00:00Z".parse().unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: Bytes::copy_from_slice(body.as_bytes()),
        exchange: Exchange { sent: now, received: now, received_at },
    }
}

fn rule(status: u16, headers: &[(&'static str, &str)], body: &str) -> Ruling {
    admit(&answer(status, headers, body), &id(), &Policy::for_tests(), 0)
}

fn stored(ruling: Ruling) -> Arc<Entry> {
    match ruling {
        Ruling::Store(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn passed(ruling: &Ruling) -> Option<(NotStored, Older)> {
    match ruling {
        Ruling::Pass { why, older, .. } => Some((*why, *older)),
        _ => None,
    }
}

fn refused(ruling: &Ruling) -> Option<(Refusal, NotStored, Older)> {
    match ruling {
        Ruling::Refuse { refusal, why, older } => Some((*refusal, *why, *older)),
        _ => None,
    }
}

#[test]
fn a_completed_call_is_stored_byte_for_byte_with_a_tag_of_our_own() {
    let entry = stored(rule(200, &[("content-type", "application/json")], CALL));
    assert_eq!(entry.reply.body(), CALL);
    assert_eq!(entry.reply.field(&CACHE_CONTROL).unwrap(), "private, no-cache");
    assert_eq!(entry.reply.field(&http::header::DATE).unwrap(), "Sat, 01 Jun 2024 12:00:00 GMT");
    assert!(entry.reply.field(&ETAG).unwrap().as_bytes().starts_with(b"W/\""));
    assert!(entry.validators().are_empty(), "a made-up tag is never sent upstream");
}

#[test]
fn the_upstreams_own_validators_are_kept_and_sent() {
    let headers = [("etag", "\"v1\""), ("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT")];
    let entry = stored(rule(200, &headers, CALL));
    assert_eq!(entry.reply.field(&ETAG).unwrap(), "\"v1\"");
    let validators = entry.validators();
    assert_eq!(validators.etag.unwrap(), "\"v1\"");
    assert_eq!(validators.last_modified.unwrap(), "Mon, 15 Jan 2024 10:30:00 GMT");
    assert_eq!(stored(rule(200, &[("etag", "v1")], CALL)).validators().etag, None, "not a tag");
}

#[test]
fn a_tag_of_our_own_is_of_the_data_alone() {
    let with_meta =
        |meta: &str| CALL.replace(r#""meta":{}"#, &format!(r#""meta":{{"request_id":"{meta}"}}"#));
    let tag = |body: &str| stored(rule(200, &[], body)).reply.field(&ETAG).unwrap().clone();
    assert_eq!(tag(&with_meta("a")), tag(&with_meta("b")));
    assert_ne!(tag(CALL), tag(&CALL.replace("2024-01-01", "2024-01-02")));
}

#[test]
fn only_the_exact_status_is_stored() {
    for status in
        ["\"Completed\"", "\"completed \"", "\"in_progress\"", "null", "[\"completed\"]", "1", "\"\""]
    {
        let ruling = rule(200, &[], &CALL.replace("\"completed\"", status));
        assert_eq!(passed(&ruling), Some((NotStored::NotCompleted, Older::Goes)), "{status}");
    }
    let without = CALL.replace(r#""status":"completed","#, "");
    assert_eq!(passed(&rule(200, &[], &without)), Some((NotStored::NotCompleted, Older::Goes)));
}

#[test]
fn success_that_is_not_true_is_passed_and_an_older_entry_stays() {
    for success in ["false", "1", "\"true\"", "null"] {
        let ruling = rule(200, &[], &CALL.replace("\"success\":true", &format!("\"success\":{success}")));
        assert_eq!(passed(&ruling), Some((NotStored::NotSuccess, Older::Stays)), "{success}");
    }
    for id in ["null", "7", "[\"call_1\"]"] {
        let ruling = rule(200, &[], &CALL.replace("\"call_1\"", id));
        assert_eq!(passed(&ruling), Some((NotStored::NotSuccess, Older::Stays)), "{id}");
    }
    assert_eq!(passed(&rule(200, &[], "{}")), Some((NotStored::NotSuccess, Older::Stays)));
}

#[test]
fn another_call_is_never_an_answer() {
    let mix_up = Some((Refusal::UpstreamFailed, NotStored::Identity, Older::Stays));
    for body in [
        CALL.replace("call_1", "call_2"),
        CALL.replace("call_1", "CALL_1"),
        CALL.replace("call_1", "call_1 "),
        CALL.replace("call_1", "call_2").replace("true", "false"),
        CALL.replace("\"id\":\"call_1\"", "\"id\":\"call_1\",\"id\":\"call_1\""),
        CALL.replace("\"meta\":{}", "\"data\":{\"id\":\"call_1\"}"),
    ] {
        assert_eq!(refused(&rule(200, &[], &body)), mix_up, "{body}");
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let invalid = Some((Refusal::UpstreamFailed, NotStored::InvalidBody, Older::Stays));
    for body in ["", "<html></html>", "[]", "\"x\"", "{\"success\":true", "\u{feff}{}"] {
        assert_eq!(refused(&rule(200, &[("content-type", "text/html")], body)), invalid, "{body}");
    }
    assert_eq!(refused(&rule(200, &[("content-encoding", "gzip")], CALL)), invalid);
    assert_eq!(refused(&rule(500, &[("content-encoding", "br")], MISSING)), invalid);
    let hiding = CALL.replace("\"status\":", "\"id\":\"call_2\",\"end_time\":1e999,\"status\":");
    for body in [hiding, CALL.replace("call_1\"", "call_2\",\"end_time\":1e999")] {
        assert_eq!(refused(&rule(200, &[], &body)), invalid, "{body}");
    }
    stored(rule(200, &[("content-encoding", "identity")], CALL));
}

#[test]
fn duplicate_keys_are_passed_and_not_stored() {
    for body in [
        CALL.replace("\"status\"", "\"status\":\"x\",\"status\""),
        CALL.replace("\"meta\":{}", "\"meta\":{},\"meta\":{}"),
        CALL.replace("\"success\":true", "\"success\":true,\"success\":true"),
    ] {
        assert_eq!(passed(&rule(200, &[], &body)), Some((NotStored::DuplicateKeys, Older::Stays)), "{body}");
    }
}

#[test]
fn the_upstream_may_forbid_storing() {
    for line in ["no-store", "NO-STORE", "max-age=60, no-store", "private, no-store"] {
        assert_eq!(
            passed(&rule(200, &[("cache-control", line)], CALL)),
            Some((NotStored::NoStore, Older::Goes))
        );
    }
    for vary in ["*", "Accept, *", "*,Accept"] {
        assert_eq!(
            passed(&rule(200, &[("vary", vary)], CALL)),
            Some((NotStored::Vary, Older::Goes)),
            "{vary}"
        );
    }
    let mut ignoring = Policy::for_tests();
    ignoring.upstream_cache_control = crate::config::CacheControl::Ignore;
    stored(admit(&answer(200, &[("cache-control", "no-store")], CALL), &id(), &ignoring, 0));
}

#[test]
fn private_cookies_and_any_other_vary_do_not_prevent_storing() {
    let headers = [("cache-control", "private"), ("set-cookie", "a=b"), ("vary", "Accept, Accept-Encoding")];
    let entry = stored(rule(200, &headers, CALL));
    assert!(entry.reply.field(&http::header::SET_COOKIE).is_none());
    assert_eq!(entry.reply.field(&VARY).unwrap(), "Accept, Accept-Encoding, Authorization");
}

#[test]
fn what_is_larger_than_an_entry_is_passed() {
    let mut small = Policy::for_tests();
    small.max_entry_bytes = CALL.len() + 60;
    stored(admit(&answer(200, &[("etag", "\"a\"")], CALL), &id(), &small, 0));
    let long = "\"".to_owned() + &"a".repeat(60) + "\"";
    let ruling = admit(&answer(200, &[("etag", &long)], CALL), &id(), &small, 0);
    assert_eq!(passed(&ruling), Some((NotStored::TooLarge, Older::Goes)), "headers count");
}

#[test]
fn other_successes_are_passed_and_redirects_refused() {
    for status in [201, 202, 203, 204, 206] {
        assert_eq!(passed(&rule(status, &[], CALL)), Some((NotStored::Status, Older::Stays)), "{status}");
    }
    for status in [101, 300, 301, 302, 303, 304, 307, 308] {
        let ruling = rule(status, &[("location", "http://evil.example/")], "");
        assert_eq!(
            refused(&ruling),
            Some((Refusal::UpstreamFailed, NotStored::Status, Older::Stays)),
            "{status}"
        );
    }
}

#[test]
fn errors_keep_their_status_and_their_body_if_it_is_json() {
    for (status, older) in [
        (400, Older::Stays),
        (403, Older::Goes),
        (409, Older::Stays),
        (410, Older::Goes),
        (429, Older::Stays),
        (500, Older::Stays),
        (503, Older::Stays),
    ] {
        assert_eq!(passed(&rule(status, &[], MISSING)), Some((NotStored::Status, older)), "{status}");
        let code = StatusCode::from_u16(status).unwrap();
        let replaced =
            Some((Refusal::UpstreamStatus { status: code, retry_after: None }, NotStored::Status, older));
        assert_eq!(refused(&rule(status, &[], "<html>")), replaced, "{status}");
    }
    let busy = refused(&rule(503, &[("retry-after", "7")], "<html>"));
    assert_eq!(busy.and_then(|(refusal, ..)| refusal.retry_after()), Some(7));
    let rejected = Some((Refusal::UpstreamKeyRejected, NotStored::Status, Older::Stays));
    assert_eq!(refused(&rule(401, &[], MISSING)), rejected);
    assert_eq!(refused(&rule(401, &[("content-encoding", "br")], MISSING)), rejected);
    for status in [403, 404, 410] {
        let gone = refused(&rule(status, &[("content-encoding", "br")], MISSING));
        assert_eq!(gone.map(|(.., older)| older), Some(Older::Goes), "{status}: whatever is said beside it");
    }
}

#[test]
fn only_the_upstreams_own_404_is_remembered() {
    let entry = stored(rule(404, &[("etag", "\"x\"")], MISSING));
    assert!(entry.is_missing());
    assert_eq!((entry.reply.status(), entry.reply.body()), (StatusCode::NOT_FOUND, Bytes::from(MISSING)));
    assert_eq!(passed(&rule(404, &[], "{}")), Some((NotStored::Status, Older::Goes)));
    assert_eq!(
        passed(&rule(404, &[("cache-control", "no-store")], MISSING)),
        Some((NotStored::NoStore, Older::Goes))
    );
    assert!(refused(&rule(404, &[], "<html>")).is_some());
    let mut off = Policy::for_tests();
    off.not_found_ttl = Duration::ZERO;
    let ruling = admit(&answer(404, &[], MISSING), &id(), &off, 0);
    assert_eq!(passed(&ruling), Some((NotStored::Status, Older::Goes)));
}

#[test]
fn a_304_renews_and_updates_the_headers_rfc_9111_4_3_4() {
    let entry = stored(rule(200, &[("etag", "\"v1\""), ("x-a", "1"), ("cache-control", "max-age=1")], CALL));
    let answer = answer(304, &[("etag", "\"v1\""), ("x-a", "2"), ("cache-control", "max-age=50")], "");
    assert!(confirms(&answer, &entry.validators()));
    let Renewal::Renewed(renewed) = renew(&entry, &answer, &Policy::for_tests(), 0) else {
        panic!("forbidden")
    };
    assert_eq!(renewed.reply.field(&http::HeaderName::from_static("x-a")).unwrap(), "2");
    assert_eq!((renewed.reply.status(), renewed.reply.body()), (StatusCode::OK, Bytes::from(CALL)));
    let reckoning = Reckoning::of(&renewed.facts, &Policy::for_tests(), answer.exchange.received);
    assert_eq!(reckoning.lifetime().as_secs(), 50);
}

#[test]
fn a_304_without_a_word_keeps_what_the_200_said() {
    let entry =
        stored(rule(200, &[("etag", "\"v1\""), ("cache-control", "max-age=7, must-revalidate")], CALL));
    let answer = answer(304, &[], "");
    let Renewal::Renewed(renewed) = renew(&entry, &answer, &Policy::for_tests(), 0) else {
        panic!("forbidden")
    };
    let reckoning = Reckoning::of(&renewed.facts, &Policy::for_tests(), answer.exchange.received);
    assert!(reckoning.lifetime().as_secs() == 7 && reckoning.never_stale);
}

#[test]
fn our_own_default_is_not_taken_for_the_upstreams_word_on_renewal() {
    let entry = stored(rule(200, &[("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT")], CALL));
    let answer = answer(304, &[], "");
    let Renewal::Renewed(renewed) = renew(&entry, &answer, &Policy::for_tests(), 0) else {
        panic!("forbidden")
    };
    assert_eq!(
        Reckoning::of(&renewed.facts, &Policy::for_tests(), answer.exchange.received).lifetime(),
        Policy::for_tests().ttl
    );
    assert_eq!(renewed.reply.field(&CACHE_CONTROL).unwrap(), "private, no-cache");
    assert_eq!(renewed.validators().etag, None, "the made-up tag is still ours");
}

#[test]
fn a_304_that_says_no_store_answers_once() {
    let entry = stored(rule(200, &[("etag", "\"v1\"")], CALL));
    let answer = answer(304, &[("cache-control", "no-store")], "");
    assert!(matches!(renew(&entry, &answer, &Policy::for_tests(), 0), Renewal::Forbidden(_)));
}

#[test]
fn a_304_about_another_tag_confirms_nothing() {
    let entry = stored(rule(200, &[("etag", "\"v1\"")], CALL));
    assert!(!confirms(&answer(304, &[("etag", "\"v2\"")], ""), &entry.validators()));
    assert!(confirms(&answer(304, &[("etag", "W/\"v1\"")], ""), &entry.validators()));
}
