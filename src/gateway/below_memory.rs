/// Which levels below memory a fetch asks before the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BelowMemory {
    /// None: the client wants a newer entry, or they were asked.
    Skipped,
    /// The shared one, for a newer entry than memory has.
    Newer,
    /// All.
    First,
    /// All, and the upstream is not asked.
    Only,
}
