//! Instructions of a hit, of a miss's admission and of a token's lookup, counted by valgrind.
//!
//! Counts depend on the compiler and the libraries, and on nothing else: not on the machine's load, and
//! within one processor family not on the machine. `check.py` holds them against `baseline.json`.

#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;

use credira_gateway::bench::{Admission, Hits, Tokens};
use gungraun::{library_benchmark, library_benchmark_group, main};
use support::body;

/// A gateway in which the call is stored, asked a few times so that all is in place.
fn warm() -> Hits {
    let mut hits = Hits::of(body);
    for _ in 0..100 {
        assert_eq!(hits.ask(), 200);
    }
    hits
}

#[library_benchmark]
#[bench::stored(setup = warm)]
fn hit(mut hits: Hits) -> (u16, Hits) {
    let status = hits.ask();
    (black_box(status), hits)
}

fn answer() -> Admission {
    Admission::of("call_1", body("/v1/calls/call_1"))
}

#[library_benchmark]
#[bench::of_1300_bytes(setup = answer)]
fn admission(admission: Admission) -> bool {
    black_box(&admission).is_granted()
}

fn thousand() -> Tokens {
    Tokens::among(1000)
}

#[library_benchmark]
#[bench::among_1000(setup = thousand)]
fn token(tokens: Tokens) -> (bool, Tokens) {
    let known = tokens.know(Tokens::authorization().as_ref());
    (black_box(known), tokens)
}

library_benchmark_group!(name = parts; benchmarks = hit, admission, token);
main!(library_benchmark_groups = parts);
