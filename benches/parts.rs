//! The parts of a request, without sockets: a hit through the whole handler, the admission of an
//! answer of 1.3 KB, and the lookup of a token.

#![expect(clippy::expect_used, reason = "a bench stops where it can't begin")]

mod support;

use std::hint::black_box;

use credira_gateway::bench::{AdmissionBench, Hits, TokenLookups};
use criterion::{Criterion, criterion_group, criterion_main};
use support::body;

const CALL: &str = "call_1";

fn hit(criterion: &mut Criterion) {
    let mut hits = Hits::of(body);
    assert_eq!(hits.ask(), 200);
    criterion.bench_function("hit", |bencher| bencher.iter(|| black_box(&mut hits).ask()));
}

fn admission(criterion: &mut Criterion) {
    let body = body(&format!("/v1/calls/{CALL}"));
    assert!((1200..1400).contains(&body.len()), "{}", body.len());
    let admission = AdmissionBench::of(CALL, body);
    assert!(admission.is_granted());
    criterion.bench_function("admission", |bencher| bencher.iter(|| black_box(&admission).is_granted()));
}

fn token(criterion: &mut Criterion) {
    for tenants in [1, 1000] {
        let tokens = TokenLookups::among(tenants);
        assert!(tokens.are_known());
        criterion.bench_function(&format!("token among {tenants}"), |bencher| {
            bencher.iter(|| black_box(&tokens).are_known())
        });
    }
}

criterion_group!(parts, hit, admission, token);
criterion_main!(parts);
