//! Finds what needs an operator's attention, in one place for `stats`, the dashboard and `/readyz?verbose`.
//!
//! The rules are pure: they judge observations of the last minutes and of the present, and know no clocks, no sockets
//! and no previous findings.

mod counts;
mod kind;
mod rules;
mod watch;

pub(super) use counts::Counts;
pub(super) use kind::ProblemKind;
pub(crate) use watch::ProblemWatch;
pub(super) use watch::Recent;

use serde::Serialize;

/// One problem, as the API reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ReportedProblem {
    /// See [`ProblemKind`].
    pub(super) kind: &'static str,
    /// The affected tenant; `None` for the process.
    pub(super) tenant: Option<String>,
    /// When it was first seen.
    pub(super) since: String,
    pub(super) message: String,
}

/// A problem as one line, for `/readyz?verbose`.
impl std::fmt::Display for ReportedProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, tenant, since, message } = self;
        match tenant {
            Some(tenant) => write!(f, "{kind} ({tenant}, since {since}): {message}"),
            None => write!(f, "{kind} (since {since}): {message}"),
        }
    }
}
