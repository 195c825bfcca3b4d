use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Instant;

/// The interval in which a state is logged at most once.
const QUIET: Duration = Duration::from_secs(60);

/// Keeps a lasting state from being logged with every request: one line a minute for each state, however often they
/// alternate. For a closed set of states.
#[derive(Debug)]
pub(crate) struct LogThrottle<T>(Mutex<Vec<(T, Instant)>>);

impl<T> Default for LogThrottle<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: PartialEq> LogThrottle<T> {
    /// Whether to log `state` now.
    pub(crate) fn allows(&self, state: T, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(_, at)| now.duration_since(*at) < QUIET);
        if logged.iter().any(|(before, _)| *before == state) {
            return false;
        }
        logged.push((state, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn each_state_is_logged_once_a_minute_however_they_alternate() {
        let (throttle, now) = (LogThrottle::default(), clock::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(throttle.allows("refused", now));
        assert!(!throttle.allows("refused", after(59)));
        assert!(throttle.allows("timeout", after(59)));
        assert!(!throttle.allows("refused", after(59)));
        assert!(throttle.allows("refused", after(60)));
        assert!(!throttle.allows("timeout", after(118)));
        assert!(throttle.allows("timeout", after(119)));
    }
}
