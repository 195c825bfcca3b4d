//! Tenants and everything they own: tokens, and the `Tenant` with its limiters, its cache, its fetches and its
//! upstream client. Nothing here is shared between two tenants.

mod digest_hasher;
mod directory;
mod owned;
mod passed_tokens;
mod concurrency;

pub(crate) use concurrency::{ConcurrencyLimit, LimitReached, SlotPermit};
pub(crate) use directory::Directory;
pub(crate) use owned::{Caches, LimitState, Tenant, TenantPurge, Waits};
