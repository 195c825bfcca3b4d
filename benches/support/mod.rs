//! What more than one bench needs.

use credira_gateway::mock::Contract;

/// What the upstream says of a call's path: a completed one of 1.3 KB.
pub(crate) fn body(path: &str) -> String {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    Contract::default().answer("GET", path, Some("Bearer key"), now, 1).body
}
