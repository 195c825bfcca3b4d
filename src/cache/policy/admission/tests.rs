use std::time::Duration;

use http::StatusCode;
use http::header::{DATE, LAST_MODIFIED};

use super::*;
use crate::cache::policy::Freshness;
use crate::cache::policy::renewal::{Judgement, judge_response};
use crate::clock;
use crate::message::ExchangeTimes;

fn id() -> CallId {
    CallId::parse(b"call_1").unwrap()
}

const CALL: &str = r#"{"success":true,"data":{"id":"call_1","status":"completed","end_time":"2024-01-01T00:00:00Z"},"meta":{}}"#;
const NOT_FOUND: &str =
    r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"},"meta":{}}"#;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> UpstreamResponse {
    let now = clock::now();
    let received_at = "2024-06-01T12:00:00Z".parse().unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    UpstreamResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        times: ExchangeTimes { sent: now, received: now, received_at },
    }
}

fn admitted(status: u16, headers: &[(&'static str, &str)], body: &str) -> Admission {
    admit(&answer(status, headers, body), &id(), &CacheSettings::for_tests(), 0)
}

fn validators(candidate: &Candidate) -> Validators {
    let Candidate { response, own, .. } = candidate;
    upstream_validators(response.field(&ETAG), response.field(&LAST_MODIFIED), *own)
}

/// A stored call after a 304 with these fields.
fn renewed(stored: &Candidate, headers: &[(&'static str, &str)]) -> Judgement {
    let response = answer(304, headers, "");
    judge_response(
        &response,
        &id(),
        Some(stored.clone()),
        &validators(stored),
        &CacheSettings::for_tests(),
        0,
    )
}

fn kept(judgement: Judgement) -> Candidate {
    match judgement {
        Judgement::Renewed(candidate) => candidate,
        other => panic!("{other:?}"),
    }
}

fn lifetime(candidate: &Candidate) -> Duration {
    Freshness::of(&candidate.inputs, &CacheSettings::for_tests(), candidate.inputs.received()).lifetime()
}

fn stored(admission: Admission) -> Candidate {
    match admission {
        Admission::Store(candidate) => candidate,
        other => panic!("{other:?}"),
    }
}

fn passed(admission: &Admission) -> Option<(NotStored, Existing)> {
    match admission {
        Admission::PassThrough { why, existing, .. } => Some((*why, *existing)),
        _ => None,
    }
}

fn rejected(admission: &Admission) -> Option<(Refusal, NotStored, Existing)> {
    match admission {
        Admission::Reject { refusal, why, existing } => Some((*refusal, *why, *existing)),
        _ => None,
    }
}

#[test]
fn a_completed_call_is_stored_byte_for_byte_with_a_generated_tag() {
    let entry = stored(admitted(200, &[("content-type", "application/json")], CALL));
    assert_eq!(entry.response.body, CALL);
    assert_eq!(entry.response.field(&CACHE_CONTROL).unwrap(), "private, no-cache");
    assert_eq!(entry.response.field(&DATE).unwrap(), "Sat, 01 Jun 2024 12:00:00 GMT");
    assert!(entry.response.field(&ETAG).unwrap().as_bytes().starts_with(b"W/\""));
    assert!(validators(&entry).are_empty(), "a made-up tag is never sent upstream");
}

#[test]
fn the_upstreams_own_validators_are_kept_and_sent() {
    let headers = [("etag", "\"v1\""), ("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT")];
    let entry = stored(admitted(200, &headers, CALL));
    assert_eq!(entry.response.field(&ETAG).unwrap(), "\"v1\"");
    let found = validators(&entry);
    assert_eq!(found.etag.unwrap(), "\"v1\"");
    assert_eq!(found.last_modified.unwrap(), "Mon, 15 Jan 2024 10:30:00 GMT");
    assert_eq!(validators(&stored(admitted(200, &[("etag", "v1")], CALL))).etag, None, "not a tag");
}

#[test]
fn a_generated_tag_depends_on_the_data_alone() {
    let with_meta =
        |meta: &str| CALL.replace(r#""meta":{}"#, &format!(r#""meta":{{"request_id":"{meta}"}}"#));
    let tag = |body: &str| stored(admitted(200, &[], body)).response.field(&ETAG).unwrap().clone();
    assert_eq!(tag(&with_meta("a")), tag(&with_meta("b")));
    assert_ne!(tag(CALL), tag(&CALL.replace("2024-01-01", "2024-01-02")));
}

#[test]
fn only_the_exact_status_is_stored() {
    for status in
        ["\"Completed\"", "\"completed \"", "\"in_progress\"", "null", "[\"completed\"]", "1", "\"\""]
    {
        let admission = admitted(200, &[], &CALL.replace("\"completed\"", status));
        assert_eq!(passed(&admission), Some((NotStored::NotCompleted, Existing::Invalidate)), "{status}");
    }
    let without = CALL.replace(r#""status":"completed","#, "");
    assert_eq!(passed(&admitted(200, &[], &without)), Some((NotStored::NotCompleted, Existing::Invalidate)));
}

#[test]
fn success_other_than_true_is_passed_on_and_an_older_entry_stays() {
    for success in ["false", "1", "\"true\"", "null"] {
        let admission =
            admitted(200, &[], &CALL.replace("\"success\":true", &format!("\"success\":{success}")));
        assert_eq!(passed(&admission), Some((NotStored::NotSuccess, Existing::Keep)), "{success}");
    }
    for id in ["null", "7", "[\"call_1\"]"] {
        let admission = admitted(200, &[], &CALL.replace("\"call_1\"", id));
        assert_eq!(passed(&admission), Some((NotStored::NotSuccess, Existing::Keep)), "{id}");
    }
    assert_eq!(passed(&admitted(200, &[], "{}")), Some((NotStored::NotSuccess, Existing::Keep)));
}

#[test]
fn an_answer_about_another_call_is_rejected() {
    let mix_up = Some((Refusal::UpstreamFailed, NotStored::Identity, Existing::Keep));
    for body in [
        CALL.replace("call_1", "call_2"),
        CALL.replace("call_1", "CALL_1"),
        CALL.replace("call_1", "call_1 "),
        CALL.replace("call_1", "call_2").replace("true", "false"),
        CALL.replace("\"id\":\"call_1\"", "\"id\":\"call_1\",\"id\":\"call_1\""),
        CALL.replace("\"meta\":{}", "\"data\":{\"id\":\"call_1\"}"),
    ] {
        assert_eq!(rejected(&admitted(200, &[], &body)), mix_up, "{body}");
    }
}

#[test]
fn anything_but_a_json_object_is_rejected() {
    let invalid = Some((Refusal::UpstreamFailed, NotStored::InvalidBody, Existing::Keep));
    for body in ["", "<html></html>", "[]", "\"x\"", "{\"success\":true", "\u{feff}{}"] {
        assert_eq!(rejected(&admitted(200, &[("content-type", "text/html")], body)), invalid, "{body}");
    }
    assert_eq!(rejected(&admitted(200, &[("content-encoding", "gzip")], CALL)), invalid);
    assert_eq!(rejected(&admitted(500, &[("content-encoding", "br")], NOT_FOUND)), invalid);
    let hiding = CALL.replace("\"status\":", "\"id\":\"call_2\",\"end_time\":1e999,\"status\":");
    for body in [hiding, CALL.replace("call_1\"", "call_2\",\"end_time\":1e999")] {
        assert_eq!(rejected(&admitted(200, &[], &body)), invalid, "{body}");
    }
    stored(admitted(200, &[("content-encoding", "identity")], CALL));
}

#[test]
fn duplicate_keys_are_passed_on_and_not_stored() {
    for body in [
        CALL.replace("\"status\"", "\"status\":\"x\",\"status\""),
        CALL.replace("\"meta\":{}", "\"meta\":{},\"meta\":{}"),
        CALL.replace("\"success\":true", "\"success\":true,\"success\":true"),
    ] {
        assert_eq!(
            passed(&admitted(200, &[], &body)),
            Some((NotStored::DuplicateKeys, Existing::Keep)),
            "{body}"
        );
    }
}

#[test]
fn the_upstream_may_forbid_storing() {
    for line in ["no-store", "NO-STORE", "max-age=60, no-store", "private, no-store"] {
        assert_eq!(
            passed(&admitted(200, &[("cache-control", line)], CALL)),
            Some((NotStored::NoStore, Existing::Invalidate))
        );
    }
    for vary in ["*", "Accept, *", "*,Accept"] {
        assert_eq!(
            passed(&admitted(200, &[("vary", vary)], CALL)),
            Some((NotStored::Vary, Existing::Invalidate)),
            "{vary}"
        );
    }
    let mut ignoring = CacheSettings::for_tests();
    ignoring.upstream_cache_control = crate::config::CacheControl::Ignore;
    stored(admit(&answer(200, &[("cache-control", "no-store")], CALL), &id(), &ignoring, 0));
}

#[test]
fn private_cookies_and_any_other_vary_do_not_prevent_storing() {
    let headers = [("cache-control", "private"), ("set-cookie", "a=b"), ("vary", "Accept, Accept-Encoding")];
    let entry = stored(admitted(200, &headers, CALL));
    assert!(entry.response.field(&http::header::SET_COOKIE).is_none());
    assert_eq!(entry.response.field(&VARY).unwrap(), "Accept, Accept-Encoding, Authorization");
}

#[test]
fn responses_larger_than_an_entry_are_passed_on() {
    let mut small = CacheSettings::for_tests();
    small.max_entry_bytes = CALL.len() + 60;
    stored(admit(&answer(200, &[("etag", "\"a\"")], CALL), &id(), &small, 0));
    let long = "\"".to_owned() + &"a".repeat(60) + "\"";
    let admission = admit(&answer(200, &[("etag", &long)], CALL), &id(), &small, 0);
    assert_eq!(passed(&admission), Some((NotStored::TooLarge, Existing::Invalidate)), "headers count");
}

#[test]
fn other_successes_are_passed_on_and_redirects_rejected() {
    for status in [201, 202, 203, 204, 206] {
        assert_eq!(
            passed(&admitted(status, &[], CALL)),
            Some((NotStored::Status, Existing::Keep)),
            "{status}"
        );
    }
    for status in [101, 300, 301, 302, 303, 304, 307, 308] {
        let admission = admitted(status, &[("location", "http://evil.example/")], "");
        assert_eq!(
            rejected(&admission),
            Some((Refusal::UpstreamFailed, NotStored::Status, Existing::Keep)),
            "{status}"
        );
    }
}

#[test]
fn errors_keep_their_status_and_their_body_if_it_is_json() {
    for (status, existing) in [
        (400, Existing::Keep),
        (403, Existing::Invalidate),
        (409, Existing::Keep),
        (410, Existing::Invalidate),
        (429, Existing::Keep),
        (500, Existing::Keep),
        (503, Existing::Keep),
    ] {
        assert_eq!(
            passed(&admitted(status, &[], NOT_FOUND)),
            Some((NotStored::Status, existing)),
            "{status}"
        );
        let code = StatusCode::from_u16(status).unwrap();
        let replaced =
            Some((Refusal::UpstreamStatus { status: code, retry_after: None }, NotStored::Status, existing));
        assert_eq!(rejected(&admitted(status, &[], "<html>")), replaced, "{status}");
    }
    let busy = rejected(&admitted(503, &[("retry-after", "7")], "<html>"));
    assert_eq!(busy.and_then(|(refusal, ..)| refusal.retry_after()), Some(7));
    let key_rejected = Some((Refusal::UpstreamKeyRejected, NotStored::Status, Existing::Keep));
    assert_eq!(rejected(&admitted(401, &[], NOT_FOUND)), key_rejected);
    assert_eq!(rejected(&admitted(401, &[("content-encoding", "br")], NOT_FOUND)), key_rejected);
    for status in [403, 404, 410] {
        let gone = rejected(&admitted(status, &[("content-encoding", "br")], NOT_FOUND));
        assert_eq!(
            gone.map(|(.., existing)| existing),
            Some(Existing::Invalidate),
            "{status}: whatever is said beside it"
        );
    }
}

#[test]
fn only_the_upstreams_own_404_is_remembered() {
    let entry = stored(admitted(404, &[("etag", "\"x\"")], NOT_FOUND));
    assert!(entry.inputs.is_negative());
    assert_eq!(
        (entry.response.status, entry.response.body),
        (StatusCode::NOT_FOUND, bytes::Bytes::from(NOT_FOUND))
    );
    assert_eq!(passed(&admitted(404, &[], "{}")), Some((NotStored::Status, Existing::Invalidate)));
    assert_eq!(
        passed(&admitted(404, &[("cache-control", "no-store")], NOT_FOUND)),
        Some((NotStored::NoStore, Existing::Invalidate))
    );
    assert!(rejected(&admitted(404, &[], "<html>")).is_some());
    let mut off = CacheSettings::for_tests();
    off.not_found_ttl = Duration::ZERO;
    let admission = admit(&answer(404, &[], NOT_FOUND), &id(), &off, 0);
    assert_eq!(passed(&admission), Some((NotStored::Status, Existing::Invalidate)));
}

#[test]
fn a_304_renews_and_updates_the_headers_rfc_9111_4_3_4() {
    let entry =
        stored(admitted(200, &[("etag", "\"v1\""), ("x-a", "1"), ("cache-control", "max-age=1")], CALL));
    let headers = [("etag", "\"v1\""), ("x-a", "2"), ("cache-control", "max-age=50")];
    let renewed = kept(renewed(&entry, &headers));
    assert_eq!(renewed.response.field(&HeaderName::from_static("x-a")).unwrap(), "2");
    assert_eq!((renewed.response.status, &renewed.response.body[..]), (StatusCode::OK, CALL.as_bytes()));
    assert_eq!(lifetime(&renewed).as_secs(), 50);
}

#[test]
fn a_bare_304_keeps_what_the_200_said() {
    let entry =
        stored(admitted(200, &[("etag", "\"v1\""), ("cache-control", "max-age=7, must-revalidate")], CALL));
    let renewed = kept(renewed(&entry, &[]));
    let freshness = Freshness::of(&renewed.inputs, &CacheSettings::for_tests(), renewed.inputs.received());
    assert!(freshness.lifetime().as_secs() == 7 && freshness.never_stale);
}

#[test]
fn our_default_cache_control_does_not_count_as_the_upstreams_on_renewal() {
    let entry = stored(admitted(200, &[("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT")], CALL));
    let renewed = kept(renewed(&entry, &[]));
    assert_eq!(lifetime(&renewed), CacheSettings::for_tests().ttl);
    assert_eq!(renewed.response.field(&CACHE_CONTROL).unwrap(), "private, no-cache");
    assert_eq!(validators(&renewed).etag, None, "the made-up tag is still ours");
}

#[test]
fn a_304_that_forbids_storing_answers_once() {
    let entry = stored(admitted(200, &[("etag", "\"v1\"")], CALL));
    for (header, why) in [
        (("cache-control", "no-store"), NotStored::NoStore),
        (("vary", "*"), NotStored::Vary),
        (("vary", "accept, *"), NotStored::Vary),
    ] {
        match renewed(&entry, &[header]) {
            Judgement::Withdrawn(candidate, found) => {
                assert_eq!((&candidate.response.body[..], found), (CALL.as_bytes(), why));
            }
            other => panic!("{header:?}: {other:?}"),
        }
    }
}

#[test]
fn a_304_is_about_the_version_that_its_strong_tag_names_rfc_9111_4_3_4() {
    let dated = ("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT");
    let is_confirmed = |stored_as: &[(&'static str, &str)], header: &[(&'static str, &str)]| match renewed(
        &stored(admitted(200, stored_as, CALL)),
        header,
    ) {
        Judgement::Renewed(_) => true,
        Judgement::OtherVersion => false,
        other => panic!("{other:?}"),
    };
    for (tag, named, confirmed) in [
        ("\"v1\"", "\"v1\"", true),
        ("\"v1\"", "W/\"v1\"", true),
        ("W/\"v1\"", "W/\"v1\"", true),
        ("W/\"v1\"", "\"v1\"", false),
        ("\"v1\"", "\"v2\"", false),
        ("\"v1\"", "W/\"v2\"", false),
    ] {
        assert_eq!(is_confirmed(&[("etag", tag)], &[("etag", named)]), confirmed, "{tag} {named}");
    }
    assert!(is_confirmed(&[("etag", "\"v1\"")], &[]));
    assert!(is_confirmed(&[("etag", "\"v1\"")], &[("etag", "v2")]), "not a tag");
    assert!(!is_confirmed(&[dated], &[("etag", "\"v2\"")]), "stored without a tag");
    assert!(is_confirmed(&[dated], &[("etag", "W/\"v2\"")]) && is_confirmed(&[dated], &[]));
}

#[test]
fn an_unsolicited_304_is_rejected() {
    let response = answer(304, &[], "");
    let entry = stored(admitted(200, &[], CALL));
    for stored in [None, Some(entry)] {
        let judgement =
            judge_response(&response, &id(), stored, &Validators::default(), &CacheSettings::for_tests(), 0);
        assert!(matches!(judgement, Judgement::Admitted(304, Admission::Reject { .. })), "{judgement:?}");
    }
}

#[test]
fn an_empty_content_encoding_is_no_coding() {
    for line in ["", " ", "identity", "Identity", "identity, "] {
        stored(admitted(200, &[("content-encoding", line)], CALL));
    }
    assert!(rejected(&admitted(200, &[("content-encoding", "identity, gzip")], CALL)).is_some());
}

#[test]
fn a_retry_after_of_an_error_without_json_is_kept_in_both_forms() {
    for value in ["7", "Sat, 01 Jun 2024 12:00:07 GMT"] {
        let busy = rejected(&admitted(503, &[("retry-after", value)], "<html>"));
        assert_eq!(busy.and_then(|(refusal, ..)| refusal.retry_after()), Some(7), "{value}");
    }
}
