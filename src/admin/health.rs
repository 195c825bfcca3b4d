//! Whether the gateway takes traffic, and how its last reload went. Depends on the process alone,
//! never on the upstream: a pod whose upstream is down still answers from its cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use crate::config::Address;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not listening yet.
    Starting,
    /// Taking traffic.
    Ready,
    /// Ending.
    Draining,
}

impl State {
    /// A word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// How a reload went.
#[derive(Debug, Clone)]
pub struct ReloadReport {
    /// When.
    pub at: Timestamp,
    /// What was wrong; nothing if it took effect.
    pub problems: Vec<String>,
}

/// The process's state, for those who set it and those who ask.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: AtomicU8,
    last_reload: ArcSwapOption<ReloadReport>,
    listeners: ArcSwapOption<Vec<Socket>>,
}

/// A socket that is listened on.
#[derive(Debug, Clone)]
pub struct Socket {
    /// `data` or `admin`.
    pub plane: &'static str,
    /// Where, ports resolved.
    pub address: Address,
}

impl Health {
    /// Starting.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            state: AtomicU8::new(State::Starting as u8),
            last_reload: ArcSwapOption::empty(),
            listeners: ArcSwapOption::empty(),
        }))
    }

    /// Changes the state.
    pub fn set(&self, state: State) {
        self.0.state.store(state as u8, Ordering::Release);
    }

    /// The state.
    pub fn state(&self) -> State {
        let state = self.0.state.load(Ordering::Acquire);
        [State::Ready, State::Draining]
            .into_iter()
            .find(|known| *known as u8 == state)
            .unwrap_or(State::Starting)
    }

    /// Notes how a reload went.
    pub fn note_reload(&self, at: Timestamp, problems: Vec<String>) {
        self.0.last_reload.store(Some(Arc::new(ReloadReport { at, problems })));
    }

    /// How the last reload went, if there was one.
    pub fn last_reload(&self) -> Option<Arc<ReloadReport>> {
        self.0.last_reload.load_full()
    }

    /// Notes the sockets that are listened on.
    pub fn note_listeners(&self, listeners: Vec<Socket>) {
        self.0.listeners.store(Some(Arc::new(listeners)));
    }

    /// Every check with its state, a line each: `+` is good, `!` needs a look, `-` takes no traffic.
    pub fn verbose(&self, log_lines_dropped: u64) -> String {
        let mut text = self.traffic_and_configuration();
        for Socket { plane, address } in self.0.listeners.load().iter().flat_map(|all| all.iter()) {
            text += &format!("[+] {plane} listener: {address}\n");
        }
        text += &match log_lines_dropped {
            0 => "[+] log: no lines dropped\n".to_owned(),
            lines => format!("[!] log: {lines} lines dropped, because their reader was too slow\n"),
        };
        text
    }

    fn traffic_and_configuration(&self) -> String {
        let state = self.state();
        let mark = if state == State::Ready { '+' } else { '-' };
        let mut text = format!("[{mark}] traffic: {}\n", state.label());
        match self.last_reload() {
            None => text += "[+] configuration: as loaded at the start\n",
            Some(report) if report.problems.is_empty() => {
                text += &format!("[+] configuration: reloaded at {:.0}\n", report.at);
            }
            Some(report) => {
                text += &format!(
                    "[!] configuration: the reload at {:.0} failed and changed nothing\n",
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

    #[test]
    fn every_check_is_listed_with_its_state() {
        let health = Health::new();
        assert!(health.verbose(0).starts_with("[-] traffic: starting\n"));
        health.set(State::Ready);
        health.note_listeners(vec![Socket { plane: "data", address: "127.0.0.1:8080".parse().unwrap() }]);
        assert_eq!(
            health.verbose(0),
            "[+] traffic: ready\n[+] configuration: as loaded at the start\n[+] data listener: 127.0.0.1:8080\n\
             [+] log: no lines dropped\n"
        );
        let at = "2024-01-15T10:30:00Z".parse().unwrap();
        health.note_reload(at, vec!["g.toml:1:1: cache.tll: unknown key".into()]);
        assert_eq!(
            health.verbose(7),
            "[+] traffic: ready\n[!] configuration: the reload at 2024-01-15T10:30:00Z failed and changed nothing\n      \
             g.toml:1:1: cache.tll: unknown key\n[+] data listener: 127.0.0.1:8080\n\
             [!] log: 7 lines dropped, because their reader was too slow\n"
        );
        health.note_reload(at, Vec::new());
        assert!(health.verbose(0).contains("[+] configuration: reloaded at 2024-01-15T10:30:00Z"));
    }
}
