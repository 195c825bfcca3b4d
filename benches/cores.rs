//! Compares the cost of a hit when two threads answer for one tenant with that of a single thread.
//!
//! Threads share a tenant's counters, limit and cache, so each must fetch the cache lines that the other has written.
//! Measures processor time per hit without sockets, alternating one thread and two, and prints the median of the ratios.

#![expect(clippy::expect_used, reason = "a bench stops where it can't begin")]
#![expect(clippy::print_stdout, reason = "its figures are its output")]

mod support;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use credira_gateway::bench::Crowd;
use support::body;

const CALLS: usize = 1000;
const TIMES: u32 = 200;
const ROUNDS: usize = 15;

/// Processor time per hit with this number of threads.
fn cost(crowd: &Crowd, threads: u32) -> Duration {
    let start = Barrier::new(threads as usize);
    let busy: Duration = thread::scope(|scope| {
        let run = || {
            start.wait();
            (0..TIMES).map(|_| crowd.ask()).sum::<Duration>()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    busy / (threads * TIMES * CALLS as u32)
}

fn main() {
    let crowd = Crowd::of(body, CALLS);
    cost(&crowd, 2);
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let (one, two) = match round % 2 {
            0 => (cost(&crowd, 1), cost(&crowd, 2)),
            _ => {
                let two = cost(&crowd, 2);
                (cost(&crowd, 1), two)
            }
        };
        println!("one thread {one:?} a hit, two {two:?}");
        ratios.push(two.as_secs_f64() / one.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("two to one: {:.2} (median of {ROUNDS})", ratios.get(ROUNDS / 2).expect("a median"));
}
