//! What a fleet's purges are applied to.

use std::future::Future;
use std::pin::Pin;

use crate::domain::{PurgeTarget, TenantName};

/// Work on the caches.
pub(crate) type WorldFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The caches of a gateway, and the disk below them.
pub(crate) trait FleetWorld: Send + Sync {
    /// Applies purges in their order, on disk too, and returns how many could be applied.
    fn apply(&self, targets: Vec<PurgeTarget>) -> WorldFuture<'_, usize>;

    /// Empties the memory of all tenants. What is on disk is cleaned before its first use.
    fn forget_memory(&self) -> WorldFuture<'_, ()>;

    /// The tenants of the running configuration.
    fn tenants(&self) -> Vec<TenantName>;

    /// A text that is the same on gateways whose tenants have the same keys. It is never shown.
    fn keys(&self) -> Vec<u8>;
}
