//! The store: entries in bounded memory, and why the last unstored responses were not stored.
//!
//! Knows neither fetches nor admission.

mod emptying;
mod entry;
mod last_refusals;
mod memory;
mod renewal_backoff;
mod stored_id;
mod stored_response;

pub(crate) use entry::Entry;
pub(crate) use last_refusals::LastRefusals;
pub(crate) use memory::Store;
