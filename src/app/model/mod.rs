//! The model test: random sequences of requests, upstream answers, clock steps, purges and key changes
//! against a small reference of what may be stored and served, written from the rules alone.
//!
//! The gateway runs in full except for its sockets, on a clock that the test moves: every answer's status, body,
//! `Cache-Status` with its numbers, and `Age` must match the reference's.

pub(super) mod engine;
mod fleet;
mod harness;
mod levels;
mod reference;
mod sequence;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use harness::Harness;
use reference::{RULES, Rules};
use tokio::runtime::Runtime;

/// The total number of sequences, in batches with their own seeds.
const SEQUENCES: u32 = 100_000;
const BATCHES: u32 = 50;

/// One thread, on a clock that only the test moves.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Runs one batch: batch `n` has the seed `n` of this run.
fn run_batch(seed: u64) {
    let config = Config {
        cases: SEQUENCES / BATCHES,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = runtime();
    let outcome = runner.run(&sequence::sequences(), |steps| {
        let played = runtime.block_on(async { Harness::new(RULES).play(&steps).await });
        played.map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => {
            panic!("MODEL_SEED={seed}: {reason}\nthe shortest sequence that fails: {steps:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("MODEL_SEED={seed}: {reason}"),
    }
}

/// `MODEL_SEED=n` repeats one batch; otherwise each run has new seeds, and prints the first.
#[test]
fn the_gateway_does_what_the_reference_does() {
    if let Some(seed) = std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run_batch(seed);
    }
    let first = u64::from(fastrand::u32(..)) << 16;
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let batches = (0..u64::from(BATCHES)).filter(|batch| batch % threads == thread);
                for batch in batches {
                    run_batch(first + batch);
                }
            });
        }
    });
}

/// The test must be able to fail: for every rule that the gateway might break, some sequence reveals it.
#[test]
fn every_broken_rule_is_detected() {
    type Spoil = fn(&mut Rules);
    let wrong: [(&str, Spoil); 7] = [
        ("ttl", |rules| rules.ttl *= 2),
        ("settle_window", |rules| rules.settle_window /= 100),
        ("settle_ttl", |rules| rules.settle_ttl *= 2),
        ("stale_while_revalidate", |rules| rules.stale_while_revalidate /= 2),
        ("stale_if_error", |rules| rules.stale_if_error /= 2),
        ("not_found_ttl", |rules| rules.not_found_ttl *= 2),
        ("total_timeout", |rules| rules.total_timeout *= 2),
    ];
    let runtime = runtime();
    let mut runner = TestRunner::deterministic();
    for (name, spoil) in wrong {
        let mut rules = RULES;
        spoil(&mut rules);
        let noticed = (0..10_000).any(|_| {
            let steps = sequence::sequences().new_tree(&mut runner).unwrap().current();
            runtime.block_on(async { Harness::new(rules).play(&steps).await.is_err() })
        });
        assert!(noticed, "{name}");
    }
}
