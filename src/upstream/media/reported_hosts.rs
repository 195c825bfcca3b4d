use std::sync::{Mutex, PoisonError};

/// Hosts that are reported at most: what links name is not ours to bound.
const MOST: usize = 32;

/// The hosts that were logged because links to them are not followed.
#[derive(Debug, Default)]
pub(crate) struct ReportedHosts(Mutex<Vec<String>>);

impl ReportedHosts {
    /// Whether to log a host: once each, as long as there are not many.
    pub(crate) fn is_news(&self, host: &str) -> bool {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = reported.len() < MOST && !reported.iter().any(|known| known == host);
        if is_news {
            reported.push(host.to_owned());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_reported_once_and_only_so_many_are() {
        let reported = ReportedHosts::default();
        assert!(reported.is_news("a") && !reported.is_news("a") && reported.is_news("b"));
        let news = (0..1000).filter(|number| reported.is_news(&number.to_string())).count();
        assert_eq!(news, MOST - 2);
        assert!(!reported.is_news("c"));
    }
}
