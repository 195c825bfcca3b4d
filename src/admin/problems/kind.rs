/// The kinds of problems, the most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::admin) enum ProblemKind {
    /// The last reload was rejected.
    ReloadRefused,
    /// The upstream answered about another call than the requested one.
    IdentityMismatch,
    /// The upstream rejects every key of the tenant.
    KeyRejected,
    /// The breaker is open or half-open.
    BreakerOpen,
    /// No connection to the upstream.
    UpstreamConnect,
    /// No answer in time.
    UpstreamTimeout,
    /// Answers that were cut off.
    UpstreamReset,
    /// Answers with a 5xx.
    UpstreamStatus,
    /// Answers that can't be used.
    UpstreamInvalid,
    /// The upstream's 429 delays requests.
    UpstreamPaused,
    /// Too many lookups wait for the upstream.
    Overloaded,
    /// `upstream_limit` refuses.
    UpstreamLimitSpent,
    /// `rate_limit` refuses.
    RateLimitSpent,
    /// Requests without a valid token.
    CallersUnauthorized,
    /// The first key was rejected; the next one is in use.
    KeyPromoted,
    /// A level below memory is not in use.
    LevelDown,
    /// The shared level is not in use.
    SharedLevelDown,
    /// A gateway of the fleet has other keys.
    FleetKeysDiffer,
    /// The cache is too small.
    CacheThrashing,
    /// Log lines were dropped.
    LogLinesDropped,
}

impl ProblemKind {
    #[cfg(test)]
    pub(in crate::admin) const ALL: [Self; 20] = [
        Self::ReloadRefused,
        Self::IdentityMismatch,
        Self::KeyRejected,
        Self::BreakerOpen,
        Self::UpstreamConnect,
        Self::UpstreamTimeout,
        Self::UpstreamReset,
        Self::UpstreamStatus,
        Self::UpstreamInvalid,
        Self::UpstreamPaused,
        Self::Overloaded,
        Self::UpstreamLimitSpent,
        Self::RateLimitSpent,
        Self::CallersUnauthorized,
        Self::KeyPromoted,
        Self::LevelDown,
        Self::SharedLevelDown,
        Self::FleetKeysDiffer,
        Self::CacheThrashing,
        Self::LogLinesDropped,
    ];

    /// As in the API.
    pub(in crate::admin) const fn label(self) -> &'static str {
        match self {
            Self::ReloadRefused => "reload-refused",
            Self::IdentityMismatch => "identity-mismatch",
            Self::KeyRejected => "key-rejected",
            Self::BreakerOpen => "breaker-open",
            Self::UpstreamConnect => "upstream-connect",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamReset => "upstream-reset",
            Self::UpstreamStatus => "upstream-status",
            Self::UpstreamInvalid => "upstream-invalid",
            Self::UpstreamPaused => "upstream-paused",
            Self::Overloaded => "overloaded",
            Self::UpstreamLimitSpent => "upstream-limit-spent",
            Self::RateLimitSpent => "rate-limit-spent",
            Self::CallersUnauthorized => "callers-unauthorized",
            Self::KeyPromoted => "key-promoted",
            Self::LevelDown => "level-down",
            Self::SharedLevelDown => "shared-level-down",
            Self::FleetKeysDiffer => "fleet-keys-differ",
            Self::CacheThrashing => "cache-thrashing",
            Self::LogLinesDropped => "log-lines-dropped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hour_of_an_incident_has_a_row_for_each_kind() {
        let page = include_str!("../../../docs/operations.md");
        let section = page.split("\n## ").find(|part| part.starts_with("The first hour")).unwrap();
        let first_cells: String = section.lines().filter_map(|line| line.split(" | ").next()).collect();
        for label in ProblemKind::ALL.map(ProblemKind::label) {
            assert!(first_cells.contains(&format!("`{label}`")), "{label}");
        }
    }
}
