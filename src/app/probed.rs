//! The results of `check --probe`.

/// The result of one probe, as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probed {
    Passed(String),
    /// It works, and may not when it is needed.
    Risky(String),
    Failed(String),
}

/// For a line of a probe.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
