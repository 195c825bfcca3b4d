//! The assertions of the fuzz targets. Each takes untrusted bytes and asserts properties of their interpretation; a
//! violation is a panic, which the fuzzer detects.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "what breaks a promise is to end the run, and bodies are small"
)]

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Builder;

use super::in_process::{Immediate, InProcessGateway, TOKEN, one_tenant, opened, settings};
use crate::cache::{BothClocks, CallEnvelope, Entry};
use crate::clock;
use crate::config::UpstreamKey;
use crate::domain::{ByteRange, CallId, ContentRange, TenantName};
use crate::levels::SealRing;
use crate::message::CACHE_STATUS;
use crate::server::HeadFilter;
use crate::upstream::Link;

/// A configuration file is loaded or rejected.
pub fn configuration(text: &[u8]) {
    if let Ok(text) = String::from_utf8(text.to_vec()) {
        let _ = crate::config::load_text("fuzzed.toml".as_ref(), text, &Default::default());
    }
}

/// The envelope's parser agrees with a general JSON parser.
pub fn envelope(body: &[u8]) {
    let CallEnvelope::Read(read) = CallEnvelope::read(body) else { return };
    // The general parser rejects numbers that exceed a double.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    assert!(value.is_object(), "an envelope is an object");
    assert_eq!(serde_json::from_slice::<Value>(read.data).expect("data is JSON"), value["data"]);
    if !read.duplicate_keys {
        assert_eq!(read.success, value["success"] == true);
        assert_eq!(read.id.as_deref(), value["data"]["id"].as_str());
        assert_eq!(read.status.as_deref(), value["data"]["status"].as_str());
    }
}

/// However the bytes of a connection are split, the output of the head filter is the same, and only `#` and `:` are
/// replaced.
pub fn request_lines(bytes: &[u8]) {
    let passed = |size: usize| {
        let mut heads = HeadFilter::new();
        let mut passed = bytes.to_vec();
        passed.chunks_mut(size.max(1)).for_each(|piece| heads.pass(piece));
        passed
    };
    let whole = passed(bytes.len());
    assert_eq!(passed(1), whole);
    assert_eq!(passed(7), whole);
    assert!(
        bytes
            .iter()
            .zip(&whole)
            .all(|(from, to)| from == to || matches!((from, to), (b'#', b'^') | (b':', b' ')))
    );
}

/// A link is followed as it was written, or not at all: what was checked is what is sent, on whatever host and path
/// another reader finds in it.
pub fn link(text: &[u8]) {
    let Ok(link) = Link::parse(text) else { return };
    let uri = link.uri();
    let sent = uri.to_string();
    let sent = sent.as_bytes();
    // A missing path is sent as "/".
    let same = sent.eq_ignore_ascii_case(text) || sent.len() == text.len() + 1;
    assert!(same, "it is sent as it was written");
    assert!(sent.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\')));
    assert!(!link.host().contains('@'), "no user info");
    let path = uri.path();
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "no dot segment");
    if path.starts_with("/v1/") {
        assert!(link.is_into_api());
    }
    // With two slashes, it names another host.
    if !path.starts_with("//") {
        let redirected = link.redirected(path.as_bytes()).expect("its own path leads to the same host");
        assert_eq!(redirected.host(), link.host());
    }
}

/// A range is read as it is written anew, names no byte outside of the whole, and is answered by what it names.
pub fn range(value: &[u8]) {
    if let Some(held) = ContentRange::parse(value) {
        assert_eq!(ContentRange::parse(held.to_string().as_bytes()), Some(held));
        assert!(held.complete.is_none_or(|complete| held.span.last < complete));
    }
    let Some(range) = ByteRange::parse(value) else { return };
    assert_eq!(ByteRange::parse(range.to_string().as_bytes()), Some(range));
    for length in [0, 1, 1000, u64::MAX] {
        let Some(span) = range.within(length) else { continue };
        assert!(span.first <= span.last && span.last < length);
        assert!(range.is_answered_by(ContentRange { span, complete: Some(length) }));
    }
}

/// Bytes that a level below memory returned. They are an entry of the call that was asked for, which is the same after
/// another round trip, or none; and no bytes open that were not sealed.
pub fn stored_entry(bytes: &[u8]) {
    let settings = settings(&one_tenant(""));
    let id = CallId::parse(b"call_1").expect("a call's ID");
    let key = UpstreamKey::new(&"key".into()).expect("a key");
    let tenant = TenantName::parse("a").expect("a name");
    let ring = SealRing::new([&key], None, &settings.upstream.base_url, &tenant);
    assert!(
        ring.ids().into_iter().all(|key| ring.open(key, &id, bytes).is_none()),
        "bytes that were never sealed could be opened"
    );
    let (policy, wall) = (&settings.cache, Timestamp::UNIX_EPOCH);
    let now = BothClocks { monotonic: clock::now(), wall };
    let Ok(entry) = Entry::decode(bytes, 0, &id, policy, now, 0) else { return };
    let encoded = entry.encode(policy, now).expect("no negative entry comes from a level");
    let again =
        Entry::decode(&encoded.bytes, encoded.receipt, &id, policy, now, 0).expect("it was just written");
    assert!(entry.response == again.response, "another response");
    assert_eq!(entry.freshness(policy, now.monotonic), again.freshness(policy, now.monotonic));
}

/// A lookup and the upstream's answer, all untrusted: target, the client's fields, status, the upstream's fields and
/// body, separated by NUL. Requested three times, the second and third time without fields. Each is answered, and an
/// answer from the cache is what the API sent, a completed call with this ID.
pub fn exchange(bytes: &[u8]) {
    let mut parts = bytes.splitn(5, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (target, asked, status, answered, body) = (part(), part(), part(), part(), part());
    let Ok(target) = http::Uri::try_from(target) else { return };
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok());
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else { return };
    let (headers, body) = (fields(answered), Bytes::copy_from_slice(body));
    let sent = body.clone();
    let upstream = Immediate(move |_: &Request<Bytes>| opened(status, headers.clone(), sent.clone()));
    let gateway =
        InProcessGateway::new(&one_tenant("[upstream.retry]\nmax_attempts = 1\n"), Arc::new(upstream));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for fields in [fields(asked), HeaderMap::new(), HeaderMap::new()] {
        let mut request = Request::get(target.clone()).body(Empty::<Bytes>::new()).expect("a request");
        let plain = fields.is_empty();
        *request.headers_mut() = fields;
        let token = HeaderValue::try_from(format!("Bearer {TOKEN}")).expect("a token");
        request.headers_mut().insert(AUTHORIZATION, token);
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("gateway"));
        let answer = runtime.block_on(gateway.ask(request));
        let story = answer.headers.get(CACHE_STATUS).map_or("", |value| value.to_str().expect("text"));
        if plain && story.contains("; hit") && answer.status == 200 {
            assert_eq!(answer.body, body, "a stored answer is the API's, byte for byte");
            assert_eq!(status, StatusCode::OK, "only a 200 is stored");
            if let Ok(value) = serde_json::from_slice::<Value>(&body) {
                let id = target.path().rsplit('/').next();
                assert_eq!(value["success"], true);
                assert_eq!(value["data"]["id"].as_str(), id);
                assert_eq!(value["data"]["status"], "completed");
            }
        }
    }
}

/// `Name: value` by line; other lines are skipped.
fn fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}
