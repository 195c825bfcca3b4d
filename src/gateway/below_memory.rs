//! Which of the levels below memory a lookup's fetch asks.

use crate::cache::{Generation, RequestDirectives};
use crate::domain::CallId;
use crate::tenant::Tenant;

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

impl BelowMemory {
    /// For a client with these directives: none if it wants what is newer, and all if memory has no call.
    pub(super) fn for_lookup(
        tenant: &Tenant,
        generation: &Generation,
        id: &CallId,
        directives: &RequestDirectives,
    ) -> Self {
        let wants_newer = directives.no_cache || directives.no_store || directives.max_age == Some(0);
        let is_in_memory = || generation.entry(id).is_some_and(|entry| !entry.is_negative());
        match tenant.has_levels() && !wants_newer {
            false => Self::Skipped,
            true if is_in_memory() => Self::Newer,
            true => Self::First,
        }
    }
}
