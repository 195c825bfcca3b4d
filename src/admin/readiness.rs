//! Whether the gateway takes traffic. Depends on the process alone, never on the upstream: a pod
//! whose upstream is down still answers from its cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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

/// The state, for those who set it and those who ask.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Starting.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU8::new(State::Starting as u8)))
    }

    /// Changes the state.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// The state.
    pub fn get(&self) -> State {
        let state = self.0.load(Ordering::Acquire);
        [State::Ready, State::Draining]
            .into_iter()
            .find(|known| *known as u8 == state)
            .unwrap_or(State::Starting)
    }
}
