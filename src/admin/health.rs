//! Readiness, and the result of the last reload. Never depends on the upstream: a gateway whose upstream is down
//! still answers from its cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::problems::{ProblemKind, ReportedProblem};
use crate::config::Address;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// Not listening yet.
    Starting,
    /// Accepting traffic.
    Ready,
    /// Finishing requests, accepting none.
    Draining,
}

impl ProcessState {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ReloadReport {
    pub(crate) at: Timestamp,
    /// Empty if it took effect.
    pub(crate) problems: Vec<String>,
}

/// The state of the process, shared by the code that changes it and the probes.
#[derive(Debug, Clone)]
pub(crate) struct ProcessHealth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: AtomicU8,
    last_reload: ArcSwapOption<ReloadReport>,
    listeners: ArcSwapOption<Vec<ListeningSocket>>,
}

#[derive(Debug, Clone)]
pub(crate) struct ListeningSocket {
    /// `data` or `admin`.
    pub(crate) plane: &'static str,
    /// With the actual port.
    pub(crate) address: Address,
}

impl ProcessHealth {
    /// In the state [`ProcessState::Starting`].
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            state: AtomicU8::new(ProcessState::Starting as u8),
            last_reload: ArcSwapOption::empty(),
            listeners: ArcSwapOption::empty(),
        }))
    }

    pub(crate) fn set(&self, state: ProcessState) {
        self.0.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn state(&self) -> ProcessState {
        let state = self.0.state.load(Ordering::Acquire);
        [ProcessState::Ready, ProcessState::Draining]
            .into_iter()
            .find(|known| *known as u8 == state)
            .unwrap_or(ProcessState::Starting)
    }

    /// Records the result of a reload.
    pub(crate) fn note_reload(&self, at: Timestamp, problems: Vec<String>) {
        self.0.last_reload.store(Some(Arc::new(ReloadReport { at, problems })));
    }

    /// The result of the last reload, if there was one.
    pub(crate) fn last_reload(&self) -> Option<Arc<ReloadReport>> {
        self.0.last_reload.load_full()
    }

    /// Records the listening sockets.
    pub(crate) fn note_listeners(&self, listeners: Vec<ListeningSocket>) {
        self.0.listeners.store(Some(Arc::new(listeners)));
    }

    /// One line for each check and problem: `+` is good, `!` needs attention, `-` means no traffic.
    pub(super) fn verbose(&self, log_lines_dropped: u64, problems: &[ReportedProblem]) -> String {
        let mut text = self.traffic_and_configuration();
        for ListeningSocket { plane, address } in self.0.listeners.load().iter().flat_map(|all| all.iter()) {
            text += &format!("[+] {plane} listener: {address}\n");
        }
        text += &match log_lines_dropped {
            0 => "[+] log: no lines dropped\n".to_owned(),
            lines => format!("[!] log: {lines} lines dropped, because their reader was too slow\n"),
        };
        // These two are covered by the checks above.
        let own = [ProblemKind::ReloadRefused, ProblemKind::LogLinesDropped].map(ProblemKind::label);
        for problem in problems.iter().filter(|problem| !own.contains(&problem.kind)) {
            text += &format!("[!] {problem}\n");
        }
        text
    }

    fn traffic_and_configuration(&self) -> String {
        let state = self.state();
        let mark = if state == ProcessState::Ready { '+' } else { '-' };
        let mut text = format!("[{mark}] traffic: {}\n", state.label());
        match self.last_reload() {
            None => text += "[+] configuration: as loaded at the start\n",
            Some(report) if report.problems.is_empty() => {
                text += &format!("[+] configuration: reloaded at {:.0}\n", report.at);
            }
            Some(report) => {
                text += &format!(
                    "[!] configuration: the reload at {:.0} was rejected; still running the previous one\n",
                    report.at
                );
                for problem in &report.problems {
                    text += &format!("      {problem}\n");
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &'static str, tenant: Option<&str>) -> ReportedProblem {
        let since = "2024-01-15T10:30:00Z".to_owned();
        ReportedProblem { kind, tenant: tenant.map(str::to_owned), since, message: "message".to_owned() }
    }

    #[test]
    fn every_check_is_listed_with_its_state() {
        let health = ProcessHealth::new();
        assert!(health.verbose(0, &[]).starts_with("[-] traffic: starting\n"));
        health.set(ProcessState::Ready);
        health.note_listeners(vec![ListeningSocket {
            plane: "data",
            address: "127.0.0.1:8080".parse().unwrap(),
        }]);
        assert_eq!(
            health.verbose(0, &[]),
            "[+] traffic: ready\n[+] configuration: as loaded at the start\n[+] data listener: 127.0.0.1:8080\n\
             [+] log: no lines dropped\n"
        );
        let at = "2024-01-15T10:30:00Z".parse().unwrap();
        health.note_reload(at, vec!["g.toml:1:1: cache.tll: unknown key".into()]);
        assert_eq!(
            health.verbose(7, &[problem("reload-refused", None), problem("breaker-open", Some("alpha"))]),
            "[+] traffic: ready\n[!] configuration: the reload at 2024-01-15T10:30:00Z was rejected; still running the previous one\n      \
             g.toml:1:1: cache.tll: unknown key\n[+] data listener: 127.0.0.1:8080\n\
             [!] log: 7 lines dropped, because their reader was too slow\n\
             [!] breaker-open (alpha, since 2024-01-15T10:30:00Z): message\n"
        );
        health.note_reload(at, Vec::new());
        assert!(health.verbose(0, &[]).contains("[+] configuration: reloaded at 2024-01-15T10:30:00Z"));
    }
}
