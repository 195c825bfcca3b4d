//! What the fuzz targets hold. Each takes bytes from outside and asserts what must be true of their
//! reading, whatever they are; a broken promise is a panic, which is what a fuzzer looks for.

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
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tokio::runtime::Builder;

use super::indoors::Indoors;
use crate::cache::{CACHE_STATUS, Envelope};
use crate::clock::WallClock;
use crate::server::RequestLines;
use crate::upstream::{Bounds, Connection, Exchanging, Received, Transport};

const CONFIGURATION: &str = r#"
    [upstream]
    base_url = "http://127.0.0.1:1"
    retry = { max_attempts = 1 }
    [[tenants]]
    name = "a"
    tokens = [{ value = "a-token-of-the-fuzzing-0123456789abcdef" }]
    upstream_key = { value = "key" }
"#;

/// A configuration file is read or refused.
pub fn configuration(text: &[u8]) {
    if let Ok(text) = String::from_utf8(text.to_vec()) {
        let _ = crate::config::load_text("fuzzed.toml".as_ref(), text, &Default::default());
    }
}

/// What the envelope's reader says of a body is what a general JSON reader says of it.
pub fn envelope(body: &[u8]) {
    let Envelope::Read(read) = Envelope::read(body) else { return };
    // A number that no double holds is no matter to the one, and an error to the other.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    assert!(value.is_object(), "an envelope is an object");
    assert_eq!(serde_json::from_slice::<Value>(read.data).expect("data is JSON"), value["data"]);
    if !read.duplicate_keys {
        assert_eq!(read.success, value["success"] == true);
        assert_eq!(read.id.as_deref(), value["data"]["id"].as_str());
        assert_eq!(read.status.as_deref(), value["data"]["status"].as_str());
    }
}

/// However the bytes of a connection are cut, the same comes out of the filter of request lines, and only
/// `#` became `%`.
pub fn request_lines(bytes: &[u8]) {
    let passed = |size: usize| {
        let mut lines = RequestLines::new();
        let mut passed = bytes.to_vec();
        passed.chunks_mut(size.max(1)).for_each(|piece| lines.pass(piece));
        passed
    };
    let whole = passed(bytes.len());
    assert_eq!(passed(1), whole);
    assert_eq!(passed(7), whole);
    assert!(bytes.iter().zip(&whole).all(|(from, to)| from == to || (*from, *to) == (b'#', b'%')));
}

/// A lookup and what the upstream says to it, all from outside: NUL between target, the client's fields,
/// status, the upstream's fields and body. Asked three times, the second and third time without fields.
/// Each is answered; and what comes out of the cache is what the API gave, a completed call of this ID.
pub fn exchange(bytes: &[u8]) {
    let mut parts = bytes.splitn(5, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (target, asked, status, answered, body) = (part(), part(), part(), part(), part());
    let Ok(target) = http::Uri::try_from(target) else { return };
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok());
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else { return };
    let body = Bytes::copy_from_slice(body);
    let upstream = Arc::new(Said { status, headers: fields(answered), body: body.clone() });
    let gateway = Indoors::new(CONFIGURATION, upstream, WallClock::system());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for fields in [fields(asked), HeaderMap::new(), HeaderMap::new()] {
        let mut request = Request::get(target.clone()).body(Empty::<Bytes>::new()).expect("a request");
        let plain = fields.is_empty();
        *request.headers_mut() = fields;
        let token = HeaderValue::from_static("Bearer a-token-of-the-fuzzing-0123456789abcdef");
        request.headers_mut().insert(AUTHORIZATION, token);
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("gateway"));
        let (head, given) = runtime.block_on(async {
            let (head, body) = gateway.answer(request).await.into_parts();
            (head, body.collect().await.expect("a body ends").to_bytes())
        });
        let story = head.headers.get(CACHE_STATUS).map_or("", |value| value.to_str().expect("text"));
        if plain && story.contains("; hit") && head.status == StatusCode::OK {
            assert_eq!(given, body, "a stored answer is the API's, byte for byte");
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

/// `Name: value` by line; what is none is left out.
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

/// An upstream that says the same to everything.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Transport for Said {
    fn exchange(&self, _: Request<()>, _: Bounds) -> Exchanging<'_> {
        let (status, headers, body) = (self.status, self.headers.clone(), self.body.clone());
        Box::pin(async move { Ok(Received { status, headers, body, connection: Connection::default() }) })
    }
}
