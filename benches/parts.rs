//! The parts of a request, without sockets: a hit through the whole handler, the admission of an
//! answer of 1.3 KB, and the lookup of a token.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench stops where it can't begin")]

use std::hint::black_box;

use bytes::Bytes;
use credira_gateway::bench::{Admission, TOKEN, Tokens, gateway};
use credira_gateway::mock::Contract;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::Empty;
use tokio::runtime::{Builder, Runtime};

const CALL: &str = "call_1";

fn body(path: &str) -> String {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    Contract::default().answer("GET", path, Some("Bearer key"), now, 1).body
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn hit(criterion: &mut Criterion) {
    let runtime = runtime();
    let gateway = gateway(body);
    let request = Request::get(format!("/v1/calls/{CALL}"))
        .header("host", "gateway")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let first = runtime.block_on(gateway.answer(request.clone()));
    assert_eq!(first.status(), 200);
    let second = runtime.block_on(gateway.answer(request.clone()));
    let story = second.headers().get("cache-status").and_then(|line| line.to_str().ok()).unwrap_or_default();
    assert!(story.contains("; hit;"), "{story}");
    criterion.bench_function("hit", |bencher| {
        let clone = || request.clone();
        bencher.iter_batched(
            clone,
            |request| runtime.block_on(gateway.answer(request)),
            BatchSize::SmallInput,
        );
    });
}

fn admission(criterion: &mut Criterion) {
    let body = body(&format!("/v1/calls/{CALL}"));
    assert!((1200..1400).contains(&body.len()), "{}", body.len());
    let admission = Admission::of(CALL, body);
    assert!(admission.is_granted());
    criterion.bench_function("admission", |bencher| bencher.iter(|| black_box(&admission).is_granted()));
}

fn token(criterion: &mut Criterion) {
    let authorization = Tokens::authorization();
    for tenants in [1, 1000] {
        let tokens = Tokens::among(tenants);
        assert!(tokens.know(authorization.as_ref()));
        criterion.bench_function(&format!("token among {tenants}"), |bencher| {
            bencher.iter(|| tokens.know(black_box(authorization.as_ref())));
        });
    }
}

criterion_group!(parts, hit, admission, token);
criterion_main!(parts);
