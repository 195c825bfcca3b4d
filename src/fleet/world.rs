//! What a fleet's purges are applied to.

use crate::domain::{PurgeTarget, TenantName};

/// The caches of a gateway, and the disk below them. Everything here may block.
pub(crate) trait FleetWorld: Send + Sync {
    /// Applies purges in their order, on disk too, and returns how many could be applied.
    fn apply(&self, targets: &[PurgeTarget]) -> usize;

    /// Empties the memory of all tenants. What is on disk is cleaned before its first use.
    fn forget_memory(&self);

    /// The tenants of the running configuration.
    fn tenants(&self) -> Vec<TenantName>;

    /// A text that is the same on gateways whose tenants have the same keys. It is shown to nobody.
    fn keys(&self) -> Vec<u8>;
}
