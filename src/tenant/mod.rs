//! Who asks, and everything that is theirs: tokens, and the `Tenant` that owns its limiters, its
//! cache, its fetches and its way to the upstream. Nothing in here is shared between two tenants.

mod credentials;
mod directory;
mod owned;
mod turnstile;

pub use directory::Directory;
pub use owned::{LimitState, Tenant, Waits};
pub use turnstile::{Place, TurnedAway, Turnstile};
