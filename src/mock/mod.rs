//! The stand-in for the Credira API: calls by ID, as its public contract has them. Serves
//! `mock-upstream`, `demo`, tests and benches.
//!
//! Any well-formed ID names a completed call that is a function of the ID. IDs that begin otherwise
//! name other things:
//!
//! | ID begins with | answer |
//! |---|---|
//! | `call_missing` | 404 `NOT_FOUND` |
//! | `call_forbidden` | 403 `FORBIDDEN` |
//! | `call_progress` | a call whose status is `in_progress` |
//! | `call_initiated` | a call whose status is `initiated` |
//! | `call_settling` | a completed call that was updated just now |

mod contract;
mod server;

pub use contract::{Contract, Reply};
pub use server::{Mock, Options};
