//! A bare hyper server for the comparison: it answers every request at once with one call and the
//! headers of a hit, and does nothing else. What a gateway on hyper could at best cost.
//!
//! `bare ADDRESS`

#![expect(clippy::expect_used, reason = "a bench stops where it can't begin")]

use std::convert::Infallible;

use bytes::Bytes;
use credira_gateway::mock::Contract;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

const FIELDS: [(&str, &str); 11] = [
    ("content-type", "application/json"),
    ("cache-control", "private, no-cache"),
    ("vary", "Authorization"),
    ("via", "1.1 credira-gateway"),
    ("date", "Mon, 15 Jan 2024 10:30:00 GMT"),
    ("etag", "W/\"0123456789abcdef0123456789abcdef\""),
    ("age", "100"),
    ("x-request-id", "0123456789abcdef0123456789abcdef"),
    ("cache-status", "credira-gateway; hit; ttl=80000"),
    ("ratelimit-policy", "\"tenant\";q=1000000;w=1"),
    ("ratelimit", "\"tenant\";r=999999;t=1"),
];

fn main() {
    let address = std::env::args().nth(1).filter(|argument| argument.contains(':'));
    // `cargo test` and `cargo bench` run it without an address: there is nothing to compare with.
    let Some(address) = address else { return };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, serve(&address));
}

async fn serve(address: &str) {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let call = Contract::default().answer("GET", "/v1/calls/call_1", Some("Bearer key"), now, 1).body;
    let call: &'static str = call.leak();
    let listener = TcpListener::bind(address).await.expect("a free port");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(connection(stream, call));
    }
}

async fn connection(stream: TcpStream, call: &'static str) {
    let service = service_fn(move |_: Request<Incoming>| async move {
        let mut headers = HeaderMap::with_capacity(FIELDS.len());
        for (name, value) in FIELDS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut response = Response::new(Full::new(Bytes::from_static(call.as_bytes())));
        *response.headers_mut() = headers;
        Ok::<_, Infallible>(response)
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
