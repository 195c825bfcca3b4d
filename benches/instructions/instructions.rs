//! Instructions of a hit, of a miss's admission and of a token's lookup, counted by valgrind.
//!
//! Counts depend on the compiler and the libraries, and on nothing else: not on the machine's load, and
//! within one processor family not on the machine. `check.py` holds them against `baseline.json`.

#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;

use credira_gateway::bench::{AdmissionBench, Hits, TokenLookups};
use gungraun::{library_benchmark, library_benchmark_group, main};
use support::body;

/// A gateway in which the call is stored, asked a few times so that all is in place. Boxed, so that no move of it is
/// counted.
fn warm() -> Box<Hits> {
    let mut hits = Box::new(Hits::of(body));
    for _ in 0..100 {
        assert_eq!(hits.ask(), 200);
    }
    hits
}

#[library_benchmark]
#[bench::stored(setup = warm)]
fn hit(mut hits: Box<Hits>) -> (u16, Box<Hits>) {
    let status = hits.ask();
    (black_box(status), hits)
}

fn answer() -> AdmissionBench {
    AdmissionBench::of("call_1", body("/v1/calls/call_1"))
}

#[library_benchmark]
#[bench::of_1300_bytes(setup = answer)]
fn admission(admission: AdmissionBench) -> bool {
    black_box(&admission).is_granted()
}

/// Whose token has passed before, as nearly all have. Boxed likewise.
fn thousand() -> Box<TokenLookups> {
    let tokens = TokenLookups::among(1000);
    assert!(tokens.are_known());
    Box::new(tokens)
}

#[library_benchmark]
#[bench::among_1000(setup = thousand)]
fn token(tokens: Box<TokenLookups>) -> (bool, Box<TokenLookups>) {
    let known = tokens.are_known();
    (black_box(known), tokens)
}

library_benchmark_group!(name = parts; benchmarks = hit, admission, token);
main!(library_benchmark_groups = parts);
