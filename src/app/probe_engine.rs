//! `check --probe` of the engine that a fleet shares.

use std::sync::Arc;
use std::time::Duration;

use super::probed::{Probed, mebibytes};
use crate::config::{EngineMode, EngineSettings, EngineUrl};
use crate::fleet::probe_log;
use crate::levels::{EngineGreeting, EngineMemory, EngineProbe, RedisEngine};

/// Stops after the first failure that leaves nothing to try.
pub(super) async fn probe_engine(settings: &EngineSettings, report: &mut impl FnMut(Probed)) {
    let urls: Vec<_> = settings.urls.iter().map(EngineUrl::to_string).collect();
    let name = format!("shared {}", urls.join(", "));
    let engine = Arc::new(RedisEngine::new(settings.clone()));
    let probe = match EngineProbe::connect(&engine).await {
        Ok(probe) => probe,
        Err(failure) => return report(Probed::Failed(format!("{name}: {failure}"))),
    };
    match probe.greeting().await {
        Ok(greeting) => report(judge_greeting(&name, settings, &greeting)),
        Err(failure) => report(Probed::Failed(format!("{name}: {failure}"))),
    }
    let (entries, log) = (probe.keep_entry().await, probe_log(&engine).await);
    report(match entries.and(log) {
        Ok(()) => {
            Probed::Passed(format!("{name}: calls, claims and the fleet's log can be written and read"))
        }
        Err(failure) => {
            let what = if entries.is_err() { "calls and claims" } else { "the fleet's log" };
            Probed::Failed(format!("{name}: {what} can't be written and read: {failure}"))
        }
    });
    if let Ok(times) = probe.times().await {
        report(judge_times(&name, settings.timeout, times.median, times.slowest));
    }
    report(match probe.memory().await {
        Ok(memory) => judge_memory(&name, &memory),
        Err(_) => Probed::Risky(format!(
            "{name}: maxmemory and maxmemory-policy are unknown, since shared.user may not ask for INFO"
        )),
    });
}

fn judge_greeting(name: &str, settings: &EngineSettings, greeting: &EngineGreeting) -> Probed {
    let EngineGreeting { server, version, mode, role } = greeting;
    let is_cluster = mode == "cluster";
    let problem = match settings.mode {
        _ if !greeting.is_recent() => Some("6.2 or later is needed"),
        EngineMode::Single | EngineMode::Sentinel if is_cluster => {
            Some("it is part of a cluster: set shared.mode = \"cluster\"")
        }
        EngineMode::Cluster if !is_cluster => Some("it is no cluster: see shared.mode"),
        EngineMode::Single | EngineMode::Sentinel if role == "replica" || role == "slave" => {
            Some("it is a replica, which takes no writes: name the primary, or the sentinels")
        }
        EngineMode::Single | EngineMode::Sentinel | EngineMode::Cluster => None,
    };
    let is_tls = settings.urls.iter().all(|url| matches!(url, EngineUrl::Tls { .. }));
    let verified = if is_tls { ", certificate verified" } else { "" };
    match problem {
        Some(problem) => Probed::Failed(format!("{name}: {server} {version}: {problem}")),
        None => Probed::Passed(format!("{name}: connected{verified}, {server} {version}")),
    }
}

/// Most lookups must have their answer in time. A few slow ones, as on a busy machine, are no failure.
fn judge_times(name: &str, timeout: Duration, median: Duration, slowest: Duration) -> Probed {
    let line = format!(
        "{name}: answers in {:.1} ms, the slowest of 20 in {:.1} ms",
        median.as_secs_f64() * 1000.0,
        slowest.as_secs_f64() * 1000.0
    );
    match median < timeout {
        true => Probed::Passed(line),
        false => Probed::Failed(format!("{line}: longer than lookups wait (shared.timeout)")),
    }
}

fn judge_memory(name: &str, memory: &EngineMemory) -> Probed {
    let EngineMemory { bytes, policy } = memory;
    let risk = if policy.starts_with("allkeys-") {
        "may evict the fleet's log of purges, which empties every gateway's cache: use volatile-lru"
    } else if *bytes == 0 {
        return Probed::Risky(format!(
            "{name}: no maxmemory is set, so the engine may fill the machine's memory: see docs/operations.md"
        ));
    } else if policy.starts_with("volatile-") {
        return Probed::Passed(format!(
            "{name}: maxmemory is {}, maxmemory-policy {policy}",
            mebibytes(*bytes)
        ));
    } else {
        "refuses all writes, purges included, once its memory is full: use volatile-lru"
    };
    Probed::Risky(format!("{name}: maxmemory-policy is {policy}, which {risk}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_that_evicts_calls_alone_within_a_bound_is_no_risk() {
        for (bytes, policy, text) in [
            (1 << 30, "volatile-lru", None),
            (1 << 30, "volatile-ttl", None),
            (0, "volatile-lru", Some("no maxmemory is set")),
            (0, "noeviction", Some("no maxmemory is set")),
            (0, "allkeys-lru", Some("evict the fleet's log")),
            (1 << 30, "allkeys-random", Some("evict the fleet's log")),
            (1 << 30, "noeviction", Some("refuses all writes")),
        ] {
            match (judge_memory("shared", &EngineMemory { bytes, policy: policy.into() }), text) {
                (Probed::Passed(line), None) => {
                    assert_eq!(line, format!("shared: maxmemory is 1024 MiB, maxmemory-policy {policy}"))
                }
                (Probed::Risky(line), Some(text)) => assert!(line.contains(text), "{line}"),
                (other, _) => panic!("{bytes} {policy}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_engine_that_answers_later_than_lookups_wait_fails() {
        let millis = Duration::from_millis;
        let timely = judge_times("shared", millis(20), millis(2), millis(50));
        assert_eq!(timely, Probed::Passed("shared: answers in 2.0 ms, the slowest of 20 in 50.0 ms".into()));
        assert!(matches!(judge_times("shared", millis(20), millis(20), millis(20)), Probed::Failed(_)));
    }
}
